//! What the service needs of WebHDFS: which files there are, where their blocks are, and reading a
//! block from a certain DataNode.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::uri::{Authority, Scheme};
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::amounts::{Amounts, Reader};

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(10);
/// Largest answer about files and blocks, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// A server of HDFS gave no answer of use.
#[derive(Debug, thiserror::Error)]
#[error("{address}")]
pub(crate) struct NoAnswer {
    /// What was asked.
    address: String,
    #[source]
    why: Why,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("it was not reached")]
    Unreachable(#[from] hyper_util::client::legacy::Error),
    #[error("the answer broke off")]
    BrokeOff(#[from] hyper::Error),
    #[error("it was silent for {} s", SILENCE.as_secs())]
    Silent(#[from] Elapsed),
    /// An error of HDFS, in its own words.
    #[error("it answered {0}: {1}")]
    Refused(StatusCode, String),
    #[error("it answered something else than WebHDFS does")]
    NotWebHdfs(#[from] serde_json::Error),
    #[error("it answered more than {MAX_ANSWER_BYTES} bytes")]
    TooLong,
    /// Of a block.
    #[error("it sent {found} bytes of {expected}")]
    Length { found: u64, expected: u64 },
    #[error("this is no address")]
    Address(#[from] http::Error),
}

impl Why {
    fn of(self, address: impl ToString) -> NoAnswer {
        NoAnswer {
            address: address.to_string(),
            why: self,
        }
    }
}

/// An entry of a directory, or a file itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileStatus {
    /// The name below the path that was asked for; empty if that is a file.
    pub(crate) path_suffix: String,
    /// `FILE`, `DIRECTORY` or `SYMLINK`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Whether it is erasure-coded, so that no DataNode holds a whole block.
    #[serde(default)]
    pub(crate) ec_bit: bool,
}

/// Where a block of a file is.
#[derive(Debug, Deserialize)]
pub(crate) struct Block {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    /// Host names of the DataNodes that hold it, in no order.
    pub(crate) hosts: Vec<String>,
    /// Their addresses for transfers, `address:port`, in the order of `hosts`.
    pub(crate) names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listing {
    file_statuses: FileStatuses,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FileStatuses {
    file_status: Vec<FileStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Locations {
    block_locations: BlockLocations,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BlockLocations {
    block_location: Vec<Block>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Redirect {
    location: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Remote {
    remote_exception: RemoteException,
}

#[derive(Deserialize)]
struct RemoteException {
    message: String,
}

/// A NameNode's web server, and those of its DataNodes.
#[derive(Clone, Debug)]
pub(crate) struct WebHdfs {
    name_node: String,
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl WebHdfs {
    /// The NameNode at an address such as `http://namenode.hdfs.svc:9870`; none if it is no such
    /// address.
    pub(crate) fn at(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let is_server = uri.scheme() == Some(&Scheme::HTTP) && uri.path() == "/";
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(SILENCE));
        is_server.then(|| WebHdfs {
            name_node: url.trim_end_matches('/').to_owned(),
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// The entries of a directory, or the one of a file.
    pub(crate) async fn list(&self, path: &str) -> Result<Vec<FileStatus>, NoAnswer> {
        let listing: Listing = self.ask(path, "op=LISTSTATUS").await?;
        Ok(listing.file_statuses.file_status)
    }

    /// The blocks of a file, in order.
    pub(crate) async fn blocks(&self, path: &str) -> Result<Vec<Block>, NoAnswer> {
        let locations: Locations = self.ask(path, "op=GETFILEBLOCKLOCATIONS").await?;
        Ok(locations.block_locations.block_location)
    }

    /// Reads a block from the DataNode at an address. A DataNode that holds the block reads its own
    /// copy; any other one fetches it.
    pub(crate) async fn read(
        &self,
        path: &str,
        block: &Block,
        address: &str,
    ) -> Result<Amounts, NoAnswer> {
        // The NameNode's choice of a DataNode tells what a DataNode has to be asked, and on which
        // port. Which DataNode is our choice.
        let query = format!(
            "op=OPEN&offset={}&length={}&noredirect=true",
            block.offset, block.length
        );
        let Redirect { location } = self.ask(path, &query).await?;
        let uri = at_address(&location, address).map_err(|why| Why::from(why).of(&location))?;
        let whole = async {
            let mut body = self.get(&uri).await?;
            let mut reader = Reader::default();
            while let Some(piece) = next(&mut body).await? {
                reader.take(&piece);
            }
            let (found, expected) = (reader.bytes(), block.length);
            match found == expected {
                true => Ok(reader.finish()),
                false => Err(Why::Length { found, expected }),
            }
        };
        whole.await.map_err(|why| why.of(&uri))
    }

    /// The NameNode's answer about a path; the empty one is the root.
    async fn ask<T: DeserializeOwned>(&self, path: &str, query: &str) -> Result<T, NoAnswer> {
        let path = if path.is_empty() { "/" } else { path };
        let address = format!("{}/webhdfs/v1{}?{query}", self.name_node, encode(path));
        let answer = async {
            let uri = address.parse::<Uri>().map_err(http::Error::from)?;
            let body = collect(self.get(&uri).await?).await?;
            Ok(serde_json::from_slice(&body)?)
        };
        answer.await.map_err(|why: Why| why.of(&address))
    }

    /// The body of an answer that is no error.
    async fn get(&self, uri: &Uri) -> Result<Incoming, Why> {
        let response = timeout(SILENCE, self.client.get(uri.clone())).await??;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response.into_body());
        }
        let body = collect(response.into_body()).await?;
        let message = match serde_json::from_slice(&body) {
            // After the first line come those of a stack.
            Ok(Remote { remote_exception }) => remote_exception.message.lines().take(1).collect(),
            Err(_) => "not in the words of HDFS".to_owned(),
        };
        Err(Why::Refused(status, message))
    }
}

/// A whole answer.
async fn collect(mut body: Incoming) -> Result<Bytes, Why> {
    let mut whole = BytesMut::new();
    while let Some(piece) = next(&mut body).await? {
        if whole.len() + piece.len() > MAX_ANSWER_BYTES {
            return Err(Why::TooLong);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// The next piece of an answer.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Why> {
    let frame = timeout(SILENCE, body.frame()).await?.transpose()?;
    Ok(frame.map(|frame| frame.into_data().unwrap_or_default()))
}

/// The same request, to the same port of another host.
fn at_address(location: &str, address: &str) -> Result<Uri, http::Error> {
    let mut parts = location.parse::<Uri>()?.into_parts();
    let port = parts.authority.as_ref().and_then(Authority::port_u16);
    let authority = match port {
        Some(port) => format!("{address}:{port}"),
        None => address.to_owned(),
    };
    parts.authority = Some(authority.parse()?);
    Ok(Uri::from_parts(parts)?)
}

/// A path as it is written in an address.
fn encode(path: &str) -> String {
    let mut encoded = String::new();
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn only_the_host_of_a_redirect_is_replaced() {
        let location = "http://node-2:9864/webhdfs/v1/market/a%20b?op=OPEN&namenoderpcaddress=namenode:8020&offset=0";
        let uri = at_address(location, "198.18.0.11").unwrap();
        let expected = location.replace("node-2", "198.18.0.11");
        assert_eq!(uri.to_string(), expected);
        assert!(at_address("not an address", "198.18.0.11").is_err());
    }

    #[test]
    fn a_name_node_is_a_server_and_nothing_else() {
        for url in ["http://namenode:9870", "http://namenode:9870/"] {
            assert!(WebHdfs::at(url).is_some(), "{url}");
        }
        for url in [
            "",
            "namenode:9870",
            "https://namenode:9871",
            "http://namenode/x",
            "x://",
        ] {
            assert!(WebHdfs::at(url).is_none(), "{url}");
        }
    }

    #[test]
    fn names_that_mean_something_in_an_address_are_encoded() {
        assert_eq!(
            encode("/market/a b+c%d?é"),
            "/market/a%20b%2Bc%25d%3F%C3%A9"
        );
    }
}
