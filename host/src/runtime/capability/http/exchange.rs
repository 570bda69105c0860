//! One request and its response: looked up, connected, sent and received within the time and the
//! sizes that the grant allows.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep_until, timeout_at};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::super::reports::{Report, Reports};
use super::super::resolve::{Host, Lookups, admit};
use super::{Driver, HEAD};
use crate::clock;
use crate::job::grants::Need;
use crate::job::{Grants, HttpGrant};
use crate::units::{format_duration_exact, format_size};

/// How long one of several addresses is tried before the next one has its turn.
const TRY: Duration = Duration::from_secs(5);

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) https: bool,
    pub(super) host: Host,
    pub(super) port: u16,
}

impl Target {
    /// Host and port, without a port that goes without saying.
    pub(super) fn authority(&self) -> String {
        let host = self.host.bracketed();
        match (self.https, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// The origin, as a grant names it.
    pub(super) fn origin(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }
}

/// What all parts of an exchange know of it.
pub(super) struct Facts {
    /// The request, as people are told of it.
    what: String,
    body: u64,
    timeout: Duration,
    reports: Reports,
    /// The guest wrote a larger body than it may.
    too_large: AtomicBool,
}

impl Facts {
    pub(super) fn new(what: String, grant: &HttpGrant, reports: Reports) -> Arc<Facts> {
        Arc::new(Facts {
            what,
            body: grant.body,
            timeout: grant.timeout,
            reports,
            too_large: AtomicBool::new(false),
        })
    }

    fn line(&self, text: &str) {
        self.reports.line(format!("{}: {text}", self.what));
    }

    fn denied(&self, why: &str, need: Need) {
        let what = format!("{}: {why}", self.what);
        self.reports.leave(Report::Denied(what, need));
    }

    /// The request's body is larger than it may be: of `length` bytes, if that is known.
    pub(super) fn request_too_large(&self, length: Option<u64>) -> Error {
        if !self.too_large.swap(true, Ordering::Relaxed) {
            let most = format_size(self.body);
            self.line(&format!(
                "the body of the request is larger than the {most} that are granted (\"body\")"
            ));
        }
        Error::HttpRequestBodySize(length)
    }

    fn response_too_large(&self, length: Option<u64>) -> Error {
        let most = format_size(self.body);
        self.line(&format!(
            "the body of the response is larger than the {most} that are granted (\"body\")"
        ));
        Error::HttpResponseBodySize(length)
    }

    fn took_too_long(&self) {
        let most = format_duration_exact(self.timeout);
        self.line(&format!(
            "it was not over within the {most} that are granted (\"timeout\")"
        ));
    }

    /// What wasi:http calls an error of hyper's.
    fn name(&self, error: &hyper::Error) -> Error {
        if self.too_large.load(Ordering::Relaxed) {
            Error::HttpRequestBodySize(Some(self.body))
        } else if error.is_parse_too_large() {
            Error::HttpResponseHeaderSectionSize(u32::try_from(HEAD).ok())
        } else if error.is_incomplete_message() {
            Error::HttpResponseIncomplete
        } else if error.is_parse() || error.is_user() {
            // A user's error is the guest's: it gave its body up halfway.
            Error::HttpProtocolError
        } else {
            Error::ConnectionTerminated
        }
    }
}

/// A request that was found granted, on its way.
pub(super) struct Errand {
    pub(super) target: Target,
    pub(super) grants: Arc<Grants>,
    pub(super) lookups: Lookups,
    /// When all of it must be over.
    pub(super) deadline: Instant,
    /// What the guest asks for, within that.
    pub(super) options: RequestOptions,
    pub(super) facts: Arc<Facts>,
}

/// A connection, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Errand {
    /// Carries it out, up to the head of the response. What is left is the response's body, and
    /// the future that keeps the connection going while it is read.
    pub(super) async fn run(
        self,
        request: Request<WasiBody>,
    ) -> Result<(Response<WasiBody>, Driver), Error> {
        let by = self.by(self.options.connect_timeout);
        let stream = self.within(by, Error::ConnectionTimeout, self.connect(by));
        let stream = stream.await??;

        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD).max_header_size(HEAD);
        let (mut sender, connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.facts.name(&error))?;
        // It is over when the exchange is, even if nobody reads the response any more.
        let ends = self.deadline;
        let mut connection: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            let _ = timeout_at(ends.into(), connection).await;
        });

        let request = request.map(|body| Sending {
            body: Some(body),
            left: self.facts.body,
            facts: self.facts.clone(),
        });
        let by = self.by(self.options.first_byte_timeout);
        let late = if by == self.deadline {
            Error::HttpResponseTimeout
        } else {
            Error::ConnectionReadTimeout
        };
        let mut sending = Box::pin(sender.send_request(request));
        let mut driven = false;
        let answered = self.within(by, late, async {
            loop {
                tokio::select! {
                    biased;
                    answered = &mut sending => break answered,
                    () = &mut connection, if !driven => driven = true,
                }
            }
        });
        let response = answered.await?.map_err(|error| self.failed(&error))?;

        let (head, body) = response.into_parts();
        let length = body.size_hint().lower();
        if length > self.facts.body {
            return Err(self.facts.response_too_large(Some(length)));
        }
        let body = Receiving::new(body, &self);
        let driver: Driver = Box::new(async move {
            if !driven {
                connection.await;
            }
            Ok(())
        });
        Ok((Response::from_parts(head, body.boxed_unsync()), driver))
    }

    /// What wasi:http calls an error of hyper's, which is what is seen of a connection that was
    /// closed because the time was up.
    fn failed(&self, error: &hyper::Error) -> Error {
        if clock::monotonic() >= self.deadline {
            self.facts.took_too_long();
            Error::HttpResponseTimeout
        } else {
            self.facts.name(error)
        }
    }

    /// When something must be over for which the guest gives so much time.
    fn by(&self, asked: Option<Duration>) -> Instant {
        asked
            .and_then(|asked| clock::monotonic().checked_add(asked))
            .map_or(self.deadline, |asked| asked.min(self.deadline))
    }

    /// Waits for a future, but not for too long.
    async fn within<T>(
        &self,
        by: Instant,
        late: Error,
        future: impl Future<Output = T>,
    ) -> Result<T, Error> {
        timeout_at(by.into(), future).await.map_err(|_| {
            if by == self.deadline {
                self.facts.took_too_long();
            }
            late
        })
    }

    /// A connection with one of the addresses that the host's name leads to and that may be
    /// reached.
    async fn connect(&self, by: Instant) -> Result<Box<dyn Stream>, Error> {
        let host = &self.target.host;
        let found = self.lookups.addresses(host).await.map_err(|error| {
            self.facts.line(&format!("cannot look {host} up: {error}"));
            Error::DnsError {
                rcode: None,
                info_code: None,
            }
        })?;
        let addresses = admit(found, |ip| self.may_connect(ip)).map_err(|refused| {
            let need = refused.need("origins", "http");
            self.facts.denied(&refused.to_string(), need);
            Error::DestinationIpProhibited
        })?;
        let stream = self.reach(&addresses, by).await?;
        // Requests are written whole: waiting for more helps nobody.
        let _ = stream.set_nodelay(true);
        if !self.target.https {
            return Ok(Box::new(stream));
        }
        let tls = self.lookups.network.tls().await.map_err(|why| {
            self.facts.line(why);
            Error::ConfigurationError
        })?;
        let name = match host {
            Host::Address(ip) => ServerName::from(*ip),
            Host::Name(name) => {
                ServerName::try_from(name.clone()).map_err(|_| Error::HttpRequestUriInvalid)?
            }
        };
        match tls.connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => {
                self.facts.line(&error.to_string());
                Err(tls_error(&error))
            }
        }
    }

    /// Whether an origin that is granted, and is the target, lets it lead to this address.
    fn may_connect(&self, ip: IpAddr) -> bool {
        let Target { https, host, port } = &self.target;
        let host = host.to_string();
        self.grants.http.as_ref().is_some_and(|grant| {
            let mut origins = grant.origins.iter();
            origins
                .any(|origin| origin.matches(*https, &host, *port) && grant.may_connect(origin, ip))
        })
    }

    /// Tries one address after the other.
    async fn reach(&self, addresses: &[IpAddr], by: Instant) -> Result<TcpStream, Error> {
        let mut failed = Error::DestinationUnavailable;
        for (at, ip) in addresses.iter().enumerate() {
            let last = at + 1 == addresses.len();
            let until = clock::monotonic()
                .checked_add(TRY)
                .filter(|until| !last && *until < by)
                .unwrap_or(by);
            let connecting = TcpStream::connect(SocketAddr::new(*ip, self.target.port));
            failed = match timeout_at(until.into(), connecting).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => match error.kind() {
                    io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
                    io::ErrorKind::TimedOut => Error::ConnectionTimeout,
                    io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                        Error::DestinationIpUnroutable
                    }
                    _ => Error::DestinationUnavailable,
                },
                Err(_) => Error::ConnectionTimeout,
            };
        }
        Err(failed)
    }
}

fn tls_error(error: &io::Error) -> Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        Some(rustls::Error::AlertReceived(alert)) => Error::TlsAlertReceived {
            alert_id: Some(u8::from(*alert)),
            alert_message: Some(format!("{alert:?}")),
        },
        _ => Error::TlsProtocolError,
    }
}

/// The body of a request, which ends in an error where it becomes too large.
struct Sending {
    body: Option<WasiBody>,
    left: u64,
    facts: Arc<Facts>,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let size = frame.data_ref().map_or(0, Bytes::len) as u64;
            match this.left.checked_sub(size) {
                Some(left) => this.left = left,
                None => {
                    this.body = None;
                    let most = this.facts.body;
                    let error = this.facts.request_too_large(Some(most));
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

/// The body of a response, which ends in an error where it becomes too large, or too late.
struct Receiving {
    body: Option<Incoming>,
    left: u64,
    whole: Pin<Box<Sleep>>,
    /// The end of the time between two pieces that the guest asks for, if it does.
    pause: Option<(Duration, Pin<Box<Sleep>>)>,
    facts: Arc<Facts>,
}

impl Receiving {
    fn new(body: Incoming, errand: &Errand) -> Self {
        let pause = errand.options.between_bytes_timeout.and_then(|pause| {
            let until = clock::monotonic().checked_add(pause)?;
            Some((pause, Box::pin(sleep_until(until.into()))))
        });
        Receiving {
            body: Some(body),
            left: errand.facts.body,
            whole: Box::pin(sleep_until(errand.deadline.into())),
            pause,
            facts: errand.facts.clone(),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        match Pin::new(body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let size = frame.data_ref().map_or(0, Bytes::len) as u64;
                let Some(left) = self.left.checked_sub(size) else {
                    let most = self.facts.body;
                    return Poll::Ready(Some(Err(self.facts.response_too_large(Some(most)))));
                };
                self.left = left;
                if let Some((pause, sleep)) = &mut self.pause
                    && let Some(until) = clock::monotonic().checked_add(*pause)
                {
                    sleep.as_mut().reset(until.into());
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                // The connection is closed when the time is up, by whoever sees it first.
                let late = self.whole.as_mut().poll(context).is_ready();
                Poll::Ready(Some(Err(if late {
                    self.facts.took_too_long();
                    Error::HttpResponseTimeout
                } else {
                    self.facts.name(&error)
                })))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                if self.whole.as_mut().poll(context).is_ready() {
                    self.facts.took_too_long();
                    return Poll::Ready(Some(Err(Error::HttpResponseTimeout)));
                }
                let paused = self.pause.as_mut();
                if paused.is_some_and(|(_, sleep)| sleep.as_mut().poll(context).is_ready()) {
                    return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
                }
                Poll::Pending
            }
        }
    }
}

impl Body for Receiving {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = self.poll(context);
        // The end of the body, in whatever way, is the end of the connection.
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}
