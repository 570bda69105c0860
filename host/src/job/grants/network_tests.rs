use proptest::prelude::*;

use super::*;

#[test]
fn what_is_written_is_read_and_shown() {
    for (text, shown) in [
        ("https://api.example.com", "https://api.example.com"),
        ("HTTPS://API.Example.com./", "https://api.example.com"),
        ("https://api.example.com:443", "https://api.example.com"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("https://*.example.com", "https://*.example.com"),
        ("https://my_host", "https://my_host"),
    ] {
        let origin = OriginPattern::parse(text).unwrap();
        assert_eq!(origin.to_string(), shown);
        assert_eq!(OriginPattern::parse(shown), Ok(origin));
    }
    for (text, shown) in [
        ("tcp://db.example.com:5432", "tcp://db.example.com:5432"),
        ("UDP://192.0.2.1:53", "udp://192.0.2.1:53"),
        ("cache:11211", "cache:11211"),
        ("[2001:db8::1]:25", "[2001:db8::1]:25"),
    ] {
        assert_eq!(Endpoint::parse(text).unwrap().to_string(), shown);
    }
    for text in ["10.0.0.0/8", "fd00::/8", "0.0.0.0/0", "192.168.1.7/32"] {
        assert_eq!(AddressRange::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(AddressRange::parse("::1").unwrap().to_string(), "::1/128");
}

#[test]
fn what_is_neither_is_told() {
    let mut told = String::new();
    for text in [
        "api.example.com",
        "ftp://example.com",
        "https://",
        "https://example.com/v1?x",
        "https://user@example.com",
        "https://example.com:0",
        "https://example.com:+5",
        "https://example.com:99999",
        "https://::1",
        "https://::1:80",
        "https://[::1",
        "https://[zz]",
        "http://127.1",
        "http://0x7f.1",
        "http://0x7f000001",
        "http://2130706433",
        "https://*.com",
        "https://a.*.com",
        "https://bücher.example",
        "https://-a.example",
        "https://a..example",
    ] {
        let error = OriginPattern::parse(text).unwrap_err();
        told.push_str(&format!("{text}\n    {error}\n"));
    }
    for text in ["db.example.com", "http://db:80", ":5432", "db:x"] {
        let error = Endpoint::parse(text).unwrap_err();
        told.push_str(&format!("{text}\n    {error}\n"));
    }
    for text in ["10.0.0.0/33", "10.0.0.1/8", "private", "fd00::/x"] {
        let error = AddressRange::parse(text).unwrap_err();
        told.push_str(&format!("{text}\n    {error}\n"));
    }
    insta::assert_snapshot!("network_grants", told);
}

#[test]
fn a_pattern_matches_what_it_names_and_no_more() {
    let origin = |text| OriginPattern::parse(text).unwrap();
    let any = origin("https://*.example.com");
    for (host, matches) in [
        ("api.example.com", true),
        ("a.b.example.com", true),
        ("api.example.com.", true),
        ("example.com", false),
        (".example.com", false),
        ("badexample.com", false),
        ("api.example.com.evil.net", false),
    ] {
        assert_eq!(any.matches(true, host, 443), matches, "{host}");
    }
    assert!(!any.matches(false, "api.example.com", 443));
    assert!(!any.matches(true, "api.example.com", 8443));
    let local = origin("http://[::1]:3000");
    assert!(local.matches(false, "::1", 3000));
    assert!(local.matches(false, "0:0:0:0:0:0:0:1", 3000));
    assert!(!local.matches(false, "localhost", 3000));
}

#[test]
fn addresses_that_are_not_public_must_be_named() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let grant = |origin: &str, ranges: &[&str]| HttpGrant {
        origins: vec![OriginPattern::parse(origin).unwrap()],
        addresses: ranges
            .iter()
            .map(|range| AddressRange::parse(range).unwrap())
            .collect(),
        timeout: HttpGrant::TIMEOUT,
        requests: HttpGrant::REQUESTS,
        body: HttpGrant::BODY,
    };
    for (origin, ranges, address, may) in [
        ("http://example.com", &[][..], "93.184.215.14", true),
        ("http://example.com", &[], "10.1.2.3", false),
        ("http://example.com", &["10.0.0.0/8"], "10.1.2.3", true),
        (
            "http://example.com",
            &["10.0.0.0/8"],
            "::ffff:10.1.2.3",
            true,
        ),
        ("http://example.com", &["10.0.0.0/8"], "127.0.0.1", false),
        ("http://example.com", &[], "127.0.0.1", false),
        ("http://example.com", &[], "::1", false),
        ("http://example.com", &[], "169.254.169.254", false),
        ("http://localhost", &[], "127.0.0.1", true),
        ("http://localhost", &[], "::1", true),
        ("http://localhost", &[], "10.1.2.3", false),
        ("http://10.1.2.3", &[], "10.1.2.3", true),
        ("http://10.1.2.3", &[], "10.1.2.4", false),
    ] {
        let grant = grant(origin, ranges);
        let may_connect = grant.may_connect(&grant.origins[0], ip(address));
        assert_eq!(may_connect, may, "{origin} {ranges:?} {address}");
    }
}

#[test]
fn a_peer_is_reached_by_its_address_or_by_a_name_that_led_there() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let grant = SocketGrant {
        endpoints: ["tcp://db.example.com:5432", "udp://192.168.0.1:53"]
            .map(|text| Endpoint::parse(text).unwrap())
            .into(),
        addresses: vec![AddressRange::parse("10.0.0.0/8").unwrap()],
    };
    let db = ["db.example.com".to_owned()];
    let may = |protocol, address, port, names: &[String]| {
        grant.may_reach(protocol, ip(address), port, names)
    };
    assert!(may(Protocol::Tcp, "10.0.0.5", 5432, &db));
    assert!(may(Protocol::Tcp, "8.8.8.8", 5432, &db));
    assert!(!may(Protocol::Tcp, "10.0.0.5", 5432, &[]));
    assert!(!may(Protocol::Tcp, "192.168.0.9", 5432, &db));
    assert!(!may(Protocol::Udp, "10.0.0.5", 5432, &db));
    assert!(may(Protocol::Udp, "192.168.0.1", 53, &[]));
    assert!(may(Protocol::Udp, "::ffff:192.168.0.1", 53, &[]));
    assert!(!may(Protocol::Udp, "192.168.0.1", 54, &[]));
    assert!(grant.may_look_up("db.example.com") && !grant.may_look_up("example.com"));
}

#[test]
fn special_addresses_are_known_in_all_their_clothes() {
    use AddressClass::*;
    for (address, class) in [
        ("8.8.8.8", Public),
        ("2606:4700::1111", Public),
        ("127.8.9.10", Loopback),
        ("::1", Loopback),
        ("::ffff:127.0.0.1", Loopback),
        ("::127.0.0.1", Loopback),
        ("64:ff9b::7f00:1", Loopback),
        ("2002:7f00:1::", Loopback),
        ("2001:0:1:2:3:4:80ff:fffe", Loopback),
        ("169.254.169.254", LinkLocal),
        ("fe80::1", LinkLocal),
        ("64:ff9b::a9fe:a9fe", LinkLocal),
        ("100.64.0.1", Private),
        ("172.31.255.255", Private),
        ("172.32.0.0", Public),
        ("fd12::1", Private),
        ("64:ff9b:1::1", Private),
        ("0.0.0.0", Unspecified),
        ("0.1.2.3", Unspecified),
        ("::", Unspecified),
        ("224.0.0.1", Multicast),
        ("ff02::1", Multicast),
        ("255.255.255.255", Reserved),
        ("192.0.2.1", Reserved),
        ("2001:db8::1", Reserved),
        ("198.19.0.1", Reserved),
        ("4000::1", Reserved),
    ] {
        assert_eq!(class_of(address.parse().unwrap()), class, "{address}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_told_of(text in "\\PC{0,40}") {
        for error in [
            OriginPattern::parse(&text).err(),
            Endpoint::parse(&text).err(),
            AddressRange::parse(&text).err(),
        ].into_iter().flatten() {
            prop_assert!(!error.is_empty());
        }
    }

    #[test]
    fn what_is_shown_reads_the_same(
        https: bool,
        any: bool,
        name in "[a-z][a-z0-9]{0,8}(\\.[a-z][a-z0-9]{0,8}){1,3}",
        port in 1_u16..,
    ) {
        let host = if any { HostPattern::AnyUnder(name) } else { HostPattern::Name(name) };
        let origin = OriginPattern { https, host: host.clone(), port };
        prop_assert_eq!(OriginPattern::parse(&origin.to_string()), Ok(origin));
        let endpoint = Endpoint { protocol: Some(Protocol::Tcp), host, port };
        prop_assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint));
    }

    #[test]
    fn a_range_holds_its_own_and_nothing_else(bits: u32, prefix in 0_u8..=32, other: u32) {
        let first = masked(Ipv4Addr::from_bits(bits).into(), prefix);
        let range = AddressRange { first, prefix };
        let same = masked(Ipv4Addr::from_bits(other).into(), prefix) == first;
        prop_assert_eq!(range.contains(Ipv4Addr::from_bits(other).into()), same);
        prop_assert_eq!(AddressRange::parse(&range.to_string()), Ok(range));
    }
}
