//! Which function pods there are to be: pure decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use outrigger_api::{FUNCTION_POD_REPLICAS, Sharing};
use outrigger_control::{content_hash, layout};
use outrigger_placement::takes_room;
use outrigger_plan::SharedPlan;

use super::consumers::Consumer;

/// Label of function pods: what of the sidecar's spec they were made from, as a hash. Pods of another
/// one are replaced. Pods of a former release have an annotation of this name instead, until they are
/// given the label.
pub(super) const SHAPE: &str = "outrigger.dev/shape";
/// A function pod that failed is replaced when it is so old, so that one which fails again and
/// again is not made anew without a pause.
const FAILURES_APART: SignedDuration = SignedDuration::from_secs(10);

/// Where a function pod belongs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Spot {
    Node(String),
    Anywhere,
}

/// What is to become of function pods. Names are unique and sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// To be created: name and place.
    pub(super) create: Vec<(String, Spot)>,
    /// To be deleted: name and UID.
    pub(super) delete: Vec<(String, String)>,
    /// How many there are to be while there is no change.
    pub(super) desired: usize,
    /// Those that serve.
    pub(super) ready: usize,
    /// The places in which fewer serve than there are to be.
    pub(super) unserved: Vec<Spot>,
    /// Whether a place still lacks function pods of the newest shape that serve.
    pub(super) lacks: bool,
    /// Such places that are served by former ones, so that the Service has to go on leading to
    /// those.
    pub(super) holding: Vec<Spot>,
    /// Until a failed pod is old enough.
    pub(super) again: Option<SignedDuration>,
}

/// What a decision about function pods rests on.
pub(super) struct Situation<'a> {
    pub(super) plan: &'a SharedPlan,
    /// Hash of what function pods are made from.
    pub(super) shape: &'a str,
    /// How many there are to be in each place that has consumers.
    pub(super) wanted: &'a BTreeMap<Spot, usize>,
    /// The sidecar's own function pods.
    pub(super) pods: &'a [Arc<Pod>],
    /// The Service as it is, which leads consumers to them.
    pub(super) service: Option<&'a Service>,
    /// Places without consumers, for longer than the grace.
    pub(super) expired: &'a BTreeSet<Spot>,
    pub(super) now: Timestamp,
}

impl Situation<'_> {
    /// Whether the Service leads to a pod, once that serves.
    fn is_led_to(&self, pod: &Pod) -> bool {
        let selector = self.service.and_then(|service| {
            let spec = service.spec.as_ref()?;
            spec.selector.as_ref().filter(|labels| !labels.is_empty())
        });
        selector.is_some_and(|selector| {
            let mut wanted = selector.iter();
            wanted.all(|(key, value)| pod.labels().get(key) == Some(value))
        })
    }

    /// Whether pods of a former shape serve the consumers of a place. On a node that is not Ready no
    /// pod is.
    fn is_served_by_former(&self, place: &Spot) -> bool {
        self.pods.iter().any(|pod| {
            let at = spot(pod);
            let reaches = at == *place || [&at, place].contains(&&Spot::Anywhere);
            let is_former = shape_of(pod) != Some(self.shape) || !has_label(pod);
            let serves = is_ready(pod) && pod.metadata.deletion_timestamp.is_none();
            reaches && is_former && serves && self.is_led_to(pod)
        })
    }
}

/// How many function pods there are to be, and where.
pub(super) fn wanted(plan: &SharedPlan, consumers: &[Consumer]) -> BTreeMap<Spot, usize> {
    let spec = &plan.sidecar.spec;
    match spec.effective_sharing() {
        // What is left of a former `sharing` goes on for its consumers, and is not added to.
        Sharing::Pod => BTreeMap::new(),
        Sharing::Node => {
            let nodes = consumers
                .iter()
                .filter_map(|consumer| consumer.node.clone());
            nodes.map(|node| (Spot::Node(node), 1)).collect()
        }
        Sharing::Namespace if consumers.is_empty() => BTreeMap::new(),
        Sharing::Namespace => {
            let replicas = spec.replicas.unwrap_or(FUNCTION_POD_REPLICAS);
            let replicas = usize::try_from(replicas).unwrap_or(1);
            BTreeMap::from([(Spot::Anywhere, replicas)])
        }
    }
}

/// The places that have function pods and no consumers. With `sharing: Pod` those with consumers of
/// any kind are in use still.
pub(super) fn unused(
    plan: &SharedPlan,
    consumers: &[Consumer],
    wanted: &BTreeMap<Spot, usize>,
    pods: &[Arc<Pod>],
) -> BTreeSet<Spot> {
    let is_left = plan.sidecar.spec.effective_sharing() == Sharing::Pod;
    let is_used = |spot: &Spot| match spot {
        _ if !is_left => wanted.contains_key(spot),
        Spot::Anywhere => !consumers.is_empty(),
        Spot::Node(node) => consumers
            .iter()
            .any(|consumer| consumer.node.as_ref() == Some(node)),
    };
    let spots = pods.iter().map(|pod| spot(pod));
    spots.filter(|spot| !is_used(spot)).collect()
}

/// Decides about all function pods of a sidecar.
pub(super) fn decide(situation: &Situation<'_>) -> Change {
    let mut change = Change {
        desired: situation.wanted.values().sum(),
        ..Change::default()
    };
    let mut places: BTreeMap<Spot, Vec<&Pod>> = BTreeMap::new();
    for pod in situation.pods {
        if pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        if takes_room(pod) {
            places.entry(spot(pod)).or_default().push(pod);
            continue;
        }
        let created = pod.creation_timestamp();
        let age = created.map_or(SignedDuration::MAX, |created| {
            situation.now.duration_since(created.0)
        });
        if age >= FAILURES_APART {
            delete(&mut change, pod);
        } else {
            let rest = FAILURES_APART - age;
            change.again = Some(change.again.map_or(rest, |again| again.min(rest)));
            // It stands for its successor until then.
            places.entry(spot(pod)).or_default().push(pod);
        }
    }
    for (spot, count) in situation.wanted {
        let found = places.remove(spot).unwrap_or_default();
        fill(situation, &mut change, spot, *count, found);
    }
    for (spot, pods) in places {
        let expired = situation.expired.contains(&spot);
        for pod in pods.into_iter().filter(|_| expired) {
            delete(&mut change, pod);
        }
    }
    change.create.sort();
    change.delete.sort();
    change
}

/// Brings one place to its number of pods. Outdated ones stay while the Service leads to them, which
/// is until all places can be served without them.
fn fill(
    situation: &Situation<'_>,
    change: &mut Change,
    spot: &Spot,
    count: usize,
    found: Vec<&Pod>,
) {
    let (mut current, mut outdated): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|pod| shape_of(pod) == Some(situation.shape));
    // The last ones in this order go first.
    current.sort_by_key(|pod| (!is_ready(pod), pod.name_any()));
    let surplus = current.split_off(count.min(current.len()));
    for pod in surplus {
        delete(change, pod);
    }
    let serving = |pods: &[&Pod]| pods.iter().filter(|pod| is_ready(pod)).count();
    let labelled = current.iter().filter(|pod| has_label(pod));
    let lacks = labelled.filter(|pod| is_ready(pod)).count() < count;
    change.lacks |= lacks;
    if lacks && situation.is_served_by_former(spot) {
        change.holding.push(spot.clone());
    }
    for pod in outdated.extract_if(.., |pod| !situation.is_led_to(pod)) {
        delete(change, pod);
    }
    let ready = (serving(&current) + serving(&outdated)).min(count);
    change.ready += ready;
    if ready < count {
        change.unserved.push(spot.clone());
    }
    let names = (0_u32..)
        .map(|serial| name(situation.plan, spot, situation.shape, serial))
        .filter(|name| situation.pods.iter().all(|pod| pod.name_any() != *name));
    let missing = count - current.len();
    let created = names.take(missing).map(|name| (name, spot.clone()));
    change.create.extend(created);
}

fn delete(change: &mut Change, pod: &Pod) {
    let uid = pod.uid().unwrap_or_default();
    change.delete.push((pod.name_any(), uid));
}

/// The name of a function pod: the same for the same sidecar, place and shape; the serial counts
/// past those that are ending.
fn name(plan: &SharedPlan, spot: &Spot, shape: &str, serial: u32) -> String {
    let place = match spot {
        Spot::Node(node) => Some(node.as_str()),
        Spot::Anywhere => None,
    };
    let identity = (plan.sidecar.metadata.uid.as_deref(), place, shape, serial);
    // Strings always have a JSON form.
    let hash = content_hash(&identity).unwrap_or_default();
    format!(
        "{}-{}",
        layout::shared_service(plan.name()),
        &hash[..10.min(hash.len())]
    )
}

/// A function pod and its place, in words.
pub(super) fn named(pod: &str, spot: &Spot) -> String {
    match spot {
        Spot::Node(node) => format!("pod {pod} on node {node}"),
        Spot::Anywhere => format!("pod {pod}"),
    }
}

/// What a pod was made from.
pub(super) fn shape_of(pod: &Pod) -> Option<&str> {
    let former = || pod.annotations().get(SHAPE);
    let shape = pod.labels().get(SHAPE).or_else(former);
    shape.map(String::as_str)
}

/// Whether a Service can tell a pod's shape.
pub(super) fn has_label(pod: &Pod) -> bool {
    pod.labels().contains_key(SHAPE)
}

/// The place that a function pod was made for.
pub(super) fn spot(pod: &Pod) -> Spot {
    let node = pinned(pod).map(str::to_owned);
    node.map_or(Spot::Anywhere, Spot::Node)
}

fn pinned(pod: &Pod) -> Option<&str> {
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?;
    let required = affinity
        .node_affinity
        .as_ref()?
        .required_during_scheduling_ignored_during_execution
        .as_ref()?;
    let by_field = required
        .node_selector_terms
        .first()?
        .match_fields
        .as_ref()?;
    let by_name = by_field.iter().find(|field| field.key == "metadata.name")?;
    by_name.values.as_ref()?.first().map(String::as_str)
}

/// Whether a pod is Ready.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let mut conditions = status
        .into_iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
