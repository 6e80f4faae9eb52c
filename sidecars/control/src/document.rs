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

/// The configuration of one sidecar that several applications share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SharedDocument {
    /// Version of this form: 1.
    pub v: u32,
    /// Name of the IntegrationSidecar.
    pub sidecar: String,
    /// The applications, sorted by name.
    pub tenants: Vec<TenantDocument>,
}

/// One application's part of a shared sidecar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantDocument {
    /// What the functions are to do for it.
    pub document: Document,
    /// What it may use.
    pub limits: Limits,
}

/// What one application may use of a shared sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Largest body of a request, in bytes; without a limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<u64>,
    /// Requests that are answered at the same time. As many again wait their turn.
    pub max_concurrent_requests: u32,
    /// Requests per second, with bursts of as many; without a limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
}

/// A document as slots find it in its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AnyDocument {
    /// Of a sidecar that several applications share.
    Shared(SharedDocument),
    /// Of a sidecar in the application's own pod.
    Own(Document),
}

/// Who calls from where: the value of a function pod's annotation [`crate::layout::tenants_annotation`],
/// and the file [`crate::layout::TENANTS_FILE`]. A client cannot choose the address that its
/// connection comes from, so this is what tells tenants apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tenants {
    /// Version of this form: 1.
    pub v: u32,
    /// Addresses of the pods of each application, by its name.
    pub addresses: BTreeMap<String, Vec<std::net::IpAddr>>,
}

impl Tenants {
    /// Version of the form that this crate reads and writes.
    pub const VERSION: u32 = 1;
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
    /// A function of the image's own.
    Custom(Vec<Layer>),
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
