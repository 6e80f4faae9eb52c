use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::util::MapRequestLayer;

/// Connecting may take this long.
const CONNECT: Duration = Duration::from_secs(5);
/// An answer may pause for this long.
const ANSWER: Duration = Duration::from_secs(30);

/// The ways to the API server.
#[derive(Clone)]
pub struct Connections {
    /// For most requests.
    pub client: Client,
    /// Opens a connection for each request, so that a load balancer spreads them over all API
    /// servers.
    pub scattered: Client,
}

impl Connections {
    /// With the address and the credentials of a configuration.
    ///
    /// # Errors
    /// When the configuration is of no use.
    pub fn new(mut config: Config) -> kube::Result<Connections> {
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(ANSWER);
        // What is worth another try is known here better.
        config.default_retry = false;
        let close = MapRequestLayer::new(|mut request: Request<Body>| {
            let close = HeaderValue::from_static("close");
            request.headers_mut().insert(CONNECTION, close);
            request
        });
        Ok(Connections {
            client: ClientBuilder::try_from(config.clone())?.build(),
            scattered: ClientBuilder::try_from(config)?.with_layer(&close).build(),
        })
    }
}
