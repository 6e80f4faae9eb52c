//! CPU and memory of slots: what the spec says, bent to what the namespace asks, and never so that
//! the pod's quality-of-service class falls.
//!
//! | pod | slots |
//! |---|---|
//! | pod-level `resources` | none: the pod's own cover them |
//! | Guaranteed | limits equal to requests; 100m and 128Mi by default |
//! | Burstable, BestEffort | requests, 10m and 32Mi by default; a memory limit, 128Mi by default; a CPU limit if the spec or the namespace asks for one |
//!
//! A BestEffort pod becomes Burstable, since its slots request something: it is evicted later than
//! before, and counts as NotBestEffort in quotas with that scope.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use outrigger_api::SlotResources;

use crate::qos::{class_of, is_set};
use crate::{NamespaceRules, QosClass, Refusal};
use outrigger_resources::quantity::{greater, least_request, lesser, nanos};

/// The defaults of one resource.
struct Defaults {
    name: &'static str,
    request: &'static str,
    /// Limit where one is needed.
    limit: &'static str,
    /// Request and limit in a Guaranteed pod. A CPU limit of the usual request would let a slot
    /// work for one millisecond in a hundred.
    guaranteed: &'static str,
    /// Billionths in the smallest unit that is written.
    unit: i128,
}

const CPU: Defaults = Defaults {
    name: "cpu",
    request: "10m",
    limit: "500m",
    guaranteed: "100m",
    unit: 1_000_000,
};

const MEMORY: Defaults = Defaults {
    name: "memory",
    request: "32Mi",
    limit: "128Mi",
    guaranteed: "128Mi",
    unit: 1_000_000_000,
};

/// What the application's own containers make of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Basis {
    /// It has pod-level resources.
    PodLevel,
    /// Its class is Guaranteed.
    Guaranteed,
    /// Its class is Burstable or BestEffort.
    Other,
}

impl Basis {
    /// The basis of a pod, apart from the containers that are slots.
    pub(crate) fn of(spec: &PodSpec, is_slot: impl Fn(&Container) -> bool) -> Basis {
        let init = spec.init_containers.iter().flatten();
        let own = init.filter(|container| !is_slot(container));
        if spec.resources.as_ref().is_some_and(is_set) {
            Basis::PodLevel
        } else if class_of(None, own.chain(&spec.containers)) == QosClass::Guaranteed {
            Basis::Guaranteed
        } else {
            Basis::Other
        }
    }
}

/// The resources of each slot of a sidecar in a pod; `None` for none at all.
pub(crate) fn slot_resources(
    sidecar: &str,
    wanted: Option<&SlotResources>,
    basis: Basis,
    rules: &NamespaceRules,
) -> Result<Option<ResourceRequirements>, Refusal> {
    let wanted = Wanted::read(sidecar, wanted)?;
    if basis == Basis::PodLevel {
        return Ok(None);
    }
    let mut requests = wanted.requests.clone();
    let mut limits = wanted.limits.clone();
    for defaults in [CPU, MEMORY] {
        let (request, limit) = match basis {
            Basis::Guaranteed => {
                let value = guaranteed(&defaults, &wanted, rules);
                (value.clone(), Some(value))
            }
            Basis::PodLevel | Basis::Other => other(&defaults, &wanted, rules),
        };
        requests.insert(defaults.name.to_owned(), request);
        if let Some(limit) = limit {
            limits.insert(defaults.name.to_owned(), limit);
        }
    }
    Ok(Some(ResourceRequirements {
        requests: Some(requests),
        limits: Some(limits),
        ..ResourceRequirements::default()
    }))
}

fn guaranteed(defaults: &Defaults, wanted: &Wanted, rules: &NamespaceRules) -> Quantity {
    // A limit of zero is none, and would lower the class.
    let positive = |list: &BTreeMap<String, Quantity>| {
        list.get(defaults.name)
            .filter(|quantity| nanos(quantity) > Some(0))
            .cloned()
    };
    let value = positive(&wanted.requests)
        .or_else(|| positive(&wanted.limits))
        .unwrap_or_else(|| Quantity(defaults.guaranteed.into()));
    bounded(value, defaults.name, rules)
}

fn other(
    defaults: &Defaults,
    wanted: &Wanted,
    rules: &NamespaceRules,
) -> (Quantity, Option<Quantity>) {
    let name = defaults.name;
    let asked_limit = wanted.limits.get(name);
    let request = wanted.requests.get(name).cloned().unwrap_or_else(|| {
        let default = Quantity(defaults.request.into());
        asked_limit.map_or(default.clone(), |limit| lesser(default, limit))
    });
    let limit_needed = name == MEMORY.name || rules.cpu_limit_required;
    let limit = asked_limit
        .cloned()
        .or_else(|| limit_needed.then(|| greater(Quantity(defaults.limit.into()), &request)))
        .map(|limit| bounded(limit, name, rules));
    let mut request = bounded(request, name, rules);
    if let Some(limit) = &limit {
        request = lesser(request, limit);
        if let Some(least) = rules
            .max_ratio
            .get(name)
            .and_then(|ratio| least_request(limit, ratio, defaults.unit))
        {
            let unit = if name == CPU.name { "m" } else { "" };
            request = greater(request, &Quantity(format!("{least}{unit}")));
        }
    }
    (request, limit)
}

fn bounded(quantity: Quantity, name: &str, rules: &NamespaceRules) -> Quantity {
    let mut quantity = quantity;
    if let Some(max) = rules.max.get(name) {
        quantity = lesser(quantity, max);
    }
    if let Some(min) = rules.min.get(name) {
        quantity = greater(quantity, min);
    }
    quantity
}

/// `spec.resources`, checked.
#[derive(Default)]
struct Wanted {
    requests: BTreeMap<String, Quantity>,
    limits: BTreeMap<String, Quantity>,
}

impl Wanted {
    fn read(sidecar: &str, resources: Option<&SlotResources>) -> Result<Wanted, Refusal> {
        let Some(SlotResources { requests, limits }) = resources else {
            return Ok(Wanted::default());
        };
        let wanted = Wanted {
            requests: requests.clone().unwrap_or_default(),
            limits: limits.clone().unwrap_or_default(),
        };
        for (list, quantities) in [("requests", &wanted.requests), ("limits", &wanted.limits)] {
            for (name, quantity) in quantities {
                if nanos(quantity).is_none_or(|nanos| nanos < 0) {
                    return Err(Refusal::Quantity {
                        sidecar: sidecar.to_owned(),
                        field: format!("{list}.{name}"),
                        found: quantity.0.clone(),
                    });
                }
            }
        }
        for (name, limit) in &wanted.limits {
            let request = wanted.requests.get(name);
            if let Some(request) = request.filter(|request| nanos(request) > nanos(limit)) {
                return Err(Refusal::LimitBelowRequest {
                    sidecar: sidecar.to_owned(),
                    resource: name.clone(),
                    request: request.0.clone(),
                    limit: limit.0.clone(),
                });
            }
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn resources(wanted: Value, basis: Basis, rules: &NamespaceRules) -> Value {
        let wanted: Option<SlotResources> = serde_json::from_value(wanted).unwrap();
        let found = slot_resources("orders", wanted.as_ref(), basis, rules).unwrap();
        serde_json::to_value(found).unwrap()
    }

    fn list(name: &str, value: &str) -> BTreeMap<String, Quantity> {
        BTreeMap::from([(name.to_owned(), Quantity(value.to_owned()))])
    }

    #[test]
    fn slots_of_a_pod_with_its_own_resources_carry_none() {
        let wanted = json!({"requests": {"cpu": "1"}});
        let found = resources(wanted, Basis::PodLevel, &NamespaceRules::default());
        assert_eq!(found, Value::Null);
    }

    #[test]
    fn slots_have_small_requests_and_a_memory_limit() {
        assert_eq!(
            resources(json!(null), Basis::Other, &NamespaceRules::default()),
            json!({
                "requests": {"cpu": "10m", "memory": "32Mi"},
                "limits": {"memory": "128Mi"},
            })
        );
    }

    #[test]
    fn slots_of_a_guaranteed_pod_have_limits_equal_to_their_requests() {
        for (wanted, cpu, memory) in [
            (json!(null), "100m", "128Mi"),
            (json!({"requests": {"cpu": "50m"}}), "50m", "128Mi"),
            (json!({"limits": {"memory": "1Gi"}}), "100m", "1Gi"),
            (
                json!({"requests": {"cpu": "50m"}, "limits": {"cpu": "1"}}),
                "50m",
                "128Mi",
            ),
            (json!({"requests": {"cpu": "0"}}), "100m", "128Mi"),
            (json!({"limits": {"cpu": "0"}}), "100m", "128Mi"),
        ] {
            let both = json!({"cpu": cpu, "memory": memory});
            assert_eq!(
                resources(
                    wanted.clone(),
                    Basis::Guaranteed,
                    &NamespaceRules::default()
                ),
                json!({"requests": both, "limits": both}),
                "{wanted}"
            );
        }
    }

    #[test]
    fn the_spec_wins_and_what_it_leaves_out_has_its_default() {
        assert_eq!(
            resources(
                json!({
                    "requests": {"memory": "256Mi", "ephemeral-storage": "1Gi"},
                    "limits": {"cpu": "5m"},
                }),
                Basis::Other,
                &NamespaceRules::default()
            ),
            json!({
                "requests": {"cpu": "5m", "memory": "256Mi", "ephemeral-storage": "1Gi"},
                "limits": {"cpu": "5m", "memory": "256Mi"},
            })
        );
    }

    #[test]
    fn a_cpu_limit_is_there_when_the_namespace_asks_for_one() {
        let rules = NamespaceRules {
            cpu_limit_required: true,
            ..NamespaceRules::default()
        };
        let found = resources(json!(null), Basis::Other, &rules);
        assert_eq!(found["limits"]["cpu"], "500m");
    }

    #[test]
    fn a_limit_range_bends_requests_and_limits() {
        let rules = NamespaceRules {
            min: list("memory", "64Mi"),
            max: list("cpu", "200m"),
            max_ratio: list("cpu", "3"),
            cpu_limit_required: true,
        };
        assert_eq!(
            resources(json!(null), Basis::Other, &rules),
            json!({
                "requests": {"cpu": "67m", "memory": "64Mi"},
                "limits": {"cpu": "200m", "memory": "128Mi"},
            })
        );
        let found = resources(json!({"requests": {"cpu": "1"}}), Basis::Guaranteed, &rules);
        assert_eq!(found["limits"]["cpu"], "200m");
    }

    #[test]
    fn what_is_not_a_quantity_is_named() {
        let message = |wanted: Value| {
            let wanted: SlotResources = serde_json::from_value(wanted).unwrap();
            slot_resources(
                "orders",
                Some(&wanted),
                Basis::Other,
                &NamespaceRules::default(),
            )
            .unwrap_err()
            .to_string()
        };
        assert_eq!(
            message(json!({"limits": {"cpu": "much"}})),
            "IntegrationSidecar orders resources.limits.cpu is \"much\"; allowed is a quantity that is not negative, such as \"100m\" or \"64Mi\""
        );
        assert_eq!(
            message(json!({"requests": {"cpu": "1"}, "limits": {"cpu": "500m"}})),
            "IntegrationSidecar orders resources.requests.cpu is \"1\"; allowed is at most resources.limits.cpu, \"500m\""
        );
    }
}
