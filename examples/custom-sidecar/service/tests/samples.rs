//! The samples of docs/custom-sidecar.md compile: each stands here too.

#![allow(
    dead_code,
    unused_mut,
    clippy::unwrap_used,
    reason = "samples are parts of programs; a panic is how a test fails"
)]

#[rustfmt::skip]
mod greeter {
    use std::sync::Arc;

    use outrigger_chassis::http::{Request, Response, StatusCode};
    use outrigger_chassis::{BoxFuture, Function, RequestBody, ResponseBody, custom, json};
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Parameters {
        greeting: String,
    }

    struct Greeter(Parameters);

    impl Function for Greeter {
        fn call(self: Arc<Self>, _: Request<RequestBody>) -> BoxFuture<'static, Response<ResponseBody>> {
            Box::pin(async move { json(StatusCode::OK, &self.0.greeting) })
        }
    }

    fn main() -> std::process::ExitCode {
        outrigger_chassis::main(|| custom(|parameters: Parameters| Ok(Greeter(parameters))))
    }
}

#[rustfmt::skip]
mod notify {
    use std::sync::Arc;

    use axum::body::Bytes;
    use http_body_util::Full;
    use hyper_util::client::legacy::Client;
    use hyper_util::client::legacy::connect::HttpConnector;
    use hyper_util::rt::TokioExecutor;
    use outrigger_chassis::http::header::AUTHORIZATION;
    use outrigger_chassis::http::{Request, Response, StatusCode};
    use outrigger_chassis::{BoxFuture, Credentials, Function, NotWarm, RequestBody, ResponseBody, custom, json};
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Parameters {}

    struct Notify {
        parameters: Parameters,
        credentials: Credentials,
    }

    impl Function for Notify {
        fn call(self: Arc<Self>, _: Request<RequestBody>) -> BoxFuture<'static, Response<ResponseBody>> {
            Box::pin(async move { json(StatusCode::OK, &()) })
        }
    }

    fn main() -> std::process::ExitCode {
        let credentials = Credentials::mounted();
        outrigger_chassis::main(move || custom(move |parameters: Parameters| {
            Ok(Notify { parameters, credentials: credentials.clone() })
        }))
    }

    struct Forward {
        client: Client<HttpConnector, Full<Bytes>>,
        credentials: Credentials,
    }

    impl Forward {
        fn new() -> Forward {
            Forward {
                client: Client::builder(TokioExecutor::new()).build_http(),
                credentials: Credentials::mounted(),
            }
        }

        async fn forward(&self, mut order: Request<Full<Bytes>>) -> anyhow::Result<()> {
            let credential = self.credentials.application()?;
            order.headers_mut().insert(AUTHORIZATION, credential.authorization());
            self.client.request(order).await?;
            Ok(())
        }

        async fn warm(&self) -> Result<(), NotWarm> {
            self.credentials.application()?;
            self.credentials.system()?;
            Ok(())
        }
    }
}

#[rustfmt::skip]
mod chat {
    use std::pin::pin;
    use std::sync::Arc;

    use bytes::{Bytes, BytesMut};
    use outrigger_chassis::http::{HeaderValue, Request, Response};
    use outrigger_chassis::{BoxFuture, Function, HandOver, Leave, RequestBody, ResponseBody, Upgraded, switch_protocols};
    use tokio::io::AsyncReadExt;

    struct Chat;

    impl Function for Chat {
        fn call(self: Arc<Self>, _: Request<RequestBody>) -> BoxFuture<'static, Response<ResponseBody>> {
            Box::pin(async { switch_protocols(HeaderValue::from_static("chat"), "0") })
        }

        fn upgraded(self: Arc<Self>, state: Bytes, mut connection: Upgraded) -> BoxFuture<'static, Option<HandOver>> {
            Box::pin(async move {
                let mut count: u64 = std::str::from_utf8(&state).ok()?.parse().ok()?;
                let mut read = BytesMut::new();
                let mut leaving = pin!(connection.leaving());
                loop {
                    // Act upon every whole message in `read`, and answer.
                    tokio::select! {
                        leave = &mut leaving => return match leave {
                            Leave::HandOver => Some(connection.hand_over(count.to_string(), read)),
                            Leave::Close => None, // after a goodbye
                        },
                        length = connection.read_buf(&mut read) => if length.ok()? == 0 { return None },
                    }
                }
            })
        }
    }
}

#[rustfmt::skip]
mod counter {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use outrigger_chassis::{BoxError, BoxFuture, Exclusive, State};

    struct Counter {
        count: AtomicU64,
    }

    impl Exclusive for Counter {
        fn open(self: Arc<Self>, state: Option<State>) -> BoxFuture<'static, Result<(), BoxError>> {
            Box::pin(async move {
                let count = match state {
                    Some(state) => std::str::from_utf8(&state.to_bytes()?)?.parse()?,
                    None => 0, // the first start, a crash, or a version that remembered nothing
                };
                self.count.store(count, Ordering::Relaxed);
                Ok(())
            })
        }

        fn close(self: Arc<Self>) -> BoxFuture<'static, Result<Option<State>, BoxError>> {
            Box::pin(async move {
                let count = self.count.load(Ordering::Relaxed);
                Ok(Some(State::from_bytes(count.to_string().as_bytes())?))
            })
        }
    }
}

/// A text without its white space.
fn packed(text: &str) -> String {
    text.split_whitespace().collect()
}

#[test]
fn each_sample_of_the_page_is_compiled_here() {
    let page = include_str!("../../../../docs/custom-sidecar.md");
    let compiled = packed(include_str!("samples.rs"));
    let samples = page.split("```rust\n").skip(1);
    let samples = samples.map(|rest| rest.split("```").next().unwrap_or_default());
    let mut found = 0;
    for sample in samples {
        assert!(compiled.contains(&packed(sample)), "{sample}");
        found += 1;
    }
    assert!(found > 0);
}
