//! A rollout over many small pods, and one of an image that is bad.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use outrigger_api::conditions::reason;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Ground, Images};
use crate::cluster;
use crate::observe::Observer;
use crate::progress::Progress;
use crate::shop::{self, SIDECAR};
use crate::site::Site;
use crate::swap::most_at_once;

/// Pods on four nodes, each with three containers.
const PODS: u8 = 100;
/// Pods that are added at a time: the machine creates no more in two minutes.
const STEP: u8 = 20;
/// Of the pods that may be in a swap at one time, in per cent.
const MAX_UNAVAILABLE: u8 = 10;
/// Longest time for a rollout over all pods.
const PATIENCE: Duration = Duration::from_secs(900);

/// What a rollout over many pods came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetFigures {
    /// Pods of the application.
    pub pods: u8,
    /// `maxUnavailable` in per cent.
    pub max_unavailable: u8,
    /// The rollout of a good image.
    pub good: Rollout,
    /// That of an image whose worker aborts when the first pods soak.
    pub bad: Rollout,
    /// What the IntegrationSidecar said of the bad one.
    pub message: String,
}

/// One rollout.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// From the patch until all pods had the image that they keep.
    pub seconds: f64,
    /// Pods that were in a phase of a swap.
    pub touched: usize,
    /// The most that were at one time.
    pub most_at_once: usize,
    /// Changes of pods' condition Ready.
    pub ready_transitions: u64,
    /// Restarts of the application's containers.
    pub primary_restarts: u64,
}

impl FleetFigures {
    /// Whether never more pods than allowed were disturbed, and none more than needs be.
    pub fn is_good(&self) -> bool {
        let allowed = usize::from(self.pods) * usize::from(self.max_unavailable) / 100;
        let (good, bad) = (self.good, self.bad);
        good.touched == usize::from(self.pods)
            && bad.touched <= allowed
            && [good, bad].iter().all(|rollout| {
                rollout.most_at_once <= allowed
                    && (rollout.ready_transitions, rollout.primary_restarts) == (0, 0)
            })
    }
}

/// Rolls a good image out over all pods, and then a bad one.
///
/// # Errors
/// When a rollout does not come to its end.
pub async fn roll_out(
    site: &Site,
    images: Images,
    progress: &Progress,
) -> anyhow::Result<FleetFigures> {
    let aborting = images.aborting.clone();
    let max_unavailable = format!("{MAX_UNAVAILABLE}%");
    let update = json!({"soakSeconds": 1, "maxUnavailable": max_unavailable});
    let ground = Ground::with(site, images, json!({}), STEP, update);
    let ground = progress.step("the first pods", ground).await?;
    let shop = &ground.shop;
    let mut pods = STEP;
    while pods < PODS {
        pods += STEP;
        let title = format!("{pods} pods");
        progress.step(&title, shop.scale(pods)).await?;
    }

    let next = &ground.images[1];
    let observer = shop.observe().await?;
    let begin = Instant::now();
    shop.set_image(&next.reference).await?;
    let settled = async {
        let api = shop.sidecars();
        let is_over = |found: &_| shop::is_settled(found) || shop::stalled(found).is_some();
        cluster::wait(&api, SIDECAR, "a complete rollout", PATIENCE, is_over).await?;
        shop.settled().await
    };
    progress.step("a good image in all pods", settled).await?;
    let good = rollout(&observer, begin);
    progress.say(format_args!("{good:?}"));
    drop(observer);

    shop.set_update(json!({"soakSeconds": 60})).await?;
    shop.settled().await?;
    let observer = shop.observe().await?;
    let begin = Instant::now();
    shop.set_image(&aborting.reference).await?;
    let taken_back = async {
        let message = shop.says(reason::REVISION_FAILED).await?;
        let what = "the good image in all slots";
        let has = |record: &crate::observe::Record| shop::has_image(&record.pods(), next).ok();
        observer.wait(what, PATIENCE, has).await?;
        anyhow::Ok(message)
    };
    let message = progress.step("a bad image taken back", taken_back).await?;
    let bad = rollout(&observer, begin);
    progress.say(format_args!("{bad:?}: {message}"));
    let gone = site.cluster.delete_namespace(shop.namespace(), PATIENCE);
    progress.step("all pods gone", gone).await?;
    Ok(FleetFigures {
        pods,
        max_unavailable: MAX_UNAVAILABLE,
        good,
        bad,
        message,
    })
}

fn rollout(observer: &Observer, begin: Instant) -> Rollout {
    let seconds = (begin.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    let phases = observer.phases();
    let touched: BTreeSet<_> = phases.iter().map(|change| &change.pod).collect();
    let totals = observer.totals();
    Rollout {
        seconds,
        touched: touched.len(),
        most_at_once: most_at_once(&phases),
        ready_transitions: totals.ready_transitions,
        primary_restarts: totals.primary_restarts + totals.container_ids_changed,
    }
}
