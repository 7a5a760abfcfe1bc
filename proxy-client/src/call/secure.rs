//! Dialing Mixer with TLS: it must prove to be who it should be before it is told anything, and we prove who we are.
//!
//! The certificate of the moment is shown at each connection, so that one that was renewed needs nothing done here.

use std::io;
use std::sync::Arc;

use http::Uri;
use hyper_util::rt::TokioIo;
use mixer_identity::{Expected, client_config};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::Service;

use crate::Tls;

/// What dials.
pub(super) fn dial(
    mixer: &str,
    tls: &Tls,
) -> impl Service<Uri, Response = TokioIo<TlsStream<TcpStream>>, Error = io::Error, Future: Send>
+ Send
+ use<> {
    let config = client_config(&tls.identity, Expected::Id(tls.mixer.clone()), &[b"h2"]);
    let (address, connector) = (
        Arc::<str>::from(mixer),
        TlsConnector::from(Arc::new(config)),
    );
    tower::service_fn(move |_: Uri| {
        let (address, connector) = (address.clone(), connector.clone());
        async move {
            let stream = TcpStream::connect(&*address).await?;
            stream.set_nodelay(true)?;
            // It goes by ids: the name is not looked at.
            let name = ServerName::try_from("mixer").map_err(io::Error::other)?;
            connector.connect(name, stream).await.map(TokioIo::new)
        }
    })
}
