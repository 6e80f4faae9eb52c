//! The quality-of-service class of a pod, by Kubernetes' own rule.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use outrigger_resources::quantity;

const COUNTED: [&str; 2] = ["cpu", "memory"];

/// A pod's quality-of-service class, from the first to be evicted to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QosClass {
    /// No container requests or limits CPU or memory.
    BestEffort,
    /// Anything between.
    Burstable,
    /// Every container has limits of CPU and memory, equal to its requests.
    Guaranteed,
}

/// The class of a pod.
///
/// Init containers count, whether they end or not; pod-level `resources` alone count when there
/// are any. A request that is absent equals its limit, like after the API server's defaulting.
pub fn qos_class(spec: &PodSpec) -> QosClass {
    let own = spec.init_containers.iter().flatten();
    class_of(spec.resources.as_ref(), own.chain(&spec.containers))
}

/// [`qos_class`] of a choice of a pod's containers.
pub(crate) fn class_of<'a>(
    pod_level: Option<&'a ResourceRequirements>,
    containers: impl Iterator<Item = &'a Container>,
) -> QosClass {
    let mut totals = Totals::default();
    match pod_level.filter(|resources| is_set(resources)) {
        Some(resources) => totals.add(Some(resources)),
        None => containers.for_each(|container| totals.add(container.resources.as_ref())),
    }
    totals.class()
}

/// Whether pod-level resources say anything.
pub(crate) fn is_set(pod_level: &ResourceRequirements) -> bool {
    [&pod_level.requests, &pod_level.limits]
        .into_iter()
        .flatten()
        .any(|list| !list.is_empty())
}

/// Sums in billionths, by resource.
#[derive(Default)]
struct Totals {
    requests: BTreeMap<&'static str, i128>,
    limits: BTreeMap<&'static str, i128>,
    unlimited: bool,
}

impl Totals {
    fn add(&mut self, resources: Option<&ResourceRequirements>) {
        for name in COUNTED {
            let limit = amount(resources.and_then(|r| r.limits.as_ref()), name);
            let request = amount(resources.and_then(|r| r.requests.as_ref()), name).or(limit);
            match limit.filter(|limit| *limit > 0) {
                Some(limit) => *self.limits.entry(name).or_default() += limit,
                None => self.unlimited = true,
            }
            if let Some(request) = request.filter(|request| *request > 0) {
                *self.requests.entry(name).or_default() += request;
            }
        }
    }

    fn class(&self) -> QosClass {
        if self.requests.is_empty() && self.limits.is_empty() {
            QosClass::BestEffort
        } else if !self.unlimited && self.requests == self.limits {
            QosClass::Guaranteed
        } else {
            QosClass::Burstable
        }
    }
}

fn amount(list: Option<&BTreeMap<String, Quantity>>, name: &str) -> Option<i128> {
    quantity::nanos(list?.get(name)?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn class(spec: Value) -> QosClass {
        qos_class(&serde_json::from_value(spec).unwrap())
    }

    fn both(cpu: &str, memory: &str) -> Value {
        json!({"cpu": cpu, "memory": memory})
    }

    #[test]
    fn the_class_is_the_one_that_kubernetes_gives() {
        let guaranteed = json!({"requests": both("1", "1Gi"), "limits": both("1000m", "1Gi")});
        let limits_only = json!({"limits": both("1", "1Gi")});
        let no_cpu_limit = json!({"requests": both("1", "1Gi"), "limits": {"memory": "1Gi"}});
        let zero = json!({"requests": both("0", "0"), "limits": both("0", "0")});
        let other = json!({"requests": {"ephemeral-storage": "1Gi"}});
        for (resources, expected) in [
            (json!({}), QosClass::BestEffort),
            (zero, QosClass::BestEffort),
            (other, QosClass::BestEffort),
            (guaranteed, QosClass::Guaranteed),
            (limits_only, QosClass::Guaranteed),
            (no_cpu_limit, QosClass::Burstable),
        ] {
            let found = class(json!({"containers": [{"name": "a", "resources": resources}]}));
            assert_eq!(found, expected, "{resources}");
        }
    }

    #[test]
    fn init_containers_count() {
        let limits = json!({"limits": both("1", "1Gi")});
        let spec = |init: Value| {
            json!({
                "containers": [{"name": "a", "resources": limits}],
                "initContainers": [{"name": "i", "resources": init, "restartPolicy": "Always"}],
            })
        };
        assert_eq!(class(spec(json!({}))), QosClass::Burstable);
        assert_eq!(class(spec(limits.clone())), QosClass::Guaranteed);
    }

    #[test]
    fn pod_level_resources_decide_alone() {
        let found = class(json!({
            "containers": [{"name": "a"}],
            "resources": {"limits": both("1", "1Gi")},
        }));
        assert_eq!(found, QosClass::Guaranteed);
    }

    #[test]
    fn pod_level_resources_that_say_nothing_do_not_count() {
        let limits = json!({"limits": both("1", "1Gi")});
        let found = class(json!({
            "containers": [{"name": "a", "resources": limits}],
            "resources": {},
        }));
        assert_eq!(found, QosClass::Guaranteed);
    }
}
