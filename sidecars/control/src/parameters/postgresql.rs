use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A PostgreSQL database (14 or later) that a sidecar's functions store in. They create their own
/// tables, named `outrigger_…`, in the first schema of the user's search path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresqlStore {
    /// Host name or address of the primary server. Reads go there too: a replica may not have seen
    /// an entry yet.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,

    /// TCP port; 5432 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,

    /// Name of the database.
    #[schemars(length(min = 1, max = 63))]
    pub database: String,

    /// User and password.
    pub credentials: Credentials,

    /// See [`SslMode`], whose text stands in the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssl_mode: Option<SslMode>,

    /// Most connections that one slot opens; 4 when absent. A pod has two slots, and the standby
    /// keeps one connection open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_connections: Option<i32>,
}

/// Where user and password are found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// Name of a Secret of the namespace with the keys `username` and `password` (type
    /// `kubernetes.io/basic-auth`), and `ca.crt` if the server's certificate is not signed by a
    /// public authority. It is mounted into the sidecar's slots only; a change is picked up
    /// without a restart.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
}

/// How the connection is protected; `VerifyFull` when absent. The names follow libpq's `sslmode`.
///
/// - Disable: not encrypted. The password is still protected by SCRAM-SHA-256.
/// - VerifyFull: TLS; the server's certificate must be valid for `host`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SslMode {
    /// Not encrypted. The password is still protected by SCRAM-SHA-256.
    Disable,
    /// TLS; the server's certificate must be valid for `host`.
    VerifyFull,
}

impl PostgresqlStore {
    /// The port, with its default.
    pub fn effective_port(&self) -> u16 {
        self.port
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(5432)
    }

    /// The protection, with its default.
    pub fn effective_ssl_mode(&self) -> SslMode {
        self.ssl_mode.unwrap_or(SslMode::VerifyFull)
    }

    /// Most connections of one slot, with its default.
    pub fn effective_max_connections(&self) -> usize {
        self.max_connections
            .and_then(|most| usize::try_from(most).ok())
            .unwrap_or(4)
    }
}
