use kube::ResourceExt;
use outrigger_api::conditions::reason;
use outrigger_api::{ApplicationPods, InjectedSidecar, PlacementStatus, Replacement};
use outrigger_injection::Settings;
use outrigger_plan::{ApplicationPlan, InvalidApplication};

use super::census::Census;
use super::documents::{self, ConfigMaps};
use super::placement;
use super::read::Found;
use super::repair::Unfit;
use crate::eviction::Why;
use crate::status::{Progress, Summary, listed};

/// Most names in a message.
const NAMES: usize = 5;

/// What to do about an application, and what to say of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decision {
    pub(super) config_maps: ConfigMaps,
    pub(super) summary: Summary,
    /// The pods that are to be evicted, if the application says so.
    pub(super) unfit: Unfit,
    pub(super) pods: ApplicationPods,
    pub(super) sidecars: Vec<InjectedSidecar>,
    pub(super) placement: Option<PlacementStatus>,
}

/// Decides by what was read alone. An application that cannot be served keeps the documents that
/// its pods have.
pub(super) fn decide(
    found: &Found,
    plan: Result<&ApplicationPlan, &InvalidApplication>,
    settings: &Settings,
) -> Decision {
    let census = Census::take(found, plan.ok(), settings);
    let placement = placement::status(found);
    match plan {
        Ok(plan) => Decision {
            config_maps: documents::decide(found, plan),
            summary: summary(found, &census, placement.as_ref()),
            unfit: unfit(found, &census),
            pods: census.numbers(),
            sidecars: sidecars(plan),
            placement,
        },
        Err(invalid) => Decision {
            config_maps: ConfigMaps::default(),
            summary: Summary {
                progress: Progress::Stalled,
                reason: invalid.reason(),
                message: invalid.to_string(),
            },
            unfit: Unfit::new(),
            pods: census.numbers(),
            sidecars: former_sidecars(found),
            placement,
        },
    }
}

/// The pods that cannot follow the spec in place and may be evicted. Without the webhook, or while
/// it is unclear whose they are, none is.
fn unfit(found: &Found, census: &Census) -> Unfit {
    let spec = &found.application.spec;
    let unclear = !census.adopted_by_others.is_empty();
    if spec.replacement != Some(Replacement::Evict) || !found.covered || unclear {
        return Unfit::new();
    }
    // Without sidecars, nobody misses them.
    let bare = census.without_sidecars.iter();
    let bare = bare.filter(|_| !spec.sidecars.is_empty());
    bare.map(|name| (name.clone(), Why::NotInjected))
        .chain(
            census
                .outdated
                .keys()
                .map(|name| (name.clone(), Why::RequiresRecreate)),
        )
        .collect()
}

/// The first of what stands in the way, or that nothing does.
fn summary(found: &Found, census: &Census, placement: Option<&PlacementStatus>) -> Summary {
    not_ready(found)
        .or_else(|| already_adopted(found, census))
        .or_else(|| not_injected(found, census))
        .or_else(|| outdated(found, census))
        .or_else(|| pending(census))
        .or_else(|| placement::summary(found, placement))
        .unwrap_or_else(|| succeeded(found, census, placement))
}

fn not_ready(found: &Found) -> Option<Summary> {
    let namespace = found.application.namespace().unwrap_or_default();
    (!found.covered).then(|| Summary {
        progress: Progress::Reconciling,
        reason: reason::INJECTION_NOT_READY,
        message: format!(
            "the admission webhook does not cover namespace {namespace} yet, so pods that are created now would have no sidecars; namespace kube-system and the operator's own are never covered"
        ),
    })
}

fn already_adopted(found: &Found, census: &Census) -> Option<Summary> {
    let (_, serving) = census.adopted_by_others.first()?;
    let names = names(census.adopted_by_others.iter().map(|(pod, _)| pod));
    let serving: Vec<_> = std::iter::once(serving)
        .chain(census.adopted_by_others.iter().map(|(_, other)| other))
        .collect();
    let mut serving: Vec<&str> = serving.into_iter().map(String::as_str).collect();
    serving.sort_unstable();
    serving.dedup();
    Some(Summary {
        progress: Progress::Stalled,
        reason: reason::POD_ALREADY_ADOPTED,
        message: format!(
            "{names} matched by IntegratedApp {} too, which serves because it is older; let workloadRef or selector of IntegratedApp {} match other pods than theirs",
            listed(&serving, NAMES),
            found.application.name_any()
        ),
    })
}

fn not_injected(found: &Found, census: &Census) -> Option<Summary> {
    if census.without_sidecars.is_empty() {
        return None;
    }
    let names = names(census.without_sidecars.iter());
    if found.application.spec.sidecars.is_empty() {
        return not_placed(found, &names);
    }
    Some(Summary {
        progress: Progress::Stalled,
        reason: reason::PODS_NOT_INJECTED,
        message: format!(
            "{names} without the sidecars of IntegratedApp {}: created before it, or while the webhook was away; {}",
            found.application.name_any(),
            anew(found)
        ),
    })
}

/// Pods that an application without sidecars knew nothing of are missed by nobody, but for those
/// that it would have placed.
fn not_placed(found: &Found, names: &str) -> Option<Summary> {
    found.placement.as_ref()?;
    Some(Summary {
        progress: Progress::Stalled,
        reason: reason::PODS_NOT_INJECTED,
        message: format!(
            "{names} not placed by IntegratedApp {}: created before it, or while the webhook was away; {}",
            found.application.name_any(),
            anew(found)
        ),
    })
}

fn outdated(found: &Found, census: &Census) -> Option<Summary> {
    if census.outdated.is_empty() {
        return None;
    }
    let names = names(census.outdated.keys());
    let fields = listed(&census.outdated_fields(), NAMES);
    Some(Summary {
        progress: Progress::Stalled,
        reason: reason::REQUIRES_RECREATE,
        message: format!(
            "{names} not as the spec asks for in fields that cannot change in a running pod: {fields}; {}",
            anew(found)
        ),
    })
}

fn pending(census: &Census) -> Option<Summary> {
    (!census.pending.is_empty()).then(|| Summary {
        progress: Progress::Reconciling,
        reason: reason::CONFIGURATION_PENDING,
        message: format!(
            "{} still to be told of the new configuration",
            names(census.pending.iter())
        ),
    })
}

fn succeeded(found: &Found, census: &Census, placement: Option<&PlacementStatus>) -> Summary {
    let sidecars = !found.application.spec.sidecars.is_empty();
    let message = match (census.injected.len(), sidecars) {
        (0, true) => "new pods get their sidecars; there are none yet".to_owned(),
        (1, true) => "1 pod has its sidecars".to_owned(),
        (pods, true) => format!("{pods} pods have their sidecars"),
        (0, false) => "new pods are placed by their data; there are none yet".to_owned(),
        (1, false) => "1 pod".to_owned(),
        (pods, false) => format!("{pods} pods"),
    };
    let message = match placement.and_then(placement::locality) {
        Some(local) => format!("{message}; {local}"),
        None => message,
    };
    Summary {
        progress: Progress::Ready,
        reason: reason::SUCCEEDED,
        message,
    }
}

/// How to get pods with the right sidecars.
fn anew(found: &Found) -> String {
    let namespace = found.application.namespace().unwrap_or_default();
    let workload = found.application.spec.workload_ref.as_ref();
    let restartable = workload.filter(|workload| {
        workload.api_version.starts_with("apps/")
            && ["Deployment", "StatefulSet", "DaemonSet"].contains(&workload.kind.as_str())
    });
    match restartable {
        Some(workload) => format!(
            "create them anew: kubectl rollout restart {}/{} -n {namespace}",
            workload.kind.to_ascii_lowercase(),
            workload.name
        ),
        None => {
            "create them anew: restart their workload, or delete them if it replaces them".into()
        }
    }
}

/// Pods as the subject of a sentence.
fn names<'a>(pods: impl ExactSizeIterator<Item = &'a String>) -> String {
    let count = pods.len();
    let names: Vec<&str> = pods.map(String::as_str).collect();
    match count {
        1 => format!("pod {} is", names[0]),
        _ => format!("{count} pods ({}) are", listed(&names, NAMES)),
    }
}

fn sidecars(plan: &ApplicationPlan) -> Vec<InjectedSidecar> {
    let mut sidecars: Vec<_> = plan
        .sidecars
        .iter()
        .map(|sidecar| InjectedSidecar {
            name: sidecar.name().to_owned(),
            configuration: sidecar.document_hash().unwrap_or_default().to_owned(),
            functions: sidecar
                .functions
                .iter()
                .map(|function| format!("{}={}", function.name, sidecar.address(function)))
                .collect(),
        })
        .collect();
    sidecars.sort_by(|one, other| one.name.cmp(&other.name));
    sidecars
}

/// What pods use goes on, so what was said of it stands.
fn former_sidecars(found: &Found) -> Vec<InjectedSidecar> {
    let status = found.application.status.as_ref();
    status.map_or_else(Vec::new, |status| status.sidecars.clone())
}
