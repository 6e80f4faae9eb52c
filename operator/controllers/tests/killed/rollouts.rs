//! A new image reaches a running pod, or does not.

use std::marker::PhantomData;

use outrigger_api::RESUME_ANNOTATION;
use outrigger_api_server::ApiServer;
use outrigger_control::Phase;
use outrigger_faults::{Story, crash_after_every_write, weather_storms};
use outrigger_plan::revision_name;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::node::{Fault, Node};
use crate::replica::Replica;
use crate::shop::{
    POD, SIDECAR, edit, empty_shop, images, is_updated, owners, preflights, put_pod, recreating,
    says, set_image, shop, until_phase,
};

/// What happens to application `shop` with its one pod.
trait Plot: Send + Sync + 'static {
    const NAME: &str;

    /// The objects at the beginning.
    fn open() -> ApiServer {
        shop(0)
    }

    /// Does what users do, and waits for the end.
    fn play(api: &ApiServer, node: &Node) -> impl Future<Output = ()> + Send;
}

/// The story of a plot.
struct Shop<P> {
    node: Node,
    plot: PhantomData<P>,
}

impl<P: Plot> Story for Shop<P> {
    const NAME: &str = P::NAME;

    async fn begin(number: usize) -> (ApiServer, Shop<P>) {
        let api = P::open();
        // The slots of each pod have an address of their own.
        let ip = format!("127.11.{}.{}", number / 250, 1 + number % 250);
        let node = Node::start(&api, &ip).await;
        let plot = PhantomData;
        (api, Shop { node, plot })
    }

    async fn play(&self, api: &ApiServer) {
        P::play(api, &self.node).await;
        api.until(SIDECAR, |_| preflights(api) == 0).await;
    }
}

/// Waits until the image of the beginning has been tried, so that it does not depend on when the
/// next one is asked for whether it is.
async fn is_tried(api: &ApiServer) {
    is_updated(api, "sidecar:1").await;
    api.until(SIDECAR, |_| preflights(api) == 0).await;
}

struct Swap;

impl Plot for Swap {
    const NAME: &str = "an image is swapped into a running pod";

    async fn play(api: &ApiServer, _: &Node) {
        is_tried(api).await;
        set_image(api, "sidecar:2");
        is_updated(api, "sidecar:2").await;
    }
}

struct Missing;

impl Plot for Missing {
    const NAME: &str = "an image that does not exist is asked for, and then the former again";

    async fn play(api: &ApiServer, node: &Node) {
        node.spoil("sidecar:9", Fault::Missing);
        is_tried(api).await;
        set_image(api, "sidecar:9");
        says(api, "PreflightFailed").await;
        set_image(api, "sidecar:1");
        is_updated(api, "sidecar:1").await;
    }
}

/// The image that crashes has been taken back.
async fn is_taken_back(api: &ApiServer, node: &Node) {
    node.spoil("sidecar:2", Fault::Crashes);
    is_tried(api).await;
    set_image(api, "sidecar:2");
    says(api, "RevisionFailed").await;
}

struct RolledBack;

impl Plot for RolledBack {
    const NAME: &str = "an image that crashes is taken back";

    fn open() -> ApiServer {
        shop(60)
    }

    async fn play(api: &ApiServer, node: &Node) {
        is_taken_back(api, node).await;
        until_phase(api, Phase::Rest).await;
    }
}

struct UpdatedMeanwhile;

impl Plot for UpdatedMeanwhile {
    const NAME: &str = "a third image is asked for while the second is taken back";

    fn open() -> ApiServer {
        shop(1)
    }

    async fn play(api: &ApiServer, node: &Node) {
        is_taken_back(api, node).await;
        // Otherwise a fast operator would write one image more than a slow one.
        let is_back = |_: Option<&Value>| {
            let images = images(api);
            images.iter().all(|image| !image.ends_with("sidecar-2"))
        };
        api.until(POD, is_back).await;
        set_image(api, "sidecar:3");
        is_updated(api, "sidecar:3").await;
    }
}

struct TwoUpdates;

impl Plot for TwoUpdates {
    const NAME: &str = "a third image is asked for while the second is tried";

    async fn play(api: &ApiServer, node: &Node) {
        node.spoil("sidecar:2", Fault::Hangs);
        is_tried(api).await;
        set_image(api, "sidecar:2");
        api.until(SIDECAR, |_| preflights(api) == 1).await;
        set_image(api, "sidecar:3");
        is_updated(api, "sidecar:3").await;
    }
}

struct Staged;

impl Plot for Staged {
    const NAME: &str = "an image is staged, and then resumed";

    fn open() -> ApiServer {
        let api = shop(0);
        edit(&api, |spec| spec["update"]["strategy"] = "Staged".into());
        api
    }

    async fn play(api: &ApiServer, _: &Node) {
        is_tried(api).await;
        set_image(api, "sidecar:2");
        says(api, "Staged").await;
        // Then it is tried once more when it is resumed: nodes may have come meanwhile.
        api.until(SIDECAR, |_| preflights(api) == 0).await;
        let mut sidecar = api.get(SIDECAR).unwrap();
        let revision = revision_name("orders", "sidecar:2");
        sidecar["metadata"]["annotations"] = json!({RESUME_ANNOTATION: revision});
        api.put(SIDECAR, sidecar);
        is_updated(api, "sidecar:2").await;
    }
}

struct InPlace;

impl Plot for InPlace {
    const NAME: &str = "the one container of a sidecar of any image is replaced";

    fn open() -> ApiServer {
        let api = empty_shop(0);
        edit(&api, |spec| {
            *spec = json!({
                "image": "sidecar:1", "update": {"soakSeconds": 0},
                "container": {"ports": [{"name": "web", "port": 15005}]},
            });
        });
        put_pod(&api, Value::Null);
        api
    }

    async fn play(api: &ApiServer, _: &Node) {
        is_tried(api).await;
        set_image(api, "sidecar:2");
        is_updated(api, "sidecar:2").await;
    }
}

struct Recreated;

impl Plot for Recreated {
    const NAME: &str = "a pod is evicted, and its successor has the image";

    fn open() -> ApiServer {
        recreating(true)
    }

    async fn play(api: &ApiServer, _: &Node) {
        let replica_set = api.clone();
        let _replica_set = AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                replica_set.until(POD, |found| found.is_none()).await;
                put_pod(&replica_set, owners(&replica_set));
            }
        }));
        is_tried(api).await;
        set_image(api, "sidecar:2");
        is_updated(api, "sidecar:2").await;
    }
}

#[tokio::test]
async fn a_swap_ends_the_same_whenever_the_operator_is_killed() {
    assert!(crash_after_every_write::<Shop<Swap>, Replica>().await > 15);
}

#[tokio::test]
async fn a_swap_ends_the_same_after_any_storm() {
    weather_storms::<Shop<Swap>, Replica>(0..12).await;
}

#[tokio::test]
async fn a_missing_image_ends_the_same_whenever_the_operator_is_killed() {
    assert!(crash_after_every_write::<Shop<Missing>, Replica>().await > 10);
}

#[tokio::test]
async fn a_missing_image_ends_the_same_after_any_storm() {
    weather_storms::<Shop<Missing>, Replica>(0..12).await;
}

#[tokio::test]
async fn a_rollback_ends_the_same_whenever_the_operator_is_killed() {
    assert!(crash_after_every_write::<Shop<RolledBack>, Replica>().await > 15);
}

#[tokio::test]
async fn a_rollback_ends_the_same_after_any_storm() {
    weather_storms::<Shop<RolledBack>, Replica>(0..12).await;
}

#[tokio::test]
async fn an_update_during_a_rollback_ends_the_same_whenever_the_operator_is_killed() {
    assert!(crash_after_every_write::<Shop<UpdatedMeanwhile>, Replica>().await > 20);
}

#[tokio::test]
async fn an_update_during_a_rollback_ends_the_same_after_any_storm() {
    weather_storms::<Shop<UpdatedMeanwhile>, Replica>(0..12).await;
}

#[tokio::test]
async fn two_updates_in_quick_succession_end_the_same_whenever_the_operator_is_killed() {
    assert!(crash_after_every_write::<Shop<TwoUpdates>, Replica>().await > 15);
}

#[tokio::test]
async fn two_updates_in_quick_succession_end_the_same_after_any_storm() {
    weather_storms::<Shop<TwoUpdates>, Replica>(0..12).await;
}

#[tokio::test]
async fn a_staged_image_ends_the_same_whenever_the_operator_is_killed() {
    assert!(crash_after_every_write::<Shop<Staged>, Replica>().await > 15);
}

#[tokio::test]
async fn a_staged_image_ends_the_same_after_any_storm() {
    weather_storms::<Shop<Staged>, Replica>(0..12).await;
}

#[tokio::test]
async fn a_replacement_in_place_ends_the_same_whenever_the_operator_is_killed() {
    assert!(crash_after_every_write::<Shop<InPlace>, Replica>().await > 10);
}

#[tokio::test]
async fn a_replacement_in_place_ends_the_same_after_any_storm() {
    weather_storms::<Shop<InPlace>, Replica>(0..12).await;
}

#[tokio::test]
async fn a_recreation_ends_the_same_whenever_the_operator_is_killed() {
    assert!(crash_after_every_write::<Shop<Recreated>, Replica>().await > 10);
}

#[tokio::test]
async fn a_recreation_ends_the_same_after_any_storm() {
    weather_storms::<Shop<Recreated>, Replica>(0..12).await;
}
