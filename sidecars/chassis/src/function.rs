use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use outrigger_control::Document;
use outrigger_control::parameters::SecretUnreadable;
use prometheus_client::registry::Registry;

use crate::{HandOver, State, Upgraded};

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// Body of a request, as a function reads it. Read it to its end before answering, or refuse it
/// with a limit: a connection whose request body is unread cannot be kept, nor handed over.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;
/// Body of a response.
pub type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

/// A configured function behind its loopback port.
pub trait Function: Send + Sync + 'static {
    /// Answers one request. Errors are answers too: see [`crate::Problem`].
    fn call(
        self: Arc<Self>,
        request: Request<RequestBody>,
    ) -> BoxFuture<'static, Response<ResponseBody>>;

    /// Resolves when the function could answer its first request at once, e.g. when it has a
    /// connection to its store; or says why it cannot. Unless it says otherwise it can at once.
    fn warm(self: Arc<Self>) -> BoxFuture<'static, Result<(), NotWarm>> {
        futures::future::ready(Ok(())).boxed()
    }

    /// Speaks another protocol on a connection: after the answer
    /// [`switch_protocols`](crate::switch_protocols), with the state in it, and again wherever the
    /// connection was handed over to, with the state of its [`HandOver`].
    ///
    /// The connection ends with the future, unless that yields it: see [`Upgraded::leaving`].
    fn upgraded(
        self: Arc<Self>,
        _state: Bytes,
        _connection: Upgraded,
    ) -> BoxFuture<'static, Option<HandOver>> {
        tracing::error!("Connection was closed: its function speaks no other protocol");
        futures::future::ready(None).boxed()
    }

    /// What only one worker may have at a time, if there is something. A function that has it
    /// answers only while it is open.
    fn exclusive(self: Arc<Self>) -> Option<Arc<dyn Exclusive>> {
        None
    }
}

/// What only one worker may have at a time: memory that is to outlive a swap, or a store with one
/// writer, such as the file of an embedded database.
///
/// It is open in the worker that serves, and there in the function of the newest configuration. At
/// a handover, and at a change of configuration, the former one is closed and the next one is
/// opened; requests that arrive meanwhile wait.
pub trait Exclusive: Send + Sync + 'static {
    /// Opens it, within 5 s. `state` is what the former one remembered when it was closed; there is
    /// none in the first worker of a pod, after a crash, and from a release that remembers nothing.
    ///
    /// If it fails, a former worker goes on as if nothing had been, with what it remembered.
    /// Without one it is tried again.
    fn open(self: Arc<Self>, state: Option<State>) -> BoxFuture<'static, Result<(), BoxError>>;

    /// Closes it, within 5 s, and says what is to be remembered. No request is in progress, and
    /// none begins before it is opened again.
    ///
    /// An error says that it is as open as before.
    fn close(self: Arc<Self>) -> BoxFuture<'static, Result<Option<State>, BoxError>>;
}

/// The functions of one document, by name.
pub type Functions = BTreeMap<String, Arc<dyn Function>>;

/// Makes functions out of documents. It lives as long as the worker, so that pools and caches
/// outlive a change of configuration.
pub trait Builder: Send + Sync + 'static {
    /// Builds every function of a document completely, or refuses the document and changes nothing.
    /// It does not wait for a store: that is [`Function::warm`].
    fn build(&self, document: &Document, secrets: &Secrets) -> Result<Functions, InvalidDocument>;

    /// Adds the metrics of the functions, once in the worker's life. Labels never hold keys, URLs
    /// or values of requests.
    fn register(&self, _registry: &mut Registry) {}
}

/// A document cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidDocument(
    /// What was found, where, and what is allowed.
    pub String,
);

/// A function cannot answer yet.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotWarm(
    /// What it waits for, e.g. `PostgreSQL at db:5432 refused the connection`.
    pub String,
);

/// The mounted Secrets.
#[derive(Clone, Debug)]
pub struct Secrets {
    root: PathBuf,
}

impl Secrets {
    /// Secrets below a directory: one folder per Secret, one file per key.
    pub fn new(root: impl Into<PathBuf>) -> Secrets {
        Secrets { root: root.into() }
    }

    /// Reads the keys and values of a Secret. Values must be UTF-8.
    pub fn read(&self, name: &str) -> Result<BTreeMap<String, String>, SecretUnreadable> {
        let unreadable = |error: std::io::Error| SecretUnreadable {
            name: name.to_owned(),
            message: error.to_string(),
        };
        let mut values = BTreeMap::new();
        for entry in std::fs::read_dir(self.root.join(name)).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let key = entry.file_name().to_string_lossy().into_owned();
            // kubelet keeps the current version behind links and folders that start with "..".
            if !key.starts_with("..") {
                let value = std::fs::read_to_string(entry.path()).map_err(unreadable)?;
                values.insert(key, value);
            }
        }
        Ok(values)
    }
}
