//! From the name of a host to the addresses that a run may reach by it.
//!
//! A name is looked up once, every address that it leads to is judged, and what is connected to
//! is one of the addresses that were judged: a second answer of the name server is never asked
//! for, so that it cannot be another one.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs as _};
use std::sync::Arc;

use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_rustls::TlsConnector;

use crate::job::grants::Need;
use crate::job::grants::network::class_of;
use crate::state::BoxFuture;

/// How many names are looked up at once for all runs, and for one. A lookup is a blocking call
/// of the system that nothing ends early, so that one run must not be able to take all.
const LOOKUPS: usize = 64;
const LOOKUPS_OF_A_RUN: usize = 4;

/// How many of the addresses of a name are considered.
const MOST_ADDRESSES: usize = 32;

/// Looks names up.
pub trait Resolver: Send + Sync {
    /// The addresses of a name, the best first. `place` is to be kept until the lookup is really
    /// over, even if its future is dropped before.
    fn resolve(&self, name: &str, place: Place) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The place of one lookup among those that may go on at once.
pub struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_run: OwnedSemaphorePermit,
}

/// The way to the network that all runs share.
pub struct Network {
    resolver: Box<dyn Resolver>,
    places: Arc<Semaphore>,
    tls: OnceCell<Result<TlsConnector, String>>,
}

impl Default for Network {
    /// The network as the system knows it.
    fn default() -> Self {
        Network::with_resolver(SystemResolver)
    }
}

impl Network {
    /// The network with names of one's own.
    pub fn with_resolver(resolver: impl Resolver + 'static) -> Network {
        Network {
            resolver: Box::new(resolver),
            places: Arc::new(Semaphore::new(LOOKUPS)),
            tls: OnceCell::new(),
        }
    }

    /// What makes a connection a TLS one, trusting whom the system trusts. Its certificates are
    /// read when the first run asks.
    pub(super) async fn tls(&self) -> Result<&TlsConnector, &str> {
        let tls = self.tls.get_or_init(|| async {
            // Reads some hundred files.
            tokio::task::spawn_blocking(connector)
                .await
                .unwrap_or_else(|error| Err(error.to_string()))
        });
        tls.await.as_ref().map_err(String::as_str)
    }
}

fn connector() -> Result<TlsConnector, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let why = match found.errors.first() {
            Some(error) => format!(" ({error})"),
            None => String::new(),
        };
        return Err(format!(
            "this host trusts no certificate authority{why}: install the system's CA certificates, or name a file of them in SSL_CERT_FILE"
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would tell a server that two jobs run on one host.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Asks the system, which knows its `hosts` file, its search domains and its name servers.
struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, name: &str, place: Place) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let (answer, answered) = oneshot::channel();
        let name = name.to_owned();
        // A thread of its own: it can last as long as the system's patience, which must hold up
        // neither other work nor the end of the host.
        let started = std::thread::Builder::new()
            .name("lookup".into())
            .spawn(move || {
                let found = (&*name, 0).to_socket_addrs();
                let _ = answer.send(found.map(|all| all.map(|address| address.ip()).collect()));
                drop(place);
            });
        Box::pin(async move {
            started?;
            answered
                .await
                .unwrap_or_else(|_| Err(io::Error::other("the lookup came to no end")))
        })
    }
}

/// The lookups of one run. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lookups {
    pub(super) network: Arc<Network>,
    places: Arc<Semaphore>,
}

impl Lookups {
    pub(super) fn new(network: Arc<Network>) -> Self {
        Lookups {
            network,
            places: Arc::new(Semaphore::new(LOOKUPS_OF_A_RUN)),
        }
    }

    /// The addresses of a host; an address has itself. Never an empty list.
    ///
    /// # Errors
    /// What the resolver says.
    pub(super) async fn addresses(&self, host: &Host) -> io::Result<Vec<IpAddr>> {
        let name = match host {
            Host::Address(ip) => return Ok(vec![*ip]),
            Host::Name(name) => name,
        };
        let place = Place {
            _of_run: place(&self.places).await?,
            _of_all: place(&self.network.places).await?,
        };
        let mut found = self.network.resolver.resolve(name, place).await?;
        for ip in &mut found {
            *ip = ip.to_canonical();
        }
        let mut seen = Vec::new();
        found.retain(|ip| {
            let new = seen.len() < MOST_ADDRESSES && !seen.contains(ip);
            if new {
                seen.push(*ip);
            }
            new
        });
        if found.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            ));
        }
        Ok(found)
    }
}

async fn place(places: &Arc<Semaphore>) -> io::Result<OwnedSemaphorePermit> {
    // Neither semaphore is ever closed.
    let permit = places.clone().acquire_owned().await;
    permit.map_err(io::Error::other)
}

/// A host as a guest names it, in the one way to write it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Host {
    /// A name in lower case, without a dot at its end.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl Host {
    /// Reads a name or an address, an IPv6 one with its brackets or without. Nothing if it is
    /// neither, or one of the old ways to write an IPv4 address, such as `127.1`: the system
    /// would take that for an address, and so would nobody who reads a grant.
    pub(super) fn parse(text: &str) -> Option<Host> {
        let bracketed = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        if let Some(text) = bracketed {
            let ip: Ipv6Addr = text.parse().ok()?;
            return Some(Host::Address(ip.into()));
        }
        if let Ok(ip) = text.parse::<Ipv6Addr>() {
            return Some(Host::Address(ip.into()));
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Some(Host::Address(ip.into()));
        }
        let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let sound = text.len() <= 253
            && text
                .split('.')
                .all(|label| (1..=63).contains(&label.len()) && label.bytes().all(of_name));
        let last = text.rsplit('.').next().unwrap_or_default();
        let number = last.bytes().all(|byte| byte.is_ascii_digit())
            || last
                .to_ascii_lowercase()
                .strip_prefix("0x")
                .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        (sound && !number).then(|| Host::Name(text.to_ascii_lowercase()))
    }

    /// The host as an origin or endpoint has it: an IPv6 address in brackets.
    pub(super) fn bracketed(&self) -> String {
        match self {
            Host::Address(IpAddr::V6(ip)) => format!("[{ip}]"),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => name.fmt(to),
            Host::Address(ip) => ip.fmt(to),
        }
    }
}

/// Those of a host's addresses that may be reached.
///
/// # Errors
/// If there are none: the first of those that may not be.
pub(super) fn admit(
    addresses: Vec<IpAddr>,
    may_be: impl Fn(IpAddr) -> bool,
) -> Result<Vec<IpAddr>, NotAdmitted> {
    let first = addresses.first().copied();
    let admitted: Vec<IpAddr> = addresses.into_iter().filter(|ip| may_be(*ip)).collect();
    match first {
        Some(ip) if admitted.is_empty() => Err(NotAdmitted { ip }),
        _ => Ok(admitted),
    }
}

/// A host led to no address that its grant lets a run reach.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotAdmitted {
    ip: IpAddr,
}

impl NotAdmitted {
    /// What a definition grants to have the address, beside the list `beside` of the grant `of`.
    pub(super) fn need(self, beside: &'static str, of: &'static str) -> Need {
        let ip = self.ip;
        Need::Address { ip, beside, of }
    }
}

impl fmt::Display for NotAdmitted {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "it leads to {}, {}",
            self.ip,
            class_of(self.ip).as_str()
        )
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::job::grants::network::AddressClass;
    use parking_lot::Mutex;
    use proptest::prelude::*;

    /// A resolver that gives the answers of a script, one after the other, the last one again
    /// and again.
    pub(in crate::runtime::capability) struct Script {
        answers: Mutex<Vec<(String, Vec<IpAddr>)>>,
        pub(in crate::runtime::capability) asked: Arc<Mutex<Vec<String>>>,
    }

    impl Script {
        pub(in crate::runtime::capability) fn new(answers: &[(&str, &[&str])]) -> Script {
            let read = |(name, ips): &(&str, &[&str])| {
                let ips = ips.iter().map(|ip| ip.parse().unwrap()).collect();
                ((*name).to_owned(), ips)
            };
            Script {
                answers: Mutex::new(answers.iter().map(read).collect()),
                asked: Arc::default(),
            }
        }
    }

    impl Resolver for Script {
        fn resolve(&self, name: &str, _: Place) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
            self.asked.lock().push(name.to_owned());
            let mut answers = self.answers.lock();
            let at = answers.iter().position(|(known, _)| known == name);
            let answer = at.map(|at| {
                let last = answers.iter().filter(|(known, _)| known == name).count() == 1;
                if last {
                    answers[at].1.clone()
                } else {
                    answers.remove(at).1
                }
            });
            Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such name")) })
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_host_has_one_way_to_be_written() {
        let name = |text: &str| Some(Host::Name(text.to_owned()));
        let address = |text: &str| Some(Host::Address(ip(text)));
        assert_eq!(Host::parse("API.Example.COM."), name("api.example.com"));
        assert_eq!(Host::parse("localhost"), name("localhost"));
        assert_eq!(Host::parse("_srv.db-1.local"), name("_srv.db-1.local"));
        assert_eq!(Host::parse("3com.com"), name("3com.com"));
        assert_eq!(Host::parse("127.0.0.1"), address("127.0.0.1"));
        assert_eq!(Host::parse("127.0.0.1."), address("127.0.0.1"));
        assert_eq!(Host::parse("[::1]"), address("::1"));
        assert_eq!(Host::parse("fe80::1"), address("fe80::1"));
    }

    #[test]
    fn what_the_system_would_take_for_an_address_is_no_name() {
        let long = format!("{}.com", "a".repeat(64));
        for text in [
            "",
            ".",
            "..",
            "a..b",
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
            "1.2.3.4.5",
            "127.0.0.0x1",
            "0X7F.0X1",
            "[127.0.0.1]",
            "[::1",
            "::1]",
            "fe80::1%eth0",
            "[fe80::1%25eth0]",
            "bücher.example",
            "a b",
            "a/b",
            "a@b",
            "a:80",
            "a\0b",
            &long,
        ] {
            assert_eq!(Host::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_host_that_was_read_is_read_again(text in "[0-9a-fx:.\\[\\]A-F-]{1,24}") {
            if let Some(host) = Host::parse(&text) {
                prop_assert_eq!(Host::parse(&host.to_string()), Some(host.clone()));
                prop_assert_eq!(Host::parse(&host.bracketed()), Some(host));
            }
        }

        /// What is a name here is none of the spellings of an address that the system knows:
        /// those have nothing but numbers between their dots.
        #[test]
        fn numbers_are_never_a_name(
            numbers in proptest::collection::vec("(0x[0-9a-fA-F]{0,8}|[0-9]{1,10})", 1..5),
        ) {
            let host = Host::parse(&numbers.join("."));
            prop_assert!(!matches!(host, Some(Host::Name(_))), "{host:?}");
        }
    }

    #[test]
    fn of_several_addresses_those_that_may_be_are_left() {
        let both = vec![ip("10.0.0.5"), ip("93.184.216.34")];
        let public = |ip| class_of(ip) == AddressClass::Public;
        assert_eq!(admit(both, public).unwrap(), [ip("93.184.216.34")]);
        let refused = admit(vec![ip("10.0.0.5"), ip("::1")], public).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "it leads to 10.0.0.5, a private address"
        );
        assert_eq!(
            refused.need("origins", "http").grant(),
            r#""addresses": ["10.0.0.5"] beside the "origins" of "http""#
        );
    }

    #[tokio::test]
    async fn the_system_knows_this_machine() {
        let lookups = Lookups::new(Arc::default());
        let found = lookups.addresses(&Host::parse("localhost").unwrap()).await;
        assert!(found.unwrap().iter().all(IpAddr::is_loopback));
        let literal = Host::parse("192.0.2.7").unwrap();
        assert_eq!(
            lookups.addresses(&literal).await.unwrap(),
            [ip("192.0.2.7")]
        );
    }

    #[tokio::test]
    async fn one_run_does_not_take_the_places_of_all() {
        /// Answers nothing, ever, and gives no place back.
        struct Stuck(Mutex<Vec<Place>>);
        impl Resolver for Arc<Stuck> {
            fn resolve(
                &self,
                _: &str,
                place: Place,
            ) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
                self.0.lock().push(place);
                Box::pin(std::future::pending())
            }
        }
        let stuck = Arc::new(Stuck(Mutex::default()));
        let network = Arc::new(Network::with_resolver(stuck.clone()));
        let hostile = Lookups::new(network.clone());
        let name = Host::parse("slow.example").unwrap();
        for _ in 0..LOOKUPS {
            let looking = hostile.addresses(&name);
            // Polled once and dropped, as a guest can.
            let _ = futures_once(looking).await;
        }
        assert_eq!(stuck.0.lock().len(), LOOKUPS_OF_A_RUN);
        let neighbour = Lookups::new(network);
        let _ = futures_once(neighbour.addresses(&name)).await;
        assert_eq!(stuck.0.lock().len(), LOOKUPS_OF_A_RUN + 1);
    }

    /// Polls a future once.
    async fn futures_once<F: Future>(future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match future.as_mut().poll(context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
