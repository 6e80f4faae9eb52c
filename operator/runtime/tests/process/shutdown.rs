//! Signals.

use outrigger_runtime::on_signal;
use rustix::process::{Signal, getpid, kill_process};

#[tokio::test]
async fn sigterm_cancels_the_token() {
    let stop = on_signal().unwrap();
    assert!(!stop.is_cancelled());
    kill_process(getpid(), Signal::TERM).unwrap();
    stop.cancelled().await;
}
