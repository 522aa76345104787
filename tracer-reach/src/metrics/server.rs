//! The HTTP server: it answers `GET /metrics`, and takes nothing else in.
//!
//! It runs on the thread of the metrics, beside what counts. A client has little time, and the newest ones have precedence:
//! one that sends or reads slowly keeps no other from its answer.

use std::{cell::RefCell, collections::VecDeque, convert::Infallible, io, rc::Rc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    task::{AbortHandle, spawn_local},
    time::{sleep, timeout},
};

use super::{address::Socket, counts::Counts};

/// How many clients are served at a time. One more takes the place of the oldest.
const MOST_CLIENTS: usize = 8;
/// The time for a request and its answer.
const WITHIN: Duration = Duration::from_secs(10);
/// The most bytes of a request's head. hyper has no smaller buffer.
const HEAD: usize = 8_192;
/// The most header fields of a request.
const MOST_FIELDS: usize = 64;
/// The pause when the system has no fd for another client.
const PAUSE: Duration = Duration::from_millis(200);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const HINT: &str = "tracer: the metrics are at /metrics\n";

/// Serves clients. Does not end.
pub(super) async fn serve(socket: Socket, counts: Rc<RefCell<Counts>>) -> io::Result<Infallible> {
    let mut clients = Clients { counts, running: VecDeque::new() };
    match socket {
        Socket::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => clients.admit(stream),
                    Err(_) => sleep(PAUSE).await,
                }
            }
        }
        Socket::Unix(listener) => {
            let listener = UnixListener::from_std(listener)?;
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => clients.admit(stream),
                    Err(_) => sleep(PAUSE).await,
                }
            }
        }
    }
}

/// The clients that are being served, the oldest first.
struct Clients {
    counts: Rc<RefCell<Counts>>,
    running: VecDeque<AbortHandle>,
}

impl Clients {
    fn admit(&mut self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static) {
        self.running.retain(|client| !client.is_finished());
        if self.running.len() >= MOST_CLIENTS
            && let Some(oldest) = self.running.pop_front()
        {
            oldest.abort();
        }
        let counts = Rc::clone(&self.counts);
        let answer = move |request| {
            let response = respond(&request, &counts.borrow());
            async { Ok::<_, Infallible>(response) }
        };
        let client = http1::Builder::new()
            .keep_alive(false)
            .max_buf_size(HEAD)
            .max_headers(MOST_FIELDS)
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        // A client that goes away or talks nonsense is its own affair.
        let served = spawn_local(async { drop(timeout(WITHIN, client).await) });
        self.running.push_back(served.abort_handle());
    }
}

fn respond(request: &Request<Incoming>, counts: &Counts) -> Response<Full<Bytes>> {
    let is_get = request.method() == Method::GET || request.method() == Method::HEAD;
    match request.uri().path() {
        _ if !is_get => {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        "/metrics" => metrics(request, counts),
        "/" => plain(StatusCode::OK, HINT.into()),
        _ => plain(StatusCode::NOT_FOUND, HINT.into()),
    }
}

fn metrics(request: &Request<Incoming>, counts: &Counts) -> Response<Full<Bytes>> {
    let mut accepted = request.headers().get_all(ACCEPT).iter();
    let is_open = accepted.any(|value| {
        value.to_str().is_ok_and(|value| value.contains("application/openmetrics-text"))
    });
    let Ok(text) = counts.text(is_open) else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "no memory\n".into());
    };
    let mut response = plain(StatusCode::OK, text);
    let kind = HeaderValue::from_static(if is_open { OPEN_METRICS } else { PROMETHEUS });
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
