//! Answers that are told bit by bit: lines of JSON, and server-sent events.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::Api;
use super::feed::{Follower, Told};
use super::problem::Problem;
use super::routes::{Answer, Call, NoBody, read};

/// How many follow at once at most, so that others still get a place.
pub(super) const FOLLOWERS: usize = 32;

/// How many pieces wait for a client that is slow.
const WAITING: usize = 8;

/// How often it is said that the host is still there.
const ALIVE: Duration = Duration::from_secs(15);

/// The media type of server-sent events.
pub(super) const EVENTS: &str = "text/event-stream";

/// Some lines, with their ends.
pub(super) type Lines = Bytes;

/// What comes through a channel, as a body.
struct Text {
    lines: mpsc::Receiver<Lines>,
    _place: Option<OwnedSemaphorePermit>,
}

impl HttpBody for Text {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let lines = self.lines.poll_recv(context);
        lines.map(|lines| lines.map(|lines| Ok(Frame::data(lines))))
    }
}

/// An answer whose text is what is sent to the other end.
pub(super) fn open(api: &Api, follow: bool) -> Result<(mpsc::Sender<Lines>, Answer), Problem> {
    let place = follow
        .then(|| api.followers.clone().try_acquire_owned())
        .transpose()
        .map_err(|_| {
            Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "urn:quarterjack:too-many",
                "Too many requests",
                format!("{FOLLOWERS} follow this host already, which is the most: try again later"),
            )
        })?;
    let (sender, lines) = mpsc::channel(WAITING);
    let body = Body::new(Text {
        lines,
        _place: place,
    });
    let media_type = match follow {
        true => EVENTS,
        false => "application/x-ndjson",
    };
    Ok((sender, Answer::streamed(media_type, body, follow)))
}

/// That something cannot be told any further.
pub(super) fn failed(follow: bool, why: &str) -> Lines {
    let json = serde_json::json!({ "error": why });
    match follow {
        true => format!("event: error\ndata: {json}\n\n").into(),
        false => format!("{json}\n").into(),
    }
}

/// All that happens in the host, from now on or from an id on.
pub(super) async fn events(call: Call) -> Result<Answer, Problem> {
    read::<NoBody>(&call.body)?;
    call.query(&[])?;
    let follower = call.api.feed.follow(call.header("last-event-id"));
    let (to, answer) = open(&call.api, true)?;
    tokio::spawn(tell_events(follower, to));
    Ok(answer)
}

async fn tell_events(mut follower: Follower, to: mpsc::Sender<Lines>) {
    // At once, so that a client knows that it is heard.
    let mut lines: Lines = ": here\n\n".into();
    loop {
        if to.send(lines).await.is_err() {
            return;
        }
        let told = tokio::select! {
            () = to.closed() => return,
            told = timeout(ALIVE, follower.next()) => told,
        };
        lines = match told {
            Err(_) => ": still here\n\n".into(),
            Ok(Told::Event { id, line }) => format!("id: {id}\ndata: {line}\n\n").into(),
            Ok(Told::Missed(missed)) => {
                let json = serde_json::json!({ "missed": missed });
                format!("event: missed\ndata: {json}\n\n").into()
            }
        };
    }
}
