//! A sidecar as it stands in a pod, whichever form it has.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, ResourceRequirements, Volume};
use outrigger_api::{ForeignContainer, IntegrationSidecar};
use outrigger_control::{Notes, Order, PerSlot, Phase, Slot};
use outrigger_plan::{
    ApplicationPlan, Form, FunctionPlan, SharedPlan, SidecarPlan, revision_for_new_pod,
};

use crate::Settings;
use crate::carried::slot_names;
use crate::credentials::{credential_mounts, credential_volumes};
use crate::foreign::foreign_container;
use crate::slot::slot_container;
use crate::volumes::{no_token_volume, slot_volumes};

/// `since` of a new pod's orders: at rest since its creation, whose time an injector that always
/// gives the same answer cannot tell.
pub const SINCE_CREATION: &str = "1970-01-01T00:00:00Z";

/// What of a sidecar runs in a pod: two slots, or one container of an image that is not built on
/// the chassis.
#[derive(Clone, Copy, Debug)]
pub struct Resident<'a> {
    pub(crate) sidecar: &'a IntegrationSidecar,
    pub(crate) namespace: &'a str,
    pub(crate) body: Body<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Body<'a> {
    Slots(Slots<'a>),
    Foreign(&'a ForeignContainer),
}

/// The two slots of a sidecar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots<'a> {
    pub(crate) functions: &'a [FunctionPlan],
    pub(crate) document_hash: &'a str,
    pub(crate) secrets: &'a BTreeSet<String>,
    pub(crate) admin: &'a PerSlot<u16>,
    pub(crate) host: Host<'a>,
}

/// The pod that slots are in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Host<'a> {
    /// One of an application.
    Application {
        name: &'a str,
        /// Whether containers of it reach functions through Unix sockets.
        has_sockets: bool,
    },
    /// One that serves several applications.
    FunctionPod,
}

impl<'a> Resident<'a> {
    /// The resident in the pods of an application; `None` if the sidecar runs elsewhere.
    pub fn of(plan: &'a ApplicationPlan, sidecar: &'a SidecarPlan) -> Option<Resident<'a>> {
        let body = match &sidecar.form {
            Form::Slots(slots) => Body::Slots(Slots {
                functions: &sidecar.functions,
                document_hash: &slots.document_hash,
                secrets: &slots.secrets,
                admin: &slots.admin,
                host: Host::Application {
                    name: &plan.application.name,
                    has_sockets: !slots.socket_containers.is_empty(),
                },
            }),
            Form::Foreign(container) => Body::Foreign(container),
            Form::Shared { .. } => return None,
        };
        Some(Resident {
            sidecar: &sidecar.sidecar,
            namespace: &plan.application.namespace,
            body,
        })
    }

    /// The resident in the function pods of a shared sidecar.
    pub fn of_function_pods(plan: &'a SharedPlan) -> Resident<'a> {
        Resident {
            sidecar: &plan.sidecar,
            namespace: &plan.namespace,
            body: Body::Slots(Slots {
                functions: &plan.functions,
                document_hash: &plan.document_hash,
                secrets: &plan.secrets,
                admin: &plan.admin,
                host: Host::FunctionPod,
            }),
        }
    }

    /// All residents in the pods of an application, in the order of its spec.
    pub(crate) fn all(plan: &'a ApplicationPlan) -> Vec<Resident<'a>> {
        let sidecars = plan.sidecars.iter();
        sidecars
            .filter_map(|sidecar| Resident::of(plan, sidecar))
            .collect()
    }

    /// Name of the IntegrationSidecar.
    pub fn name(&self) -> &'a str {
        self.sidecar.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether it is one container and not two slots.
    pub(crate) fn is_single(&self) -> bool {
        matches!(self.body, Body::Foreign(_))
    }

    /// Hash of the document that it is to use; empty for an image that is not built on the chassis.
    pub(crate) fn document_hash(&self) -> &'a str {
        match self.body {
            Body::Slots(slots) => slots.document_hash,
            Body::Foreign(_) => "",
        }
    }

    /// Names of its containers.
    pub(crate) fn container_names(&self) -> Vec<String> {
        match self.body {
            Body::Slots(_) => slot_names(self.name()),
            Body::Foreign(_) => vec![self.name().to_owned()],
        }
    }

    /// The containers of a pod: native sidecars without probes, since a probe of one that is being
    /// replaced would take the whole pod out of its Services.
    pub(crate) fn containers(
        &self,
        image: &str,
        resources: Option<&ResourceRequirements>,
        settings: &Settings,
    ) -> Vec<Container> {
        let containers = match self.body {
            Body::Slots(slots) => Slot::BOTH
                .map(|slot| slot_container(self, &slots, slot, settings))
                .into(),
            Body::Foreign(foreign) => vec![foreign_container(self.name(), foreign, settings)],
        };
        let common = |container: Container| Container {
            image: Some(image.to_owned()),
            image_pull_policy: Some("IfNotPresent".into()),
            resources: resources.cloned(),
            restart_policy: Some("Always".into()),
            termination_message_policy: Some("FallbackToLogsOnError".into()),
            volume_mounts: Some(
                container
                    .volume_mounts
                    .into_iter()
                    .flatten()
                    .chain(credential_mounts(self.sidecar))
                    .collect(),
            ),
            ..container
        };
        containers.into_iter().map(common).collect()
    }

    /// The volumes that the containers mount.
    pub(crate) fn volumes(&self) -> Vec<Volume> {
        let mut volumes = match self.body {
            Body::Slots(slots) => slot_volumes(self.name(), &slots),
            Body::Foreign(_) => Vec::new(),
        };
        volumes.extend(credential_volumes(self.sidecar));
        volumes.push(no_token_volume());
        volumes
    }

    /// The order in a new pod.
    pub(crate) fn first_order(&self) -> Order {
        let (revision, _) = revision_for_new_pod(self.sidecar);
        let admin = match self.body {
            Body::Slots(slots) => slots.admin.clone(),
            Body::Foreign(_) => PerSlot::both(0),
        };
        Order {
            v: Order::VERSION,
            term: 1,
            active: Slot::A,
            config: PerSlot::both(self.document_hash().to_owned()),
            revision: PerSlot::both(revision),
            admin,
            phase: Phase::Rest,
            since: SINCE_CREATION.to_owned(),
            single: self.is_single(),
            replaced: None,
            notes: Notes::default(),
        }
    }
}
