use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::{Dataset, IntegratedApp, IntegrationSidecar};

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
    [
        Dataset::crd(),
        IntegratedApp::crd(),
        IntegrationSidecar::crd(),
    ]
    .into_iter()
    .map(|mut definition| {
        for version in &mut definition.spec.versions {
            if let Some(schema) = version
                .schema
                .as_mut()
                .and_then(|validation| validation.open_api_v3_schema.as_mut())
            {
                for_api_server(schema);
            }
        }
        Manifest {
            file_name: format!("{}.yaml", definition.spec.names.plural),
            definition,
        }
    })
    .collect()
}

/// What schemars writes, as the API server and `kubectl explain` want it.
///
/// schemars marks every `Option` nullable. Without the mark the API server drops a null, so that
/// the rules' `has()` means what it says. `kubectl explain` wraps lines by itself.
fn for_api_server(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(text) = &mut schema.description {
        *text = unwrapped(text);
    }
    for property in schema.properties.iter_mut().flat_map(BTreeMap::values_mut) {
        for_api_server(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        for_api_server(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        for_api_server(values);
    }
}

/// A text with one line for each paragraph and each item of a list.
fn unwrapped(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim) {
        match lines.last_mut() {
            Some(last) if !last.is_empty() && !line.is_empty() && !line.starts_with("- ") => {
                last.push(' ');
                last.push_str(line);
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_and_items_have_a_line_each() {
        let text = "One\ntwo.\n\nThree:\n\n- four\n  five\n- six";
        assert_eq!(unwrapped(text), "One two.\n\nThree:\n\n- four five\n- six");
    }
}
