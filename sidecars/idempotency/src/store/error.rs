use std::error::Error as _;
use std::fmt;
use std::io;

use tokio_postgres::error::{Severity, SqlState};

/// What is wrong with the store, as far as an operator of the database would tell cases apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// No connection can be made, or the server is starting or stopping.
    Unreachable,
    /// A connection ended in the middle of a statement.
    ConnectionLost,
    /// The server did not answer in time, or gave up in time.
    Timeout,
    /// Every connection of the pool stayed in use.
    Busy,
    /// TLS could not be agreed upon.
    Tls,
    /// User or password were refused.
    Authentication,
    /// There is no such database.
    DatabaseMissing,
    /// The server has no connection left for us.
    TooManyConnections,
    /// A standby server, or a read-only session.
    ReadOnly,
    /// No space left.
    DiskFull,
    /// A right is missing.
    Permission,
    /// The tables are missing and may not be created, or are not ours to use.
    Schema,
    /// Anything else.
    Failed,
}

impl Kind {
    /// The name in metrics, logs and problems.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Unreachable => "unreachable",
            Kind::ConnectionLost => "connection-lost",
            Kind::Timeout => "timeout",
            Kind::Busy => "busy",
            Kind::Tls => "tls",
            Kind::Authentication => "authentication",
            Kind::DatabaseMissing => "database-missing",
            Kind::TooManyConnections => "too-many-connections",
            Kind::ReadOnly => "read-only",
            Kind::DiskFull => "disk-full",
            Kind::Permission => "permission",
            Kind::Schema => "schema",
            Kind::Failed => "failed",
        }
    }

    /// True for what passes without anybody's doing: clients may try again at once.
    pub(crate) fn is_transient(self) -> bool {
        matches!(
            self,
            Kind::Unreachable
                | Kind::ConnectionLost
                | Kind::Timeout
                | Kind::Busy
                | Kind::TooManyConnections
        )
    }
}

/// What is wrong with a server or session that is read-only.
pub(super) const TAKES_NO_WRITES: &str =
    "takes no writes: it is a standby server or set to read-only";

/// The store did not do what it was asked to.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct StoreError {
    pub(crate) kind: Kind,
    /// What happened, without the server's name. Never holds keys or documents.
    pub(crate) message: String,
    /// True if the statement may have been carried out all the same.
    pub(crate) unclear: bool,
    /// True if the connection is of no further use.
    pub(crate) broken: bool,
}

impl StoreError {
    /// An error before anything was asked of the server.
    pub(crate) fn before(kind: Kind, message: impl Into<String>) -> StoreError {
        StoreError {
            kind,
            message: message.into(),
            unclear: false,
            broken: true,
        }
    }

    /// No connection could be made.
    pub(crate) fn connecting(error: &tokio_postgres::Error) -> StoreError {
        let (kind, message) = match error.as_db_error() {
            Some(answer) => (
                kind_of(answer.code()).unwrap_or(Kind::Failed),
                format!("refused the connection: {}", Answer(answer)),
            ),
            None if is_tls(error) => (Kind::Tls, format!("TLS failed: {}", innermost(error))),
            None if error.to_string().starts_with("authentication error") => (
                Kind::Authentication,
                format!("authentication failed: {}", innermost(error)),
            ),
            None => (
                Kind::Unreachable,
                format!("cannot be reached: {}", innermost(error)),
            ),
        };
        StoreError::before(kind, message)
    }

    /// A statement failed.
    pub(crate) fn statement(error: &tokio_postgres::Error) -> StoreError {
        let Some(answer) = error.as_db_error() else {
            return StoreError {
                kind: Kind::ConnectionLost,
                message: format!("closed the connection: {}", innermost(error)),
                unclear: true,
                broken: true,
            };
        };
        let fatal = !matches!(answer.parsed_severity(), Some(Severity::Error));
        let kind = match kind_of(answer.code()) {
            Some(Kind::Unreachable) if fatal => Kind::ConnectionLost,
            Some(kind) => kind,
            None if fatal => Kind::ConnectionLost,
            None => Kind::Failed,
        };
        StoreError {
            kind,
            message: match kind {
                // The server speaks of its own names for our statements.
                Kind::ReadOnly => TAKES_NO_WRITES.to_owned(),
                _ => format!("refused the statement: {}", Answer(answer)),
            },
            unclear: fatal,
            // After a failover a new connection may lead to another server, and prepared
            // statements do not outlive the tables that they were prepared for.
            broken: fatal
                || matches!(kind, Kind::ReadOnly | Kind::Schema)
                || [
                    SqlState::INVALID_SQL_STATEMENT_NAME,
                    SqlState::FEATURE_NOT_SUPPORTED,
                ]
                .contains(answer.code()),
        }
    }

    /// The server did not answer a statement.
    pub(crate) fn unanswered(seconds: u64) -> StoreError {
        StoreError {
            kind: Kind::Timeout,
            message: format!("did not answer within {seconds} s"),
            unclear: true,
            broken: true,
        }
    }

    /// Puts the server's name before the message.
    pub(crate) fn at(mut self, server: &str) -> StoreError {
        self.message = format!("{server} {}", self.message);
        self
    }
}

/// The server's own words. Its detail and context may quote values and are left out.
struct Answer<'e>(&'e tokio_postgres::error::DbError);

impl fmt::Display for Answer<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.0.code().code();
        // Class 22 is about data, and its messages may quote it.
        if code.starts_with("22") {
            write!(out, "SQLSTATE {code}")
        } else {
            write!(out, "{} (SQLSTATE {code})", self.0.message())
        }
    }
}

fn kind_of(code: &SqlState) -> Option<Kind> {
    let kind = match code.code() {
        "28000" | "28P01" => Kind::Authentication,
        "3D000" => Kind::DatabaseMissing,
        "53300" => Kind::TooManyConnections,
        "25006" => Kind::ReadOnly,
        "53100" => Kind::DiskFull,
        "57014" | "55P03" => Kind::Timeout,
        "42501" => Kind::Permission,
        "42P01" | "42703" | "42P10" | "3F000" => Kind::Schema,
        // Starting, stopping, restarting after a crash, tired of an idle connection.
        "57P01" | "57P02" | "57P03" | "57P05" => Kind::Unreachable,
        code if code.starts_with("08") => Kind::Unreachable,
        _ => return None,
    };
    Some(kind)
}

fn is_tls(error: &tokio_postgres::Error) -> bool {
    // The kind of these errors is private to the library, its text is not.
    error
        .to_string()
        .starts_with("error performing TLS handshake")
        || {
            let mut source = error.source();
            std::iter::from_fn(|| {
                let this = source?;
                source = this.source();
                Some(this)
            })
            .any(|cause| {
                cause
                    .downcast_ref::<io::Error>()
                    .and_then(io::Error::get_ref)
                    .is_some_and(|inner| inner.is::<rustls::Error>())
            })
        }
}

/// The cause that the others only wrap.
fn innermost(error: &tokio_postgres::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
