//! Tasks that the process cannot do without.

use std::future::pending;

use outrigger_runtime::EssentialTasks;
use tokio_util::sync::CancellationToken;

async fn outcome(spawn: impl FnOnce(&mut EssentialTasks)) -> String {
    let mut tasks = EssentialTasks::new();
    tasks.spawn("the webhook", pending());
    spawn(&mut tasks);
    let ended = tasks.run(&CancellationToken::new()).await;
    ended.unwrap_err().to_string()
}

#[tokio::test]
async fn a_task_that_ends_fails_or_panics_is_named() {
    let name = "the admin server";
    assert_eq!(
        outcome(|tasks| tasks.spawn(name, async {})).await,
        "the admin server ended unexpectedly"
    );
    let error = std::io::Error::other("no address");
    assert_eq!(
        outcome(|tasks| tasks.spawn_fallible(name, async { Err(error) })).await,
        "the admin server failed: no address"
    );
    assert_eq!(
        outcome(|tasks| tasks.spawn(name, async { panic!("oh") })).await,
        "the admin server panicked: oh"
    );
}

#[tokio::test]
async fn after_the_stop_all_may_end() {
    let mut tasks = EssentialTasks::new();
    let stop = CancellationToken::new();
    for name in ["one", "two"] {
        let end = stop.clone();
        tasks.spawn(name, async move { end.cancelled().await });
    }
    stop.cancel();
    tasks.run(&stop).await.unwrap();
}

#[tokio::test]
async fn a_panic_after_the_stop_is_still_an_error() {
    let mut tasks = EssentialTasks::new();
    let stop = CancellationToken::new();
    stop.cancel();
    tasks.spawn("one", async { panic!("late") });
    assert_eq!(
        tasks.run(&stop).await.unwrap_err().to_string(),
        "one panicked: late"
    );
}
