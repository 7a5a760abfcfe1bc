//! Who has joined: renews in time, and hears of the roots.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mixer_proto::ca::v1::WatchBundleRequest;
use mixer_proto::ca::v1::certificate_authority_client::CertificateAuthorityClient;
use mixer_runtime::{Backoff, Clock, Random};
use tokio::sync::mpsc;

use super::{BUNDLE, Failed, Join, TRY};
use crate::{Bundles, Identity, Publisher, Source, TrustBundle, client_config};

/// The wait between tries: first and at most. There is half of a life for them.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Who has joined.
pub(super) struct Member {
    pub(super) join: Join,
    pub(super) source: Source,
    pub(super) clock: Clock,
    pub(super) random: Arc<Random>,
}

impl Member {
    /// Renews in time, and trusts what is heard of the roots.
    pub(super) async fn keep(&self, publisher: Publisher, mut news: mpsc::Receiver<TrustBundle>) {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        let mut due = self.due();
        loop {
            let wait = due.duration_since(self.clock.wall()).unwrap_or_default();
            tokio::select! {
                heard = news.recv() => match heard {
                    Some(bundle) => {
                        self.trust(bundle, &publisher);
                        continue;
                    }
                    None => return,
                },
                () = self.clock.sleep(wait) => {}
            }
            due = match self.renew().await {
                Ok(identity) => {
                    let until = identity.svid().not_after();
                    tracing::info!(id = %identity.id(), until = %crate::Timestamp(until), "renewed");
                    publisher.publish(identity);
                    backoff.reset();
                    self.due()
                }
                Err(failed) => {
                    let wait = backoff.next(&self.random);
                    self.complain(&failed, wait);
                    self.clock.wall() + wait
                }
            };
        }
    }

    /// Half of the certificate's life, give or take a tenth of that, lest all that joined together come back together.
    fn due(&self) -> SystemTime {
        let Some(identity) = self.source.current() else {
            return self.clock.wall();
        };
        let validity = identity.svid().validity();
        let life = validity.not_after.duration_since(validity.not_before);
        let share = 0.45 + 0.1 * self.random.unit();
        validity.not_before + life.unwrap_or_default().mul_f64(share)
    }

    async fn renew(&self) -> Result<Identity, Failed> {
        let current = self.source.current();
        let tls = client_config(&self.source, self.join.authority(), &[b"h2"]);
        let id = current.as_ref().map(|identity| identity.id());
        self.join.sign(tls, "", id, &self.clock).await
    }

    fn complain(&self, failed: &Failed, wait: Duration) {
        let until = self.source.current().map(|it| it.svid().not_after());
        match until {
            Some(until) if until < self.clock.wall() => tracing::error!(
                "the certificate has expired and cannot be renewed ({failed}): join again with a new token"
            ),
            Some(until) => tracing::warn!(
                until = %crate::Timestamp(until),
                "the certificate is not renewed: {failed}; trying again in {wait:?}"
            ),
            None => {}
        }
    }

    fn trust(&self, bundle: TrustBundle, publisher: &Publisher) {
        let Some(identity) = self.source.current() else {
            return;
        };
        let known = identity.bundles().of(bundle.trust_domain());
        let same = known.is_some_and(|known| known.authorities().eq(bundle.authorities()));
        if same {
            return;
        }
        if let Err(error) = self.join.write(BUNDLE, &bundle.to_pem()) {
            tracing::error!("the bundle cannot be kept: {error}");
        }
        tracing::info!(roots = bundle.authorities().len(), "the bundle changed");
        let bundles = Bundles::from_iter([bundle]);
        publisher.publish(Identity::new(identity.svid().clone(), bundles));
    }

    /// Hears of the roots for ever.
    pub(super) async fn listen(&self, heard: mpsc::Sender<TrustBundle>) {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        loop {
            let ended = self.stream(&heard, &mut backoff).await;
            if heard.is_closed() {
                return;
            }
            if let Err(failed) = ended {
                tracing::debug!("the bundle is not followed: {failed}");
            }
            self.clock.sleep(backoff.next(&self.random)).await;
        }
    }

    async fn stream(
        &self,
        heard: &mpsc::Sender<TrustBundle>,
        backoff: &mut Backoff,
    ) -> Result<(), Failed> {
        let tls = client_config(&self.source, self.join.authority(), &[b"h2"]);
        let connected = self.clock.within(TRY, self.join.connect(tls)).await;
        let mut client = CertificateAuthorityClient::new(connected.ok_or(Failed::Late)??);
        let stream = client.watch_bundle(WatchBundleRequest {}).await?;
        let mut stream = stream.into_inner();
        while let Some(bundle) = stream.message().await? {
            let bundle = self.join.roots(bundle)?;
            backoff.reset();
            if heard.send(bundle).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}
