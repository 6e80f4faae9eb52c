//! What pods read, and how much of it is where.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::pod::index;
use crate::{Data, DataState, Explanation, Located, Node, Part, Split};

/// Most letters of why a Dataset cannot be looked at: each of many pods may repeat it.
const LONGEST: usize = 256;

/// What a pod reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading<'a> {
    /// All bytes.
    pub(crate) bytes: u64,
    /// Bytes by node that holds some.
    pub(crate) local: BTreeMap<&'a str, u64>,
    /// The same, each byte as often as its dataset's weight says.
    pub(crate) weighed: Weighed<'a>,
}

/// Bytes, each as often as its dataset's weight says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weighed<'a> {
    pub(crate) bytes: u64,
    pub(crate) local: BTreeMap<&'a str, u64>,
    pub(crate) zones: BTreeMap<&'a str, u64>,
}

impl<'a> Reading<'a> {
    fn add(&mut self, places: &Places<'a>, weight: u32) {
        let weight = u64::from(weight);
        let add = |sum: &mut u64, bytes: u64| *sum = sum.saturating_add(bytes);
        add(&mut self.bytes, places.bytes);
        add(&mut self.weighed.bytes, places.bytes.saturating_mul(weight));
        for (&node, &bytes) in &places.local {
            add(self.local.entry(node).or_default(), bytes);
            let weighed = bytes.saturating_mul(weight);
            add(self.weighed.local.entry(node).or_default(), weighed);
        }
        for (&zone, &bytes) in &places.zones {
            let weighed = bytes.saturating_mul(weight);
            add(self.weighed.zones.entry(zone).or_default(), weighed);
        }
    }

    /// Bytes that a node holds.
    pub(crate) fn on(&self, node: &str) -> u64 {
        self.local.get(node).copied().unwrap_or(0)
    }

    /// Bytes that a node holds, weighed.
    pub(crate) fn weight_of(&self, node: &str) -> u64 {
        self.weighed.local.get(node).copied().unwrap_or(0)
    }

    /// The nodes that hold some, those that hold most first, then by name.
    pub(crate) fn holders(&self) -> Vec<&'a str> {
        let holding = self.weighed.local.iter().filter(|(_, bytes)| **bytes > 0);
        let mut holders: Vec<_> = holding.map(|(node, bytes)| (*bytes, *node)).collect();
        holders.sort_by(|(a, one), (b, other)| b.cmp(a).then(one.cmp(other)));
        holders.into_iter().map(|(_, node)| node).collect()
    }
}

/// Where the bytes of one part are, or of all parts.
#[derive(Default)]
struct Places<'a> {
    bytes: u64,
    local: BTreeMap<&'a str, u64>,
    zones: BTreeMap<&'a str, u64>,
}

impl<'a> Places<'a> {
    fn add(&mut self, part: &'a Part, zone_of: &BTreeMap<&str, &'a str>) {
        let add = |sum: &mut u64, bytes: u64| *sum = sum.saturating_add(bytes);
        add(&mut self.bytes, part.bytes);
        for (holders, &bytes) in &part.groups {
            let mut zones: Vec<&'a str> = Vec::with_capacity(holders.len());
            for holder in holders {
                add(self.local.entry(holder).or_default(), bytes);
                if let Some(&zone) = zone_of.get(holder.as_str())
                    && !zones.contains(&zone)
                {
                    zones.push(zone);
                }
            }
            for zone in zones {
                add(self.zones.entry(zone).or_default(), bytes);
            }
        }
    }
}

/// What is known of all data of an application.
pub(crate) struct Library<'a> {
    datasets: Vec<Shelf<'a>>,
    /// Datasets whose first scan is under way, and since when the last of them is.
    pub(crate) pending: Option<(Vec<&'a str>, Timestamp)>,
    /// Datasets of which nothing is known, and why.
    pub(crate) unknown: Vec<(&'a str, Cow<'a, str>)>,
    /// Datasets of which only older places are known, and why.
    pub(crate) stale: Vec<(&'a str, Cow<'a, str>)>,
    /// What pods read, made once for all that read the same.
    shared: RefCell<BTreeMap<Option<u32>, Rc<Reading<'a>>>>,
}

struct Shelf<'a> {
    weight: u32,
    /// Its parts, if pods read them by index.
    parts: Vec<Places<'a>>,
    whole: Places<'a>,
}

impl<'a> Library<'a> {
    pub(crate) fn new(data: &'a [Data], nodes: &'a [Node]) -> Library<'a> {
        let zones = nodes
            .iter()
            .filter_map(|node| Some((node.name.as_str(), node.zone()?)));
        let zone_of: BTreeMap<_, _> = zones.collect();
        let mut library = Library {
            datasets: Vec::new(),
            pending: None,
            unknown: Vec::new(),
            stale: Vec::new(),
            shared: RefCell::default(),
        };
        let mut data: Vec<_> = data.iter().collect();
        data.sort_by_key(|data| &data.dataset);
        for data in data {
            let name = data.dataset.as_str();
            if let Some(located) = library.note(name, &data.state) {
                library.datasets.push(Shelf::new(data, located, &zone_of));
            }
        }
        library
    }

    /// Notes what is not known of a dataset, and says where it is if that is known.
    fn note(&mut self, name: &'a str, state: &'a DataState) -> Option<&'a Located> {
        match state {
            DataState::Located { located, as_of: _ } => Some(located),
            DataState::NotScannedYet { since } => {
                let (names, latest) = self.pending.get_or_insert((Vec::new(), *since));
                names.push(name);
                *latest = (*latest).max(*since);
                None
            }
            DataState::Failed { reason, last_known } => {
                let list = match last_known {
                    Some(_) => &mut self.stale,
                    None => &mut self.unknown,
                };
                list.push((name, shortened(reason)));
                last_known.as_deref()
            }
        }
    }

    /// Whether pods with different indexes read different parts.
    pub(crate) fn by_index(&self) -> bool {
        self.datasets.iter().any(|shelf| !shelf.parts.is_empty())
    }

    /// What a pod with an index reads, or one without, for as long as there is the library.
    pub(crate) fn shared(&self, index: Option<u32>) -> Rc<Reading<'a>> {
        let index = index.filter(|_| self.by_index());
        let mut shared = self.shared.borrow_mut();
        let reading = shared.entry(index);
        Rc::clone(reading.or_insert_with(|| Rc::new(self.reading(index))))
    }

    /// What a pod with an index reads, or one without: all of everything.
    pub(crate) fn reading(&self, index: Option<u32>) -> Reading<'a> {
        let mut reading = Reading::default();
        for shelf in &self.datasets {
            reading.add(shelf.places(index), shelf.weight);
        }
        reading
    }
}

fn shortened(reason: &str) -> Cow<'_, str> {
    match reason.char_indices().nth(LONGEST) {
        Some((end, _)) => Cow::Owned(format!("{}…", &reason[..end])),
        None => Cow::Borrowed(reason),
    }
}

impl<'a> Shelf<'a> {
    fn new(data: &Data, located: &'a Located, zone_of: &BTreeMap<&str, &'a str>) -> Shelf<'a> {
        let mut whole = Places::default();
        let mut parts = Vec::new();
        for part in &located.parts {
            whole.add(part, zone_of);
            if data.split == Split::ByIndex {
                let mut places = Places::default();
                places.add(part, zone_of);
                parts.push(places);
            }
        }
        Shelf {
            weight: data.weight,
            parts,
            whole,
        }
    }

    /// What a pod with an index reads of it.
    fn places(&self, index: Option<u32>) -> &Places<'a> {
        let place = index.and_then(|index| (index as usize).checked_rem(self.parts.len()));
        place.map_or(&self.whole, |place| &self.parts[place])
    }
}

/// How much of what a pod reads is on its own node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Achieved {
    /// Bytes that the node holds.
    pub local_bytes: u64,
    /// All bytes.
    pub total_bytes: u64,
}

/// Tells of many pods how much of what they read is on their nodes.
pub struct Locals<'a>(Library<'a>);

impl<'a> Locals<'a> {
    /// By what is known of an application's data.
    pub fn new(data: &'a [Data]) -> Locals<'a> {
        Locals(Library::new(data, &[]))
    }

    /// How much of what a pod reads is on the node that it is really on; `None` if it is on none, or
    /// if nothing is known. What the pod's explanation says counts if the data are not known now.
    pub fn of(&self, pod: &Pod) -> Option<Achieved> {
        let node = pod.spec.as_ref()?.node_name.as_deref()?;
        let Locals(library) = self;
        if library.datasets.is_empty() {
            return from_explanation(&Explanation::of(pod)?.ok()?, node);
        }
        let index = index(pod);
        let mut achieved = Achieved {
            local_bytes: 0,
            total_bytes: 0,
        };
        for places in library.datasets.iter().map(|shelf| shelf.places(index)) {
            let local = places.local.get(node).copied().unwrap_or_default();
            achieved.local_bytes = achieved.local_bytes.saturating_add(local);
            achieved.total_bytes = achieved.total_bytes.saturating_add(places.bytes);
        }
        Some(achieved)
    }
}

fn from_explanation(explanation: &Explanation, node: &str) -> Option<Achieved> {
    let runner_up = explanation.runner_up.as_ref();
    let local_bytes = if explanation.node.as_deref() == Some(node) {
        explanation.local_bytes
    } else {
        let runner_up = runner_up.filter(|runner_up| runner_up.node == node)?;
        runner_up.local_bytes
    };
    Some(Achieved {
        local_bytes,
        total_bytes: explanation.total_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_letters() {
        let most = "ü".repeat(LONGEST);
        assert_eq!(shortened(&most), most);
        assert_eq!(shortened(&format!("{most}ü")), format!("{most}…"));
    }
}
