use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::layers::{InvalidParameters, Merged, ReadSecret};
use crate::Layer;

/// Parameters of a function of the image's own: any object. The image validates them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CustomParameters(pub Map<String, Value>);

impl CustomParameters {
    /// Merges the layers of a function, later ones winning parameter by parameter.
    pub fn resolve(
        layers: &[Layer],
        read_secret: ReadSecret<'_>,
    ) -> Result<Map<String, Value>, InvalidParameters> {
        Ok(Merged::of_any_names(layers, read_secret)?.into_values())
    }
}

impl JsonSchema for CustomParameters {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CustomParameters".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::Values;

    fn layer(source: &str, values: Values) -> Layer {
        Layer {
            source: source.into(),
            values,
        }
    }

    #[test]
    fn later_layers_win_and_text_is_json_where_it_can_be() {
        let typed = json!({"fields": ["/a"], "mask": "x", "deep": {"kept": true}});
        let text = BTreeMap::from([
            ("fields".to_owned(), "[\"/b\"]".to_owned()),
            ("mask".to_owned(), "***".to_owned()),
        ]);
        let secret = BTreeMap::from([("salt".to_owned(), "7".to_owned())]);
        let layers = [
            layer(
                "sidecar",
                Values::Parameters(typed.as_object().unwrap().clone()),
            ),
            layer("ConfigMap one", Values::Text(text)),
            layer("Secret s", Values::Secret("s".into())),
        ];
        let resolved = CustomParameters::resolve(&layers, &|_| Ok(secret.clone())).unwrap();
        assert_eq!(
            Value::Object(resolved),
            json!({"fields": ["/b"], "mask": "***", "salt": 7, "deep": {"kept": true}})
        );
    }

    #[test]
    fn a_secret_that_cannot_be_read_is_named() {
        let layers = [layer("Secret s", Values::Secret("s".into()))];
        let absent = |name: &str| {
            Err(super::super::SecretUnreadable {
                name: name.into(),
                message: "not mounted".into(),
            })
        };
        let refused = CustomParameters::resolve(&layers, &absent).unwrap_err();
        assert_eq!(refused.to_string(), "Secret s cannot be read: not mounted");
    }
}
