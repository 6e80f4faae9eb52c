//! What is counted of the traffic through a worker.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use outrigger_control::TrafficReport;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::watch;

use crate::body::Holding;
use crate::settings::FunctionPort;
use crate::{Function, Problem, RequestBody, ResponseBody};

/// Upper bounds of the duration histogram, in seconds.
const DURATIONS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];

/// The classes of HTTP status, in the order of [`FunctionTraffic::answered`].
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const SERVER_ERROR: usize = 4;

/// Counts connections and requests of all functions of a worker.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// Open connections of each function.
    connections: watch::Sender<Vec<u64>>,
    reconnects: Counter,
    turned_away: Counter,
    functions: Vec<Arc<FunctionTraffic>>,
}

/// Counts the requests of one function.
#[derive(Debug)]
pub(crate) struct FunctionTraffic {
    in_flight: AtomicU64,
    answered: [Counter; CLASSES.len()],
    duration: Histogram,
    in_flight_gauge: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FunctionLabels {
    function: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    function: String,
    class: &'static str,
}

impl Traffic {
    /// Counts for the functions, in the order of their ports, and shows it in `registry`.
    pub(crate) fn new(ports: &[FunctionPort], registry: &mut Registry) -> Traffic {
        let answered = Family::<AnswerLabels, Counter>::default();
        let in_flight = Family::<FunctionLabels, Gauge>::default();
        let duration =
            Family::<FunctionLabels, Histogram>::new_with_constructor(|| Histogram::new(DURATIONS));
        let functions = ports
            .iter()
            .map(|FunctionPort { function, .. }| {
                let labels = FunctionLabels {
                    function: function.clone(),
                };
                Arc::new(FunctionTraffic {
                    in_flight: AtomicU64::new(0),
                    answered: CLASSES.map(|class| {
                        answered
                            .get_or_create(&AnswerLabels {
                                function: function.clone(),
                                class,
                            })
                            .clone()
                    }),
                    duration: duration.get_or_create(&labels).clone(),
                    in_flight_gauge: in_flight.get_or_create(&labels).clone(),
                })
            })
            .collect();
        let turned_away = Counter::default();
        registry.register(
            "connections_turned_away",
            "Connections closed at once because their application, or unknown callers, had too many",
            turned_away.clone(),
        );
        let reconnects = Counter::default();
        registry.register(
            "http2_reconnects",
            "HTTP/2 connections whose clients were told to open another one",
            reconnects.clone(),
        );
        registry.register("requests", "Requests answered, by status class", answered);
        registry.register("requests_in_flight", "Requests being answered", in_flight);
        registry.register_with_unit(
            "request_duration",
            "Time from a request's head to the end of its answer",
            Unit::Seconds,
            duration,
        );
        Traffic {
            connections: watch::Sender::new(vec![0; ports.len()]),
            reconnects,
            turned_away,
            functions,
        }
    }

    /// Counts a connection to the function with an index for as long as the result lives.
    pub(crate) fn open(self: &Arc<Self>, function: usize) -> OpenConnection {
        self.connections.send_modify(|open| open[function] += 1);
        OpenConnection {
            traffic: Arc::clone(self),
            function,
        }
    }

    /// A connection was one too many.
    pub(crate) fn turned_away(&self) {
        self.turned_away.inc();
    }

    /// Counts an HTTP/2 connection whose client is told to open another one.
    pub(crate) fn told_to_reconnect(&self) {
        self.reconnects.inc();
    }

    /// Connections that this worker is responsible for.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.borrow().iter().sum()
    }

    /// Follows the number of connections of each function.
    pub(crate) fn watch(&self) -> watch::Receiver<Vec<u64>> {
        self.connections.subscribe()
    }

    /// Waits until no connection is open.
    pub(crate) async fn no_connections(&self) {
        let mut connections = self.connections.subscribe();
        // The sender lives as long as `self`.
        let _ = connections
            .wait_for(|open| open.iter().all(|open| *open == 0))
            .await;
    }

    /// The counters of the function with an index.
    pub(crate) fn function(&self, index: usize) -> Option<Arc<FunctionTraffic>> {
        self.functions.get(index).cloned()
    }

    pub(crate) fn report(&self) -> TrafficReport {
        let functions = || self.functions.iter();
        TrafficReport {
            connections: self.connections(),
            in_flight: functions().map(|f| f.in_flight.load(Relaxed)).sum(),
            answered: functions()
                .flat_map(|f| f.answered.iter().map(Counter::get))
                .sum(),
            server_errors: functions().map(|f| f.answered[SERVER_ERROR].get()).sum(),
        }
    }
}

/// A connection that counts as open.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    traffic: Arc<Traffic>,
    function: usize,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let connections = &self.traffic.connections;
        connections.send_modify(|open| open[self.function] -= 1);
    }
}

impl FunctionTraffic {
    /// Lets a function answer a request, and counts it. A function that panics answers 500.
    pub(crate) fn call(
        self: &Arc<Self>,
        function: Arc<dyn Function>,
        request: Request<RequestBody>,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        let mut exchange = Exchange::begin(Arc::clone(self));
        async move {
            let response = AssertUnwindSafe(async move { function.call(request).await })
                .catch_unwind()
                .await
                .unwrap_or_else(|_| panicked());
            exchange.status = Some(response.status());
            // It is counted when its answer has been sent.
            response.map(|body| Holding::new(body, exchange).boxed_unsync())
        }
        .boxed()
    }
}

fn panicked() -> Response<ResponseBody> {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal-error",
        "the function failed on this request; its log has the place",
    )
    .into_response()
}

/// A request until its answer is sent, or given up.
struct Exchange {
    traffic: Arc<FunctionTraffic>,
    began: Instant,
    status: Option<StatusCode>,
}

impl Exchange {
    fn begin(traffic: Arc<FunctionTraffic>) -> Exchange {
        traffic.in_flight.fetch_add(1, Relaxed);
        traffic.in_flight_gauge.inc();
        Exchange {
            traffic,
            began: Instant::now(),
            status: None,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let traffic = &self.traffic;
        traffic.in_flight.fetch_sub(1, Relaxed);
        traffic.in_flight_gauge.dec();
        // Without a status the client went away before there was an answer.
        let class = self.status.map(|status| usize::from(status.as_u16() / 100));
        if let Some(answered) = class.and_then(|class| traffic.answered.get(class - 1)) {
            answered.inc();
            traffic.duration.observe(self.began.elapsed().as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;
    use crate::NotWarm;

    enum Answer {
        Status(u16),
        Panic,
    }

    struct Fixed(Answer);

    impl Function for Fixed {
        fn call(
            self: Arc<Self>,
            _: Request<RequestBody>,
        ) -> BoxFuture<'static, Response<ResponseBody>> {
            async move {
                match self.0 {
                    Answer::Status(status) => {
                        let mut response = Response::new(empty());
                        *response.status_mut() = StatusCode::from_u16(status).unwrap();
                        response
                    }
                    Answer::Panic => panic!("on purpose"),
                }
            }
            .boxed()
        }

        fn warm(self: Arc<Self>) -> BoxFuture<'static, Result<(), NotWarm>> {
            async { Ok(()) }.boxed()
        }
    }

    fn empty() -> ResponseBody {
        Empty::new().map_err(|never| match never {}).boxed_unsync()
    }

    fn traffic() -> Arc<Traffic> {
        let ports = [FunctionPort {
            function: "entries".into(),
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            port: 15000,
            socket: None,
        }];
        Arc::new(Traffic::new(&ports, &mut Registry::default()))
    }

    async fn answer(traffic: &Traffic, answer: Answer) -> Response<ResponseBody> {
        let function = traffic.function(0).unwrap();
        function
            .call(Arc::new(Fixed(answer)), Request::new(empty()))
            .await
    }

    #[tokio::test]
    async fn a_request_is_in_flight_until_its_answer_has_been_sent() {
        let traffic = traffic();
        let response = answer(&traffic, Answer::Status(201)).await;
        assert_eq!(traffic.report().in_flight, 1);
        assert_eq!(traffic.report().answered, 0);
        drop(response);
        assert_eq!(traffic.report().in_flight, 0);
        assert_eq!(traffic.report().answered, 1);
        assert_eq!(traffic.report().server_errors, 0);
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_and_a_server_error() {
        let traffic = traffic();
        let response = answer(&traffic, Answer::Panic).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        drop(response);
        assert_eq!(traffic.report().server_errors, 1);
    }

    #[tokio::test]
    async fn a_request_that_was_given_up_is_not_answered() {
        let traffic = traffic();
        let function = traffic.function(0).unwrap();
        let call = function.call(Arc::new(Fixed(Answer::Status(200))), Request::new(empty()));
        assert_eq!(traffic.report().in_flight, 1);
        drop(call);
        assert_eq!(traffic.report(), TrafficReport::default());
    }

    #[tokio::test]
    async fn a_connection_counts_while_it_is_open() {
        let traffic = traffic();
        let first = traffic.open(0);
        let second = traffic.open(0);
        drop(first);
        assert_eq!(traffic.report().connections, 1);
        drop(second);
        traffic.no_connections().await;
    }
}
