use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use outrigger_api::ApplicationPods;
use outrigger_injection::{Settings, application, orders, requires_recreate};
use outrigger_plan::{ApplicationPlan, adopting};

use super::read::{Found, FoundPod};

/// The pods of an application, by what is to be said of them. Names are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    /// Pods with its sidecars.
    pub(super) injected: Vec<String>,
    /// Pods without them.
    pub(super) without_sidecars: Vec<String>,
    /// Pods that an older application serves, with its name.
    pub(super) adopted_by_others: Vec<(String, String)>,
    /// Of the injected: those that would differ if they were created now, in which fields.
    pub(super) outdated: BTreeMap<String, Vec<String>>,
    /// Of the injected: those whose order names another configuration.
    pub(super) pending: Vec<String>,
}

impl Census {
    /// Looks at every pod. Without a plan no pod can be judged by it.
    pub(super) fn take(
        found: &Found,
        plan: Option<&ApplicationPlan>,
        settings: &Settings,
    ) -> Census {
        let own_name = found.application.name_any();
        let mut census = Census::default();
        for FoundPod { pod, owners } in &found.pods {
            if pod.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let candidates = found.applications.iter().map(AsRef::as_ref);
            let Some(adoption) = adopting(pod, owners, candidates) else {
                continue;
            };
            let name = pod.name_any();
            if adoption.serving.name_any() != own_name {
                let mut refused = adoption.refused.iter();
                if refused.any(|other| other.name_any() == own_name) {
                    let serving = adoption.serving.name_any();
                    census.adopted_by_others.push((name, serving));
                }
                continue;
            }
            if application(pod) != Some(own_name.as_str()) {
                census.without_sidecars.push(name);
                continue;
            }
            if let Some(plan) = plan {
                let fields = requires_recreate(pod, plan, settings);
                if !fields.is_empty() {
                    census.outdated.insert(name.clone(), fields);
                }
                let orders = orders(pod);
                let is_pending = plan.sidecars.iter().any(|sidecar| {
                    let wanted = sidecar.order_config();
                    let order = orders
                        .get(sidecar.name())
                        .and_then(|order| order.as_ref().ok());
                    wanted.zip(order).is_some_and(|(wanted, order)| {
                        order.config.a != wanted || order.config.b != wanted
                    })
                });
                if is_pending {
                    census.pending.push(name.clone());
                }
            }
            census.injected.push(name);
        }
        census
    }

    /// As numbers.
    pub(super) fn numbers(&self) -> ApplicationPods {
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        ApplicationPods {
            matched: number(self.injected.len() + self.without_sidecars.len()),
            injected: number(self.injected.len()),
            without_sidecars: number(self.without_sidecars.len()),
        }
    }

    /// The fields of all outdated pods, each once, sorted.
    pub(super) fn outdated_fields(&self) -> Vec<String> {
        let fields: BTreeSet<_> = self.outdated.values().flatten().cloned().collect();
        fields.into_iter().collect()
    }
}
