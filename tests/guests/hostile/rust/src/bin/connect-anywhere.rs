//! Looks up names and connects to addresses, in every family, that it is not granted.
// outcome: succeeded

use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{
    IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress, Network,
};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;
use wasip2::sockets::udp_create_socket::create_udp_socket;

const NAMES: &[&str] = &[
    "localhost",
    "example.com",
    "127.0.0.1",
    "metadata.google.internal",
    "::1",
];

const V4: &[(u8, u8, u8, u8)] = &[
    (127, 0, 0, 1),
    (0, 0, 0, 0),
    (10, 0, 0, 1),
    (169, 254, 169, 254),
    (192, 168, 0, 1),
    (1, 1, 1, 1),
    (255, 255, 255, 255),
];

const V6: &[(u16, u16, u16, u16, u16, u16, u16, u16)] = &[
    (0, 0, 0, 0, 0, 0, 0, 1),
    (0, 0, 0, 0, 0, 0xffff, 0x7f00, 1),
    (0xfe80, 0, 0, 0, 0, 0, 0, 1),
    (0xfd00, 0, 0, 0, 0, 0, 0, 1),
    (0x64, 0xff9b, 0, 0, 0, 0, 0x7f00, 1),
];

const PORTS: &[u16] = &[1, 22, 80, 443, 5432];

fn addresses() -> impl Iterator<Item = (IpAddressFamily, IpSocketAddress)> {
    let v4 = |&address: &(u8, u8, u8, u8), port| {
        let address = Ipv4SocketAddress { port, address };
        (IpAddressFamily::Ipv4, IpSocketAddress::Ipv4(address))
    };
    let v6 = |&address, port| {
        let address = Ipv6SocketAddress {
            port,
            flow_info: 0,
            address,
            scope_id: 0,
        };
        (IpAddressFamily::Ipv6, IpSocketAddress::Ipv6(address))
    };
    PORTS.iter().flat_map(move |&port| {
        let v4 = V4.iter().map(move |address| v4(address, port));
        v4.chain(V6.iter().map(move |address| v6(address, port)))
    })
}

/// Whether a connection is made, or refused by a peer: either means that something was sent.
fn reaches(network: &Network, family: IpAddressFamily, address: IpSocketAddress) -> bool {
    let tcp = create_tcp_socket(family).is_ok_and(|socket| {
        socket.start_connect(network, address).is_ok() && {
            socket.subscribe().block();
            true
        }
    });
    let udp = create_udp_socket(family).is_ok_and(|socket| {
        let bound = socket.start_bind(network, address).is_ok();
        let sends = socket.stream(Some(address)).is_ok();
        bound || sends
    });
    tcp || udp
}

fn main() {
    let network = instance_network();
    for name in NAMES {
        if let Ok(stream) = resolve_addresses(&network, name) {
            stream.subscribe().block();
            if let Ok(Some(_)) = stream.resolve_next_address() {
                println!("got out: {name} is looked up");
                std::process::exit(1);
            }
        }
    }
    for (family, address) in addresses() {
        if reaches(&network, family, address) {
            println!("got out: {address:?} is reached");
            std::process::exit(1);
        }
    }
}
