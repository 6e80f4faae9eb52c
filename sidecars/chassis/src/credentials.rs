//! The two credentials of a sidecar, read from their files each time that they are used.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use http::HeaderValue;
use outrigger_control::layout;

use crate::NotWarm;
use crate::settings::environment;

/// Overrides [`layout::CREDENTIALS_DIR`]; for slots that run as plain processes, as in tests.
const ENV_CREDENTIALS_DIR: &str = "OUTRIGGER_CREDENTIALS_DIR";
/// The link that kubelet turns to a new folder when a Secret or a token has changed.
const CURRENT: &str = "..data";
const SCHEME: &str = "Bearer ";

/// The credentials that `spec.credentials` of the IntegrationSidecar gives to the functions.
///
/// A value is read when it is asked for, so a rotated one is used by the next request, without a
/// restart. Ask for it for each request, and keep none. [`Function::warm`](crate::Function::warm)
/// asks for those that the function needs, so that a slot without them does not take over.
///
/// ```
/// use outrigger_chassis::Credentials;
/// use outrigger_chassis::http::{Request, header::AUTHORIZATION};
///
/// # fn call(credentials: &Credentials) -> Result<Request<()>, Box<dyn std::error::Error>> {
/// let mut request = Request::post("https://orders.example.com/").body(())?;
/// let credential = credentials.application()?;
/// request.headers_mut().insert(AUTHORIZATION, credential.authorization());
/// # Ok(request)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Credentials {
    root: PathBuf,
}

impl Credentials {
    /// The credentials of this sidecar, where they are mounted.
    pub fn mounted() -> Credentials {
        let root = environment(ENV_CREDENTIALS_DIR);
        Credentials::new(root.unwrap_or_else(|| layout::CREDENTIALS_DIR.to_owned()))
    }

    /// Credentials below a directory: one folder for each, with the file `token`.
    pub fn new(root: impl Into<PathBuf>) -> Credentials {
        Credentials { root: root.into() }
    }

    /// The credential with which functions act for the application.
    ///
    /// # Errors
    /// When it is not configured, not there yet, or no token.
    pub fn application(&self) -> Result<Credential, CredentialUnusable> {
        self.read(layout::APPLICATION_CREDENTIAL)
    }

    /// The credential with which functions report to the system.
    ///
    /// # Errors
    /// When it is not configured, not there yet, or no token.
    pub fn system(&self) -> Result<Credential, CredentialUnusable> {
        self.read(layout::SYSTEM_CREDENTIAL)
    }

    fn read(&self, name: &'static str) -> Result<Credential, CredentialUnusable> {
        let folder = self.root.join(name);
        let read = read_header(&folder).and_then(Credential::of_header);
        read.map_err(|cause| CredentialUnusable {
            name,
            folder,
            cause,
        })
    }
}

/// A bearer token. `Debug` does not show it.
#[derive(Clone)]
pub struct Credential {
    /// The whole header, and so the only place in memory that holds the token.
    header: HeaderValue,
}

impl Credential {
    fn of_header(header: String) -> Result<Credential, Cause> {
        let token = &header[SCHEME.len()..];
        if token.is_empty() {
            return Err(Cause::Empty);
        }
        if let Some(position) = token.bytes().position(|byte| !byte.is_ascii_graphic()) {
            return Err(Cause::NotVisible { position });
        }
        // Visible ASCII is allowed in every header.
        let mut header = HeaderValue::try_from(header).map_err(|_| Cause::Empty)?;
        header.set_sensitive(true);
        Ok(Credential { header })
    }

    /// The value of the header `authorization`: `Bearer TOKEN`. It is marked as sensitive: HTTP/2
    /// does not compress it, and `Debug` does not show it. A clone shares the memory.
    pub fn authorization(&self) -> HeaderValue {
        self.header.clone()
    }

    /// The token itself, for protocols without that header.
    pub fn token(&self) -> &str {
        // It was made of visible ASCII.
        let header = self.header.to_str().unwrap_or_default();
        header.get(SCHEME.len()..).unwrap_or_default()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credential(redacted)")
    }
}

/// A credential cannot be used. The message says what was found, and no value.
#[derive(Debug, thiserror::Error)]
#[error("credential {name} {}", .cause.describe(.folder))]
pub struct CredentialUnusable {
    name: &'static str,
    folder: PathBuf,
    cause: Cause,
}

impl From<CredentialUnusable> for NotWarm {
    fn from(unusable: CredentialUnusable) -> NotWarm {
        NotWarm(unusable.to_string())
    }
}

#[derive(Debug)]
enum Cause {
    NotConfigured,
    NoToken { found: Vec<String> },
    Empty,
    NotVisible { position: usize },
    Unreadable(io::Error),
}

impl Cause {
    fn describe(&self, folder: &Path) -> String {
        let (folder, file) = (folder.display(), folder.join(layout::TOKEN_FILE));
        let (file, key) = (file.display(), layout::TOKEN_FILE);
        let allowed = "allowed is a token of visible ASCII characters without spaces";
        match self {
            Cause::NotConfigured => "is not in this container; set it in spec.credentials of the IntegrationSidecar, and create the pods anew".to_owned(),
            Cause::NoToken { found } => {
                let found = match found.as_slice() {
                    [] => "no keys".to_owned(),
                    keys => keys.join(", "),
                };
                format!("waits for the key {key:?} of its Secret in {folder}; found {found}")
            }
            Cause::Empty => format!("has the file {file}, which is empty; {allowed}"),
            Cause::NotVisible { position } => {
                format!("has the file {file} with another character at byte {position}; {allowed}")
            }
            Cause::Unreadable(error) => format!("cannot be read in {folder}: {error}"),
        }
    }
}

/// The header with the token that a folder holds. White space after the token, such as the end of a
/// line, is no part of it.
fn read_header(folder: &Path) -> Result<String, Cause> {
    loop {
        let current = std::fs::read_link(folder.join(CURRENT)).ok();
        let error = match append(&folder.join(layout::TOKEN_FILE), SCHEME) {
            Ok(mut header) => {
                header.truncate(header.trim_ascii_end().len().max(SCHEME.len()));
                return Ok(header);
            }
            Err(error) => error,
        };
        // kubelet removes the former folder, on which the reading may have begun.
        if current != std::fs::read_link(folder.join(CURRENT)).ok() {
            continue;
        }
        return Err(match error.kind() {
            io::ErrorKind::NotFound => missing(folder),
            _ => Cause::Unreadable(error),
        });
    }
}

/// The content of a file after a prefix, in one piece of memory.
fn append(file: &Path, prefix: &str) -> io::Result<String> {
    let mut file = std::fs::File::open(file)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or_default();
    let mut content = String::with_capacity(prefix.len() + length);
    content.push_str(prefix);
    file.read_to_string(&mut content)?;
    Ok(content)
}

/// What is said of a folder without a token.
fn missing(folder: &Path) -> Cause {
    match std::fs::read_dir(folder) {
        Ok(entries) => {
            let names = entries.flatten().map(|entry| entry.file_name());
            let keys = names.map(|name| name.to_string_lossy().into_owned());
            let keys = keys.filter(|key| !key.starts_with(".."));
            let mut found: Vec<_> = keys.map(|key| format!("{key:?}")).collect();
            found.sort();
            Cause::NoToken { found }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Cause::NotConfigured,
        Err(error) => Cause::Unreadable(error),
    }
}

#[cfg(test)]
mod tests;
