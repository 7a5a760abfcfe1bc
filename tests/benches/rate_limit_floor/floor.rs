//! The floor: what tonic takes for the same request and an answer of the same size, when nothing is counted.

use std::net::SocketAddr;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, RateLimit,
};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::Duration;
use tonic::{Request, Response, Status};

struct Constant {
    answer: RateLimitResponse,
}

/// Serves on the address in the first argument until it is killed.
pub(crate) fn serve(mut arguments: impl Iterator<Item = String>) {
    let addr: SocketAddr = arguments
        .next()
        .and_then(|addr| addr.parse().ok())
        .expect("serve-floor ADDR");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be had");
    runtime.block_on(async {
        let service = RateLimitServiceServer::new(Constant { answer: answer() });
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

/// What Mixer answers too: one status with the limit and what is left.
pub(crate) fn answer() -> RateLimitResponse {
    RateLimitResponse {
        overall_code: Code::Ok.into(),
        statuses: vec![DescriptorStatus {
            code: Code::Ok.into(),
            current_limit: Some(RateLimit {
                name: "limit number 0".to_owned(),
                requests_per_unit: 1_000_000_000,
                unit: 4,
            }),
            limit_remaining: 999_999_999,
            duration_until_reset: Some(Duration {
                seconds: 86_400,
                nanos: 0,
            }),
            quota: None,
        }],
        ..RateLimitResponse::default()
    }
}

#[tonic::async_trait]
impl RateLimitService for Constant {
    async fn should_rate_limit(
        &self,
        _: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        Ok(Response::new(self.answer.clone()))
    }
}
