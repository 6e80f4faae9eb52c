use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::{BodyExt, Either, Full};
use tokio::time::timeout;
use tower::{BoxError, Layer, Service};

use crate::ClientMetrics;

/// Within which an answer of the API server has to be complete. Watches are excepted; they end by
/// the server's timeout, and the watcher has a patience of its own.
///
/// kube's own read timeout would also cut watches that are quiet.
#[derive(Clone, Debug)]
pub struct Deadline {
    /// How long a request may take.
    pub patience: Duration,
    /// Counts requests by their outcome.
    pub metrics: ClientMetrics,
}

/// The API server did not answer in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no complete answer from the API server within {} s", .0.as_secs())]
pub struct Late(pub Duration);

impl<S> Layer<S> for Deadline {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded {
            inner,
            deadline: self.clone(),
        }
    }
}

/// A service whose answers have a [`Deadline`].
#[derive(Clone, Debug)]
pub struct Bounded<S> {
    inner: S,
    deadline: Deadline,
}

type Answer<B> = Response<Either<Full<axum::body::Bytes>, B>>;

impl<S, R, B> Service<Request<R>> for Bounded<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = axum::body::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Answer<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let method = request.method().clone();
        let watches = is_watch(request.method(), request.uri().query());
        let answer = self.inner.call(request);
        let Deadline { patience, metrics } = self.deadline.clone();
        Box::pin(async move {
            let result = match watches {
                true => answer
                    .await
                    .map(|answer| answer.map(Either::Right))
                    .map_err(Into::into),
                false => timeout(patience, whole(answer))
                    .await
                    .unwrap_or_else(|_| Err(Late(patience).into())),
            };
            metrics.count(&method, result.as_ref().ok().map(Response::status));
            result
        })
    }
}

/// The answer with its complete body.
async fn whole<B, E>(
    answer: impl Future<Output = Result<Response<B>, E>>,
) -> Result<Answer<B>, BoxError>
where
    E: Into<BoxError>,
    B: http_body::Body<Data = axum::body::Bytes>,
    B::Error: Into<BoxError>,
{
    let (head, body) = answer.await.map_err(Into::into)?.into_parts();
    let bytes = body.collect().await.map_err(Into::into)?.to_bytes();
    Ok(Response::from_parts(head, Either::Left(Full::new(bytes))))
}

fn is_watch(method: &Method, query: Option<&str>) -> bool {
    let pairs = query.unwrap_or_default().split('&');
    method == Method::GET && pairs.into_iter().any(|pair| pair == "watch=true")
}
