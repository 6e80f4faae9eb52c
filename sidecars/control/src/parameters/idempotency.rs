use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::layers::{InvalidParameters, Merged, ReadSecret};
use crate::Layer;

const KEY_FIELDS: &str = "keyFields";
const MAX_DOCUMENT_BYTES: &str = "maxDocumentBytes";
const EXPIRE_AFTER_SECONDS: &str = "expireAfterSeconds";

const DEFAULT_MAX_DOCUMENT_BYTES: usize = 1 << 20;
const LARGEST_MAX_DOCUMENT_BYTES: usize = 16 << 20;
const MAX_KEY_FIELDS: usize = 16;
const MAX_POINTER_LENGTH: usize = 256;

/// Parameters of an idempotency function: it stores a JSON document once per key and answers every
/// later document of the same key with the first one.
///
/// Every parameter may also come from `configFrom` and from the application's own `parameters`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdempotencyParameters {
    /// The fields that make up a document's key, as JSON Pointers (RFC 6901), for example
    /// `["/customer/id", "/orderNumber"]`. Two documents are the same entry when all these fields
    /// are equal. A document without one of them is refused. Must be given by at least one source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 16),
        inner(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)+$"))
    )]
    pub key_fields: Option<Vec<String>>,

    /// Largest document that is accepted, in bytes; 1048576 (1 MiB) when no source gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub max_document_bytes: Option<i64>,

    /// How long an entry is kept, in seconds by the database's clock. After that its key is free
    /// again. Entries are kept for ever when no source gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3_153_600_000_i64))]
    pub expire_after_seconds: Option<i64>,
}

/// Validated parameters of an idempotency function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The fields of the key, sorted, so that their order in the configuration means nothing.
    pub key_fields: Vec<KeyField>,
    /// Largest document, in bytes.
    pub max_document_bytes: usize,
    /// How long an entry is kept; `None` is for ever.
    pub expire_after: Option<Duration>,
}

/// A JSON Pointer (RFC 6901) to a field of the key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyField(String);

impl KeyField {
    /// Accepts a non-empty pointer of at most 256 characters whose escapes are `~0` and `~1`.
    fn parse(text: String) -> Option<KeyField> {
        let escapes_are_valid = text
            .split('~')
            .skip(1)
            .all(|rest| rest.starts_with(['0', '1']));
        (text.starts_with('/') && text.len() <= MAX_POINTER_LENGTH && escapes_are_valid)
            .then_some(KeyField(text))
    }

    /// The pointer as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Idempotency {
    /// Merges the layers of a function and validates the result.
    pub fn resolve(
        layers: &[Layer],
        read_secret: ReadSecret<'_>,
    ) -> Result<Idempotency, InvalidParameters> {
        let merged = Merged::new(
            layers,
            &[KEY_FIELDS, MAX_DOCUMENT_BYTES, EXPIRE_AFTER_SECONDS],
            read_secret,
        )?;
        Ok(Idempotency {
            key_fields: merged.required(
                KEY_FIELDS,
                "a list of 1 to 16 different JSON Pointers, such as [\"/orderId\"]",
                key_fields,
            )?,
            max_document_bytes: merged
                .optional(
                    MAX_DOCUMENT_BYTES,
                    "a whole number from 1 to 16777216",
                    |bytes: usize| {
                        (1..=LARGEST_MAX_DOCUMENT_BYTES)
                            .contains(&bytes)
                            .then_some(bytes)
                    },
                )?
                .unwrap_or(DEFAULT_MAX_DOCUMENT_BYTES),
            expire_after: merged.optional(
                EXPIRE_AFTER_SECONDS,
                "a whole number from 1 to 3153600000",
                |seconds: u64| {
                    (1..=3_153_600_000)
                        .contains(&seconds)
                        .then_some(Duration::from_secs(seconds))
                },
            )?,
        })
    }
}

fn key_fields(pointers: Vec<String>) -> Option<Vec<KeyField>> {
    let count = pointers.len();
    let mut fields = pointers
        .into_iter()
        .map(KeyField::parse)
        .collect::<Option<Vec<_>>>()?;
    fields.sort();
    fields.dedup();
    ((1..=MAX_KEY_FIELDS).contains(&count) && fields.len() == count).then_some(fields)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::SecretUnreadable;
    use super::*;
    use crate::Values;

    fn typed(source: &str, value: serde_json::Value) -> Layer {
        Layer {
            source: source.into(),
            values: Values::Parameters(value.as_object().unwrap().clone()),
        }
    }

    fn text(source: &str, field: &str, value: &str) -> Layer {
        Layer {
            source: source.into(),
            values: Values::Text(BTreeMap::from([(field.into(), value.into())])),
        }
    }

    fn no_secrets(name: &str) -> Result<BTreeMap<String, String>, SecretUnreadable> {
        Err(SecretUnreadable {
            name: name.into(),
            message: "not mounted".into(),
        })
    }

    fn message(layers: &[Layer]) -> String {
        Idempotency::resolve(layers, &no_secrets)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn later_layers_win_field_by_field() {
        let resolved = Idempotency::resolve(
            &[
                typed(
                    "sidecar",
                    json!({"keyFields": ["/a"], "maxDocumentBytes": 10}),
                ),
                text("ConfigMap one", "maxDocumentBytes", "20"),
                typed("app", json!({"keyFields": ["/c", "/b"]})),
            ],
            &no_secrets,
        )
        .unwrap();
        let fields: Vec<_> = resolved.key_fields.iter().map(KeyField::as_str).collect();
        assert_eq!(fields, ["/b", "/c"]);
        assert_eq!(resolved.max_document_bytes, 20);
        assert_eq!(resolved.expire_after, None);
    }

    #[test]
    fn a_secret_is_a_layer_like_any_other() {
        let layer = Layer {
            source: "Secret s".into(),
            values: Values::Secret("s".into()),
        };
        let read = |name: &str| {
            assert_eq!(name, "s");
            Ok(BTreeMap::from([(
                "keyFields".to_owned(),
                "[\"/id\"]".to_owned(),
            )]))
        };
        let resolved = Idempotency::resolve(std::slice::from_ref(&layer), &read).unwrap();
        assert_eq!(resolved.key_fields[0].as_str(), "/id");
        assert_eq!(message(&[layer]), "Secret s cannot be read: not mounted");
    }

    #[test]
    fn errors_name_source_field_found_and_allowed() {
        assert_eq!(
            message(&[text("ConfigMap one", "keyField", "x")]),
            "ConfigMap one: keyField is not a parameter; allowed are keyFields, maxDocumentBytes, expireAfterSeconds"
        );
        assert_eq!(
            message(&[text("ConfigMap one", "keyFields", "/id")]),
            "ConfigMap one: keyFields is \"/id\"; allowed is a list of 1 to 16 different JSON Pointers, such as [\"/orderId\"]"
        );
        assert_eq!(
            message(&[typed(
                "app",
                json!({"keyFields": ["/a"], "expireAfterSeconds": 0})
            )]),
            "app: expireAfterSeconds is 0; allowed is a whole number from 1 to 3153600000"
        );
        assert_eq!(
            message(&[typed("sidecar", json!({})), typed("app", json!({}))]),
            "keyFields is given by none of: sidecar, app; it must be a list of 1 to 16 different JSON Pointers, such as [\"/orderId\"]"
        );
    }

    #[test]
    fn pointers_that_rfc_6901_does_not_know_are_refused() {
        for bad in [
            json!([""]),
            json!(["a"]),
            json!(["/~2"]),
            json!(["/a~"]),
            json!(["/a", "/a"]),
            json!([]),
        ] {
            let found = message(&[typed("app", json!({ "keyFields": bad }))]);
            assert!(found.starts_with("app: keyFields is "), "{found}");
        }
    }
}
