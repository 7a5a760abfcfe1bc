//! The floor: what tonic takes for the same request and an answer of the same size, when nothing is decided.

use std::net::SocketAddr;
use std::pin::Pin;

use mixer_proto::v1::mixer_server::{Mixer, MixerServer};
use mixer_proto::v1::{
    CheckRequest, CheckResponse, Decision, QuotaRequest, QuotaResponse, RefreshKeysRequest,
    RefreshKeysResponse, ReportRequest, ReportResponse, WatchRequest, WatchResponse,
};
use prost::Message;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

struct Constant {
    answer: CheckResponse,
}

/// Serves on the address in the first argument an answer of as many bytes as the second says, until it is killed.
pub(crate) fn serve(mut arguments: impl Iterator<Item = String>) {
    let addr: SocketAddr = arguments
        .next()
        .and_then(|addr| addr.parse().ok())
        .expect("serve-floor ADDR SIZE");
    let size: usize = arguments
        .next()
        .and_then(|size| size.parse().ok())
        .expect("serve-floor ADDR SIZE");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be had");
    runtime.block_on(async {
        let service = MixerServer::new(Constant {
            answer: of_size(size),
        });
        let listener = tokio::net::TcpListener::bind(addr)
            .await
            .expect("the port is free");
        println!("listening");
        let incoming =
            tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming)
            .await
            .expect("it serves");
    });
}

/// An answer of exactly `size` bytes: one text, so that making one costs as little as can be.
fn of_size(size: usize) -> CheckResponse {
    let of = |length: usize| CheckResponse {
        decision: Some(Decision {
            verdict: 1,
            message: "x".repeat(length),
            ..Decision::default()
        }),
        ..CheckResponse::default()
    };
    (0..=size)
        .map(of)
        .find(|answer| answer.encoded_len() == size)
        .unwrap_or_else(|| panic!("no answer has {size} bytes"))
}

#[tonic::async_trait]
impl Mixer for Constant {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(self.answer.clone()))
    }

    async fn quota(&self, _: Request<QuotaRequest>) -> Result<Response<QuotaResponse>, Status> {
        Err(Status::unimplemented("a floor has no quotas"))
    }

    async fn report(&self, _: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        Err(Status::unimplemented("a floor takes no reports"))
    }

    async fn refresh_keys(
        &self,
        _: Request<RefreshKeysRequest>,
    ) -> Result<Response<RefreshKeysResponse>, Status> {
        Err(Status::unimplemented("a floor knows no keys"))
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("a floor tells nothing"))
    }
}
