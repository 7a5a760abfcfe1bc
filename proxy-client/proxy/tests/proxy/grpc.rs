//! Calls of gRPC of every kind through two proxies in chain: the caller's outbound one and the server's inbound one.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mixer_proxy::Running;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::app::http2;
use crate::mixer::{TestMixer, nothing};
use crate::raw::spawn;
use crate::{config, soon, start};

/// Calls of each kind.
const CALLS: usize = 250;
/// Messages of a stream.
const MESSAGES: usize = 5;

/// A message: not compressed, its length, its bytes.
fn message(text: &str) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(u32::try_from(text.len()).unwrap());
    message.put_slice(text.as_bytes());
    message.freeze()
}

/// The texts of whole messages.
fn texts(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        texts.push(String::from_utf8(bytes[5..5 + length].to_vec()).unwrap());
        bytes = &bytes[5 + length..];
    }
    texts
}

type Body = BoxBody<Bytes, Infallible>;

/// Answers by the method's name: `Unary` and `Client` with one message when the request has ended, `Server` with five, `Bidi` with
/// each as it comes. Trailers say the status that was asked for, how many messages came, and the deadline.
async fn serve(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (parts, mut body) = request.into_parts();
    let (tell, told) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(4);
    let method = parts.uri.path().rsplit('/').next().unwrap().to_owned();
    spawn(async move {
        let (mut count, mut all) = (0, Vec::new());
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { break };
            // The end of a request may be data of no bytes; as a part of the answer they would say nothing.
            if method == "Bidi" && !data.is_empty() {
                let _ = tell.send(Ok(Frame::data(data.clone()))).await;
            }
            all.extend_from_slice(&data);
        }
        let texts = texts(&all);
        count += texts.len();
        let answers = match &*method {
            "Server" => MESSAGES,
            "Bidi" => 0,
            _ => 1,
        };
        for number in 0..answers {
            let answer = message(&format!("{} {number}", texts[0]));
            let _ = tell.send(Ok(Frame::data(answer))).await;
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", parts.headers["x-status"].clone());
        trailers.insert("grpc-message", HeaderValue::from_static("as%20asked"));
        trailers.insert("x-messages", HeaderValue::from(count));
        trailers.insert("x-timeout", parts.headers["grpc-timeout"].clone());
        let _ = tell.send(Ok(Frame::trailers(trailers))).await;
    });
    let mut response = Response::new(StreamBody::new(ReceiverStream::new(told)).boxed());
    let kind = HeaderValue::from_static("application/grpc+proto");
    response.headers_mut().insert("content-type", kind);
    Ok(response)
}

async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn(async move {
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .max_concurrent_streams(100)
                    .serve_connection(TokioIo::new(stream), hyper::service::service_fn(serve))
                    .await;
            });
        }
    });
    address
}

/// Two proxies before `app`: where the first takes requests.
pub(crate) async fn chain(
    app: SocketAddr,
) -> (SocketAddr, (TestMixer, Running, TestMixer, Running)) {
    let far = TestMixer::allowing(nothing(), &[]).await;
    let inbound = start(config(&far, app)).await;
    let service = format!(
        r#"{{"service":"products.shop","endpoints":["{}"]}}"#,
        inbound.inbound().unwrap()
    );
    let near = TestMixer::allowing(nothing(), &[service]).await;
    let outbound = start(config(&near, app)).await;
    let to = outbound.outbound().unwrap();
    (to, (far, inbound, near, outbound))
}

async fn call(mut client: SendRequest<Body>, method: &'static str, number: usize) {
    let status = (number % 17).to_string();
    let timeout = format!("{}S", 10 + number);
    let (tell, told) = mpsc::channel(1);
    let sent = if matches!(method, "Client" | "Bidi") {
        MESSAGES
    } else {
        1
    };
    let request = Request::post(format!("http://products.shop/shop.Products/{method}"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .header("grpc-timeout", &timeout)
        .header("x-status", &status)
        .body(StreamBody::new(ReceiverStream::new(told)).boxed())
        .unwrap();
    let send = async {
        for message_number in 0..sent {
            let text = format!("{number}.{message_number}");
            tell.send(Ok(Frame::data(message(&text)))).await.unwrap();
        }
        drop(tell);
    };
    let (response, ()) = tokio::join!(client.send_request(request), send);
    let response = response.unwrap();
    assert_eq!(response.status(), 200, "{method} {number}");
    // An answer of the proxy's own has its reason here.
    assert_eq!(response.headers().get("grpc-message"), None);
    assert_eq!(response.headers()["content-type"], "application/grpc+proto");
    let all = response.into_body().collect().await.unwrap();
    let trailers = all.trailers().unwrap().clone();
    let expected = HeaderMap::from_iter(
        [
            ("grpc-status", status),
            ("grpc-message", "as%20asked".to_owned()),
            ("x-messages", sent.to_string()),
            ("x-timeout", timeout),
        ]
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())),
    );
    assert_eq!(trailers, expected, "{method} {number}");
    let answers: Vec<String> = match method {
        "Server" => (0..MESSAGES)
            .map(|answer| format!("{number}.0 {answer}"))
            .collect(),
        "Bidi" => (0..MESSAGES)
            .map(|sent| format!("{number}.{sent}"))
            .collect(),
        _ => vec![format!("{number}.0 0")],
    };
    assert_eq!(texts(&all.to_bytes()), answers, "{method} {number}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_calls_of_every_kind_pass_two_proxies_with_their_trailers() {
    let (to, _chain) = chain(server().await).await;
    let client = http2(to).await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..CALLS {
        for method in ["Unary", "Client", "Server", "Bidi"] {
            calls.spawn(call(client.clone(), method, number));
        }
    }
    let mut count = 0;
    while let Some(call) = soon(calls.join_next()).await {
        call.unwrap();
        count += 1;
    }
    assert_eq!(count, 1_000);
}
