//! One GET at one NameNode.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION, WWW_AUTHENTICATE};
use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use crate::connector::Connector;
use crate::error::{ServerError, SourceError};
use crate::policy::AddressPolicy;
use crate::source::Settings;

/// A NameNode closes idle connections sooner or later; we do it first.
const IDLE: Duration = Duration::from_secs(5);
/// What is taken of a text that somebody else wrote, in characters.
const TOLD: usize = 256;

/// Asks NameNodes.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client<Connector, Empty<Bytes>>,
    request_timeout: Duration,
    answer_bytes: usize,
}

/// The web server of a NameNode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    scheme: Scheme,
    authority: Authority,
}

/// What may be asked for. There is nothing else, so that whoever names a NameNode cannot make the
/// operator ask for something else.
#[derive(Clone, Debug)]
pub(crate) enum Resource<'a> {
    /// `/webhdfs/v1`, with an encoded path and an encoded query.
    WebHdfs { path: &'a str, query: &'a str },
    /// `/jmx`, with an encoded query.
    Jmx { query: &'a str },
}

/// An answer in JSON.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server is of no use.
    Server(ServerError),
    /// The answer is larger than so many bytes.
    TooLarge(usize),
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Failure {
        Failure::Server(error)
    }
}

// === impl Address ===

impl Address {
    pub(crate) fn parse(address: &str) -> Result<Address, SourceError> {
        let wrong = |why| SourceError::Address {
            address: address.to_owned(),
            why,
        };
        let uri: Uri = address.parse().map_err(|_| wrong("is no address"))?;
        let parts = uri.into_parts();
        let scheme = parts
            .scheme
            .ok_or_else(|| wrong("names neither http nor https"))?;
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(wrong("names neither http nor https"));
        }
        let authority = parts.authority.ok_or_else(|| wrong("names no host"))?;
        if authority.host().is_empty() {
            return Err(wrong("names no host"));
        }
        if authority.as_str().contains('@') {
            return Err(wrong("has a user name or password in it"));
        }
        if authority.port_u16().is_none() {
            return Err(wrong("names no port"));
        }
        let rest = parts.path_and_query.map(|rest| rest.to_string());
        if rest.is_some_and(|rest| rest != "/") {
            return Err(wrong("has a path or a query in it"));
        }
        Ok(Address { scheme, authority })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

// === impl Resource ===

impl Resource<'_> {
    fn path_and_query(&self) -> String {
        match self {
            Resource::WebHdfs { path, query } => format!("/webhdfs/v1{path}?{query}"),
            Resource::Jmx { query } => format!("/jmx?{query}"),
        }
    }
}

// === impl Http ===

impl Http {
    pub(crate) fn new(
        policy: Arc<AddressPolicy>,
        authorities: Option<&[u8]>,
        settings: &Settings,
    ) -> Result<Http, SourceError> {
        let connector = Connector::new(policy, authorities, settings.connect_timeout)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(settings.concurrency)
            .build(connector);
        Ok(Http {
            client,
            request_timeout: settings.request_timeout,
            answer_bytes: settings.answer_bytes,
        })
    }

    pub(crate) async fn get(&self, at: &Address, what: &Resource<'_>) -> Result<Answer, Failure> {
        let slow = || Failure::Server(ServerError::Slow(self.request_timeout));
        timeout(self.request_timeout, self.get_at_leisure(at, what))
            .await
            .unwrap_or_else(|_| Err(slow()))
    }

    async fn get_at_leisure(&self, at: &Address, what: &Resource<'_>) -> Result<Answer, Failure> {
        let broken = |error: &dyn std::fmt::Display| ServerError::Broken(error.to_string());
        let uri = Uri::builder()
            .scheme(at.scheme.clone())
            .authority(at.authority.clone())
            .path_and_query(what.path_and_query())
            .build()
            .map_err(|error| broken(&error))?;
        let request = Request::get(uri)
            .body(Empty::new())
            .map_err(|error| broken(&error))?;
        let response = self.client.request(request).await.map_err(server_error)?;
        let status = response.status();
        check(&response)?;
        let announced = header(&response, &CONTENT_LENGTH).and_then(|length| length.parse().ok());
        if announced.is_some_and(|length: usize| length > self.answer_bytes) {
            return Err(Failure::TooLarge(self.answer_bytes));
        }
        let body = Limited::new(response.into_body(), self.answer_bytes).collect();
        let body = body
            .await
            .map_err(|error| match error.is::<LengthLimitError>() {
                true => Failure::TooLarge(self.answer_bytes),
                false => ServerError::Broken(chain(&*error)).into(),
            })?;
        Ok(Answer {
            status,
            body: body.to_bytes(),
        })
    }
}

/// Whether a response is one that a NameNode gives.
fn check(response: &Response<Incoming>) -> Result<(), ServerError> {
    let status = response.status();
    if status.is_redirection() {
        let location = header(response, &LOCATION).unwrap_or_default();
        return Err(ServerError::Redirect(shortened(location)));
    }
    if status == StatusCode::UNAUTHORIZED {
        let wanted = header(response, &WWW_AUTHENTICATE).unwrap_or("no scheme named");
        return Err(ServerError::Authentication(shortened(wanted)));
    }
    let content = header(response, &CONTENT_TYPE).unwrap_or("no content type");
    let essence = content.split(';').next().unwrap_or_default().trim();
    match essence.eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => Err(ServerError::NotJson {
            status: status.as_u16(),
            content: shortened(content),
        }),
    }
}

fn header<'a>(response: &'a Response<Incoming>, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// What our connector said, or what went wrong on the connection.
fn server_error(error: hyper_util::client::legacy::Error) -> ServerError {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(ours) = inner.downcast_ref::<ServerError>() {
            return ours.clone();
        }
        cause = inner.source();
    }
    ServerError::Broken(chain(&error))
}

/// An error with its causes; the outermost says little.
fn chain(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        told = format!("{told}: {inner}");
        cause = inner.source();
    }
    shortened(&told)
}

/// The first 256 characters of a text that somebody else wrote, on one line.
pub(crate) fn shortened(text: &str) -> String {
    let plain = |character: char| match character.is_control() {
        true => ' ',
        false => character,
    };
    text.chars().take(TOLD).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_name_nodes_are_no_more_than_host_and_port() {
        for address in [
            "http://namenode:9870",
            "https://nn-0.hdfs.svc.cluster.local:9871/",
            "http://[fd00::1]:9870",
            "http://10.0.0.1:9870",
        ] {
            assert!(Address::parse(address).is_ok(), "{address}");
        }
        for address in [
            "",
            "namenode",
            "namenode:9870",
            "/webhdfs/v1",
            "ftp://namenode:21",
            "http://namenode",
            "http://:9870",
            "http://user:secret@namenode:9870",
            "http://namenode:9870/api/v1/secrets",
            "http://namenode:9870/?x",
            "http://namenode:9870?x=/webhdfs/v1",
            "http://name node:9870",
        ] {
            let refused = Address::parse(address);
            assert!(
                matches!(refused, Err(SourceError::Address { .. })),
                "{address}"
            );
        }
    }

    #[test]
    fn foreign_text_is_short_and_on_one_line() {
        let text = format!("first\nsecond\r\t{}", "ä".repeat(1000));
        let told = shortened(&text);
        assert_eq!(told.chars().count(), 256);
        assert!(!told.contains(char::is_control), "{told}");
    }
}
