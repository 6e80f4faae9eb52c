use std::sync::Arc;
use std::time::Duration;

use json_patch::Patch;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, Operation};
use outrigger_control::layout::{ANNOTATION_PREFIX, PREFLIGHT_LABEL, SHARED_LABEL};
use outrigger_injection::{Settings, disown, inject};
use outrigger_lookup::LookupError;
use outrigger_plan::{ApplicationPlan, Owners, adopting};
use tokio::time::timeout;

use crate::{Applications, gate};

/// Less than the API server's patience, so that the answer says what was waited for.
const PATIENCE: Duration = Duration::from_secs(4);
/// Annotation of the mirror of a static pod: kubelet runs the pod, whatever the API server holds.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What is to become of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is none of ours.
    Untouched,
    /// It is none of ours, but claims to be: the patch takes the claim away.
    Disowned(Patch),
    /// It gets sidecars, or has them already and gets an empty patch.
    Injected {
        /// The patch.
        patch: Patch,
        /// What its creator should know.
        warnings: Vec<String>,
    },
    /// It cannot have its sidecars, so it is not created.
    Refused(String),
}

/// No answer could be found in time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undecided {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("what the pod depends on could not be read within {} s", PATIENCE.as_secs())]
    Late,
    #[error("the patch cannot be written: {0}")]
    Unwritable(#[from] kube::core::admission::SerializePatchError),
}

/// Decides about new pods. It has no side effects, so that dry runs need no care.
pub struct Injector<A> {
    applications: A,
    settings: Settings,
    operator: String,
}

impl<A: Applications> Injector<A> {
    /// With what it asks of the cluster, the operator's flags, and the name by which the API server
    /// knows the operator: function pods are taken from nobody else.
    pub fn new(applications: A, settings: Settings, operator: String) -> Arc<Injector<A>> {
        Arc::new(Injector {
            applications,
            settings,
            operator,
        })
    }

    /// The answer to the API server.
    pub(crate) async fn respond(
        &self,
        request: &AdmissionRequest<Pod>,
    ) -> Result<(AdmissionResponse, Verdict), Undecided> {
        let verdict = timeout(PATIENCE, self.decide(request))
            .await
            .map_err(|_| Undecided::Late)??;
        let response = AdmissionResponse::from(request);
        let response = match &verdict {
            Verdict::Untouched => response,
            Verdict::Refused(message) => {
                let mut response = response.deny(message);
                response.result.code = 403;
                response.result.reason = "Forbidden".into();
                response
            }
            Verdict::Disowned(patch) => {
                let mut response = response.with_patch(patch.clone())?;
                response.warnings = Some(vec![format!(
                    "labels, annotations and scheduling gates {ANNOTATION_PREFIX}* were removed: no IntegratedApp matches the pod"
                )]);
                response
            }
            Verdict::Injected { patch, warnings } => {
                let mut response = match patch.is_empty() {
                    true => response,
                    false => response.with_patch(patch.clone())?,
                };
                response.warnings = (!warnings.is_empty()).then(|| warnings.clone());
                response
            }
        };
        Ok((response, verdict))
    }

    /// Decides about the pod of a request.
    pub async fn decide(&self, request: &AdmissionRequest<Pod>) -> Result<Verdict, LookupError> {
        let (Some(pod), Some(namespace)) = (&request.object, &request.namespace) else {
            return Ok(Verdict::Untouched);
        };
        let creates_pod = request.operation == Operation::Create
            && request.resource.resource == "pods"
            && request
                .sub_resource
                .as_deref()
                .unwrap_or_default()
                .is_empty();
        let is_ours_to_decide =
            !pod.labels().contains_key(PREFLIGHT_LABEL) && !pod.annotations().contains_key(MIRROR);
        let is_function_pod = pod.labels().contains_key(SHARED_LABEL)
            && request.user_info.username.as_ref() == Some(&self.operator);
        if !creates_pod || !is_ours_to_decide || is_function_pod {
            return Ok(Verdict::Untouched);
        }
        let applications = self.applications.applications_in(namespace);
        let by_workload = applications
            .iter()
            .any(|application| application.spec.workload_ref.is_some());
        let owners = match by_workload {
            true => self.applications.owners(namespace, pod).await?,
            false => Owners::default(),
        };
        let candidates = applications.iter().map(AsRef::as_ref);
        let mut without_claim = pod.clone();
        without_claim.labels_mut().remove(SHARED_LABEL);
        let Some(adoption) = adopting(&without_claim, &owners, candidates) else {
            let patch = disown(pod);
            return Ok(match patch.is_empty() {
                true => Verdict::Untouched,
                false => Verdict::Disowned(patch),
            });
        };
        let application = adoption.serving;
        let name = application.name_any();
        let referenced = self.applications.referenced(application).await?;
        let plan = match ApplicationPlan::new(application, &referenced) {
            Ok(plan) => plan,
            Err(error) => return Ok(refused(namespace, &name, &error)),
        };
        let rules = self.applications.namespace_rules(namespace).await?;
        let dataset = |name: &str| self.applications.dataset(namespace, name);
        let gated = gate::waits(pod, application, dataset);
        Ok(match inject(pod, &plan, &self.settings, &rules, gated) {
            Err(error) => refused(namespace, &name, &error),
            Ok(patch) => Verdict::Injected {
                patch,
                warnings: adoption
                    .refused
                    .iter()
                    .map(|other| {
                        format!(
                            "IntegratedApp {} matches the pod too; the older IntegratedApp {name} serves it",
                            other.name_any()
                        )
                    })
                    .collect(),
            },
        })
    }
}

/// No pod runs without its sidecars, so that one that cannot have them is not created.
fn refused(namespace: &str, application: &str, error: &dyn std::error::Error) -> Verdict {
    Verdict::Refused(format!(
        "IntegratedApp {namespace}/{application} cannot give the pod its sidecars: {error}"
    ))
}
