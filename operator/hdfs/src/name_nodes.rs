//! The NameNodes of one HDFS, of which one is active.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use parking_lot::Mutex;

use crate::answer::RemoteError;
use crate::error::{PathError, ScanError, ServerError, SourceError};
use crate::http::{Address, Answer, Failure, Http, Resource, shortened};
use crate::liveness::Overview;
use crate::pace::Pace;
use crate::path::{HdfsPath, encode};
use crate::policy::AddressPolicy;
use crate::source::{Settings, Source};

/// Both beans in one request.
const OVERVIEW: &str = "qry=Hadoop:service=NameNode,name=NameNode*";

/// Asks whichever NameNode is active.
pub(crate) struct NameNodes {
    http: Http,
    servers: Vec<Server>,
    /// The one that answered last.
    active: AtomicUsize,
    user: Option<String>,
    pace: Pace,
    silent_after: Duration,
    requests: AtomicU64,
}

struct Server {
    address: Address,
    /// What it does not know.
    unknown: Mutex<HashSet<Operation>>,
}

/// What can be asked about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    ContentSummary,
    ListStatusBatch,
    ListStatus,
    FileBlockLocations,
    BlockLocations,
}

/// A question about a path.
#[derive(Clone, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) path: &'a HdfsPath,
    /// The operation, and what to ask of a server that does not know it.
    pub(crate) operations: &'a [Operation],
    /// Goes on after this name. Only pages listen.
    pub(crate) after: Option<&'a str>,
    /// Offset and length in bytes. Only blocks listen.
    pub(crate) range: Option<(u64, u64)>,
}

/// An answer and what it is the answer to.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) operation: Operation,
    pub(crate) body: Bytes,
}

/// What keeps from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// This path is the trouble.
    Path(PathError),
    /// Everything is.
    Scan(ScanError),
}

impl From<PathError> for Trouble {
    fn from(error: PathError) -> Trouble {
        Trouble::Path(error)
    }
}

impl From<ScanError> for Trouble {
    fn from(error: ScanError) -> Trouble {
        Trouble::Scan(error)
    }
}

/// What an answer means.
enum Meaning {
    Reply(Bytes),
    UnknownOperation,
    Server(ServerError),
    Path(PathError),
}

// === impl Operation ===

impl Operation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Operation::ContentSummary => "GETCONTENTSUMMARY",
            Operation::ListStatusBatch => "LISTSTATUS_BATCH",
            Operation::ListStatus => "LISTSTATUS",
            Operation::FileBlockLocations => "GETFILEBLOCKLOCATIONS",
            Operation::BlockLocations => "GET_BLOCK_LOCATIONS",
        }
    }
}

// === impl Question ===

impl<'a> Question<'a> {
    pub(crate) fn new(path: &'a HdfsPath, operations: &'a [Operation]) -> Question<'a> {
        Question {
            path,
            operations,
            after: None,
            range: None,
        }
    }

    /// Names of parameters are in lower case: newer servers take no others, and a page after the
    /// first would be the first again.
    fn query(&self, operation: Operation, user: Option<&str>) -> String {
        let mut query = format!("op={}", operation.name());
        let pages = operation == Operation::ListStatusBatch;
        if let Some(after) = self.after.filter(|_| pages) {
            query += &format!("&startafter={}", encode(after));
        }
        let blocks = matches!(
            operation,
            Operation::FileBlockLocations | Operation::BlockLocations
        );
        if let Some((offset, length)) = self.range.filter(|_| blocks) {
            query += &format!("&offset={offset}&length={length}");
        }
        if let Some(user) = user {
            query += &format!("&user.name={}", encode(user));
        }
        query
    }
}

// === impl NameNodes ===

impl NameNodes {
    pub(crate) fn new(
        source: &Source,
        policy: Arc<AddressPolicy>,
        settings: &Settings,
    ) -> Result<NameNodes, SourceError> {
        let server = |address: &String| {
            let address = Address::parse(address)?;
            let unknown = Mutex::default();
            Ok(Server { address, unknown })
        };
        let servers: Vec<_> = source
            .name_nodes
            .iter()
            .map(server)
            .collect::<Result<_, _>>()?;
        if servers.is_empty() {
            return Err(SourceError::NoNameNode);
        }
        if let Some(user) = source.user.as_ref().filter(|user| !is_user(user)) {
            return Err(SourceError::User(user.clone()));
        }
        Ok(NameNodes {
            http: Http::new(policy, source.authorities.as_deref(), settings)?,
            servers,
            active: AtomicUsize::new(0),
            user: source.user.clone(),
            pace: Pace::new(settings.concurrency, settings.requests_per_second),
            silent_after: settings.silent_after,
            requests: AtomicU64::new(0),
        })
    }

    /// HTTP requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// What the active NameNode says of itself and its DataNodes. A server without JMX tells
    /// nothing.
    pub(crate) async fn overview(&self) -> Result<Overview, ScanError> {
        let mut failures = Vec::new();
        for index in self.order() {
            match self.overview_of(&self.servers[index]).await {
                Ok(overview) => {
                    self.active.store(index, Relaxed);
                    return Ok(overview);
                }
                Err(error) => failures.push((self.servers[index].address.to_string(), error)),
            }
        }
        Err(ScanError::NoNameNode(failures))
    }

    async fn overview_of(&self, server: &Server) -> Result<Overview, ServerError> {
        let unknown = |why: String| {
            tracing::debug!(name_node = %server.address, why, "no word of which DataNodes are alive");
            Ok(Overview::default())
        };
        let answer = match self.get(server, &Resource::Jmx { query: OVERVIEW }).await {
            Ok(answer) => answer,
            Err(Failure::TooLarge(limit)) => return unknown(format!("more than {limit} bytes")),
            Err(Failure::Server(error)) => match error {
                ServerError::NotJson { .. }
                | ServerError::Redirect(_)
                | ServerError::Authentication(_) => return unknown(error.to_string()),
                _ => return Err(error),
            },
        };
        if answer.status != StatusCode::OK {
            return unknown(format!("status {}", answer.status));
        }
        let overview = match Overview::read(&answer.body, self.silent_after) {
            Ok(overview) => overview,
            Err(why) => return unknown(why),
        };
        match overview.state.as_deref() {
            Some("active") | None => Ok(overview),
            Some(state) => Err(ServerError::NotActive(format!(
                "it says {}",
                shortened(state)
            ))),
        }
    }

    /// Asks the NameNodes in turn, the one that answered last first, until one answers.
    pub(crate) async fn ask(&self, question: &Question<'_>) -> Result<Reply, Trouble> {
        let mut failures = Vec::new();
        for index in self.order() {
            let told = match self.ask_one(&self.servers[index], question).await {
                Ok(reply) => Ok(reply),
                Err(Failing::Path(error)) => Err(Trouble::Path(error)),
                Err(Failing::Server(error)) => {
                    failures.push((self.servers[index].address.to_string(), error));
                    continue;
                }
            };
            self.active.store(index, Relaxed);
            return told;
        }
        Err(ScanError::NoNameNode(failures).into())
    }

    async fn ask_one(&self, server: &Server, question: &Question<'_>) -> Result<Reply, Failing> {
        let path = question.path.encoded();
        for operation in question.operations {
            if server.unknown.lock().contains(operation) {
                continue;
            }
            let query = question.query(*operation, self.user.as_deref());
            let resource = Resource::WebHdfs {
                path: &path,
                query: &query,
            };
            let answer = match self.get(server, &resource).await {
                Ok(answer) => answer,
                Err(Failure::Server(error)) => return Err(Failing::Server(error)),
                Err(Failure::TooLarge(allowed)) => {
                    let path = question.path.to_string();
                    return Err(Failing::Path(PathError::TooLarge { path, allowed }));
                }
            };
            match meaning(answer, question.path) {
                Meaning::Reply(body) => {
                    return Ok(Reply {
                        operation: *operation,
                        body,
                    });
                }
                Meaning::UnknownOperation => {
                    server.unknown.lock().insert(*operation);
                }
                Meaning::Server(error) => return Err(Failing::Server(error)),
                Meaning::Path(error) => return Err(Failing::Path(error)),
            }
        }
        let names: Vec<_> = question.operations.iter().map(|one| one.name()).collect();
        Err(Failing::Path(PathError::Unsupported {
            path: question.path.to_string(),
            name_node: server.address.to_string(),
            operations: names.join(" nor "),
        }))
    }

    /// One request; a second one if the connection breaks, as an idle one does that the server
    /// closes at the very moment.
    async fn get(&self, server: &Server, what: &Resource<'_>) -> Result<Answer, Failure> {
        match self.get_once(server, what).await {
            Err(Failure::Server(ServerError::Broken(_))) => self.get_once(server, what).await,
            told => told,
        }
    }

    async fn get_once(&self, server: &Server, what: &Resource<'_>) -> Result<Answer, Failure> {
        let _turn = self.pace.turn().await;
        self.requests.fetch_add(1, Relaxed);
        self.http.get(&server.address, what).await
    }

    fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, all) = (self.active.load(Relaxed), self.servers.len());
        (0..all).map(move |step| (first + step) % all)
    }
}

enum Failing {
    Server(ServerError),
    Path(PathError),
}

/// What an answer means. Of 403 there are many kinds, told apart by the name of the exception.
fn meaning(answer: Answer, path: &HdfsPath) -> Meaning {
    if answer.status == StatusCode::OK {
        return Meaning::Reply(answer.body);
    }
    let (exception, message) = match serde_json::from_slice::<RemoteError>(&answer.body) {
        Ok(RemoteError { remote_exception }) => (
            shortened(&remote_exception.exception),
            remote_exception.message.unwrap_or_default(),
        ),
        Err(_) => (format!("HTTP {}", answer.status), String::new()),
    };
    let (path, full) = (path.to_string(), message);
    let message = shortened(&full);
    match exception.as_str() {
        "StandbyException" | "RetriableException" | "ObserverRetryOnActiveException" => {
            Meaning::Server(ServerError::NotActive(format!("{exception}: {message}")))
        }
        // A standby cannot check a token, and has the reason in the message only.
        "SecurityException" | "InvalidToken" if full.contains("StandbyException") => {
            Meaning::Server(ServerError::NotActive(message))
        }
        "SafeModeException" => Meaning::Path(PathError::SafeMode { path, message }),
        "AccessControlException" | "AuthorizationException" | "SecurityException" => {
            Meaning::Path(PathError::Denied { path, message })
        }
        "FileNotFoundException" => Meaning::Path(PathError::Missing(path)),
        _ => {
            let unknown = answer.status == StatusCode::BAD_REQUEST
                && (exception == "UnsupportedOperationException"
                    || full.contains("parameter \"op\"")
                    || full.contains("No enum constant"));
            match unknown {
                true => Meaning::UnknownOperation,
                false => Meaning::Path(PathError::Remote {
                    path,
                    exception,
                    message,
                }),
            }
        }
    }
}

/// As HDFS checks it by default.
fn is_user(name: &str) -> bool {
    let name = name.strip_suffix('$').unwrap_or(name);
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    begins && name.chars().all(rest)
}
