//! Whether the functions could answer at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::Functions;
use crate::tenancy::Hosted;

/// Longest time of one attempt.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(2);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// In one of so many attempts, those that were warm are asked again.
const ROUNDS: u32 = 5;
/// Stands for the application of a sidecar that is not shared.
const OWN: &str = "";

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

/// Asks before a handover once more whether the functions are warm. Those of several applications
/// are asked all the time, and a store of one that went away just now is not to keep the others
/// from a new image.
pub(crate) async fn test(functions: &Hosted) -> Result<(), String> {
    match functions.is_shared() {
        true => Ok(()),
        false => check(functions.all()).await,
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
///
/// They are asked again and again, so that both slots know at a swap whose store is away.
/// Applications that share a sidecar are asked each for itself.
pub(crate) struct Warmth {
    state: watch::Sender<Result<(), String>>,
    cold: watch::Sender<Cold>,
    attempt: Option<JoinHandle<()>>,
}

/// Applications that are not warm, and why.
pub(crate) type Cold = BTreeMap<String, String>;

impl Warmth {
    pub(crate) fn new() -> Warmth {
        Warmth {
            state: watch::Sender::new(Err("there is no configuration yet".to_owned())),
            cold: watch::Sender::default(),
            attempt: None,
        }
    }

    /// Whether the functions are warm, or why they are not. With several applications, whether one
    /// is, after all were asked.
    pub(crate) fn watch(&self) -> watch::Receiver<Result<(), String>> {
        self.state.subscribe()
    }

    /// Lets others say that the functions were found not to be warm.
    pub(crate) fn doubt(&self) -> Doubt {
        Doubt(self.state.clone())
    }

    /// The applications that are not warm.
    pub(crate) fn cold(&self) -> watch::Receiver<Cold> {
        self.cold.subscribe()
    }

    /// Begins anew with other functions.
    pub(crate) fn begin(&mut self, functions: Arc<Hosted>) {
        if let Some(former) = self.attempt.take() {
            former.abort();
        }
        let (state, cold) = (self.state.clone(), self.cold.clone());
        state.send_modify(|now| *now = Err("the functions are being warmed".to_owned()));
        self.attempt = Some(tokio::spawn(async move {
            match functions.tenants() {
                Some(tenants) => {
                    let report = |found: &Cold| {
                        tell(cold.borrow().clone(), found);
                        let answer = some_warm(tenants.len(), found);
                        cold.send_if_modified(|now| replace(now, found.clone()));
                        state.send_if_modified(|now| replace(now, answer));
                    };
                    attend(tenants, report).await;
                }
                None => {
                    cold.send_replace(Cold::new());
                    let own = BTreeMap::from([(OWN.to_owned(), functions.all().clone())]);
                    let report = |found: &Cold| {
                        let answer = found.get(OWN).cloned().map_or(Ok(()), Err);
                        if state.send_if_modified(|now| replace(now, answer))
                            && let Err(reason) = &*state.borrow()
                        {
                            tracing::warn!(reason, "Functions are not warm");
                        }
                    };
                    attend(&own, report).await;
                }
            }
        }));
    }
}

/// See [`Warmth::doubt`].
pub(crate) struct Doubt(watch::Sender<Result<(), String>>);

impl Doubt {
    /// The functions are not warm, until they are asked next.
    pub(crate) fn tell(&self, reason: String) {
        tracing::warn!(reason, "Functions are not warm");
        self.0.send_modify(|now| *now = Err(reason));
    }
}

/// Asks the functions of every application, for ever: those that are not warm soon again, the others now and then.
async fn attend(tenants: &BTreeMap<String, Functions>, mut report: impl FnMut(&Cold)) {
    let mut cold = Cold::new();
    for round in 0_u32.. {
        let due = tenants
            .iter()
            .filter(|(name, _)| round.is_multiple_of(ROUNDS) || cold.contains_key(*name));
        let asked = due.map(|(name, functions)| async move { (name, check(functions).await) });
        for (name, answer) in join_all(asked).await {
            match answer {
                Ok(()) => cold.remove(name),
                Err(reason) => cold.insert(name.clone(), reason),
            };
        }
        report(&cold);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether one of several applications is warm, if there is any.
fn some_warm(tenants: usize, cold: &Cold) -> Result<(), String> {
    match cold.first_key_value() {
        Some((application, reason)) if cold.len() == tenants => {
            Err(format!("application {application}: {reason}"))
        }
        _ => Ok(()),
    }
}

/// Logs what has changed.
fn tell(former: Cold, found: &Cold) {
    for (application, reason) in found {
        if former.get(application) != Some(reason) {
            tracing::warn!(
                application,
                reason,
                "Functions of an application are not warm"
            );
        }
    }
    for application in former.keys().filter(|name| !found.contains_key(*name)) {
        tracing::info!(application, "Functions of an application are warm again");
    }
}

/// Puts a value in place; whether it is another one.
fn replace<T: PartialEq>(place: &mut T, value: T) -> bool {
    let changed = *place != value;
    *place = value;
    changed
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use futures::FutureExt;
    use futures::future::BoxFuture;
    use http::{Request, Response};

    use super::*;
    use crate::{Function, NotWarm, RequestBody, ResponseBody};

    /// When a function is warm: at which of the attempts, counted from 1.
    #[derive(Clone, Copy)]
    enum Warm {
        From(u32),
        Until(u32),
        /// It does not answer.
        Unknown,
    }

    struct Asked {
        warm: Warm,
        attempts: AtomicU32,
    }

    impl Function for Asked {
        fn call(
            self: Arc<Self>,
            _: Request<RequestBody>,
        ) -> BoxFuture<'static, Response<ResponseBody>> {
            unreachable!("nothing calls the function")
        }

        fn warm(self: Arc<Self>) -> BoxFuture<'static, Result<(), NotWarm>> {
            async move {
                let attempt = self.attempts.fetch_add(1, SeqCst) + 1;
                let is_warm = match self.warm {
                    Warm::From(first) => attempt >= first,
                    Warm::Until(last) => attempt <= last,
                    Warm::Unknown => std::future::pending().await,
                };
                let away = || NotWarm("the store is away".to_owned());
                is_warm.then_some(()).ok_or_else(away)
            }
            .boxed()
        }
    }

    fn functions(functions: &[(&str, Warm)]) -> Arc<Hosted> {
        let functions = functions.iter().map(|(name, warm)| {
            let function: Arc<dyn Function> = Arc::new(Asked {
                warm: *warm,
                attempts: AtomicU32::new(0),
            });
            ((*name).to_owned(), function)
        });
        Arc::new(Hosted::own(functions.collect()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_that_is_not_warm_is_named_and_asked_again() {
        let mut warmth = Warmth::new();
        let mut watch = warmth.watch();
        warmth.begin(functions(&[
            ("entries", Warm::From(3)),
            ("other", Warm::From(1)),
        ]));
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
        warmth.begin(functions(&[("entries", Warm::From(1))]));
        watch.wait_for(Result::is_ok).await.unwrap();
        warmth.begin(functions(&[("entries", Warm::Unknown)]));
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

    #[tokio::test(start_paused = true)]
    async fn functions_whose_store_goes_away_are_not_warm_any_more() {
        let mut warmth = Warmth::new();
        let mut watch = warmth.watch();
        warmth.begin(functions(&[("entries", Warm::Until(1))]));
        watch.wait_for(Result::is_ok).await.unwrap();
        let cold = Err("function entries: the store is away".to_owned());
        watch.wait_for(|state| *state == cold).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_doubt_lasts_until_the_functions_are_asked_next() {
        let mut warmth = Warmth::new();
        let mut watch = warmth.watch();
        warmth.begin(functions(&[("entries", Warm::From(1))]));
        watch.wait_for(Result::is_ok).await.unwrap();
        warmth.doubt().tell("it was away for a moment".to_owned());
        assert!(watch.borrow_and_update().is_err());
        watch.wait_for(Result::is_ok).await.unwrap();
    }

    fn tenants(tenants: &[(&str, Warm)]) -> Arc<Hosted> {
        let tenants = tenants.iter().map(|(application, warm)| {
            let own = functions(&[("entries", *warm)]);
            ((*application).to_owned(), own.all().clone())
        });
        Arc::new(Hosted::shared(tenants.collect()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_application_that_is_not_warm_keeps_no_other_from_being_served() {
        let mut warmth = Warmth::new();
        let (mut watch, mut cold) = (warmth.watch(), warmth.cold());
        warmth.begin(tenants(&[("bank", Warm::From(1)), ("shop", Warm::Unknown)]));
        watch.wait_for(Result::is_ok).await.unwrap();
        let reason = "the functions were not warm within 2 s".to_owned();
        let shop = BTreeMap::from([("shop".to_owned(), reason)]);
        assert_eq!(*cold.borrow(), shop);
        warmth.begin(tenants(&[("bank", Warm::From(1)), ("shop", Warm::From(2))]));
        cold.wait_for(BTreeMap::is_empty).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_warm_without_one_warm_application() {
        let mut warmth = Warmth::new();
        let (mut watch, mut cold) = (warmth.watch(), warmth.cold());
        warmth.begin(tenants(&[("bank", Warm::From(2)), ("shop", Warm::Unknown)]));
        let is_about_bank = |state: &Result<(), String>| matches!(state, Err(reason) if reason.starts_with("application bank: "));
        watch.wait_for(is_about_bank).await.unwrap();
        watch.wait_for(Result::is_ok).await.unwrap();
        cold.wait_for(|cold| cold.len() == 1).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_application_whose_store_goes_away_is_told() {
        let mut warmth = Warmth::new();
        let mut cold = warmth.cold();
        warmth.begin(tenants(&[
            ("bank", Warm::From(1)),
            ("shop", Warm::Until(1)),
        ]));
        let shop = "function entries: the store is away".to_owned();
        cold.wait_for(|cold| cold.get("shop") == Some(&shop))
            .await
            .unwrap();
        assert!(warmth.watch().borrow().is_ok());
    }
}
