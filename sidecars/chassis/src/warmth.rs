//! Whether the functions could answer at once.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::Functions;
use crate::tenancy::Hosted;

/// Longest time of one attempt.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(2);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks every function once whether it is warm; otherwise says which is not, and why.
pub(crate) async fn check(functions: &Functions) -> Result<(), String> {
    let all = functions.iter().map(|(name, function)| async move {
        Arc::clone(function)
            .warm()
            .await
            .map_err(|reason| format!("function {name}: {reason}"))
    });
    match timeout(ATTEMPT, try_join_all(all)).await {
        Ok(done) => done.map(drop),
        Err(_) => Err(format!(
            "the functions were not warm within {} s",
            ATTEMPT.as_secs()
        )),
    }
}

/// Asks until every function is warm, and reports each answer.
pub(crate) async fn until_warm(functions: &Functions, mut report: impl FnMut(Result<(), String>)) {
    loop {
        let answer = check(functions).await;
        let warm = answer.is_ok();
        report(answer);
        if warm {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Warms the functions of the newest configuration.
pub(crate) struct Warmth {
    state: watch::Sender<Result<(), String>>,
    attempt: Option<JoinHandle<()>>,
}

impl Warmth {
    pub(crate) fn new() -> Warmth {
        Warmth {
            state: watch::Sender::new(Err("there is no configuration yet".to_owned())),
            attempt: None,
        }
    }

    /// Whether the functions are warm, or why they are not.
    pub(crate) fn watch(&self) -> watch::Receiver<Result<(), String>> {
        self.state.subscribe()
    }

    /// Begins anew with other functions.
    pub(crate) fn begin(&mut self, functions: Arc<Hosted>) {
        if let Some(former) = self.attempt.take() {
            former.abort();
        }
        let state = self.state.clone();
        state.send_modify(|now| *now = Err("the functions are being warmed".to_owned()));
        self.attempt = Some(tokio::spawn(async move {
            until_warm(functions.all(), |answer| {
                if let Err(reason) = &answer {
                    tracing::warn!(reason, "Functions are not warm");
                }
                state.send_modify(|now| *now = answer);
            })
            .await;
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use futures::FutureExt;
    use futures::future::BoxFuture;
    use http::{Request, Response};

    use super::*;
    use crate::{Function, NotWarm, RequestBody, ResponseBody};

    /// Warm at the attempt with a number; never at attempt 0.
    struct WarmAt {
        attempt: u32,
        asked: AtomicU32,
    }

    impl Function for WarmAt {
        fn call(
            self: Arc<Self>,
            _: Request<RequestBody>,
        ) -> BoxFuture<'static, Response<ResponseBody>> {
            unreachable!("nothing calls the function")
        }

        fn warm(self: Arc<Self>) -> BoxFuture<'static, Result<(), NotWarm>> {
            async move {
                let asked = self.asked.fetch_add(1, SeqCst) + 1;
                match self.attempt {
                    0 => std::future::pending().await,
                    attempt if asked >= attempt => Ok(()),
                    _ => Err(NotWarm("the store is away".to_owned())),
                }
            }
            .boxed()
        }
    }

    fn functions(attempts: &[(&str, u32)]) -> Arc<Hosted> {
        let function = |(name, attempt): &(&str, u32)| {
            let function: Arc<dyn Function> = Arc::new(WarmAt {
                attempt: *attempt,
                asked: AtomicU32::new(0),
            });
            ((*name).to_owned(), function)
        };
        Arc::new(Hosted::own(attempts.iter().map(function).collect()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_that_is_not_warm_is_named_and_asked_again() {
        let mut warmth = Warmth::new();
        let mut watch = warmth.watch();
        warmth.begin(functions(&[("entries", 3), ("other", 1)]));
        let reason = watch
            .wait_for(|state| matches!(state, Err(reason) if reason.contains("store")))
            .await
            .unwrap()
            .clone();
        assert_eq!(reason.unwrap_err(), "function entries: the store is away");
        watch.wait_for(Result::is_ok).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn other_functions_are_not_warm_because_the_former_ones_were() {
        let mut warmth = Warmth::new();
        let mut watch = warmth.watch();
        warmth.begin(functions(&[("entries", 1)]));
        watch.wait_for(Result::is_ok).await.unwrap();
        warmth.begin(functions(&[("entries", 0)]));
        assert!(watch.borrow().is_err());
        let reason = watch
            .wait_for(|state| matches!(state, Err(reason) if reason.contains("within")))
            .await
            .unwrap()
            .clone();
        assert_eq!(
            reason.unwrap_err(),
            "the functions were not warm within 2 s"
        );
    }
}
