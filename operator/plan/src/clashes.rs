//! Names and ports that would be taken twice.

use std::collections::BTreeMap;

use kube::ResourceExt;
use outrigger_api::IntegrationSidecar;
use outrigger_control::{Application, PerSlot, Slot};

use crate::InvalidApplication;
use crate::sidecar::{Form, SidecarPlan, admin_ports};

/// Refuses an application whose sidecars stand in each other's way: by the name of a function, by a
/// port of the pod, or by the name of a container.
pub(crate) fn reject_clashes(
    application: &Application,
    sidecars: &[SidecarPlan],
) -> Result<(), InvalidApplication> {
    reject_function_names(application, sidecars)?;
    reject_container_names(application, sidecars)?;
    let mut ports = Ports::default();
    for sidecar in sidecars {
        if let Form::Slots(slots) = &sidecar.form {
            ports.reserve(sidecar.name(), &slots.admin);
        }
    }
    for sidecar in sidecars {
        let kind = match sidecar.form {
            Form::Slots(_) => "function",
            Form::Foreign(_) => "port",
            // It listens elsewhere.
            Form::Shared { .. } => continue,
        };
        for function in &sidecar.functions {
            let user = format!("{kind} {} of {}", function.name, sidecar.name());
            ports
                .take(function.port, user)
                .map_err(|clash| InvalidApplication::PortConflict {
                    application: application.name.clone(),
                    port: clash.port,
                    first: clash.first,
                    second: clash.second,
                })?;
        }
    }
    Ok(())
}

/// Refuses a shared sidecar whose own function pods could not run, whatever functions an
/// application uses: they serve all of them.
pub(crate) fn reject_shared_clashes(
    sidecar: &IntegrationSidecar,
) -> Result<(), InvalidApplication> {
    let name = sidecar.name_any();
    let mut ports = Ports::default();
    ports.reserve(&name, &admin_ports(0));
    for function in &sidecar.spec.functions {
        let user = format!("function {}", function.name);
        ports
            .take(function.effective_port(), user)
            .map_err(|clash| InvalidApplication::SharedPortConflict {
                sidecar: name.clone(),
                port: clash.port,
                first: clash.first,
                second: clash.second,
            })?;
    }
    Ok(())
}

fn reject_function_names(
    application: &Application,
    sidecars: &[SidecarPlan],
) -> Result<(), InvalidApplication> {
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for sidecar in sidecars {
        for function in &sidecar.functions {
            if let Some(first) = names.insert(&function.name, sidecar.name()) {
                return Err(InvalidApplication::FunctionNameConflict {
                    application: application.name.clone(),
                    name: function.name.clone(),
                    first: first.to_owned(),
                    second: sidecar.name().to_owned(),
                });
            }
        }
    }
    Ok(())
}

fn reject_container_names(
    application: &Application,
    sidecars: &[SidecarPlan],
) -> Result<(), InvalidApplication> {
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    for sidecar in sidecars {
        for container in sidecar.container_names() {
            if let Some(first) = names.insert(container.clone(), sidecar.name()) {
                return Err(InvalidApplication::ContainerNameConflict {
                    application: application.name.clone(),
                    container,
                    first: first.to_owned(),
                    second: sidecar.name().to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// Who listens on which port of one pod.
#[derive(Default)]
struct Ports(BTreeMap<u16, String>);

struct PortClash {
    port: u16,
    first: String,
    second: String,
}

impl Ports {
    fn reserve(&mut self, sidecar: &str, admin: &PerSlot<u16>) {
        for slot in Slot::BOTH {
            let container = slot.container(sidecar);
            let user = format!("the admin server of {container}");
            self.0.insert(*admin.of(slot), user);
        }
    }

    fn take(&mut self, port: u16, second: String) -> Result<(), PortClash> {
        match self.0.insert(port, second.clone()) {
            None => Ok(()),
            Some(first) => Err(PortClash {
                port,
                first,
                second,
            }),
        }
    }
}
