use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use outrigger_api::{
    CustomParameters, FunctionSpec, IdempotencyParameters, IntegratedApp, IntegrationSidecar,
    SidecarUse,
};
use outrigger_control::parameters::{Idempotency, InvalidParameters, SecretUnreadable};
use outrigger_control::{
    Application, Document, FunctionDocument, FunctionKind, Layer, PerSlot, Slot, Values,
    content_hash, layout,
};
use serde_json::Value;

use crate::InvalidApplication;

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

/// What one sidecar is to be in each pod of an application.
#[derive(Clone, Debug)]
pub struct SidecarPlan {
    /// The IntegrationSidecar.
    pub sidecar: IntegrationSidecar,
    /// The functions that the application uses.
    pub functions: Vec<FunctionPlan>,
    /// The containers that get the functions' addresses; `None` for all.
    pub containers: Option<BTreeSet<String>>,
    /// The configuration.
    pub document: Document,
    /// Its hash, the name under which slots find it.
    pub document_hash: String,
    /// Names of the Secrets to mount into the slots.
    pub secrets: BTreeSet<String>,
    /// Admin port of each slot.
    pub admin: PerSlot<u16>,
}

/// Where a function listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionPlan {
    /// Its name.
    pub name: String,
    /// Its loopback port.
    pub port: u16,
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
            sidecars.push(sidecar_plan(&identity, index, usage, sidecar, referenced)?);
        }
        reject_clashes(&identity, &sidecars)?;
        Ok(ApplicationPlan {
            application: identity,
            sidecars,
        })
    }
}

impl SidecarPlan {
    /// Name of the IntegrationSidecar.
    pub fn name(&self) -> &str {
        &self.document.sidecar
    }
}

fn sidecar_plan(
    application: &Application,
    index: usize,
    usage: &SidecarUse,
    sidecar: &IntegrationSidecar,
    referenced: &Referenced,
) -> Result<SidecarPlan, InvalidApplication> {
    reject_unknown_functions(application, index, usage, sidecar)?;
    let used: Vec<_> = sidecar
        .spec
        .functions
        .iter()
        .filter(|function| {
            usage
                .functions
                .as_ref()
                .is_none_or(|names| names.contains(&function.name))
        })
        .collect();
    let functions = used
        .iter()
        .map(|function| function_document(application, index, usage, sidecar, function, referenced))
        .collect::<Result<Vec<_>, _>>()?;
    let postgresql = sidecar
        .spec
        .store
        .as_ref()
        .and_then(|store| store.postgresql.clone());

    let secrets = used
        .iter()
        .flat_map(|function| function.config_from.iter().flatten())
        .filter_map(|source| source.secret_ref.as_ref())
        .map(|reference| reference.name.clone())
        .chain(
            postgresql
                .iter()
                .map(|store| store.credentials.secret_name.clone()),
        )
        .collect();
    let document = Document {
        v: Document::VERSION,
        application: application.clone(),
        sidecar: usage.name.clone(),
        functions,
        postgresql,
    };
    let document_hash =
        content_hash(&document).map_err(|error| InvalidApplication::Unwritable {
            sidecar: usage.name.clone(),
            error,
        })?;
    // The schema allows 16 sidecars, so the position always fits.
    let position = u16::try_from(index).unwrap_or(u16::MAX / 4);
    Ok(SidecarPlan {
        functions: document
            .functions
            .iter()
            .map(|function| FunctionPlan {
                name: function.name.clone(),
                port: function.port,
            })
            .collect(),
        sidecar: sidecar.clone(),
        containers: usage.containers.clone(),
        document,
        document_hash,
        secrets,
        admin: PerSlot {
            a: layout::admin_port(position, Slot::A),
            b: layout::admin_port(position, Slot::B),
        },
    })
}

fn reject_unknown_functions(
    application: &Application,
    index: usize,
    usage: &SidecarUse,
    sidecar: &IntegrationSidecar,
) -> Result<(), InvalidApplication> {
    let known: Vec<_> = sidecar
        .spec
        .functions
        .iter()
        .map(|function| function.name.as_str())
        .collect();
    let listed = usage
        .functions
        .iter()
        .flatten()
        .map(|name| (format!("sidecars[{index}].functions"), name));
    let parameterized = usage.parameters.iter().flatten().map(|parameters| {
        (
            format!("sidecars[{index}].parameters"),
            &parameters.function,
        )
    });
    for (field, name) in listed.chain(parameterized) {
        if !known.contains(&name.as_str()) {
            return Err(InvalidApplication::FunctionNotFound {
                application: application.name.clone(),
                field,
                name: name.clone(),
                sidecar: usage.name.clone(),
                allowed: known.join(", "),
            });
        }
    }
    Ok(())
}

fn function_document(
    application: &Application,
    index: usize,
    usage: &SidecarUse,
    sidecar: &IntegrationSidecar,
    function: &FunctionSpec,
    referenced: &Referenced,
) -> Result<FunctionDocument, InvalidApplication> {
    let of_sidecar = format!(
        "IntegrationSidecar {} functions[{}]",
        usage.name, function.name
    );
    let mut layers = vec![typed(
        &of_sidecar,
        function.idempotency.as_ref(),
        function.custom.as_ref(),
    )];
    for (position, source) in function.config_from.iter().flatten().enumerate() {
        if let Some(reference) = &source.config_map_ref {
            let data = referenced.config_maps.get(&reference.name).ok_or_else(|| {
                InvalidApplication::ConfigMapNotFound {
                    sidecar: usage.name.clone(),
                    function: function.name.clone(),
                    index: position,
                    name: reference.name.clone(),
                    namespace: application.namespace.clone(),
                }
            })?;
            layers.push(Layer {
                source: format!("ConfigMap {}", reference.name),
                values: Values::Text(data.clone()),
            });
        }
        if let Some(reference) = &source.secret_ref {
            layers.push(Layer {
                source: format!("Secret {}", reference.name),
                values: Values::Secret(reference.name.clone()),
            });
        }
    }
    let own = usage
        .parameters
        .iter()
        .flatten()
        .filter(|parameters| parameters.function == function.name);
    layers.extend(own.map(|parameters| {
        let source = format!(
            "IntegratedApp {} sidecars[{index}].parameters[{}]",
            application.name, function.name
        );
        typed(
            &source,
            parameters.idempotency.as_ref(),
            parameters.custom.as_ref(),
        )
    }));
    let kind = match function.custom {
        Some(_) => FunctionKind::Custom(layers),
        None => {
            reject_invalid_parameters(&layers).map_err(|error| InvalidApplication::Parameters {
                function: format!("{} of {}", function.name, sidecar.name_any()),
                error,
            })?;
            FunctionKind::Idempotency(layers)
        }
    };
    Ok(FunctionDocument {
        name: function.name.clone(),
        port: function.effective_port(),
        kind,
    })
}

/// The layer of whichever kind of parameters is given.
fn typed(
    source: &str,
    idempotency: Option<&IdempotencyParameters>,
    custom: Option<&CustomParameters>,
) -> Layer {
    let (kind, values) = match (idempotency, custom) {
        (_, Some(custom)) => ("custom", Ok(Value::Object(custom.0.clone()))),
        (parameters, None) => (
            "idempotency",
            serde_json::to_value(parameters.cloned().unwrap_or_default()),
        ),
    };
    let values = match values {
        Ok(Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    Layer {
        source: format!("{source}.{kind}"),
        values: Values::Parameters(values),
    }
}

/// Validates what can be seen without the Secrets; a parameter that one of them may give is not missing.
fn reject_invalid_parameters(layers: &[Layer]) -> Result<(), InvalidParameters> {
    let unseen = |_: &str| Ok::<_, SecretUnreadable>(BTreeMap::new());
    let has_secret = layers
        .iter()
        .any(|layer| matches!(layer.values, Values::Secret(_)));
    match Idempotency::resolve(layers, &unseen) {
        Err(InvalidParameters::Missing { .. }) if has_secret => Ok(()),
        other => other.map(|_| ()),
    }
}

fn reject_clashes(
    application: &Application,
    sidecars: &[SidecarPlan],
) -> Result<(), InvalidApplication> {
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    let mut ports: BTreeMap<u16, String> = BTreeMap::new();
    for sidecar in sidecars {
        for slot in Slot::BOTH {
            let container = slot.container(sidecar.name());
            ports.insert(
                *sidecar.admin.of(slot),
                format!("the admin server of {container}"),
            );
        }
    }
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
            let user = format!("function {} of {}", function.name, sidecar.name());
            if let Some(first) = ports.insert(function.port, user.clone()) {
                return Err(InvalidApplication::PortConflict {
                    application: application.name.clone(),
                    port: function.port,
                    first,
                    second: user,
                });
            }
        }
    }
    Ok(())
}
