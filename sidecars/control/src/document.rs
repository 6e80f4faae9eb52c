use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::parameters::PostgresqlStore;

/// The configuration of one sidecar for one application, as the operator writes it for the slots.
///
/// It never holds the content of a Secret: those layers name the folder where the slot finds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// Version of this form: 1.
    pub v: u32,
    /// The application that the sidecar serves.
    pub application: Application,
    /// Name of the IntegrationSidecar.
    pub sidecar: String,
    /// The functions that the sidecar hosts for this application.
    pub functions: Vec<FunctionDocument>,
    /// The PostgreSQL database of functions that store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgresql: Option<PostgresqlStore>,
}

impl Document {
    /// Version of the form that this crate reads and writes.
    pub const VERSION: u32 = 1;
}

/// An application, as the scope of what a function stores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// Its namespace.
    pub namespace: String,
    /// Name of the IntegratedApp.
    pub name: String,
}

/// One function of a sidecar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FunctionDocument {
    /// Its name, unique in the application.
    pub name: String,
    /// Its loopback port.
    pub port: u16,
    /// What it does, with its parameters in layers, later ones winning.
    pub kind: FunctionKind,
}

/// The kinds of function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FunctionKind {
    /// Stores a document once per key.
    Idempotency(Vec<Layer>),
}

/// Parameters from one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Layer {
    /// Where they were written, for messages: `IntegrationSidecar orders functions[0].idempotency`.
    pub source: String,
    /// The parameters.
    pub values: Values,
}

/// The parameters of a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Values {
    /// Typed, from the API.
    Parameters(Map<String, Value>),
    /// From a ConfigMap: each key is a parameter's name, each value its JSON form.
    Text(BTreeMap<String, String>),
    /// Name of the mounted Secret whose keys and values are like those of `text`.
    Secret(String),
}
