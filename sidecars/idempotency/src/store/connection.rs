//! How a connection is made: where to, as whom, protected how.

use std::sync::Arc;
use std::time::Duration;

use outrigger_control::parameters::{PostgresqlStore, SslMode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{Kind, StoreError};
use super::session::Session;

/// Time to connect and sign in, in seconds, over all addresses of the host.
const CONNECT_SECONDS: u64 = 3;
/// Time for one address of the host.
const ADDRESS_TIMEOUT: Duration = Duration::from_millis(1500);
/// An idle connection whose other end is gone is noticed after about 25 s.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// The server cuts longer names.
const MAX_APPLICATION_NAME: usize = 63;

const USERNAME: &str = "username";
const PASSWORD: &str = "password";
const CA: &str = "ca.crt";

/// A database and the right to use it. Two equal targets may share connections.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    store: PostgresqlStore,
    username: String,
    password: String,
    ca: Option<String>,
    application_name: String,
}

/// The store or its Secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidTarget {
    #[error("store.postgresql.{field} is {found}; allowed is {allowed}")]
    Field {
        field: &'static str,
        found: String,
        allowed: &'static str,
    },
    #[error(
        "Secret {secret} has no {key}; it must have username and password, and ca.crt if the server's certificate is not signed by a public authority"
    )]
    Missing { secret: String, key: &'static str },
    #[error(
        "Secret {secret}: ca.crt cannot be used: {message}; it must hold certificates in PEM form"
    )]
    Authority { secret: String, message: String },
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl Target {
    /// Takes the values of a mounted Secret.
    pub(crate) fn new(
        store: &PostgresqlStore,
        mut secret: std::collections::BTreeMap<String, String>,
        application_name: String,
    ) -> Result<Target, InvalidTarget> {
        check(store)?;
        let mut required = |key: &'static str| {
            secret
                .remove(key)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| InvalidTarget::Missing {
                    secret: store.credentials.secret_name.clone(),
                    key,
                })
        };
        Ok(Target {
            username: required(USERNAME)?,
            password: required(PASSWORD)?,
            ca: secret.remove(CA),
            store: store.clone(),
            application_name: application_name
                .chars()
                .take(MAX_APPLICATION_NAME)
                .collect(),
        })
    }

    /// The server and database, for messages.
    pub(crate) fn describe(&self) -> String {
        format!(
            "PostgreSQL at {}:{} (database {}, user {})",
            self.store.host,
            self.store.effective_port(),
            self.store.database,
            self.username
        )
    }

    pub(crate) fn max_connections(&self) -> usize {
        self.store.effective_max_connections()
    }

    fn config(&self) -> Config {
        let ssl_mode = match self.store.effective_ssl_mode() {
            SslMode::Disable => tokio_postgres::config::SslMode::Disable,
            SslMode::VerifyFull => tokio_postgres::config::SslMode::Require,
        };
        let mut config = Config::new();
        config
            .host(&self.store.host)
            .port(self.store.effective_port())
            .dbname(&self.store.database)
            .user(&self.username)
            .password(&self.password)
            .application_name(&self.application_name)
            .ssl_mode(ssl_mode)
            .connect_timeout(ADDRESS_TIMEOUT)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES);
        config
    }

    /// `None` stands for no TLS.
    fn tls(&self) -> Result<Option<MakeRustlsConnect>, InvalidTarget> {
        if self.store.effective_ssl_mode() == SslMode::Disable {
            return Ok(None);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots()?)
            .with_no_client_auth();
        Ok(Some(MakeRustlsConnect::new(config)))
    }

    fn roots(&self) -> Result<RootCertStore, InvalidTarget> {
        let Some(pem) = &self.ca else {
            return Ok(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect());
        };
        let unusable = |message: String| InvalidTarget::Authority {
            secret: self.store.credentials.secret_name.clone(),
            message,
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| unusable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unusable("it holds no certificate".to_owned()));
        }
        Ok(roots)
    }
}

fn check(store: &PostgresqlStore) -> Result<(), InvalidTarget> {
    let refuse = |field, found: String, allowed| {
        Err(InvalidTarget::Field {
            field,
            found,
            allowed,
        })
    };
    if store.host.is_empty() {
        return refuse("host", "empty".to_owned(), "a host name or address");
    }
    if store.database.is_empty() {
        return refuse("database", "empty".to_owned(), "the name of a database");
    }
    match store.port {
        Some(port) if !(1..=65_535).contains(&port) => {
            return refuse("port", port.to_string(), "a number from 1 to 65535");
        }
        _ => {}
    }
    match store.max_connections {
        Some(most) if !(1..=100).contains(&most) => {
            refuse("maxConnections", most.to_string(), "a number from 1 to 100")
        }
        _ => Ok(()),
    }
}

/// Makes connections to a [`Target`].
pub(crate) struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

impl Connector {
    pub(crate) fn new(target: &Target) -> Result<Connector, InvalidTarget> {
        Ok(Connector {
            config: target.config(),
            tls: target.tls()?,
        })
    }

    /// Connects, signs in and sets up a session.
    pub(crate) async fn connect(&self) -> Result<Session, StoreError> {
        timeout(Duration::from_secs(CONNECT_SECONDS), async {
            let (client, task) = self
                .sign_in()
                .await
                .map_err(|error| StoreError::connecting(&error))?;
            Session::start(client, task)
                .await
                .map_err(|error| StoreError::before(error.kind, error.message))
        })
        .await
        .unwrap_or_else(|_| {
            Err(StoreError::before(
                Kind::Unreachable,
                format!("cannot be reached: no connection within {CONNECT_SECONDS} s"),
            ))
        })
    }

    async fn sign_in(&self) -> Result<(Client, tokio::task::AbortHandle), tokio_postgres::Error> {
        // The task ends with its connection. Whoever waits for an answer learns of the error, and
        // an idle connection that ends is of no interest.
        match &self.tls {
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                let task = tokio::spawn(async move { drop(connection.await) });
                Ok((client, task.abort_handle()))
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                let task = tokio::spawn(async move { drop(connection.await) });
                Ok((client, task.abort_handle()))
            }
        }
    }
}
