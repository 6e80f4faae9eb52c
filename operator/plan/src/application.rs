use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use outrigger_api::{IntegratedApp, IntegrationSidecar};
use outrigger_control::Application;

use crate::clashes::reject_clashes;
use crate::{InvalidApplication, SidecarPlan};

/// The objects of the namespace that an application refers to.
#[derive(Clone, Debug, Default)]
pub struct Referenced {
    /// IntegrationSidecars by name.
    pub sidecars: BTreeMap<String, IntegrationSidecar>,
    /// The data of the ConfigMaps that `configFrom` names, by name.
    pub config_maps: BTreeMap<String, BTreeMap<String, String>>,
}

/// Names of the ConfigMaps that the functions of a sidecar refer to.
pub fn config_map_names(sidecar: &IntegrationSidecar) -> BTreeSet<&str> {
    sidecar
        .spec
        .functions
        .iter()
        .flat_map(|function| function.config_from.iter().flatten())
        .filter_map(|source| source.config_map_ref.as_ref())
        .map(|reference| reference.name.as_str())
        .collect()
}

/// An application, validated with everything that it refers to.
#[derive(Clone, Debug)]
pub struct ApplicationPlan {
    /// The application.
    pub application: Application,
    /// Its sidecars, in the order of the spec.
    pub sidecars: Vec<SidecarPlan>,
}

impl ApplicationPlan {
    /// Validates an application. Parameters in Secrets are validated by the slots alone.
    pub fn new(
        application: &IntegratedApp,
        referenced: &Referenced,
    ) -> Result<ApplicationPlan, InvalidApplication> {
        let identity = Application {
            namespace: application.namespace().unwrap_or_default(),
            name: application.name_any(),
        };
        let mut sidecars = Vec::new();
        for (index, usage) in application.spec.sidecars.iter().enumerate() {
            let sidecar = referenced.sidecars.get(&usage.name).ok_or_else(|| {
                InvalidApplication::SidecarNotFound {
                    application: identity.name.clone(),
                    namespace: identity.namespace.clone(),
                    index,
                    name: usage.name.clone(),
                }
            })?;
            sidecars.push(SidecarPlan::new(
                &identity, index, usage, sidecar, referenced,
            )?);
        }
        reject_clashes(&identity, &sidecars)?;
        Ok(ApplicationPlan {
            application: identity,
            sidecars,
        })
    }

    /// What the application makes of a sidecar.
    pub fn sidecar(&self, name: &str) -> Option<&SidecarPlan> {
        self.sidecars.iter().find(|sidecar| sidecar.name() == name)
    }
}
