//! The promises of a connection, over pipes and under a paused clock.

mod plan;
mod rule;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http::{HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use super::{End, MAX_UNREAD, serve};
use crate::{BoxError, RequestBody, ResponseBody};

const LIMIT: Duration = Duration::from_secs(5);

/// Answers as the path says, and counts.
fn answer(
    request: Request<RequestBody>,
    calls: &Arc<AtomicUsize>,
) -> BoxFuture<'static, Response<ResponseBody>> {
    calls.fetch_add(1, Ordering::Relaxed);
    async move {
        let path = request.uri().path().to_owned();
        let body = match path.split('/').nth(1) {
            Some("large") => full(vec![b'l'; 20_000]),
            Some("late") => {
                tokio::time::sleep(Duration::from_millis(7)).await;
                full(path)
            }
            Some("streamed") => streamed(),
            Some("upload") => {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
                full(format!("{path} {} {sum}", body.len()))
            }
            // Answers before the body has arrived, and reads it all the same.
            Some("early") => {
                tokio::spawn(request.into_body().collect());
                full(path)
            }
            Some("unread") => {
                drop(request);
                full(path)
            }
            Some("stuck") => std::future::pending().await,
            _ => full(path),
        };
        let mut response = Response::new(body);
        // The clock of the machine must not show in the comparison of two runs.
        response.headers_mut().insert(
            header::DATE,
            HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"),
        );
        response
    }
    .boxed()
}

fn full(bytes: impl Into<Bytes>) -> ResponseBody {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn streamed() -> ResponseBody {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        for pause in 0..4 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if sender.send(Bytes::from(vec![b's'; 300])).await.is_err() {
                return;
            }
        }
    });
    let frames = ReceiverStream::new(receiver).map(|bytes| Ok::<_, BoxError>(Frame::data(bytes)));
    StreamBody::new(frames).boxed_unsync()
}

/// A connection that is served, and its client.
struct Served {
    client: DuplexStream,
    drain: watch::Sender<bool>,
    end: JoinHandle<End<TokioIo<DuplexStream>>>,
}

fn served(replay: &'static [u8], pipe: usize) -> Served {
    let (client, io) = duplex(pipe);
    let (drain, drained) = watch::channel(false);
    let calls = Arc::default();
    let service = move |request| answer(request, &calls);
    let end = tokio::spawn(serve(
        TokioIo::new(io),
        Bytes::from_static(replay),
        service,
        drained,
        LIMIT,
    ));
    Served { client, drain, end }
}

impl Served {
    async fn send(&mut self, bytes: &str) {
        self.client.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Reads until the text arrives.
    async fn expect(&mut self, text: &str) -> String {
        let mut received = Vec::new();
        loop {
            let all = String::from_utf8_lossy(&received).into_owned();
            if all.ends_with(text) {
                return all;
            }
            let mut byte = [0];
            let count = self.client.read(&mut byte).await.unwrap();
            assert_eq!(count, 1, "the connection ended after {all:?}");
            received.extend(byte);
        }
    }

    /// Lets every task run until only time could wake one.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_drained_before_its_first_byte_is_parked_with_its_replay() {
    let connection = served(b"GET /replayed HTTP/1.1\r\n", 100);
    connection.drain.send_replace(true);
    let End::Parked { unread, .. } = connection.end.await.unwrap() else {
        panic!("not parked");
    };
    assert_eq!(unread, "GET /replayed HTTP/1.1\r\n");
}

#[tokio::test(start_paused = true)]
async fn half_a_head_travels_with_the_connection() {
    let mut connection = served(b"GET /half HT", 100);
    connection.send("TP/1.1\r\nho").await;
    connection.settle().await;
    connection.drain.send_replace(true);
    let End::Parked { unread, .. } = connection.end.await.unwrap() else {
        panic!("not parked");
    };
    assert_eq!(unread, "GET /half HTTP/1.1\r\nho");
}

#[tokio::test(start_paused = true)]
async fn what_arrives_while_the_connection_drains_stays_in_the_socket() {
    let mut connection = served(b"", 100_000);
    connection.send("GET /late HTTP/1.1\r\n\r\n").await;
    connection.settle().await;
    connection.drain.send_replace(true);
    connection.expect("/late").await;
    connection.send("GET /next HTTP/1.1\r\n\r\n").await;
    let End::Parked { io, unread } = connection.end.await.unwrap() else {
        panic!("not parked");
    };
    assert_eq!(unread, "");
    let mut waiting = [0; 22];
    io.into_inner().read_exact(&mut waiting).await.unwrap();
    assert_eq!(&waiting, b"GET /next HTTP/1.1\r\n\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_is_withdrawn_before_anyone_looked_parks_nothing() {
    let mut connection = served(b"", 100_000);
    connection.settle().await;
    connection.drain.send_replace(true);
    connection.drain.send_replace(false);
    connection.send("GET /first HTTP/1.1\r\n\r\n").await;
    connection.expect("/first").await;
    assert!(!connection.end.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_busy_connection_is_served_on_after_the_signal_was_withdrawn() {
    let mut connection = served(b"", 100_000);
    connection.send("GET /late HTTP/1.1\r\n\r\n").await;
    connection.settle().await;
    connection.drain.send_replace(true);
    connection.settle().await;
    connection.drain.send_replace(false);
    connection.expect("/late").await;
    // Longer than the limit: a withdrawn signal leaves no deadline behind.
    tokio::time::sleep(2 * LIMIT).await;
    connection.send("GET /second HTTP/1.1\r\n\r\n").await;
    connection.expect("/second").await;
    connection.drain.send_replace(true);
    assert!(matches!(connection.end.await.unwrap(), End::Parked { .. }));
}

#[tokio::test(start_paused = true)]
async fn reads_withheld_during_a_drain_go_on_after_it() {
    // The client does not read, so the answer stays in hyper's buffer and nothing can park.
    let mut connection = served(b"", 16);
    connection.send("GET /x HTTP/1.1\r\n\r\n").await;
    connection.settle().await;
    connection.drain.send_replace(true);
    connection.settle().await;
    connection.drain.send_replace(false);
    connection.expect("/x").await;
    connection.send("GET /y HTTP/1.1\r\n\r\n").await;
    connection.expect("/y").await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_stays_busy_is_closed_after_its_answer() {
    let mut connection = served(b"", 16);
    connection.send("GET /large HTTP/1.1\r\n\r\n").await;
    connection.settle().await;
    connection.drain.send_replace(true);
    tokio::time::sleep(LIMIT + Duration::from_millis(1)).await;
    let mut received = Vec::new();
    connection.client.read_to_end(&mut received).await.unwrap();
    assert!(received.ends_with(&[b'l'; 20_000]));
    assert!(matches!(connection.end.await.unwrap(), End::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_answered_is_not_parked() {
    let mut connection = served(b"", 100_000);
    connection.send("GET /stuck HTTP/1.1\r\n\r\n").await;
    connection.settle().await;
    connection.drain.send_replace(true);
    tokio::time::sleep(3 * LIMIT).await;
    assert!(!connection.end.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_dropped_unread_is_never_taken_for_a_request() {
    let mut connection = served(b"", 100_000);
    let head = "POST /unread/1 HTTP/1.1\r\ncontent-length: 45\r\n\r\nGET /";
    connection.send(head).await;
    connection.settle().await;
    connection.drain.send_replace(true);
    // hyper may have closed by now.
    let rest = b"smuggled HTTP/1.1\r\nhost: elsewhere\r\n\r\n..";
    let _ = connection.client.write_all(rest).await;
    let mut received = Vec::new();
    let _ = connection.client.read_to_end(&mut received).await;
    assert!(!String::from_utf8_lossy(&received).contains("smuggled"));
    assert!(!matches!(connection.end.await.unwrap(), End::Parked { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_request_after_a_skipped_body_lets_the_connection_park_again() {
    let mut connection = served(b"", 100_000);
    connection
        .send("POST /unread/1 HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc")
        .await;
    connection.expect("/unread/1").await;
    connection.send("GET /next HTTP/1.1\r\n\r\n").await;
    connection.expect("/next").await;
    connection.drain.send_replace(true);
    assert!(matches!(connection.end.await.unwrap(), End::Parked { .. }));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_stays_open_and_half_a_head_does_not() {
    let mut connection = served(b"", 100_000);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    connection.send("GET /first HTTP/1.1\r\n\r\n").await;
    connection.expect("/first").await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    connection.send("GET /sec").await;
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert!(!connection.end.is_finished());
    // A byte now and then does not help.
    connection.send("o").await;
    let End::Failed(error) = connection.end.await.unwrap() else {
        panic!("not closed");
    };
    let cause = std::error::Error::source(&error).unwrap();
    let cause: &io::Error = cause.downcast_ref().unwrap();
    assert_eq!(cause.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn requests_that_were_read_ahead_travel_unanswered() {
    let mut connection = served(b"", 1 << 20);
    let requests = "GET /x HTTP/1.1\r\n\r\n".repeat(20_000);
    connection
        .send(&("GET /late HTTP/1.1\r\n\r\n".to_owned() + &requests))
        .await;
    connection.settle().await;
    connection.drain.send_replace(true);
    let End::Parked { unread, .. } = connection.end.await.unwrap() else {
        panic!("not parked");
    };
    assert!(unread.starts_with(b"GET /x HTTP/1.1\r\n\r\nGET "));
    assert!(unread.len() <= MAX_UNREAD, "{} bytes", unread.len());
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_nearly_too_large_travels_whole() {
    let mut connection = served(b"", 1 << 20);
    let head = format!("GET /{}", "h".repeat(65_000));
    for piece in head.as_bytes().chunks(20_000) {
        connection.client.write_all(piece).await.unwrap();
        connection.settle().await;
    }
    connection.drain.send_replace(true);
    let End::Parked { unread, .. } = connection.end.await.unwrap() else {
        panic!("not parked");
    };
    assert!(unread == head);
}
