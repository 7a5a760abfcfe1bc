//! An authorization service that allows everything: what asking for each request costs at least.

use std::net::SocketAddr;

use envoy_types::ext_authz::v3::CheckResponseExt;
use envoy_types::ext_authz::v3::pb::{
    Authorization, AuthorizationServer, CheckRequest, CheckResponse,
};
use tonic::{Request, Response, Status};

struct Allowing;

#[tonic::async_trait]
impl Authorization for Allowing {
    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(CheckResponse::with_status(Status::ok(
            "allowed",
        ))))
    }
}

/// Serves on the address in the first argument until it is killed.
pub(crate) fn serve(mut arguments: impl Iterator<Item = String>) {
    let addr: SocketAddr = arguments
        .next()
        .and_then(|addr| addr.parse().ok())
        .expect("serve-authorizer ADDR");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be had");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(addr)
            .await
            .expect("the port is free");
        println!("listening");
        let incoming =
            tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        tonic::transport::Server::builder()
            .add_service(AuthorizationServer::new(Allowing))
            .serve_with_incoming(incoming)
            .await
            .expect("it serves");
    });
}
