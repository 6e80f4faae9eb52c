use std::collections::BTreeSet;

use outrigger_api::{ForeignContainer, IntegrationSidecar, Sharing, SidecarUse};
use outrigger_control::{Application, Document, PerSlot, Slot, content_hash, layout};

use crate::clashes::reject_shared_clashes;
use crate::document::{document, reject_unknown_functions};
use crate::{InvalidApplication, Referenced};

/// What one sidecar is to be for an application.
#[derive(Clone, Debug)]
pub struct SidecarPlan {
    /// The IntegrationSidecar.
    pub sidecar: IntegrationSidecar,
    /// What the application's containers reach: functions, or the ports of an image that is not
    /// built on the chassis.
    pub functions: Vec<FunctionPlan>,
    /// The containers that get the functions' addresses; `None` for all.
    pub containers: Option<BTreeSet<String>>,
    /// Where the sidecar runs, and as what.
    pub form: Form,
}

/// Where a function listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionPlan {
    /// Its name.
    pub name: String,
    /// Its port: on loopback in the pod, or on the Service of a shared sidecar.
    pub port: u16,
}

/// Where a sidecar runs, and as what.
#[derive(Clone, Debug)]
pub enum Form {
    /// Two slots in each pod of the application.
    Slots(SlotsPlan),
    /// Slots in function pods, which serve several applications; the pods of the application hold
    /// nothing of it but the functions' addresses.
    Shared {
        /// The application's part of the configuration; see [`crate::SharedPlan`].
        document: Document,
        /// Its hash.
        document_hash: String,
    },
    /// One container in each pod, of an image that is not built on the chassis.
    Foreign(ForeignContainer),
}

/// The slots of a sidecar in the pods of an application.
#[derive(Clone, Debug)]
pub struct SlotsPlan {
    /// The configuration.
    pub document: Document,
    /// Its hash, the name under which slots find it.
    pub document_hash: String,
    /// Names of the Secrets to mount.
    pub secrets: BTreeSet<String>,
    /// Admin port of each slot.
    pub admin: PerSlot<u16>,
    /// The containers of the application that get the functions' Unix sockets.
    pub socket_containers: BTreeSet<String>,
}

impl SidecarPlan {
    pub(crate) fn new(
        application: &Application,
        index: usize,
        usage: &SidecarUse,
        sidecar: &IntegrationSidecar,
        referenced: &Referenced,
    ) -> Result<SidecarPlan, InvalidApplication> {
        let (functions, form) = match &sidecar.spec.container {
            Some(container) => {
                reject_use_of_functions(application, index, usage)?;
                let ports = container.ports.iter().flatten();
                let ports = ports.filter_map(|port| {
                    Some(FunctionPlan {
                        name: port.name.clone(),
                        // The schema allows ports only.
                        port: u16::try_from(port.port).ok()?,
                    })
                });
                (ports.collect(), Form::Foreign(container.clone()))
            }
            None => functions_and_form(application, index, usage, sidecar, referenced)?,
        };
        Ok(SidecarPlan {
            sidecar: sidecar.clone(),
            functions,
            containers: usage.containers.clone(),
            form,
        })
    }

    /// Name of the IntegrationSidecar.
    pub fn name(&self) -> &str {
        self.sidecar.metadata.name.as_deref().unwrap_or_default()
    }

    /// Names of the containers that the sidecar has in each pod of the application.
    pub fn container_names(&self) -> Vec<String> {
        match self.form {
            Form::Slots(_) => Slot::BOTH.map(|slot| slot.container(self.name())).into(),
            Form::Shared { .. } => Vec::new(),
            Form::Foreign(_) => vec![self.name().to_owned()],
        }
    }

    /// What the functions are to do for the application; `None` for an image that is not built on
    /// the chassis.
    pub fn document(&self) -> Option<&Document> {
        match &self.form {
            Form::Slots(SlotsPlan { document, .. }) | Form::Shared { document, .. } => {
                Some(document)
            }
            Form::Foreign(_) => None,
        }
    }

    /// The hash of [`SidecarPlan::document`].
    pub fn document_hash(&self) -> Option<&str> {
        match &self.form {
            Form::Slots(SlotsPlan { document_hash, .. }) | Form::Shared { document_hash, .. } => {
                Some(document_hash)
            }
            Form::Foreign(_) => None,
        }
    }

    /// What `config` of the orders in the application's pods is to say; `None` if they have none
    /// for this sidecar, because it is shared.
    pub fn order_config(&self) -> Option<&str> {
        match &self.form {
            Form::Slots(slots) => Some(&slots.document_hash),
            Form::Shared { .. } => None,
            Form::Foreign(_) => Some(""),
        }
    }

    /// Address of a function for the application's containers.
    pub fn address(&self, function: &FunctionPlan) -> String {
        let namespace = self.sidecar.metadata.namespace.as_deref();
        match self.form {
            Form::Shared { .. } => layout::shared_function_url(
                self.name(),
                namespace.unwrap_or_default(),
                function.port,
            ),
            Form::Slots(_) | Form::Foreign(_) => layout::function_url(function.port),
        }
    }
}

/// Admin ports of the slots of a sidecar at a position among those of its pod.
pub(crate) fn admin_ports(position: usize) -> PerSlot<u16> {
    // The schema allows 16 sidecars, so the position always fits.
    let position = u16::try_from(position).unwrap_or(u16::MAX / 4);
    PerSlot {
        a: layout::admin_port(position, Slot::A),
        b: layout::admin_port(position, Slot::B),
    }
}

fn functions_and_form(
    application: &Application,
    index: usize,
    usage: &SidecarUse,
    sidecar: &IntegrationSidecar,
    referenced: &Referenced,
) -> Result<(Vec<FunctionPlan>, Form), InvalidApplication> {
    reject_unknown_functions(application, index, usage, sidecar)?;
    let document = document(application, index, usage, sidecar, referenced)?;
    let functions = document
        .functions
        .iter()
        .map(|function| FunctionPlan {
            name: function.name.clone(),
            port: function.port,
        })
        .collect();
    let document_hash =
        content_hash(&document).map_err(|error| InvalidApplication::Unwritable {
            sidecar: usage.name.clone(),
            error,
        })?;
    let sockets = usage.unix_socket.as_ref();
    let form = match sidecar.spec.effective_sharing() {
        Sharing::Pod => {
            let used = |name: &str| {
                let mut functions = document.functions.iter();
                functions.any(|function| function.name == name)
            };
            Form::Slots(SlotsPlan {
                secrets: secret_names(sidecar, used),
                admin: admin_ports(index),
                socket_containers: sockets
                    .map(|sockets| sockets.mount_into.clone())
                    .unwrap_or_default(),
                document,
                document_hash,
            })
        }
        sharing @ (Sharing::Node | Sharing::Namespace) => {
            if sockets.is_some() {
                return Err(InvalidApplication::SocketsOfShared {
                    application: application.name.clone(),
                    index,
                    sidecar: usage.name.clone(),
                    sharing,
                });
            }
            reject_shared_clashes(sidecar)?;
            Form::Shared {
                document,
                document_hash,
            }
        }
    };
    Ok((functions, form))
}

/// Names of the Secrets of a sidecar's store, and of those functions that are used.
pub(crate) fn secret_names(
    sidecar: &IntegrationSidecar,
    is_used: impl Fn(&str) -> bool,
) -> BTreeSet<String> {
    let functions = sidecar.spec.functions.iter();
    let sources = functions
        .filter(|function| is_used(&function.name))
        .flat_map(|function| function.config_from.iter().flatten());
    let store = sidecar.spec.store.as_ref();
    let postgresql = store.and_then(|store| store.postgresql.as_ref());
    sources
        .filter_map(|source| source.secret_ref.as_ref())
        .map(|reference| reference.name.clone())
        .chain(postgresql.map(|store| store.credentials.secret_name.clone()))
        .collect()
}

/// An image that is not built on the chassis has no functions to choose or to configure.
fn reject_use_of_functions(
    application: &Application,
    index: usize,
    usage: &SidecarUse,
) -> Result<(), InvalidApplication> {
    let has_parameters = usage.parameters.iter().flatten().next().is_some();
    let given = [
        ("functions", usage.functions.is_some()),
        ("parameters", has_parameters),
        ("unixSocket", usage.unix_socket.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((field, _)) => Err(InvalidApplication::NoFunctions {
            application: application.name.clone(),
            field: format!("sidecars[{index}].{field}"),
            sidecar: usage.name.clone(),
        }),
    }
}
