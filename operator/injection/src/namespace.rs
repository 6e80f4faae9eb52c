use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use outrigger_resources::quantity;

/// What a namespace asks of every container in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamespaceRules {
    /// Whether a container must have a CPU limit, or would be given one that nobody chose.
    pub cpu_limit_required: bool,
    /// The least that a container may request, by resource.
    pub min: BTreeMap<String, Quantity>,
    /// The highest limit that a container may have, by resource.
    pub max: BTreeMap<String, Quantity>,
    /// How often a container's request may go into its limit, by resource.
    pub max_ratio: BTreeMap<String, Quantity>,
}

impl NamespaceRules {
    /// The strictest of all quotas and limit ranges of a namespace.
    ///
    /// A quota on `limits.cpu` refuses containers without a CPU limit, whatever its scopes are
    /// taken to be. A LimitRange of type Container gives such containers its default limit, which
    /// may be far too low for a slot. A LimitRange of type Pod is about the sum of all containers,
    /// which slots cannot mend.
    pub fn new<'a>(
        quotas: impl IntoIterator<Item = &'a ResourceQuota>,
        limit_ranges: impl IntoIterator<Item = &'a LimitRange>,
    ) -> NamespaceRules {
        let mut rules = NamespaceRules::default();
        for quota in quotas {
            let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
            rules.cpu_limit_required |= hard.is_some_and(|hard| hard.contains_key("limits.cpu"));
        }
        let items = limit_ranges
            .into_iter()
            .filter_map(|range| range.spec.as_ref())
            .flat_map(|spec| &spec.limits)
            .filter(|item| item.type_ == "Container");
        for item in items {
            rules.cpu_limit_required |= [&item.default, &item.max, &item.max_limit_request_ratio]
                .into_iter()
                .flatten()
                .any(|list| list.contains_key("cpu"));
            merge(&mut rules.min, item.min.as_ref(), quantity::greater);
            merge(&mut rules.max, item.max.as_ref(), quantity::lesser);
            let ratio = item.max_limit_request_ratio.as_ref();
            merge(&mut rules.max_ratio, ratio, quantity::lesser);
        }
        rules
    }
}

fn merge(
    into: &mut BTreeMap<String, Quantity>,
    from: Option<&BTreeMap<String, Quantity>>,
    stricter: fn(Quantity, &Quantity) -> Quantity,
) {
    for (name, found) in from.into_iter().flatten() {
        let chosen = match into.remove(name) {
            Some(earlier) => stricter(earlier, found),
            None => found.clone(),
        };
        into.insert(name.clone(), chosen);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rules(quota: Value, limits: Value) -> NamespaceRules {
        let quota: ResourceQuota =
            serde_json::from_value(json!({"spec": {"hard": quota}})).unwrap();
        let range: LimitRange =
            serde_json::from_value(json!({"spec": {"limits": limits}})).unwrap();
        NamespaceRules::new([&quota], [&range])
    }

    #[test]
    fn a_cpu_limit_is_required_by_quotas_on_it_and_by_limit_ranges_that_would_give_one() {
        for (quota, limits, expected) in [
            (json!({"pods": "5"}), json!([]), false),
            (json!({"limits.memory": "5Gi"}), json!([]), false),
            (json!({"limits.cpu": "5"}), json!([]), true),
            (
                json!({}),
                json!([{"type": "Container", "default": {"cpu": "20m"}}]),
                true,
            ),
            (
                json!({}),
                json!([{"type": "Container", "max": {"cpu": "1"}}]),
                true,
            ),
            (
                json!({}),
                json!([{"type": "Container", "min": {"cpu": "1m"}}]),
                false,
            ),
            (
                json!({}),
                json!([{"type": "Pod", "max": {"cpu": "1"}}]),
                false,
            ),
        ] {
            let found = rules(quota.clone(), limits.clone()).cpu_limit_required;
            assert_eq!(found, expected, "{quota} {limits}");
        }
    }

    #[test]
    fn the_strictest_bound_counts() {
        let found = rules(
            json!({}),
            json!([
                {"type": "Container", "min": {"memory": "16Mi"}, "max": {"memory": "1Gi"}},
                {"type": "Container", "min": {"memory": "64Mi"}, "max": {"memory": "2Gi"}},
            ]),
        );
        assert_eq!(found.min["memory"].0, "64Mi");
        assert_eq!(found.max["memory"].0, "1Gi");
    }
}
