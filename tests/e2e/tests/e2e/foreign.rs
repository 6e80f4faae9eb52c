//! Sidecars whose image is not built on the chassis: one container, replaced in place.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use outrigger_api::IntegrationSidecar;
use outrigger_api::conditions::reason;
use outrigger_e2e::images::{File, Image, Recipe};
use outrigger_e2e::observe::Observer;
use outrigger_e2e::shop::is_settled;
use outrigger_e2e::{cluster, fetch, slots};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::scene::{PATIENCE, Scene, Test, busybox, restricted, test};

const SIDECAR: &str = "cache";
const SELECTOR: &str = "app=reader";
const PORT: u16 = 15005;
/// From one question to the next.
const EACH: Duration = Duration::from_millis(100);

pub(crate) fn tests() -> Vec<Test> {
    vec![test!(
        an_image_that_is_not_built_on_the_chassis_is_replaced_in_place
    )]
}

/// A small web server that tells its version, or a program that ends at once.
async fn image(scene: Scene<'_>, version: &str, start: &str) -> anyhow::Result<Image> {
    let file = |path: &str, content: &str| File {
        path: path.to_owned(),
        content: content.as_bytes().to_vec(),
        executable: false,
    };
    let dockerfile = "FROM scratch\nENV PATH=/bin\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n\
        COPY version /www/version\nCOPY start /start\nUSER 65532\n\
        ENTRYPOINT [\"/bin/sh\", \"/start\"]\n";
    let files = vec![
        busybox()?,
        file("version", &format!("version {version}\n")),
        file("start", start),
    ];
    let recipe = Recipe::of("web", dockerfile, files);
    scene.stage.site.images.ensure(&recipe).await
}

/// On all addresses, so that the test can ask it.
const SERVE: &str = "busybox httpd -f -p 15005 -h /www &\ntrap 'kill $!' TERM\nwait\n";

/// What the sidecar answered, each answer once while it lasted; `None` while there was none.
type Answers = Vec<Option<String>>;

/// Asks the sidecar of a pod again and again.
struct Reader {
    answers: watch::Receiver<Answers>,
    _asks: JoinSet<()>,
}

impl Reader {
    fn start(pod: &Pod) -> anyhow::Result<Reader> {
        let url = format!(
            "http://{}/version",
            SocketAddr::new(slots::address(pod)?, PORT)
        );
        let (told, answers) = watch::channel(Answers::new());
        let mut asks = JoinSet::new();
        asks.spawn(async move {
            let mut moments = tokio::time::interval(EACH);
            loop {
                moments.tick().await;
                let answer = fetch::get(&url).await.ok();
                let answer = answer.map(|answer| answer.text().trim().to_owned());
                told.send_if_modified(|answers| {
                    let is_new = answers.last() != Some(&answer);
                    is_new.then(|| answers.push(answer)).is_some()
                });
            }
        });
        Ok(Reader {
            answers,
            // Dropped, it asks no more.
            _asks: asks,
        })
    }

    /// All answers, once a version is the last one.
    async fn version(&mut self, version: u8) -> anyhow::Result<Answers> {
        let wanted = format!("version {version}");
        let is_last = |answers: &Answers| answers.last() == Some(&Some(wanted.clone()));
        let answers = timeout(PATIENCE, self.answers.wait_for(is_last)).await;
        let answers = answers.with_context(|| format!("{wanted} is not answered"))??;
        Ok(answers.clone())
    }
}

/// The pod's status of its sidecar, and of the application's container.
fn containers(pod: &Pod) -> anyhow::Result<[&ContainerStatus; 2]> {
    let status = pod.status.as_ref().context("no status")?;
    let mut sidecars = status.init_container_statuses.iter().flatten();
    let mut primaries = status.container_statuses.iter().flatten();
    Ok([
        sidecars
            .find(|found| found.name == SIDECAR)
            .context("no sidecar")?,
        primaries.next().context("no container")?,
    ])
}

async fn an_image_that_is_not_built_on_the_chassis_is_replaced_in_place(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let first = image(scene, "1", SERVE).await?;
    let second = image(scene, "2", SERVE).await?;
    let broken = image(scene, "3", "echo the cache is on fire >&2\nexit 3\n").await?;
    let cluster = scene.cluster();
    let object = |kind: &str, name: &str, spec| {
        json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": scene.namespace}, "spec": spec,
        })
    };
    let reader = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "reader", "namespace": scene.namespace, "labels": {"app": "reader"}},
        "spec": restricted(json!({
            "containers": [{
                "name": "reader", "image": scene.stage.tools.reference,
                "command": ["/bin/busybox", "sleep", "infinity"],
            }],
            "terminationGracePeriodSeconds": 1,
        })),
    });
    cluster
        .apply(&scene.example()?.of_kinds(&["Namespace"]))
        .await?;
    let sidecar = json!({
        "image": first.reference,
        "container": {"ports": [{"name": "web", "port": PORT}]},
        "update": {"soakSeconds": 3},
    });
    let application = json!({
        "selector": {"matchLabels": {"app": "reader"}}, "sidecars": [{"name": SIDECAR}],
    });
    cluster
        .apply(&[
            object("IntegrationSidecar", SIDECAR, sidecar),
            object("IntegratedApp", "reader", application),
        ])
        .await?;
    scene.ready_application("reader").await?;
    cluster.apply_one(&reader).await?;
    let ready = |pod: &Pod| {
        containers(pod).is_ok_and(|all| all.into_iter().all(|container| container.ready))
    };
    cluster::wait(&scene.pods(), "reader", "both containers", PATIENCE, ready).await?;
    let sidecars = cluster.objects::<IntegrationSidecar>(scene.namespace);
    cluster::wait(&sidecars, SIDECAR, "Ready", PATIENCE, is_settled).await?;
    let observer = Observer::start(scene.pods(), SELECTOR, SIDECAR, PATIENCE).await?;
    let before = observer.pods().pop().context("no pod")?;
    let spec = before.spec.as_ref().context("no spec")?;
    let mut variables = spec.containers[0].env.iter().flatten();
    let url = variables.find(|variable| variable.name == "OUTRIGGER_WEB_URL");
    let url = url.and_then(|variable| variable.value.as_deref());
    assert_eq!(url, Some(format!("http://127.0.0.1:{PORT}").as_str()));
    let mut asked = Reader::start(&before)?;
    asked.version(1).await?;

    let ask = async |image: &Image| {
        let change = json!({"spec": {"image": image.reference}});
        cluster::merge(&sidecars, SIDECAR, &change).await
    };
    ask(&second).await?;
    cluster::wait(&sidecars, SIDECAR, "a complete swap", PATIENCE, is_settled).await?;
    let after = scene.pods().get("reader").await?;
    let ([old, primary_before], [new, primary_after]) = (containers(&before)?, containers(&after)?);
    assert_eq!(primary_before.container_id, primary_after.container_id);
    assert_eq!(
        (primary_after.restart_count, before.metadata.uid.as_ref()),
        (0, after.metadata.uid.as_ref())
    );
    assert_ne!(old.container_id, new.container_id);
    ensure!(new.image_id.contains(&second.digest), "{}", new.image_id);
    scene.say(gap(scene).await?);
    // What a client saw: the former version, a gap, and the new one for good.
    let seen = asked.version(2).await?;
    let seen = seen.iter().map(Option::as_deref);
    let seen: Vec<_> = seen.skip_while(Option::is_none).collect();
    scene.say(format_args!("a client was answered {seen:?}"));
    ensure!(
        matches!(
            seen[..],
            [Some("version 1"), Some("version 2")] | [Some("version 1"), None, Some("version 2")]
        ),
        "{seen:?}"
    );

    // One whose program does not run goes back by itself.
    ask(&broken).await?;
    let failed = |found: &IntegrationSidecar| {
        let status = found.status.as_ref()?;
        let mut conditions = status.conditions.iter();
        let ready = conditions.find(|found| found.reason == reason::REVISION_FAILED)?;
        (status.observed_generation == found.metadata.generation).then(|| ready.message.clone())
    };
    let found = cluster::wait(&sidecars, SIDECAR, "RevisionFailed", PATIENCE, |found| {
        failed(found).is_some()
    });
    let message = failed(&found.await?).context("it has changed")?;
    scene.say(format_args!("taken back: {message}"));
    cluster::wait(
        &scene.pods(),
        "reader",
        "the former image",
        PATIENCE,
        |pod| {
            ready(pod)
                && containers(pod)
                    .is_ok_and(|[sidecar, _]| sidecar.image_id.contains(&second.digest))
        },
    )
    .await?;
    asked.version(2).await?;
    let totals = observer.totals();
    assert_eq!(
        (totals.primary_restarts, totals.container_ids_changed),
        (0, 0)
    );
    Ok(())
}

/// The event that tells how long the sidecar was away.
async fn gap(scene: Scene<'_>) -> anyhow::Result<String> {
    let events = scene.cluster().objects::<Event>(scene.namespace);
    let found = events.list(&ListParams::default()).await?;
    let notes = found.into_iter().filter_map(|event| event.note);
    let mut notes: Vec<_> = notes.collect();
    let gap = notes.iter().position(|note| note.contains("was away for"));
    let gap = gap.with_context(|| format!("no event tells of the gap: {notes:#?}"))?;
    Ok(notes.swap_remove(gap))
}
