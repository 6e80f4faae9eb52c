use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};

use super::door::unknown;
use super::{Hosted, Peers};
use crate::body::refuse;
use crate::{Function, HandOver, Problem, RequestBody, ResponseBody, Upgraded};

/// Answers the requests of one connection by the function of the application that it comes from.
pub(crate) struct Admission {
    pub(crate) hosted: Arc<ArcSwap<Hosted>>,
    pub(crate) peers: Peers,
    /// Where the connection comes from.
    pub(crate) peer: IpAddr,
    /// Name of the function behind the port.
    pub(crate) function: String,
}

impl Function for Admission {
    fn call(
        self: Arc<Self>,
        request: Request<RequestBody>,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        async move {
            let peer = self.peer;
            let Some(application) = self.peers.application(peer).await else {
                let problem = unknown(peer);
                return refuse(request.into_body(), problem).await;
            };
            let hosted = self.hosted.load();
            let function = hosted.function_of(&application, &self.function).cloned();
            drop(hosted);
            match function {
                Some(function) => function.call(request).await,
                None => {
                    let detail = format!("application {application} has no configuration here yet");
                    let problem =
                        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-configured", detail)
                            .retry_after(1);
                    refuse(request.into_body(), problem).await
                }
            }
        }
        .boxed()
    }
    fn upgraded(
        self: Arc<Self>,
        state: Bytes,
        connection: Upgraded,
    ) -> BoxFuture<'static, Option<HandOver>> {
        async move {
            let application = self.peers.application(self.peer).await?;
            let hosted = self.hosted.load();
            let function = hosted.function_of(&application, &self.function).cloned();
            drop(hosted);
            function?.upgraded(state, connection).await
        }
        .boxed()
    }
}
