//! The way in for programs on other machines, and for those that cannot open a socket in a
//! directory: HTTP/1.1 over TCP, for whoever has a token.
//!
//! Where there are no tokens at all, only programs on the same machine may ask, and only look. A
//! browser must not be led here by a page from elsewhere: a request that names another host than
//! this one, or that comes from a page of another place, is refused.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Api;
use super::access::{Role, TokenError, Tokens};
use super::conversation::{BOUNDS, Caller, converse};
use super::problem::Problem;
use super::routes::router;
use crate::clock::monotonic;

/// How many requests one peer or token may make at once, and how many a second in the long run.
const BURST: f64 = 100.0;
const PER_SECOND: f64 = 50.0;

/// How many peers and tokens are counted at most.
const COUNTED: usize = 4_096;

/// How long to wait where the system hands over no connection.
const AGAIN: Duration = Duration::from_millis(200);

/// Why a host does not listen.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Others could reach it, and nothing tells them apart.
    #[error(
        "--listen {0}: other machines can reach this address, and there are no tokens that tell who may do what: make one with `quarterjack token add NAME --role operate`, or listen on 127.0.0.1"
    )]
    NoTokens(SocketAddr),
    /// The tokens cannot be read.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// The address cannot be had.
    #[error("--listen {address}: {error}; is another program using the port?")]
    Unusable {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
}

/// A host that listens.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    gate: Gate,
}

impl Listener {
    /// Listens on an address, for those with the tokens of a data directory.
    ///
    /// # Errors
    /// [`ListenError`]: nobody can reach it.
    pub async fn bind(address: SocketAddr, data: Option<&Path>) -> Result<Listener, ListenError> {
        let tokens = data.map(Tokens::of);
        let is_local = address.ip().to_canonical().is_loopback();
        let any = tokens.as_ref().map_or(Ok(Vec::new()), Tokens::list)?;
        if !is_local && any.is_empty() {
            return Err(ListenError::NoTokens(address));
        }
        let failed = |error| ListenError::Unusable { address, error };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        Ok(Listener {
            listener,
            gate: Gate {
                is_local,
                tokens,
                budgets: Mutex::default(),
            },
        })
    }

    /// Where it listens: the port that was taken, where none was said.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers whoever connects. Never returns.
    pub async fn serve(self, api: Arc<Api>) {
        api.feed.listen();
        let (router, gate) = (router(api), Arc::new(self.gate));
        let places = Arc::new(Semaphore::new(BOUNDS.connections));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else {
                return; // nobody closes it
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let (router, gate) = (router.clone(), gate.clone());
                    tokio::spawn(async move {
                        let admit =
                            |headers: &HeaderMap| gate.admit(peer.ip(), headers, monotonic());
                        converse(BOUNDS, stream, router, admit).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the system hands over no connection");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}

/// Who comes in.
#[derive(Debug)]
struct Gate {
    /// Whether only this machine can reach it.
    is_local: bool,
    tokens: Option<Tokens>,
    /// How many requests each may still make, and since when that is so.
    budgets: Mutex<HashMap<String, (f64, Instant)>>,
}

impl Gate {
    fn admit(&self, peer: IpAddr, headers: &HeaderMap, now: Instant) -> Result<Caller, Problem> {
        self.is_meant(headers)?;
        let header = headers.get(AUTHORIZATION).map(|it| it.to_str());
        let secret = match header {
            None => None,
            Some(Ok(text)) => match text.split_once(' ') {
                Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") => {
                    Some(secret.trim())
                }
                _ => return Err(unauthorized("`Authorization` is to be `Bearer TOKEN`")),
            },
            Some(Err(_)) => return Err(unauthorized("`Authorization` is not text")),
        };
        // Before anything is looked up: those who guess are slowed down, too.
        let by_peer = format!("peer {peer}");
        let Some(secret) = secret else {
            self.spend(&by_peer, now)?;
            let none = self.tokens.as_ref().map_or(Ok(Vec::new()), Tokens::list);
            let is_open = self.is_local && none.map_err(unreadable)?.is_empty();
            return Ok(Caller {
                name: String::new(),
                role: is_open.then_some(Role::Read),
            });
        };
        let found = match &self.tokens {
            Some(tokens) => tokens.find(secret).map_err(unreadable)?,
            None => None,
        };
        let Some((name, role)) = found else {
            self.spend(&by_peer, now)?;
            return Err(unauthorized("the token is not one of this host's"));
        };
        self.spend(&format!("token {name}"), now)?;
        Ok(Caller {
            name,
            role: Some(role),
        })
    }

    /// Whether a request is meant for this host, and not led here by a page from elsewhere.
    fn is_meant(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let text = |name| headers.get(name).map(|it| it.to_str().unwrap_or("?"));
        let host = text(HOST).unwrap_or_default();
        if self.is_local && !is_this_machine(host) {
            return Err(misdirected(format!(
                "the request is for the host `{}`: this one listens on this machine alone, as localhost, 127.0.0.1 or [::1]",
                shown(host)
            )));
        }
        match text(ORIGIN) {
            Some(origin) if origin.split_once("://").map(|(_, it)| it) != Some(host) => {
                Err(misdirected(format!(
                    "the request comes from a page of `{}`: pages of other places may not use this host",
                    shown(origin)
                )))
            }
            _ => Ok(()),
        }
    }

    /// Counts a request.
    fn spend(&self, who: &str, now: Instant) -> Result<(), Problem> {
        let left = |(left, since): (f64, Instant)| {
            (left + now.saturating_duration_since(since).as_secs_f64() * PER_SECOND).min(BURST)
        };
        let mut budgets = self.budgets.lock();
        if budgets.len() >= COUNTED && !budgets.contains_key(who) {
            // Who has all of it need not be remembered.
            budgets.retain(|_, budget| left(*budget) < BURST);
            if budgets.len() >= COUNTED {
                return Err(too_many());
            }
        }
        let has = budgets.get(who).map_or(BURST, |budget| left(*budget));
        if has < 1.0 {
            return Err(too_many());
        }
        budgets.insert(who.to_owned(), (has - 1.0, now));
        Ok(())
    }
}

/// Whether a `Host` names this machine, so that no name of somebody else's led here.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let address: Option<IpAddr> = bare.unwrap_or(name).parse().ok();
    name.eq_ignore_ascii_case("localhost") || address.is_some_and(|it| it.is_loopback())
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

pub(super) fn unauthorized(detail: impl Into<String>) -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "urn:quarterjack:unauthorized",
        "A token is needed",
        detail,
    )
}

fn misdirected(detail: String) -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "urn:quarterjack:misdirected",
        "The request is not for this host",
        detail,
    )
}

fn too_many() -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "urn:quarterjack:too-many",
        "Too many requests",
        format!("at most {PER_SECOND} requests a second: try again in a second"),
    )
}

fn unreadable(error: TokenError) -> Problem {
    // Where the file is, is the operator's to know.
    tracing::warn!(%error, "nobody can be let in over TCP");
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "urn:quarterjack:tokens-failing",
        "The tokens cannot be read",
        "the host cannot read its tokens; its log says why",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn gate(data: Option<&Path>, is_local: bool) -> Gate {
        Gate {
            is_local,
            tokens: data.map(Tokens::of),
            budgets: Mutex::default(),
        }
    }

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let all = all.iter();
        all.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn status(gate: &Gate, all: &[(&'static str, &str)]) -> Result<Option<Role>, u16> {
        let peer = IpAddr::from([192, 0, 2, 1]);
        gate.admit(peer, &headers(all), monotonic())
            .map(|caller| caller.role)
            .map_err(|problem| problem.status)
    }

    #[test]
    fn no_page_from_elsewhere_leads_a_browser_in() {
        let gate = gate(None, true);
        for host in [
            "localhost",
            "127.0.0.1:7171",
            "LOCALHOST:1",
            "[::1]:7171",
            "127.9.9.9",
        ] {
            assert_eq!(
                status(&gate, &[("host", host)]),
                Ok(Some(Role::Read)),
                "{host}"
            );
        }
        for host in [
            "",
            "evil.example:7171",
            "127.0.0.1.evil.example",
            "192.0.2.1",
            "[::2]:1",
        ] {
            assert_eq!(status(&gate, &[("host", host)]), Err(403), "{host}");
        }
        let from = |origin| status(&gate, &[("host", "localhost:7171"), ("origin", origin)]);
        assert_eq!(from("http://localhost:7171"), Ok(Some(Role::Read)));
        for origin in ["http://evil.example", "null", "http://localhost:8080"] {
            assert_eq!(from(origin), Err(403), "{origin}");
        }
    }

    #[test]
    fn with_tokens_everybody_needs_one() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(dir.path());
        let gate = gate(Some(dir.path()), true);
        let as_who =
            |bearer: &str| status(&gate, &[("host", "localhost"), ("authorization", bearer)]);
        assert_eq!(as_who("Bearer qj_0"), Err(401));
        let secret = tokens.add("a", Role::Admin, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(as_who(&format!("bearer {secret}")), Ok(Some(Role::Admin)));
        assert_eq!(as_who(&format!("Basic {secret}")), Err(401));
        assert_eq!(as_who("Bearer qj_0"), Err(401));
        assert_eq!(status(&gate, &[("host", "localhost")]), Ok(None));
        std::fs::write(dir.path().join("tokens.json"), "?").unwrap();
        assert_eq!(status(&gate, &[("host", "localhost")]), Err(503));
    }

    #[test]
    fn who_asks_too_often_is_told_to_wait_and_others_are_not() {
        let gate = gate(None, true);
        let now = monotonic();
        let ask = |last: u8, now| {
            let peer = IpAddr::from([192, 0, 2, last]);
            gate.admit(peer, &headers(&[("host", "localhost")]), now)
                .is_ok()
        };
        assert_eq!((0..150).filter(|_| ask(1, now)).count(), 100);
        assert!(ask(2, now));
        let later = now + Duration::from_secs(1);
        assert_eq!((0..150).filter(|_| ask(1, later)).count(), 50);
    }

    #[tokio::test]
    async fn an_address_that_others_reach_needs_tokens() {
        let dir = tempfile::tempdir().unwrap();
        let bind = |data: Option<&'static Path>| Listener::bind("0.0.0.0:0".parse().unwrap(), data);
        assert!(matches!(bind(None).await, Err(ListenError::NoTokens(_))));
        let address = "[::ffff:0.0.0.0]:0".parse().unwrap();
        let refused = Listener::bind(address, Some(dir.path())).await.unwrap_err();
        assert!(
            refused.to_string().contains("quarterjack token add"),
            "{refused}"
        );
        assert!(
            Listener::bind("127.0.0.1:0".parse().unwrap(), None)
                .await
                .is_ok()
        );
    }
}
