use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use outrigger_control::Tenants;

use super::consumers::Consumer;

/// Longest value of the annotation. All annotations of a pod may have 256 KiB together, and others
/// need some of that.
pub(super) const MOST_BYTES: usize = 200 * 1024;
/// What surrounds the applications in the annotation, and a bit more.
const FRAME: usize = 64;

/// Who calls from where, as far as it can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) tenants: Tenants,
    /// Pods whose addresses have no room.
    pub(super) left_out: usize,
}

/// The addresses of consumers, in the order in which they started. An address that several pods
/// claim belongs to the one that started last: the others have lost it. Beyond [`MOST_BYTES`] the youngest pods are left out.
pub(super) fn tenants<'a>(consumers: impl IntoIterator<Item = &'a Consumer>) -> Told {
    let consumers: Vec<_> = consumers.into_iter().collect();
    let mut owners: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for (index, consumer) in consumers.iter().enumerate() {
        owners.extend(consumer.addresses.iter().map(|address| (*address, index)));
    }
    let mut addresses: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    let mut bytes = FRAME;
    let mut left_out = 0;
    for (index, consumer) in consumers.iter().enumerate() {
        let own = consumer.addresses.iter();
        let own: Vec<IpAddr> = own
            .filter(|address| owners.get(address) == Some(&index))
            .copied()
            .collect();
        if own.is_empty() {
            continue;
        }
        // Quotes, a comma, and the brackets of a new application.
        let mut more: usize = own.iter().map(|own| own.to_string().len() + 3).sum();
        if !addresses.contains_key(&consumer.application) {
            more += consumer.application.len() + 6;
        }
        if bytes + more > MOST_BYTES {
            left_out += 1;
            continue;
        }
        bytes += more;
        let known = addresses.entry(consumer.application.clone()).or_default();
        known.extend(own);
    }
    let addresses = addresses
        .into_iter()
        .map(|(application, addresses)| (application, addresses.into_iter().collect()));
    Told {
        tenants: Tenants {
            v: 1,
            addresses: addresses.collect(),
        },
        left_out,
    }
}
