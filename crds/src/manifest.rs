use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::{IntegratedApp, IntegrationSidecar};

/// The manifest of one kind.
pub struct Manifest {
    /// Its file name.
    pub file_name: String,
    /// The object.
    pub definition: CustomResourceDefinition,
}

impl Manifest {
    /// The object as a YAML document.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        serde_saphyr::to_string(&self.definition)
    }
}

/// The manifests of all kinds, sorted by name.
pub fn manifests() -> Vec<Manifest> {
    [IntegratedApp::crd(), IntegrationSidecar::crd()]
        .into_iter()
        .map(|mut definition| {
            for version in &mut definition.spec.versions {
                if let Some(schema) = version
                    .schema
                    .as_mut()
                    .and_then(|validation| validation.open_api_v3_schema.as_mut())
                {
                    absent_rather_than_null(schema);
                }
            }
            Manifest {
                file_name: format!("{}.yaml", definition.spec.names.plural),
                definition,
            }
        })
        .collect()
}

/// schemars marks every `Option` nullable. Without the mark the API server drops a null, so that
/// the rules' `has()` means what it says.
fn absent_rather_than_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    for property in schema.properties.iter_mut().flat_map(BTreeMap::values_mut) {
        absent_rather_than_null(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        absent_rather_than_null(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        absent_rather_than_null(values);
    }
}
