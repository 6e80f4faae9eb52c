use std::collections::BTreeMap;

use kube::ResourceExt;
use outrigger_api::{
    CustomParameters, FunctionParameters, FunctionSpec, IdempotencyParameters, IntegrationSidecar,
    SidecarUse,
};
use outrigger_control::parameters::{Idempotency, InvalidParameters, SecretUnreadable};
use outrigger_control::{Application, Document, FunctionDocument, FunctionKind, Layer, Values};
use serde_json::Value;

use crate::{InvalidApplication, Referenced};

/// What a sidecar's functions are to do for an application.
pub(crate) fn document(
    application: &Application,
    index: usize,
    usage: &SidecarUse,
    sidecar: &IntegrationSidecar,
    referenced: &Referenced,
) -> Result<Document, InvalidApplication> {
    let used = sidecar.spec.functions.iter().filter(|function| {
        let chosen = usage.functions.as_ref();
        chosen.is_none_or(|names| names.contains(&function.name))
    });
    let functions = used
        .map(|function| function_document(application, index, usage, sidecar, function, referenced))
        .collect::<Result<Vec<_>, _>>()?;
    let store = sidecar.spec.store.as_ref();
    Ok(Document {
        v: Document::VERSION,
        application: application.clone(),
        sidecar: usage.name.clone(),
        functions,
        postgresql: store.and_then(|store| store.postgresql.clone()),
    })
}

/// Refuses names of functions that the sidecar does not have.
pub(crate) fn reject_unknown_functions(
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
    for parameters in own {
        let field = format!("sidecars[{index}].parameters[{}]", function.name);
        reject_another_kind(application, &field, parameters, sidecar, function)?;
        layers.push(typed(
            &format!("IntegratedApp {} {field}", application.name),
            parameters.idempotency.as_ref(),
            parameters.custom.as_ref(),
        ));
    }
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

/// Refuses parameters of another kind than the function is of.
fn reject_another_kind(
    application: &Application,
    field: &str,
    parameters: &FunctionParameters,
    sidecar: &IntegrationSidecar,
    function: &FunctionSpec,
) -> Result<(), InvalidApplication> {
    let kind = |is_custom: bool| if is_custom { "custom" } else { "idempotency" };
    let (found, allowed) = (
        kind(parameters.custom.is_some()),
        kind(function.custom.is_some()),
    );
    if found == allowed {
        return Ok(());
    }
    Err(InvalidApplication::AnotherKind {
        application: application.name.clone(),
        field: field.to_owned(),
        found,
        sidecar: sidecar.name_any(),
        allowed,
    })
}
