use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Addresses at which clouds tell secrets of a machine, beyond the link-local one.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Which addresses a connection may go to. Whoever may write a Dataset names a host; what the operator reaches and
/// they do not must stay out of their reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    allowed: Vec<Network>,
    forbidden: BTreeSet<IpAddr>,
}

/// Addresses that begin alike: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why no connection goes to an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{address} is {what}, which the operator does not connect to unless its allow list names it"
)]
pub struct Refused {
    /// The address.
    pub address: IpAddr,
    /// What kind of address it is, for a sentence.
    pub what: &'static str,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no address and no network such as 10.0.0.0/8 or fd00::/8")]
pub struct NotANetwork(String);

impl AddressPolicy {
    /// `allowed` comes before all else. `forbidden` are the addresses of the API server.
    pub fn new(
        allowed: impl IntoIterator<Item = Network>,
        forbidden: impl IntoIterator<Item = IpAddr>,
    ) -> AddressPolicy {
        AddressPolicy {
            allowed: allowed.into_iter().collect(),
            forbidden: forbidden.into_iter().map(plain).collect(),
        }
    }

    /// Whether a connection may go to an address.
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        let meant = plain(address);
        if self.allowed.iter().any(|network| network.contains(meant)) {
            return Ok(());
        }
        let what = if self.forbidden.contains(&meant) {
            Some("an address of the API server")
        } else {
            kind(meant)
        };
        match what {
            Some(what) => Err(Refused { address, what }),
            None => Ok(()),
        }
    }
}

impl Network {
    /// Whether an address is of this network.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (plain(self.address), plain(address)) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = u32::from(network) ^ u32::from(address);
                differing
                    .checked_shr(32 - u32::from(self.prefix))
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = u128::from(network) ^ u128::from(address);
                differing
                    .checked_shr(128 - u32::from(self.prefix))
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Network, NotANetwork> {
        let wrong = || NotANetwork(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest: u8 = if written.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| wrong())?,
            None => longest,
        };
        if prefix > longest {
            return Err(wrong());
        }
        // A network of mapped addresses means the IPv4 addresses in it.
        let address = plain(written);
        let prefix = match (written.is_ipv6(), address.is_ipv4()) {
            (true, true) => prefix.checked_sub(96).ok_or_else(wrong)?,
            _ => prefix,
        };
        Ok(Network { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The address that is meant: forms of IPv6 that stand for an IPv4 address lead there.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => inner(six).map_or(address, IpAddr::V4),
    }
}

/// The IPv4 address inside an IPv6 one: mapped (`::ffff:0:0/96`), translated (`64:ff9b::/96`), 6to4 (`2002::/16`), or the
/// old compatible form (`::/96`).
fn inner(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let low = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, a, b] | [0x64, 0xff9b, 0, 0, 0, 0, a, b] => low(a, b),
        [0x2002, a, b, ..] => low(a, b),
        // `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0, a, b] if a != 0 => low(a, b),
        _ => None,
    }
}

/// What of the refused kinds an address is.
fn kind(address: IpAddr) -> Option<&'static str> {
    let (unspecified, link_local, broadcast) = match address {
        IpAddr::V4(four) => (
            four.octets()[0] == 0,
            four.is_link_local(),
            four.is_broadcast(),
        ),
        IpAddr::V6(six) => (six.is_unspecified(), six.is_unicast_link_local(), false),
    };
    match address {
        _ if address.is_loopback() => Some("a loopback address"),
        _ if unspecified => Some("an unspecified address"),
        _ if link_local => Some("a link-local address"),
        _ if address.is_multicast() => Some("a multicast address"),
        _ if broadcast => Some("the broadcast address"),
        _ if METADATA.contains(&address) => Some("a cloud's metadata address"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowed: &[&str], forbidden: &[&str]) -> AddressPolicy {
        AddressPolicy::new(
            allowed.iter().map(|network| network.parse().unwrap()),
            forbidden.iter().map(|address| address.parse().unwrap()),
        )
    }

    fn refusal(policy: &AddressPolicy, address: &str) -> Option<&'static str> {
        let checked = policy.check(address.parse().unwrap());
        checked.err().map(|refused| refused.what)
    }

    #[test]
    fn addresses_that_only_the_operator_reaches_are_refused() {
        let policy = policy(&[], &["10.96.0.1", "fd00::1"]);
        for (address, what) in [
            ("127.0.0.1", "a loopback address"),
            ("127.255.0.9", "a loopback address"),
            ("::1", "a loopback address"),
            ("::ffff:127.0.0.1", "a loopback address"),
            ("64:ff9b::127.0.0.1", "a loopback address"),
            ("2002:7f00:1::", "a loopback address"),
            ("169.254.169.254", "a link-local address"),
            ("::ffff:169.254.0.1", "a link-local address"),
            ("fe80::1", "a link-local address"),
            ("febf::1", "a link-local address"),
            ("0.0.0.0", "an unspecified address"),
            ("0.1.2.3", "an unspecified address"),
            ("::", "an unspecified address"),
            ("::ffff:0.0.0.0", "an unspecified address"),
            ("224.0.0.1", "a multicast address"),
            ("ff02::1", "a multicast address"),
            ("255.255.255.255", "the broadcast address"),
            ("fd00:ec2::254", "a cloud's metadata address"),
            ("10.96.0.1", "an address of the API server"),
            ("::ffff:10.96.0.1", "an address of the API server"),
            ("fd00::1", "an address of the API server"),
        ] {
            assert_eq!(refusal(&policy, address), Some(what), "{address}");
        }
    }

    #[test]
    fn addresses_of_clusters_are_not_refused() {
        let policy = policy(&[], &["10.96.0.1"]);
        for address in [
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "100.64.0.1",
            "8.8.8.8",
            "fd00::2",
            "2001:db8::1",
        ] {
            assert_eq!(refusal(&policy, address), None, "{address}");
        }
    }

    #[test]
    fn the_allow_list_comes_before_all_else() {
        let policy = policy(
            &["127.0.0.1", "169.254.0.0/16", "::1/128", "10.96.0.0/12"],
            &["10.96.0.1"],
        );
        for address in [
            "127.0.0.1",
            "::ffff:127.0.0.1",
            "169.254.169.254",
            "::1",
            "10.96.0.1",
        ] {
            assert_eq!(refusal(&policy, address), None, "{address}");
        }
        for address in ["127.0.0.2", "0.0.0.0", "fe80::1"] {
            assert!(refusal(&policy, address).is_some(), "{address}");
        }
    }

    #[test]
    fn networks_are_as_written() {
        let contains = |network: &str, address: &str| {
            let network: Network = network.parse().unwrap();
            network.contains(address.parse().unwrap())
        };
        assert!(contains("0.0.0.0/0", "1.2.3.4") && !contains("0.0.0.0/0", "::2"));
        assert!(contains("::/0", "fd00::1") && !contains("::/0", "1.2.3.4"));
        assert!(contains("10.1.2.3/8", "10.9.9.9") && !contains("10.1.2.3/8", "11.0.0.0"));
        assert!(contains("10.0.0.0/31", "10.0.0.1") && !contains("10.0.0.0/31", "10.0.0.2"));
        assert!(contains("fd00::/8", "fdff::1") && !contains("fd00::/8", "fc00::1"));
        assert!(
            contains("::ffff:10.0.0.0/104", "10.1.1.1")
                && !contains("::ffff:10.0.0.0/104", "11.0.0.0")
        );
        for wrong in [
            "",
            "10.0.0",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/-1",
            "10.0.0.0/",
            "host",
            "10.0.0.0/8/8",
            "::ffff:0:0/8",
        ] {
            let parsed: Result<Network, _> = wrong.parse();
            assert!(parsed.is_err(), "{wrong}");
        }
    }
}
