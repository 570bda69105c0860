//! `wasi:sockets`: connections and datagrams to the peers that the job is granted, and the
//! lookup of their names.
//!
//! What a socket is told is an address, and what a grant has is often a name. A run may reach
//! the addresses that it has looked up itself by a granted name, at the granted ports, and those
//! that its grant names as such. Nobody can connect to a job.

#[cfg(feature = "wasi-03")]
pub(in crate::runtime) mod p3;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::bindings::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, Network,
};
use wasmtime_wasi::p2::bindings::sockets::tcp_create_socket::Host as _;
use wasmtime_wasi::p2::bindings::sockets::udp_create_socket::Host as _;
use wasmtime_wasi::p2::{DynPollable, Pollable, SocketError, TcpSocket, UdpSocket, subscribe};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsView as _};

use super::reports::{Report, Reports};
use super::resolve::{Host, admit};
use crate::job::grants::Need;
use crate::job::grants::network::Protocol;
use crate::job::{Grants, SocketGrant};
use crate::run::Denial;
use crate::runtime::guest::GuestState;

/// How many addresses a run may have looked up, and how many names are kept of each.
const MOST_KNOWN: usize = 1024;
const MOST_NAMES: usize = 64;

/// The version of `wasi:sockets` that the engine's library has; others that fit it are served by
/// it too.
const VERSION: &str = "0.2.12";

/// Whom the sockets of one run may talk to. Its checks are made where there is no desk.
pub(in crate::runtime) struct Peers {
    grants: Arc<Grants>,
    /// The addresses that were looked up, with the names that led there.
    known: Mutex<HashMap<IpAddr, Vec<String>>>,
    pub(super) reports: Reports,
}

impl Peers {
    /// The peers of a job; nothing if it may have none.
    pub(in crate::runtime) fn of(grants: &Arc<Grants>) -> Option<Arc<Peers>> {
        grants.sockets.is_some().then(|| {
            Arc::new(Peers {
                grants: grants.clone(),
                known: Mutex::default(),
                reports: Reports::default(),
            })
        })
    }

    /// Whether a socket may use an address so.
    fn check(&self, address: SocketAddr, of: SocketAddrUse) -> bool {
        let bound = |protocol| {
            // Before it connects or sends, every socket is bound to a port of the system's choice.
            let anywhere = address.ip().is_unspecified() && address.port() == 0;
            anywhere || {
                let what = format!("binding a {protocol} socket to {address}");
                self.refuse(what, "a job has no ports of its own");
                false
            }
        };
        match of {
            SocketAddrUse::TcpBind => bound("TCP"),
            SocketAddrUse::UdpBind => bound("UDP"),
            SocketAddrUse::TcpListen => {
                let what = "listening for TCP connections".to_owned();
                self.refuse(what, "nobody can connect to a job");
                false
            }
            SocketAddrUse::TcpAccept => false,
            SocketAddrUse::TcpConnect => self.reach(Protocol::Tcp, address),
            SocketAddrUse::UdpSend => self.reach(Protocol::Udp, address),
            // Anybody can send a job something; it is none of the job's doing.
            SocketAddrUse::UdpReceive => self.allows(Protocol::Udp, address),
        }
    }

    fn refuse(&self, what: String, why: &str) {
        self.reports.leave(Report::Refused(Denial {
            what: format!("{what}: {why}"),
            grant: None,
            ceiling: None,
        }));
    }

    fn reach(&self, protocol: Protocol, address: SocketAddr) -> bool {
        let allowed = self.allows(protocol, address);
        if !allowed {
            let (what, scheme) = match protocol {
                Protocol::Tcp => ("TCP connection to", "tcp"),
                Protocol::Udp => ("UDP datagram to", "udp"),
            };
            // What the run knows it by is what its definition would say.
            let known = self.known.lock();
            let name = known.get(&address.ip()).and_then(|names| names.first());
            let (what, endpoint) = match name {
                Some(name) => (
                    format!("{what} {name}:{} ({address})", address.port()),
                    format!("{scheme}://{name}:{}", address.port()),
                ),
                None => (format!("{what} {address}"), format!("{scheme}://{address}")),
            };
            let need = Need::Socket(endpoint);
            self.reports.leave(Report::Denied(what, need));
        }
        allowed
    }

    /// Whether an endpoint is this address, be it by itself or by a name that was looked up.
    fn allows(&self, protocol: Protocol, address: SocketAddr) -> bool {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let known = self.known.lock();
        let names = known.get(&ip).map_or(&[][..], Vec::as_slice);
        self.grant()
            .is_some_and(|grant| grant.may_reach(protocol, ip, port, names))
    }

    fn grant(&self) -> Option<&SocketGrant> {
        self.grants.sockets.as_ref()
    }

    /// Whether a name may lead to an address: whether that could be reached by it at some port.
    fn may_lead_to(&self, names: &[String; 1], ip: IpAddr) -> bool {
        let [name] = names;
        self.grant().is_some_and(|grant| {
            let mut endpoints = grant.endpoints.iter();
            endpoints.any(|endpoint| {
                let protocol = endpoint.protocol.unwrap_or(Protocol::Tcp);
                endpoint.host.matches(name) && grant.may_reach(protocol, ip, endpoint.port, names)
            })
        })
    }

    /// Keeps what a name leads to, as far as it may.
    fn learn(&self, name: &str, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, ErrorCode> {
        let name = [name.to_owned()];
        let admitted = admit(found, |ip| self.may_lead_to(&name, ip)).map_err(|refused| {
            let [name] = &name;
            let what = format!("looking {name} up: {refused}");
            let need = refused.need("endpoints", "sockets");
            self.reports.leave(Report::Denied(what, need));
            ErrorCode::PermanentResolverFailure
        })?;
        let [name] = name;
        let mut known = self.known.lock();
        for ip in &admitted {
            if known.len() >= MOST_KNOWN && !known.contains_key(ip) {
                return Err(ErrorCode::TemporaryResolverFailure);
            }
            let names = known.entry(*ip).or_default();
            if !names.contains(&name) && names.len() < MOST_NAMES {
                names.push(name.clone());
            }
        }
        Ok(admitted)
    }
}

/// Gives a run the sockets that its job is granted, and none otherwise.
pub(in crate::runtime) fn allow(builder: &mut WasiCtxBuilder, peers: Option<&Arc<Peers>>) {
    let Some(peers) = peers else {
        // This refuses a socket before an address is even looked at.
        builder.allow_tcp(false).allow_udp(false);
        return;
    };
    let peers = peers.clone();
    builder.socket_addr_check(move |address, of| {
        let allowed = peers.check(address, of);
        Box::pin(std::future::ready(allowed))
    });
    builder.allow_tcp(true).allow_udp(true);
}

/// Links what is not the library's own: the lookup of names, which the library allows for all
/// names or for none, and the making of sockets, which it refuses without a word.
///
/// # Errors
/// If the linker does not take it.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let interface = |name: &str| format!("wasi:sockets/{name}@{VERSION}");

    let mut names = linker.instance(&interface("ip-name-lookup"))?;
    let resource = ResourceType::host::<Addresses>();
    names.resource("resolve-address-stream", resource, |mut store, id| {
        let stream = Resource::<Addresses>::new_own(id);
        store.data_mut().table().delete(stream)?;
        Ok(())
    })?;
    names.func_wrap(
        "resolve-addresses",
        |mut store: State<'_>, (network, name): (Resource<Network>, String)| {
            let state = store.data_mut();
            state.table().get(&network)?;
            told(state.look_up(&name))
        },
    )?;
    names.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store: State<'_>, (stream,): (Resource<Addresses>,)| {
            let state = store.data_mut();
            let next = state.table().get_mut(&stream)?.next();
            state.desk().collect();
            Ok((next,))
        },
    )?;
    names.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store: State<'_>, (stream,): (Resource<Addresses>,)| {
            let pollable: Resource<DynPollable> = subscribe(store.data_mut().table(), stream)?;
            Ok((pollable,))
        },
    )?;

    linker
        .instance(&interface("tcp-create-socket"))?
        .func_wrap(
            "create-tcp-socket",
            |mut store: State<'_>, (family,): (IpAddressFamily,)| {
                let state = store.data_mut();
                let made: Result<Resource<TcpSocket>, _> =
                    match state.may_have_sockets("TCP", "tcp") {
                        true => state.sockets().create_tcp_socket(family),
                        false => Err(ErrorCode::AccessDenied.into()),
                    };
                told(made)
            },
        )?;
    linker
        .instance(&interface("udp-create-socket"))?
        .func_wrap_async(
            "create-udp-socket",
            |mut store: State<'_>, (family,): (IpAddressFamily,)| {
                Box::new(async move {
                    let state = store.data_mut();
                    let made: Result<Resource<UdpSocket>, _> =
                        match state.may_have_sockets("UDP", "udp") {
                            true => state.sockets().create_udp_socket(family).await,
                            false => Err(ErrorCode::AccessDenied.into()),
                        };
                    told(made)
                })
            },
        )?;
    linker.allow_shadowing(false);
    Ok(())
}

type State<'a> = StoreContextMut<'a, GuestState>;

/// A result as a guest is told of it, unless it is one that ends the guest.
#[allow(clippy::type_complexity)]
fn told<T>(result: Result<T, SocketError>) -> wasmtime::Result<(Result<T, ErrorCode>,)> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

impl GuestState {
    fn may_have_sockets(&mut self, protocol: &str, scheme: &str) -> bool {
        let desk = self.desk();
        let may = desk.peers.is_some();
        if !may {
            let what = format!("a {protocol} socket");
            desk.deny(what, &Need::Socket(format!("{scheme}://HOST:PORT")));
        }
        may
    }

    /// Begins to look a name up, if an endpoint of the grant has it.
    fn look_up(&mut self, name: &str) -> Result<Resource<Addresses>, SocketError> {
        let addresses = self.begin_look_up(name)?;
        Ok(self.table().push(addresses)?)
    }

    fn begin_look_up(&mut self, name: &str) -> Result<Addresses, ErrorCode> {
        let desk = self.desk();
        let host = Host::parse(name);
        let Some(peers) = desk.peers.clone() else {
            let shown = host.map_or_else(|| format!("{name:.253?}"), |host| host.bracketed());
            let need = Need::Socket(format!("{shown}:PORT"));
            desk.deny(format!("looking {shown} up"), &need);
            return Err(ErrorCode::PermanentResolverFailure);
        };
        let host = host.ok_or(ErrorCode::InvalidArgument)?;
        match &host {
            // Nobody is asked, and whoever connects to it is checked.
            Host::Address(ip) => Ok(Addresses::Found(vec![*ip].into_iter())),
            Host::Name(name) if may_look_up(&peers, name) => {
                let lookups = desk.lookups();
                Ok(Addresses::Asked(spawn(async move {
                    match lookups.addresses(&host).await {
                        Ok(found) => peers.learn(&host.to_string(), found),
                        Err(error) => {
                            let line = format!("cannot look {host} up: {error}");
                            peers.reports.line(line);
                            Err(ErrorCode::NameUnresolvable)
                        }
                    }
                })))
            }
            Host::Name(name) => {
                let need = Need::Socket(format!("{name}:PORT"));
                desk.deny(format!("looking {name} up"), &need);
                Err(ErrorCode::PermanentResolverFailure)
            }
        }
    }
}

fn may_look_up(peers: &Peers, name: &str) -> bool {
    peers.grant().is_some_and(|grant| grant.may_look_up(name))
}

/// The answer to a lookup that a guest reads, address by address.
enum Addresses {
    /// It is not there yet.
    Asked(AbortOnDropJoinHandle<Result<Vec<IpAddr>, ErrorCode>>),
    /// It is there.
    Found(std::vec::IntoIter<IpAddr>),
    /// There is none.
    Failed(ErrorCode),
}

impl Addresses {
    fn next(&mut self) -> Result<Option<IpAddress>, ErrorCode> {
        if let Addresses::Asked(asked) = self {
            let answer = wasmtime_wasi::runtime::poll_noop(std::pin::Pin::new(asked));
            self.answered(answer.ok_or(ErrorCode::WouldBlock)?);
        }
        match self {
            Addresses::Asked(_) => Err(ErrorCode::WouldBlock),
            Addresses::Found(found) => Ok(found.next().map(IpAddress::from)),
            Addresses::Failed(error) => Err(*error),
        }
    }

    fn answered(&mut self, answer: Result<Vec<IpAddr>, ErrorCode>) {
        *self = match answer {
            Ok(found) => Addresses::Found(found.into_iter()),
            Err(error) => Addresses::Failed(error),
        };
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Addresses {
    async fn ready(&mut self) {
        if let Addresses::Asked(asked) = self {
            let answer = asked.await;
            self.answered(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::grants::network::{AddressRange, Endpoint};

    fn peers(endpoints: &[&str]) -> Arc<Peers> {
        let endpoint = |text: &&str| Endpoint::parse(text).unwrap();
        let grants = Grants {
            sockets: Some(SocketGrant {
                endpoints: endpoints.iter().map(endpoint).collect(),
                addresses: vec![AddressRange::parse("10.1.0.0/16").unwrap()],
            }),
            ..Grants::default()
        };
        Peers::of(&Arc::new(grants)).unwrap()
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn told(peers: &Peers) -> String {
        let told = peers.reports.take().into_iter().map(|report| match report {
            Report::Denied(what, need) => format!("{what}; {}\n", need.grant()),
            Report::Refused(denial) => format!("{denial}\n"),
            Report::Line(line) => format!("{line}\n"),
        });
        told.collect()
    }

    use SocketAddrUse::{TcpAccept, TcpBind, TcpConnect, TcpListen, UdpBind, UdpReceive, UdpSend};

    #[test]
    fn an_address_is_reached_at_its_port_and_by_its_protocol() {
        let peers = peers(&["tcp://192.0.2.1:80", "[::1]:53"]);
        assert!(peers.check(at("192.0.2.1:80"), TcpConnect));
        assert!(peers.check(at("[::1]:53"), TcpConnect));
        assert!(peers.check(at("[::1]:53"), UdpSend));
        assert!(peers.check(at("[::1]:53"), UdpReceive));
        assert_eq!(told(&peers), "");
        assert!(!peers.check(at("192.0.2.1:81"), TcpConnect));
        assert!(!peers.check(at("192.0.2.1:80"), UdpSend));
        assert!(!peers.check(at("192.0.2.2:80"), TcpConnect));
        // What strangers send is no wish of the job's.
        assert!(!peers.check(at("192.0.2.1:80"), UdpReceive));
        insta::assert_snapshot!(told(&peers), @r#"
        TCP connection to 192.0.2.1:81; "grants": { "sockets": ["tcp://192.0.2.1:81"] }
        UDP datagram to 192.0.2.1:80; "grants": { "sockets": ["udp://192.0.2.1:80"] }
        TCP connection to 192.0.2.2:80; "grants": { "sockets": ["tcp://192.0.2.2:80"] }
        "#);
    }

    #[test]
    fn a_name_is_reached_once_it_was_looked_up() {
        let peers = peers(&["tcp://db.example.com:5432"]);
        assert!(!peers.check(at("93.184.216.34:5432"), TcpConnect));
        peers.reports.take();
        let found = vec![ip("93.184.216.34"), ip("10.1.0.7"), ip("10.2.0.7")];
        let admitted = peers.learn("db.example.com", found).unwrap();
        assert_eq!(admitted, [ip("93.184.216.34"), ip("10.1.0.7")]);
        assert!(peers.check(at("93.184.216.34:5432"), TcpConnect));
        assert!(peers.check(at("10.1.0.7:5432"), TcpConnect));
        assert!(!peers.check(at("10.2.0.7:5432"), TcpConnect));
        assert!(!peers.check(at("93.184.216.34:22"), TcpConnect));
        insta::assert_snapshot!(told(&peers), @r#"
        TCP connection to 10.2.0.7:5432; "grants": { "sockets": ["tcp://10.2.0.7:5432"] }
        TCP connection to db.example.com:22 (93.184.216.34:22); "grants": { "sockets": ["tcp://db.example.com:22"] }
        "#);
    }

    #[test]
    fn a_name_that_leads_inside_is_not_looked_up() {
        let peers = peers(&["evil.example:80"]);
        for inside in ["127.0.0.1", "169.254.169.254", "10.2.0.1", "::1"] {
            assert!(peers.learn("evil.example", vec![ip(inside)]).is_err());
            assert!(!peers.allows(Protocol::Tcp, SocketAddr::new(ip(inside), 80)));
        }
        insta::assert_snapshot!(told(&peers), @r#"
        looking evil.example up: it leads to 127.0.0.1, a loopback address; "addresses": ["127.0.0.1"] beside the "endpoints" of "sockets"
        looking evil.example up: it leads to 169.254.169.254, a link-local address; "addresses": ["169.254.169.254"] beside the "endpoints" of "sockets"
        looking evil.example up: it leads to 10.2.0.1, a private address; "addresses": ["10.2.0.1"] beside the "endpoints" of "sockets"
        looking evil.example up: it leads to ::1, a loopback address; "addresses": ["::1"] beside the "endpoints" of "sockets"
        "#);
    }

    #[test]
    fn nobody_connects_to_a_job() {
        let peers = peers(&["localhost:80"]);
        assert!(peers.check(at("0.0.0.0:0"), TcpBind));
        assert!(peers.check(at("[::]:0"), UdpBind));
        assert!(!peers.check(at("0.0.0.0:8080"), TcpBind));
        assert!(!peers.check(at("127.0.0.1:0"), UdpBind));
        assert!(!peers.check(at("0.0.0.0:0"), TcpListen));
        assert!(!peers.check(at("192.0.2.1:4000"), TcpAccept));
        insta::assert_snapshot!(told(&peers), @r"
        denied: binding a TCP socket to 0.0.0.0:8080: a job has no ports of its own
        denied: binding a UDP socket to 127.0.0.1:0: a job has no ports of its own
        denied: listening for TCP connections: nobody can connect to a job
        ");
    }

    #[test]
    fn a_run_does_not_learn_addresses_without_end() {
        let peers = peers(&["*.example.com:80"]);
        let mut known = 0;
        for number in 0..2 * MOST_KNOWN as u32 {
            let name = format!("n{number}.example.com");
            let address = IpAddr::from(std::net::Ipv4Addr::from(0x0808_0000 + number));
            known += usize::from(peers.learn(&name, vec![address]).is_ok());
        }
        assert_eq!(known, MOST_KNOWN);
        assert_eq!(peers.known.lock().len(), MOST_KNOWN);
    }
}
