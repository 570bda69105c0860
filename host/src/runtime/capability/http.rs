//! `wasi:http`: requests to the origins that the job is granted, and to no others.
//!
//! ```text
//! guest ─▶ send_request: origin granted? requests left? ─▶ exchange.rs: look up, judge, connect,
//!                                                            TLS, HTTP/1.1, within time and size
//! ```
//!
//! A redirect is an answer like any other: who follows it is the guest, whose next request is
//! judged like its first. There are no proxies, no cookies and no connections kept for later.

mod exchange;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST, HeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use super::Desk;
use super::resolve::Host;
use crate::clock;
use crate::job::HttpGrant;
use crate::job::grants::Need;
use crate::run::Denial;
use crate::runtime::guest::GuestState;
use exchange::{Errand, Facts, Target};

/// The most bytes of the head of a request or of a response, as hyper and wasi:http count them.
const HEAD: usize = 64 << 10;

/// How much of a body a guest may write in one go.
const CHUNK: usize = 64 << 10;

/// How much of a method and of a path is told.
const TOLD_METHOD: usize = 32;
const TOLD_PATH: usize = 200;

/// What wasi:http keeps of a guest.
pub(in crate::runtime) fn context() -> WasiHttpCtx {
    let mut context = WasiHttpCtx::new();
    context.set_field_size_limit(HEAD);
    context
}

impl WasiHttpView for GuestState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.view_http()
    }
}

/// Who drives a connection after the head of its response.
type Driver = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// An exchange under way, as wasi:http wants it.
type Sent = Box<dyn Future<Output = Result<(Response<WasiBody>, Driver), Error>> + Send>;

impl WasiHttpHooks for Desk {
    /// The host's own, made of what was judged.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Sent {
        match self.admit(request, options) {
            Ok((errand, request)) => Box::new(errand.run(request)),
            Err(error) => Box::new(std::future::ready(Err(error))),
        }
    }
}

impl Desk {
    /// Judges a request by all that can be known before a name is looked up.
    fn admit(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<(Errand, Request<WasiBody>), Error> {
        let target = match target_of(request.uri()) {
            Ok(target) => target,
            Err(why) => {
                let method = told_method(request.method());
                self.print(&format!("{method} request not sent: {why}"));
                return Err(Error::HttpRequestUriInvalid);
            }
        };
        let what = told(request.method(), &target, request.uri());
        if request.method() == Method::CONNECT {
            self.print(&format!("{what}: not sent: CONNECT is for proxies"));
            return Err(Error::HttpRequestMethodInvalid);
        }
        let run = self.attempt.run.clone();
        let host = target.host.to_string();
        let grant = run.job.grants.http.as_ref();
        let Some(grant) = grant.filter(|grant| {
            let origin = grant.origin(target.https, &host, target.port);
            origin.is_some()
        }) else {
            self.deny(what, &Need::Http(target.origin()));
            return Err(Error::HttpRequestDenied);
        };
        if self.requests >= grant.requests {
            let what = format!("{what}: it has sent {} requests", grant.requests);
            self.refuse(Denial {
                what: self.redacted(what),
                grant: Some("more \"requests\" in its grant of \"http\"".to_owned()),
                ceiling: None,
            });
            return Err(Error::HttpRequestDenied);
        }
        self.requests += 1;

        let facts = Facts::new(what, grant, self.reports());
        let length = request.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if let Some(length) = length.filter(|length| *length > grant.body) {
            return Err(facts.request_too_large(Some(length)));
        }
        // At the front, whatever a guest may have found a way to put there.
        let authority =
            HeaderValue::try_from(target.authority()).map_err(|_| Error::HttpRequestUriInvalid)?;
        request.headers_mut().insert(HOST, authority);
        *request.uri_mut() = path_of(request.uri());
        let errand = Errand {
            target,
            lookups: self.lookups(),
            deadline: deadline(grant),
            options: options.unwrap_or_default(),
            facts,
            grants: run.job.grants.clone(),
        };
        Ok((errand, request))
    }
}

fn deadline(grant: &HttpGrant) -> std::time::Instant {
    let now = clock::monotonic();
    // A grant's timeout is far below what the clock can count to.
    now.checked_add(grant.timeout)
        .or_else(|| now.checked_add(Duration::from_secs(24 * 60 * 60)))
        .unwrap_or(now)
}

/// Where a request is to go.
fn target_of(uri: &Uri) -> Result<Target, String> {
    let https = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        _ => return Err("it is neither for http nor for https".to_owned()),
    };
    let authority = uri.authority().ok_or("it names no host")?;
    if authority.as_str().contains('@') {
        // Not repeated: it may be a password.
        return Err(
            "its authority has a user: a password goes into the header `authorization`".to_owned(),
        );
    }
    let text = authority.host();
    let host =
        Host::parse(text).ok_or_else(|| format!("{text:?} is neither a name nor an address"))?;
    let port = match authority.as_str().strip_prefix(text) {
        None | Some("" | ":") => {
            if https {
                443
            } else {
                80
            }
        }
        Some(_) => authority
            .port_u16()
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("{:?} has no usable port", authority.as_str()))?,
    };
    Ok(Target { https, host, port })
}

/// The path and the query, as they stand in the first line of a request.
fn path_of(uri: &Uri) -> Uri {
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    if path.starts_with('/') {
        path.parse()
    } else {
        format!("/{path}").parse()
    }
    .unwrap_or_default()
}

/// A request as people are told of it: without its query, where secrets are.
fn told(method: &Method, target: &Target, uri: &Uri) -> String {
    let path = uri.path();
    let path = match path.char_indices().nth(TOLD_PATH) {
        Some((end, _)) => format!("{}…", path.get(..end).unwrap_or_default()),
        None => path.to_owned(),
    };
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{} {}{slash}{path}", told_method(method), target.origin())
}

fn told_method(method: &Method) -> &str {
    let method = method.as_str();
    method.get(..TOLD_METHOD).unwrap_or(method)
}
