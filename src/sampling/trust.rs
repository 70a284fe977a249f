//! Whose `Sampled` counts.
//!
//! Anyone on the internet can send a trace header, and X-Ray bills by recorded trace. So a decision is honoured from
//! clients we trust; from others `Sampled=1` counts only up to a few a second, and the rules decide the rest.

use super::reservoir::{Reservoir, ReservoirSize};
use crate::moment::Moment;
use crate::trace::Said;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Whose decisions count, as written in the setting `trust`.
#[derive(Clone, Debug, PartialEq)]
pub struct TrustPolicy {
    /// Who is trusted outright.
    pub trusted: Trusted,
    /// How many `Sampled=1` a second are honoured from everyone else.
    pub cap: ReservoirSize,
}

/// Who is trusted outright.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trusted {
    /// Everyone.
    All,
    /// Nobody: every request starts a new trace.
    None,
    /// Private, loopback and link-local addresses.
    Internal,
    /// These networks.
    Networks(Vec<Network>),
}

impl Default for TrustPolicy {
    fn default() -> TrustPolicy {
        TrustPolicy { trusted: Trusted::Internal, cap: Trusted::Internal.usual_cap() }
    }
}

impl Trusted {
    /// Whoever lists networks means these and no others; by default a public client may have a few traces kept.
    fn usual_cap(&self) -> ReservoirSize {
        match self {
            Trusted::Networks(_) => ReservoirSize::default(),
            Trusted::All | Trusted::None | Trusted::Internal => ReservoirSize::per_second(10),
        }
    }
}

/// The text was none of the forms that `trust` takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not `internal`, `all`, `none`, a network such as `10.0.0.0/8`, or a cap such as `5/s`")]
pub struct BadTrust(pub String);

impl FromStr for TrustPolicy {
    type Err = BadTrust;

    /// `internal`, `all`, `none`, networks and a cap, separated by commas: `10.0.0.0/8,192.168.0.0/16,5/s`.
    fn from_str(text: &str) -> Result<TrustPolicy, BadTrust> {
        let mut cap = None;
        let mut networks = Vec::new();
        let mut word = None;
        for part in text.split(',').map(str::trim) {
            let bad = || BadTrust(part.to_owned());
            match part {
                "internal" => word = Some(Trusted::Internal),
                "all" => word = Some(Trusted::All),
                "none" => word = Some(Trusted::None),
                _ => match part.strip_suffix("/s") {
                    Some(places) => {
                        let places: f64 = places.parse().map_err(|_| bad())?;
                        cap = Some(ReservoirSize::try_from(places).map_err(|_| bad())?);
                    }
                    None => networks.push(part.parse().map_err(|_| bad())?),
                },
            }
        }
        let trusted = match (word, networks.is_empty()) {
            (Some(word), true) => word,
            (None, true) => Trusted::Internal,
            (None, false) => Trusted::Networks(networks),
            (Some(_), false) => return Err(BadTrust(text.to_owned())),
        };
        let cap = cap.unwrap_or_else(|| trusted.usual_cap());
        Ok(TrustPolicy { trusted, cap })
    }
}

impl std::fmt::Display for TrustPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.trusted {
            Trusted::All => f.write_str("all")?,
            Trusted::None => f.write_str("none")?,
            Trusted::Internal => f.write_str("internal")?,
            Trusted::Networks(networks) => {
                for (n, network) in networks.iter().enumerate() {
                    write!(f, "{}{}/{}", if n > 0 { "," } else { "" }, network.address, network.prefix)?;
                }
            }
        }
        if self.cap != self.trusted.usual_cap() {
            write!(f, ",{}/s", self.cap.get())?;
        }
        Ok(())
    }
}

/// An address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// How many leading bits an address of IPv4 has before it within IPv6.
const MAPPED: u8 = 96;

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Network, ()> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| ())?,
            None => longest,
        };
        match address.to_canonical() {
            _ if prefix > longest => Err(()),
            // As addresses are looked at: one of IPv4 within IPv6 is one of IPv4.
            IpAddr::V4(mapped) if longest == 128 && prefix >= MAPPED => {
                Ok(Network { address: mapped.into(), prefix: prefix - MAPPED })
            }
            _ => Ok(Network { address, prefix }),
        }
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        fn share(a: u128, b: u128, width: u32, prefix: u8) -> bool {
            prefix == 0 || (a ^ b) >> (width - u32::from(prefix)) == 0
        }
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => share(a.to_bits().into(), b.to_bits().into(), 32, self.prefix),
            (IpAddr::V6(a), IpAddr::V6(b)) => share(a.to_bits(), b.to_bits(), 128, self.prefix),
            _ => false,
        }
    }
}

/// Private, shared (100.64/10), loopback, link-local or unique-local: not reachable from the internet.
pub fn is_internal(address: IpAddr) -> bool {
    fn v4(address: Ipv4Addr) -> bool {
        let shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
        address.is_private()
            || address.is_loopback()
            || address.is_link_local()
            || address.is_unspecified()
            || shared
    }
    fn v6(address: Ipv6Addr) -> bool {
        address.is_loopback()
            || address.is_unicast_link_local()
            || address.is_unique_local()
            || address.is_unspecified()
    }
    match address.to_canonical() {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    }
}

/// What is made of a caller's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It counts as said.
    Honoured,
    /// The trace goes on, but the rules decide. Counted if the caller had said anything.
    DecisionRefused,
    /// A new trace starts; the old Root becomes an annotation.
    TraceRefused,
}

/// The policy and the places it has given away.
#[derive(Debug, Default)]
pub struct Trust {
    policy: TrustPolicy,
    honoured: Reservoir,
}

impl Trust {
    /// With all places free.
    pub fn new(policy: TrustPolicy) -> Trust {
        Trust { policy, honoured: Reservoir::default() }
    }

    /// Whether `address` is trusted outright, also to name the clients before it in `X-Forwarded-For`.
    pub fn trusts(&self, address: IpAddr) -> bool {
        match &self.policy.trusted {
            Trusted::All => true,
            Trusted::None => false,
            Trusted::Internal => is_internal(address),
            Trusted::Networks(networks) => {
                let address = address.to_canonical();
                networks.iter().any(|network| network.contains(address))
            }
        }
    }

    /// Weighs what a caller said. `peer` is the other end of the connection, `forwarded` the nearest
    /// `X-Forwarded-For` entry, if any.
    pub fn weigh(&self, peer: IpAddr, forwarded: Option<IpAddr>, said: Said, now: Moment) -> Standing {
        match self.policy.trusted {
            Trusted::All => Standing::Honoured,
            Trusted::None => Standing::TraceRefused,
            _ if self.trusts(peer) && forwarded.is_none_or(|address| self.trusts(address)) => {
                Standing::Honoured
            }
            _ => match said {
                Said::Keep if self.honoured.take(self.policy.cap, now) => Standing::Honoured,
                Said::Keep | Said::Drop => Standing::DecisionRefused,
                Said::Ask | Said::Nothing => Standing::Honoured,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(policy: &str, peer: &str, forwarded: &str, said: Said, expected: Standing) {
        let trust = Trust::new(policy.parse().unwrap());
        let got = trust.weigh(peer.parse().unwrap(), forwarded.parse().ok(), said, Moment::new(0, 0));
        assert_eq!(got, expected, "{policy} {peer} {forwarded}");
    }

    #[test]
    fn internal_clients_are_honoured_and_public_ones_are_not() {
        check("internal", "127.0.0.1", "", Said::Drop, Standing::Honoured);
        check("internal", "10.1.2.3", "192.168.0.9", Said::Drop, Standing::Honoured);
        check("internal", "10.1.2.3", "203.0.113.9", Said::Drop, Standing::DecisionRefused);
        check("internal", "203.0.113.9", "", Said::Drop, Standing::DecisionRefused);
        check("internal", "::ffff:203.0.113.9", "", Said::Drop, Standing::DecisionRefused);
        check("internal", "::ffff:10.0.0.1", "", Said::Drop, Standing::Honoured);
        check("internal", "fd00::1", "", Said::Drop, Standing::Honoured);
        check("internal", "100.64.0.1", "", Said::Drop, Standing::Honoured);
        check("all", "203.0.113.9", "", Said::Drop, Standing::Honoured);
        check("none", "127.0.0.1", "", Said::Nothing, Standing::TraceRefused);
        check("203.0.113.0/24", "203.0.113.9", "", Said::Drop, Standing::Honoured);
        check("203.0.113.0/24", "10.0.0.1", "", Said::Drop, Standing::DecisionRefused);
        check("2001:db8::/32", "2001:db8:1::1", "", Said::Drop, Standing::Honoured);
        check("::ffff:203.0.113.0/120", "203.0.113.9", "", Said::Drop, Standing::Honoured);
        check("::ffff:203.0.113.0/120", "203.0.114.9", "", Said::Drop, Standing::DecisionRefused);
    }

    #[test]
    fn public_keeps_are_honoured_up_to_the_cap() {
        let trust = Trust::new("3/s".parse().unwrap());
        let peer: IpAddr = "203.0.113.9".parse().unwrap();
        let honoured = |second: u64| {
            let now = Moment::new(0, second * 1_000_000_000);
            (0..100).filter(|_| trust.weigh(peer, None, Said::Keep, now) == Standing::Honoured).count()
        };
        assert_eq!((honoured(1), honoured(1), honoured(2)), (3, 0, 3));
    }

    #[test]
    fn nonsense_is_refused_with_its_own_words() {
        for text in ["", "some", "10.0.0.0/33", "x/s", "-1/s", "all,10.0.0.0/8"] {
            assert!(text.parse::<TrustPolicy>().is_err(), "{text}");
        }
        assert_eq!("10.0.0.0/8".parse::<TrustPolicy>().unwrap().cap, ReservoirSize::default());
        assert_eq!("10.0.0.0/8,5/s".parse::<TrustPolicy>().unwrap().to_string(), "10.0.0.0/8,5/s");
    }
}
