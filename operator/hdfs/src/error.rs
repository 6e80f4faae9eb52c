use std::time::Duration;

use crate::policy::Refused;

/// Why a source cannot be asked at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// There is nobody to ask.
    #[error("no NameNode is named; allowed are addresses such as http://namenode.hdfs:9870")]
    NoNameNode,
    /// Not the address of a NameNode.
    #[error("NameNode \"{address}\" {why}; allowed are http://HOST:PORT and https://HOST:PORT")]
    Address {
        /// As it was written.
        address: String,
        /// What is wrong with it, for a sentence.
        why: &'static str,
    },
    /// HDFS would refuse the user.
    #[error("user \"{0}\" is no name that HDFS takes; allowed is [A-Za-z_][A-Za-z0-9._-]*[$]?")]
    User(String),
    /// The authorities cannot be read.
    #[error("the certificate authorities cannot be used: {0}")]
    Authorities(String),
}

/// Why a scan found out nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// Each NameNode failed; with what it did.
    #[error("no NameNode answers: {}", each(.0))]
    NoNameNode(Vec<(String, ServerError)>),
    /// Too much to ask for.
    #[error(
        "the paths hold {found} {what}, {most} of them below {path}; allowed are {allowed} {what}"
    )]
    TooMany {
        /// `files` or `directories`.
        what: &'static str,
        /// The path that holds most.
        path: String,
        /// How many that one holds.
        most: u64,
        /// How many all paths hold.
        found: u64,
        /// The limit.
        allowed: u64,
    },
    /// Too much to remember.
    #[error(
        "the NameNode tells of more than {allowed} {what}, which is the limit of a Dataset; several Datasets with fewer paths each may do"
    )]
    TooVaried {
        /// `DataNodes` or `sets of DataNodes that hold a block`.
        what: &'static str,
        /// The limit.
        allowed: usize,
    },
}

/// What one NameNode did instead of answering, so that the next one is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// Its address is refused.
    #[error("{}", refused(.host, .addresses))]
    Refused {
        /// The host as it was named.
        host: String,
        /// What it resolves to.
        addresses: Vec<Refused>,
    },
    /// No connection.
    #[error("cannot be reached: {0}")]
    Connect(String),
    /// The connection broke, or it is not HTTP.
    #[error("broke off: {0}")]
    Broken(String),
    /// Nothing came, or not all.
    #[error("did not answer within {}", seconds(.0))]
    Slow(Duration),
    /// It is not the active one (`StandbyException`, `RetriableException`).
    #[error("is not active: {0}")]
    NotActive(String),
    /// It sends elsewhere.
    #[error("redirects to \"{0}\"; redirects are not followed")]
    Redirect(String),
    /// It wants to know who asks.
    #[error("asks for authentication ({0}); only simple authentication is supported")]
    Authentication(String),
    /// It answers in another language than JSON.
    #[error(
        "answered {status} with {content} instead of JSON; is this the web address of a NameNode?"
    )]
    NotJson {
        /// The HTTP status.
        status: u16,
        /// The content type, or what was found wrong.
        content: String,
    },
}

/// Why the bytes of one path are not known. The other paths are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Not a path that can be asked for.
    #[error("path \"{path}\" {why}; allowed are absolute paths such as /data/events")]
    Unusable {
        /// As it was written.
        path: String,
        /// What is wrong with it, for a sentence.
        why: &'static str,
    },
    /// It does not exist.
    #[error("path {0} does not exist")]
    Missing(String),
    /// The user may not see it.
    #[error("path {path} may not be read: {message}")]
    Denied {
        /// The path.
        path: String,
        /// What the NameNode said.
        message: String,
    },
    /// The NameNode does not know yet where blocks are.
    #[error("path {path}: the NameNode is in safe mode: {message}")]
    SafeMode {
        /// The path.
        path: String,
        /// What the NameNode said.
        message: String,
    },
    /// An answer beyond the limit.
    #[error("path {path}: an answer is larger than {allowed} bytes, which is the limit")]
    TooLarge {
        /// What was asked about.
        path: String,
        /// The limit.
        allowed: usize,
    },
    /// A listing that does not go on.
    #[error("path {path}: the listing does not go on after \"{after}\"; it was given up")]
    Stuck {
        /// The directory.
        path: String,
        /// The last name that the page was to follow.
        after: String,
    },
    /// An answer that makes no sense.
    #[error("path {path}: the answer to {operation} cannot be read: {why}")]
    Answer {
        /// What was asked about.
        path: String,
        /// The operation.
        operation: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The server is too old, or none of HDFS.
    #[error("path {path}: {name_node} knows neither {operations}")]
    Unsupported {
        /// What was asked about.
        path: String,
        /// The server.
        name_node: String,
        /// What it was asked.
        operations: String,
    },
    /// Another error of the NameNode.
    #[error("path {path}: {exception}: {message}")]
    Remote {
        /// What was asked about.
        path: String,
        /// The name of the exception.
        exception: String,
        /// Its message, at most 256 characters.
        message: String,
    },
}

fn each(failures: &[(String, ServerError)]) -> String {
    let one = |(server, error): &(String, ServerError)| format!("{server} {error}");
    failures.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn refused(host: &str, addresses: &[Refused]) -> String {
    let all: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    format!(
        "is not connected to, since \"{host}\" leads nowhere else: {}",
        all.join(", ")
    )
}

fn seconds(time: &Duration) -> String {
    format!("{} s", time.as_secs_f64())
}
