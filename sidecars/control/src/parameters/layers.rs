use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Layer, Values};

/// Reads the keys and values of a mounted Secret, by its name.
pub type ReadSecret<'a> = &'a dyn Fn(&str) -> Result<BTreeMap<String, String>, SecretUnreadable>;

/// A Secret that a layer names cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("Secret {name} cannot be read: {message}")]
pub struct SecretUnreadable {
    /// Name of the Secret.
    pub name: String,
    /// Why.
    pub message: String,
}

/// The layers do not give the parameters that a function needs.
#[derive(Debug, thiserror::Error)]
pub enum InvalidParameters {
    /// A Secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretUnreadable),
    /// A source holds a key that is not a parameter.
    #[error("{source_name}: {field} is not a parameter; allowed are {allowed}")]
    Unknown {
        /// Where it was found.
        source_name: String,
        /// What was found.
        field: String,
        /// The parameters that exist.
        allowed: String,
    },
    /// A parameter's value does not fit.
    #[error("{source_name}: {field} is {found}; allowed is {allowed}")]
    Value {
        /// Where it was found.
        source_name: String,
        /// The parameter.
        field: &'static str,
        /// What was found, at most 80 characters of it.
        found: String,
        /// What would be right.
        allowed: &'static str,
    },
    /// No source gives a parameter that is needed.
    #[error("{field} is given by none of: {sources}; it must be {allowed}")]
    Missing {
        /// The parameter.
        field: &'static str,
        /// The sources that were looked at.
        sources: String,
        /// What would be right.
        allowed: &'static str,
    },
}

/// The merged layers: each parameter's last value and the source that gave it.
pub(super) struct Merged {
    fields: BTreeMap<String, (String, Value)>,
    sources: Vec<String>,
}

impl Merged {
    /// Merges layers, later ones winning. `allowed` are the names of all parameters.
    pub(super) fn new(
        layers: &[Layer],
        allowed: &[&str],
        read_secret: ReadSecret<'_>,
    ) -> Result<Merged, InvalidParameters> {
        Merged::where_known(layers, Some(allowed), read_secret)
    }

    /// Merges layers whose parameters may have any names, later ones winning.
    pub(super) fn of_any_names(
        layers: &[Layer],
        read_secret: ReadSecret<'_>,
    ) -> Result<Merged, InvalidParameters> {
        Merged::where_known(layers, None, read_secret)
    }

    fn where_known(
        layers: &[Layer],
        allowed: Option<&[&str]>,
        read_secret: ReadSecret<'_>,
    ) -> Result<Merged, InvalidParameters> {
        let mut merged = Merged {
            fields: BTreeMap::new(),
            sources: Vec::new(),
        };
        for layer in layers {
            let values = match &layer.values {
                Values::Parameters(map) => map.clone(),
                Values::Text(text) => parse_text(text),
                Values::Secret(name) => parse_text(&read_secret(name)?),
            };
            for (field, value) in values {
                if let Some(allowed) = allowed
                    && !allowed.contains(&field.as_str())
                {
                    return Err(InvalidParameters::Unknown {
                        source_name: layer.source.clone(),
                        field,
                        allowed: allowed.join(", "),
                    });
                }
                merged.fields.insert(field, (layer.source.clone(), value));
            }
            merged.sources.push(layer.source.clone());
        }
        Ok(merged)
    }

    /// All parameters with their values.
    pub(super) fn into_values(self) -> Map<String, Value> {
        let values = self.fields.into_iter();
        values.map(|(field, (_, value))| (field, value)).collect()
    }

    /// The value of a parameter, if given, when it has the right form and `accept` takes it.
    pub(super) fn optional<T: DeserializeOwned, U>(
        &self,
        field: &'static str,
        allowed: &'static str,
        accept: impl FnOnce(T) -> Option<U>,
    ) -> Result<Option<U>, InvalidParameters> {
        let Some((source, value)) = self.fields.get(field) else {
            return Ok(None);
        };
        serde_json::from_value(value.clone())
            .ok()
            .and_then(accept)
            .map(Some)
            .ok_or_else(|| InvalidParameters::Value {
                source_name: source.clone(),
                field,
                found: value.to_string().chars().take(80).collect(),
                allowed,
            })
    }

    /// Like [`Merged::optional`], for a parameter that must be given.
    pub(super) fn required<T: DeserializeOwned, U>(
        &self,
        field: &'static str,
        allowed: &'static str,
        accept: impl FnOnce(T) -> Option<U>,
    ) -> Result<U, InvalidParameters> {
        self.optional(field, allowed, accept)?
            .ok_or_else(|| InvalidParameters::Missing {
                field,
                sources: self.sources.join(", "),
                allowed,
            })
    }
}

/// Text that is not JSON stands for itself, so that the message about it shows what was written.
fn parse_text(text: &BTreeMap<String, String>) -> Map<String, Value> {
    text.iter()
        .map(|(field, value)| {
            let parsed =
                serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.clone()));
            (field.clone(), parsed)
        })
        .collect()
}
