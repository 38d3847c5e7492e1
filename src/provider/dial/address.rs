//! Which addresses are public.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address can belong to a public service: globally reachable unicast by the IANA special-purpose address
/// registries (RFC 6890). An IPv4 address inside an IPv6 one (mapped, NAT64, 6to4) counts as itself.
///
/// Loopback, private and shared networks, link-local addresses (among them the metadata service of every cloud),
/// multicast, documentation and reserved blocks are not public. A block not known to be public is not.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(inside) => is_public_v4(inside),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127, ..) // this network, RFC 1918, loopback
            | (100, 64..=127, _) // carrier-grade NAT, RFC 6598
            | (169, 254, _) // link-local
            | (172, 16..=31, _) // RFC 1918
            | (192, 0, 0) // IETF protocol assignments
            | (192, 0, 2) // documentation
            | (192, 88, 99) // 6to4 relays, deprecated by RFC 7526
            | (192, 168, _) // RFC 1918
            | (198, 18..=19, _) // benchmarking
            | (198, 51, 100) // documentation
            | (203, 0, 113) // documentation
            | (224..=255, ..) // multicast, reserved, broadcast
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        [0x2001, 0x0db8, ..] => false,          // documentation, RFC 3849
        [0x2001, 0x0000..=0x01ff, ..] => false, // IETF protocol assignments, Teredo among them
        [0x3fff, 0x0000..=0x0fff, ..] => false, // documentation, RFC 9637
        // All of global unicast that is handed out so far (RFC 4291, section 2.4); everything else is special.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// The IPv4 address that a packet to this IPv6 address ends up at.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] => v4(high, low), // mapped, RFC 4291, section 2.5.5.2
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low), // NAT64, RFC 6052
        [0x2002, high, low, ..] => v4(high, low),            // 6to4, RFC 3056
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each block by its first and last address, where it does not end in another special one.
    const NOT_PUBLIC: &[&str] = &[
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.0.0",
        "169.254.169.254",
        "169.254.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.0",
        "192.0.0.255",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "64:ff9b:1::1",
        "100::1",
        "fc00::1",
        "fdff::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "5f00::1",
        "4000::1",
        "2001:db8::1",
        "2001::1",
        "2001:1ff::1",
        "3fff::1",
        "3fff:fff::1",
        "::ffff:127.0.0.1",
        "::ffff:10.1.2.3",
        "::ffff:169.254.169.254",
        "64:ff9b::127.0.0.1",
        "64:ff9b::192.168.0.1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2002:a9fe:a9fe::",
    ];

    /// The neighbours of those blocks.
    const PUBLIC: &[&str] = &[
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.1",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.1",
        "203.0.112.1",
        "223.255.255.255",
        "8.8.8.8",
        "2001:200::1",
        "2001:db7::1",
        "2001:db9::1",
        "2400:3200::1",
        "2606:4700::1111",
        "3fff:1000::1",
        "3ffe::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::",
    ];

    #[test]
    fn every_special_block_is_kept_out_and_its_neighbours_are_not() {
        for address in NOT_PUBLIC {
            assert!(!is_public(address.parse().unwrap()), "{address} is not public");
        }
        for address in PUBLIC {
            assert!(is_public(address.parse().unwrap()), "{address} is public");
        }
    }
}
