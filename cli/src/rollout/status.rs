//! `rollout status`: how far a rollout is, and why it waits.

use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::runtime::{WatchStreamExt, watcher};
use outrigger_api::conditions::{READY, STALLED, reason};
use outrigger_api::{EffectiveUpdate, IntegrationSidecar, RESUME_ANNOTATION, Revision, Share};
use tokio::time::timeout;

use super::table::{age, table};
use super::target::{Named, Target};

/// Show how far the rollout is, and what it waits for.
///
/// With --watch, until it has come to its end. It fails if the rollout does: the operator cannot go
/// on without somebody.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) sidecar: Named,
    /// Wait for the end of the rollout, and say what happens.
    #[arg(short, long)]
    pub(super) watch: bool,
    /// How long to wait at most, such as 90s or 5m; otherwise without end.
    #[arg(long, requires = "watch", value_name = "DURATION", value_parser = duration)]
    pub(super) timeout: Option<Duration>,
}

/// A positive length of time as people write it.
fn duration(text: &str) -> anyhow::Result<Duration> {
    let allowed = || anyhow!("allowed is a length of time, such as 90s or 5m");
    let found: SignedDuration = text.parse().map_err(|_| allowed())?;
    ensure!(found.is_positive(), allowed());
    Ok(found.unsigned_abs())
}

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Done,
    UnderWay,
    Failed,
}

/// Tells the whole at first and, if it is to be watched, each change of the summary.
pub(super) async fn run(
    target: &Target,
    arguments: &Arguments,
    tell: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let sidecar = target.read().await?;
    tell(described(&sidecar, Timestamp::now()).trim_end());
    if !arguments.watch {
        return Ok(());
    }
    let watching = watch(target, summary(&sidecar), tell);
    let Some(most) = arguments.timeout else {
        return watching.await;
    };
    match timeout(most, watching).await {
        Ok(ended) => ended,
        Err(_) => bail!(
            "the rollout of {} has not come to its end within {} s",
            target.shown(),
            most.as_secs()
        ),
    }
}

/// Follows the sidecar until its rollout has come to an end.
async fn watch(target: &Target, mut told: String, tell: &dyn Fn(&str)) -> anyhow::Result<()> {
    let found = watcher::watch_object(target.api(), &target.name).default_backoff();
    let mut found = std::pin::pin!(found);
    while let Some(next) = found.next().await {
        let next = match next {
            Ok(next) => next,
            Err(error) if is_denied(&error) => {
                return Err(error).with_context(|| format!("{} cannot be watched", target.shown()));
            }
            // What the API server does not answer now, it is asked again.
            Err(_) => continue,
        };
        let sidecar = next.with_context(|| format!("{} was deleted", target.shown()))?;
        let summary = summary(&sidecar);
        if summary != told {
            tell(&summary);
            told.clone_from(&summary);
        }
        match progress(&sidecar) {
            Progress::Done => return Ok(()),
            Progress::Failed => bail!("the rollout cannot go on without somebody: {summary}"),
            Progress::UnderWay => {}
        }
    }
    Ok(())
}

/// Whether asking again would be of no use.
fn is_denied(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    matches!(
        error,
        InitialListFailed(kube::Error::Api(status))
            | WatchStartFailed(kube::Error::Api(status))
            | WatchFailed(kube::Error::Api(status))
            if matches!(status.code, 401 | 403)
    )
}

fn progress(sidecar: &IntegrationSidecar) -> Progress {
    let status = sidecar.status.clone().unwrap_or_default();
    let is = |type_: &str| {
        let mut conditions = status.conditions.iter();
        conditions.any(|condition| condition.type_ == type_ && condition.status == "True")
    };
    let seen = status.observed_generation == sidecar.metadata.generation;
    match seen && !is_resumed(sidecar) {
        true if is(READY) => Progress::Done,
        true if is(STALLED) => Progress::Failed,
        _ => Progress::UnderWay,
    }
}

/// Whether what is staged is to reach the running pods, and the operator has still to see that: the
/// generation does not tell.
fn is_resumed(sidecar: &IntegrationSidecar) -> bool {
    let status = sidecar.status.clone().unwrap_or_default();
    let staged = |condition: &Condition| condition.reason == reason::STAGED;
    let update = status.update_revision.map(|revision| revision.name);
    status.conditions.iter().any(staged)
        && update.as_ref() == sidecar.annotations().get(RESUME_ANNOTATION)
}

/// The reason, and what the operator says.
fn summary(sidecar: &IntegrationSidecar) -> String {
    let status = sidecar.status.clone().unwrap_or_default();
    if status.observed_generation != sidecar.metadata.generation {
        return "waiting for the operator to see the spec".to_owned();
    }
    let mut conditions = status.conditions.iter();
    match conditions.find(|condition| condition.type_ == READY) {
        Some(ready) => format!("{}: {}", ready.reason, ready.message),
        None => "waiting for the operator to see the spec".to_owned(),
    }
}

/// All that is known.
fn described(sidecar: &IntegrationSidecar, now: Timestamp) -> String {
    let status = sidecar.status.clone().unwrap_or_default();
    let pods = status.pods.clone().unwrap_or_default();
    let mut text = format!(
        "{}\nStrategy:   {}\nPods:       {} of {} have the newest revision\n",
        summary(sidecar),
        strategy(&sidecar.spec.effective_update()),
        pods.updated,
        pods.total
    );
    if pods.job_counts_restarts > 0 {
        text += &format!(
            "            {} keep their revision, since their Job counts restarts\n",
            pods.job_counts_restarts
        );
    }
    if let Some(function_pods) = &status.function_pods {
        text += &format!(
            "            {} of {} function pods serve\n",
            function_pods.ready, function_pods.desired
        );
    }
    for (title, revision) in [
        ("Current:    ", &status.current_revision),
        ("New:        ", &status.update_revision),
        ("New pods:   ", &status.new_pod_revision),
    ] {
        if let Some(Revision { name, image, .. }) = revision {
            text += &format!("{title}{name} ({image})\n");
        }
    }
    if !status.swaps.is_empty() {
        let rows: Vec<_> = status
            .swaps
            .iter()
            .map(|swap| {
                let since: Option<Timestamp> = swap.since.parse().ok();
                let since = since.map_or_else(|| swap.since.clone(), |since| age(since, now));
                [swap.pod.clone(), swap.phase.clone(), since]
            })
            .collect();
        text += &format!("\n{}", table(["SWAP OF POD", "PHASE", "FOR"], &rows));
    }
    text
}

fn strategy(update: &EffectiveUpdate) -> String {
    let share = |share: Share| match share {
        Share::Number(number) => number.to_string(),
        Share::Percent(percent) => format!("{percent}%"),
    };
    let mut text = format!(
        "{:?}, at most {} at a time",
        update.strategy,
        share(update.max_unavailable)
    );
    if update.partition != Share::Number(0) {
        text += &format!(", {} keep their revision", share(update.partition));
    }
    if update.paused {
        text += ", paused";
    }
    text
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use outrigger_api_server::ApiServer;
    use serde_json::{Value, json};

    use super::*;
    use crate::rollout::fixtures::{SIDECAR, condition, shop, target};

    const FIRST: Arguments = Arguments {
        sidecar: Named {
            name: String::new(),
        },
        watch: true,
        timeout: None,
    };

    fn say(api: &ApiServer, conditions: Value) {
        let mut orders = api.get(SIDECAR).unwrap();
        orders["status"]["conditions"] = conditions;
        api.put(SIDECAR, orders);
    }

    #[tokio::test]
    async fn all_that_is_known_is_told() {
        let api = shop();
        let mut orders = api.get(SIDECAR).unwrap();
        orders["spec"]["update"] = json!({"maxUnavailable": "10%", "partition": 1});
        orders["status"]["observedGeneration"] = json!(2);
        api.put(SIDECAR, orders);
        let sidecar = target(&api, "orders").read().await.unwrap();
        let (one, three) = (
            outrigger_plan::revision_name("orders", "registry/sidecar:1"),
            outrigger_plan::revision_name("orders", "registry/sidecar:3"),
        );
        let now = "2026-01-01T00:05:00Z".parse().unwrap();
        assert_eq!(
            described(&sidecar, now),
            format!(
                "\
Swapping: 0 of 2 pods have registry/sidecar:3
Strategy:   HotSwap, at most 10% at a time, 1 keep their revision
Pods:       0 of 2 have the newest revision
Current:    {one} (registry/sidecar:1)
New:        {three} (registry/sidecar:3)

SWAP OF POD   PHASE   FOR
web-0         Soak    30s
"
            )
        );
    }

    #[tokio::test]
    async fn a_watch_ends_with_the_rollout_and_tells_each_change_once() {
        let api = shop();
        let target = target(&api, "orders");
        let told = RefCell::new(Vec::new());
        let tell = |line: &str| {
            let lines = {
                let mut told = told.borrow_mut();
                told.push(line.to_owned());
                told.len()
            };
            // Each line that is told lets the next thing happen.
            match lines {
                1 => say(&api, condition("False", "Waiting", "a budget")),
                2 => say(&api, condition("True", "Succeeded", "2 of 2 pods")),
                _ => {}
            }
        };
        run(&target, &FIRST, &tell).await.unwrap();
        let told = told.into_inner();
        assert_eq!(told[1..], ["Waiting: a budget", "Succeeded: 2 of 2 pods"]);
    }

    #[tokio::test]
    async fn a_rollout_that_stalls_fails_the_watch() {
        let api = shop();
        let mut conditions = condition("False", "PreflightFailed", "no such image");
        let mut stalled = conditions[0].clone();
        stalled["type"] = "Stalled".into();
        stalled["status"] = "True".into();
        conditions.as_array_mut().unwrap().push(stalled);
        say(&api, conditions);
        let error = run(&target(&api, "orders"), &FIRST, &|_| {}).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            "the rollout cannot go on without somebody: PreflightFailed: no such image"
        );
    }

    #[tokio::test]
    async fn what_was_said_of_a_former_spec_is_not_the_end() {
        let api = shop();
        say(&api, condition("True", "Succeeded", "all pods"));
        let mut orders = api.get(SIDECAR).unwrap();
        orders["spec"]["image"] = "registry/sidecar:4".into();
        api.put(SIDECAR, orders);
        let sidecar = target(&api, "orders").read().await.unwrap();
        assert_eq!(progress(&sidecar), Progress::UnderWay);
        assert_eq!(
            summary(&sidecar),
            "waiting for the operator to see the spec"
        );
    }

    #[tokio::test]
    async fn a_stage_is_the_end_until_it_is_resumed() {
        let api = shop();
        say(&api, condition("True", "Staged", "new pods get it"));
        let mut orders = api.get(SIDECAR).unwrap();
        let read = |orders: &Value| serde_json::from_value(orders.clone()).unwrap();
        assert_eq!(progress(&read(&orders)), Progress::Done);
        let staged = orders["status"]["updateRevision"]["name"].clone();
        orders["metadata"]["annotations"] = json!({RESUME_ANNOTATION: staged});
        assert_eq!(progress(&read(&orders)), Progress::UnderWay);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_has_its_limit() {
        let api = shop();
        let arguments = Arguments {
            timeout: Some(duration("90s").unwrap()),
            ..FIRST
        };
        let error = run(&target(&api, "orders"), &arguments, &|_| {}).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            "the rollout of integrationsidecar.outrigger.dev/orders has not come to its end within 90 s"
        );
    }

    #[test]
    fn limits_are_lengths_of_time() {
        assert_eq!(duration("5m").unwrap(), Duration::from_secs(300));
        for text in ["soon", "-1s", "0s", "5"] {
            assert_eq!(
                duration(text).unwrap_err().to_string(),
                "allowed is a length of time, such as 90s or 5m",
                "{text}"
            );
        }
    }
}
