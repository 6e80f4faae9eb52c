use std::collections::BTreeSet;

use kube::ResourceExt;
use outrigger_api::{IntegrationSidecar, TenantLimits};
use outrigger_control::{Document, Limits, PerSlot, SharedDocument, TenantDocument, content_hash};

use crate::room::{self, LeftOut, MOST_DOCUMENT_BYTES};
use crate::sidecar::{admin_ports, secret_names};
use crate::{ApplicationPlan, FunctionPlan, InvalidApplication, SidecarPlan};

/// `tenantLimits.maxConcurrentRequests` when it is absent.
const CONCURRENT_REQUESTS: u32 = 100;

/// What a sidecar that several applications share is to be in each of its function pods.
#[derive(Clone, Debug)]
pub struct SharedPlan {
    /// Namespace of the sidecar and of all its applications.
    pub namespace: String,
    /// The IntegrationSidecar.
    pub sidecar: IntegrationSidecar,
    /// All functions of the sidecar, whichever of them each application uses.
    pub functions: Vec<FunctionPlan>,
    /// The configuration of all applications.
    pub document: SharedDocument,
    /// Its hash, the name under which slots find it.
    pub document_hash: String,
    /// Applications whose parts have no room in it, sorted by name.
    pub left_out: Vec<LeftOut>,
    /// Names of the Secrets to mount into the slots.
    pub secrets: BTreeSet<String>,
    /// Admin port of each slot.
    pub admin: PerSlot<u16>,
}

impl SharedPlan {
    /// The plan for the applications that use the sidecar. `kept` are the parts of applications
    /// whose pods go on as they are although there is no plan for them now; of those that there is
    /// a plan for they are used only if the new part has no room.
    pub fn new<'a>(
        sidecar: &IntegrationSidecar,
        applications: impl IntoIterator<Item = &'a ApplicationPlan>,
        kept: Vec<TenantDocument>,
    ) -> Result<SharedPlan, InvalidApplication> {
        let name = sidecar.name_any();
        let limits = limits(sidecar.spec.tenant_limits.as_ref());
        let mut tenants: Vec<TenantDocument> = applications
            .into_iter()
            .flat_map(|application| &application.sidecars)
            .filter(|planned| planned.name() == name)
            .filter_map(SidecarPlan::document)
            .map(|document| TenantDocument {
                document: document.clone(),
                limits: limits.clone(),
            })
            .collect();
        let (former, unplanned): (Vec<_>, Vec<_>) = kept.into_iter().partition(|kept| {
            let name = &kept.document.application.name;
            let mut planned = tenants.iter();
            planned.any(|tenant| tenant.document.application.name == *name)
        });
        tenants.extend(unplanned);
        let left_out = room::fit(&mut tenants, &former, MOST_DOCUMENT_BYTES);
        tenants.sort_by(|one, other| {
            let name = |tenant: &TenantDocument| tenant.document.application.name.clone();
            name(one).cmp(&name(other))
        });
        let document = SharedDocument {
            v: Document::VERSION,
            sidecar: name.clone(),
            tenants,
        };
        let document_hash =
            content_hash(&document).map_err(|error| InvalidApplication::Unwritable {
                sidecar: name,
                error,
            })?;
        let functions = sidecar.spec.functions.iter();
        Ok(SharedPlan {
            namespace: sidecar.namespace().unwrap_or_default(),
            functions: functions
                .map(|function| FunctionPlan {
                    name: function.name.clone(),
                    port: function.effective_port(),
                })
                .collect(),
            document,
            document_hash,
            left_out,
            secrets: secret_names(sidecar, |_| true),
            admin: admin_ports(0),
            sidecar: sidecar.clone(),
        })
    }

    /// Name of the IntegrationSidecar.
    pub fn name(&self) -> &str {
        &self.document.sidecar
    }
}

fn limits(found: Option<&TenantLimits>) -> Limits {
    let found = found.cloned().unwrap_or_default();
    let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
    Limits {
        max_body_bytes: found
            .max_body_bytes
            .and_then(|value| u64::try_from(value).ok()),
        max_concurrent_requests: number(found.max_concurrent_requests)
            .unwrap_or(CONCURRENT_REQUESTS),
        requests_per_second: number(found.requests_per_second),
    }
}
