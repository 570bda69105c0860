//! One connection, whichever way it came in: one request, one answer, within bounds of time.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::access::Role;
use super::problem::Problem;
use super::routes::{Answer, to_response};

/// How many bytes the head of a request may have.
const HEAD: usize = 64 << 10;

/// How long somebody may follow before they have to ask again.
const FOLLOWED: Duration = Duration::from_secs(60 * 60);

/// How long a client may take, and how many there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// How many requests there are at once at most; more wait for the system to hand them over.
    pub(super) connections: usize,
    /// How long the head and the body of a request may each take to arrive.
    pub(super) arrival: Duration,
    /// How long a request may take with all that belongs to it, until its answer has been read;
    /// one that is followed may take longer.
    pub(super) longest: Duration,
}

pub(super) const BOUNDS: Bounds = Bounds {
    connections: 64,
    arrival: Duration::from_secs(10),
    longest: Duration::from_secs(120),
};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// A name of theirs: that of a token, or none.
    pub(super) name: String,
    /// What they may do; nothing if they have not said who they are.
    pub(super) role: Option<Role>,
}

/// The mark of an answer that does not end by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Followed;

/// Answers one request.
pub(super) async fn converse<S>(
    bounds: Bounds,
    stream: S,
    router: Router,
    admit: impl Fn(&HeaderMap) -> Result<Caller, Problem>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let followed = Arc::new(AtomicBool::new(false));
    let service = service_fn(|mut request: Request<Incoming>| {
        let admitted = admit(request.headers());
        let (router, followed) = (router.clone(), followed.clone());
        async move {
            let caller = match admitted {
                Ok(caller) => caller,
                Err(problem) => {
                    return Ok::<Response<Body>, Infallible>(to_response(Answer::from(problem)));
                }
            };
            request.extensions_mut().insert(caller);
            request.extensions_mut().insert(bounds);
            let response = TowerToHyperService::new(router).call(request).await?;
            if response.extensions().get::<Followed>().is_some() {
                followed.store(true, Ordering::Relaxed);
            }
            Ok(response)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.arrival)
        .keep_alive(false)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    // Whoever takes longer has lost interest.
    let ended = match timeout(bounds.longest, &mut served).await {
        Err(_) if followed.load(Ordering::Relaxed) => timeout(FOLLOWED, served).await,
        ended => ended,
    };
    if let Ok(Err(error)) = ended {
        tracing::debug!(%error, "a connection to the host ended early");
    }
}
