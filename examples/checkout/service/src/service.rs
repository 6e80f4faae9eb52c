//! The service's own HTTP.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::json;

use crate::metrics::{Metrics, Outcome};
use crate::orders::{Answer, NoAnswer, Orders};

/// Largest order, in bytes.
const MAX_ORDER_BYTES: usize = 64 << 10;

#[derive(Clone)]
struct Checkout {
    orders: Orders,
    metrics: Arc<Metrics>,
}

/// `POST /orders`, `GET /healthz`, `GET /metrics`.
pub(crate) fn router(orders: Orders, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/orders", post(place_order))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(show_metrics))
        .layer(DefaultBodyLimit::max(MAX_ORDER_BYTES))
        .with_state(Checkout { orders, metrics })
}

/// 201 for an order that is stored now, 200 with the first order for one that was stored before.
async fn place_order(State(checkout): State<Checkout>, order: Bytes) -> Response {
    let (outcome, response) = match checkout.orders.store(order).await {
        Ok(Answer::Stored { index }) => (
            Outcome::Stored,
            (StatusCode::CREATED, Json(json!({ "index": index }))).into_response(),
        ),
        Ok(Answer::Duplicate { index, entry }) => (
            Outcome::Duplicate,
            Json(json!({ "index": index, "duplicate": true, "order": entry })).into_response(),
        ),
        Ok(Answer::Refused { status, problem }) => (
            Outcome::Refused,
            (
                status,
                [(CONTENT_TYPE, "application/problem+json")],
                problem,
            )
                .into_response(),
        ),
        Err(error) => {
            let status = match error {
                NoAnswer::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::BAD_GATEWAY,
            };
            let causes = format!("{:#}", anyhow::Error::from(error));
            tracing::warn!(error = causes, "An order was not stored");
            (Outcome::Failed, problem(status, &causes))
        }
    };
    checkout.metrics.count(outcome);
    response
}

async fn show_metrics(State(checkout): State<Checkout>) -> Response {
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match checkout.metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// An error as RFC 9457 wants it.
fn problem(status: StatusCode, detail: &str) -> Response {
    let body = json!({
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
    });
    (
        status,
        [(CONTENT_TYPE, "application/problem+json")],
        body.to_string(),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::SocketAddr;

    use http::Request;
    use http::header::CONNECTION;
    use http_body_util::{BodyExt, Full};
    use serde_json::Value;
    use tokio::net::TcpListener;
    use tower::ServiceExt;

    use super::*;

    /// A function that keeps entries in memory, on a loopback port.
    async fn function() -> SocketAddr {
        type Entries = Arc<tokio::sync::Mutex<HashMap<String, (u64, Value)>>>;
        async fn store(State(entries): State<Entries>, Json(order): Json<Value>) -> Response {
            let Some(id) = order["orderId"].as_str() else {
                return problem(StatusCode::BAD_REQUEST, "orderId is missing");
            };
            if id == "away" {
                return problem(StatusCode::SERVICE_UNAVAILABLE, "PostgreSQL is away");
            }
            if id == "last" {
                let last = Json(json!({ "index": 1 }));
                return (StatusCode::CREATED, [(CONNECTION, "close")], last).into_response();
            }
            let mut entries = entries.lock().await;
            if let Some((index, entry)) = entries.get(id) {
                let body = Json(json!({ "index": index, "entry": entry }));
                return (StatusCode::CONFLICT, body).into_response();
            }
            let index = entries.len() as u64 + 1;
            entries.insert(id.to_owned(), (index, order));
            (StatusCode::CREATED, Json(json!({ "index": index }))).into_response()
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/v1/entries", post(store))
            .with_state(Entries::default());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn checkout(function: SocketAddr) -> Router {
        let metrics = Arc::new(Metrics::default());
        router(
            Orders::at(&format!("http://{function}"), Arc::clone(&metrics)).unwrap(),
            metrics,
        )
    }

    async fn answer(router: &Router, request: Request<Full<Bytes>>) -> (StatusCode, String) {
        let response = router
            .clone()
            .oneshot(request.map(axum::body::Body::new))
            .await
            .unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn order(router: &Router, order: Value) -> (StatusCode, Value) {
        let request = Request::post("/orders")
            .body(Full::from(order.to_string()))
            .unwrap();
        let (status, body) = answer(router, request).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    #[tokio::test]
    async fn a_repeated_order_gets_the_first_one_back() {
        let checkout = checkout(function().await);
        let first = order(&checkout, json!({ "orderId": "7", "items": ["tea"] })).await;
        assert_eq!(first, (StatusCode::CREATED, json!({ "index": 1 })));
        let second = order(&checkout, json!({ "orderId": "7", "items": ["milk"] })).await;
        let stored = json!({ "orderId": "7", "items": ["tea"] });
        let expected = json!({ "index": 1, "duplicate": true, "order": stored });
        assert_eq!(second, (StatusCode::OK, expected));
    }

    #[tokio::test]
    async fn the_sidecar_s_refusal_reaches_the_client() {
        let checkout = checkout(function().await);
        let (status, problem) = order(&checkout, json!({ "items": [] })).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(problem["detail"], "orderId is missing");
    }

    #[tokio::test]
    async fn a_failure_is_told_and_not_retried() {
        let checkout = checkout(function().await);
        let (status, _) = order(&checkout, json!({ "orderId": "away" })).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);

        let nobody = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let (status, problem) = order(&self::checkout(nobody), json!({ "orderId": "1" })).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY);
        assert!(
            problem["detail"].as_str().unwrap().contains("not reached"),
            "{problem}"
        );
    }

    #[tokio::test]
    async fn connections_are_kept_and_counted() {
        let checkout = checkout(function().await);
        for id in ["1", "2", "2"] {
            order(&checkout, json!({ "orderId": id })).await;
        }
        shows(
            &checkout,
            &[
                "checkout_sidecar_connections_opened_total 1",
                "checkout_sidecar_connections_closed_total 0",
                "checkout_orders_total{result=\"Stored\"} 2",
                "checkout_orders_total{result=\"Duplicate\"} 1",
            ],
        )
        .await;
    }

    #[tokio::test]
    async fn a_close_that_an_answer_announces_is_counted() {
        let checkout = checkout(function().await);
        for id in ["1", "last"] {
            order(&checkout, json!({ "orderId": id })).await;
        }
        shows(
            &checkout,
            &[
                "checkout_sidecar_connections_opened_total 1",
                "checkout_sidecar_connections_closed_total 1",
            ],
        )
        .await;
    }

    async fn shows(checkout: &Router, lines: &[&str]) {
        let request = Request::get("/metrics").body(Full::default()).unwrap();
        let (_, metrics) = answer(checkout, request).await;
        for line in lines {
            assert!(
                metrics.lines().any(|found| found == *line),
                "{line} is not in\n{metrics}"
            );
        }
    }
}
