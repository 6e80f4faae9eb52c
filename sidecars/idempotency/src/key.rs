//! The key of a document: the values of its key fields in canonical form.

use outrigger_control::parameters::KeyField;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::json::{JsonObject, NumberOutOfRange, canonicalize, find};

/// What makes two documents the same entry: a JSON object with the canonical value of each key
/// field, a scalar, under its pointer, such as `{"/customer/id":7,"/orderNumber":"x"}`.
///
/// The pointers are part of it, so that a change of the key fields begins a new space of keys
/// rather than mixing two meanings in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    text: String,
    digest: [u8; 32],
}

/// A document has no key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoKey {
    #[error("the document has no value at {}; every key field must be there", .pointers.join(", "))]
    Missing { pointers: Vec<String> },
    #[error("the key field {pointer} is {found}; allowed are a string, a number, true and false")]
    WrongType {
        pointer: String,
        found: &'static str,
    },
    #[error("the key field {pointer} holds a number whose exponent has more than 15 digits")]
    NumberOutOfRange { pointer: String },
    #[error("the document cannot be read: {0}")]
    Unreadable(String),
}

impl Key {
    /// The key of a document.
    pub(crate) fn of(document: &JsonObject, fields: &[KeyField]) -> Result<Key, NoKey> {
        let unreadable = |error: serde_json::Error| NoKey::Unreadable(error.to_string());
        let document = document.raw().map_err(unreadable)?;
        let mut text = Vec::new();
        let mut missing = Vec::new();
        for (at, field) in fields.iter().enumerate() {
            let pointer = field.as_str();
            let Some(value) = find(document, pointer).map_err(unreadable)? else {
                missing.push(pointer.to_owned());
                continue;
            };
            if let Some(found) = not_a_scalar(value) {
                return Err(NoKey::WrongType {
                    pointer: pointer.to_owned(),
                    found,
                });
            }
            text.push(if at == 0 { b'{' } else { b',' });
            serde_json::to_writer(&mut text, pointer).map_err(unreadable)?;
            text.push(b':');
            canonicalize(value, &mut text).map_err(|NumberOutOfRange| NoKey::NumberOutOfRange {
                pointer: pointer.to_owned(),
            })?;
        }
        if !missing.is_empty() {
            return Err(NoKey::Missing { pointers: missing });
        }
        text.push(b'}');
        let text = String::from_utf8(text).map_err(|error| NoKey::Unreadable(error.to_string()))?;
        let digest = Sha256::digest(&text).into();
        Ok(Key { text, digest })
    }

    /// The canonical form.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the canonical form.
    pub(crate) fn digest(&self) -> &[u8] {
        &self.digest
    }
}

/// What a value is that cannot tell one document from another: a client that has no number yet
/// sends null, and would be answered with a stranger's document.
fn not_a_scalar(value: &RawValue) -> Option<&'static str> {
    match value.get().as_bytes().first() {
        Some(b'n') => Some("null"),
        Some(b'{') => Some("an object"),
        Some(b'[') => Some("an array"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use outrigger_control::parameters::Idempotency;
    use outrigger_control::{Layer, Values};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn fields(pointers: &[&str]) -> Vec<KeyField> {
        let serde_json::Value::Object(values) = json!({ "keyFields": pointers }) else {
            unreachable!()
        };
        let layer = Layer {
            source: "test".into(),
            values: Values::Parameters(values),
        };
        Idempotency::resolve(&[layer], &|_| unreachable!())
            .unwrap()
            .key_fields
    }

    fn key(document: &str, pointers: &[&str]) -> Result<Key, NoKey> {
        let document = JsonObject::parse(document.as_bytes().to_vec()).unwrap();
        Key::of(&document, &fields(pointers))
    }

    #[test]
    fn spelling_of_a_document_does_not_change_its_key() {
        let one = key(
            r#"{"a": {"y": 1.0, "x": "\u00e9"}, "b": 1e2, "c": 1}"#,
            &["/a/x", "/a/y", "/b"],
        );
        let other = key(
            r#"{"b":100,"c":[2],"a":{"x":"é","y":1}}"#,
            &["/b", "/a/y", "/a/x"],
        );
        assert_eq!(one, other);
        assert_eq!(one.unwrap().as_str(), r#"{"/a/x":"é","/a/y":1,"/b":1e2}"#);
    }

    #[test]
    fn only_scalars_are_keys_and_the_message_says_what_was_found() {
        for scalar in ["\"\"", "\"null\"", "0", "-1.5", "true", "false"] {
            key(&format!("{{\"a\": {scalar}}}"), &["/a"]).unwrap();
        }
        for (value, found) in [
            ("null", "null"),
            ("{\"id\": 1}", "an object"),
            ("[1]", "an array"),
        ] {
            let refused = key(&format!("{{\"a\": {value}}}"), &["/a"]).unwrap_err();
            assert_eq!(
                refused.to_string(),
                format!(
                    "the key field /a is {found}; allowed are a string, a number, true and false"
                )
            );
        }
    }

    #[test]
    fn every_missing_field_is_named() {
        assert_eq!(
            key(r#"{"b": 1}"#, &["/a", "/b", "/b/c"])
                .unwrap_err()
                .to_string(),
            "the document has no value at /a, /b/c; every key field must be there"
        );
    }

    #[test]
    fn a_number_beyond_reach_is_refused_by_field() {
        assert_eq!(
            key(r#"{"a": 1e-9999999999999999}"#, &["/a"]),
            Err(NoKey::NumberOutOfRange {
                pointer: "/a".into()
            })
        );
    }

    #[test]
    fn other_key_fields_make_another_key() {
        let document = r#"{"a": 1, "b": 1}"#;
        assert_ne!(
            key(document, &["/a"]).unwrap(),
            key(document, &["/b"]).unwrap()
        );
    }

    proptest! {
        #[test]
        fn two_fields_never_run_into_each_other(a in ".*", b in ".*", c in ".*", d in ".*") {
            let one = key(&json!({"a": a, "b": b}).to_string(), &["/a", "/b"]).unwrap();
            let other = key(&json!({"a": c, "b": d}).to_string(), &["/a", "/b"]).unwrap();
            prop_assert_eq!(one == other, (a, b) == (c, d));
        }
    }
}
