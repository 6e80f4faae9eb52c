//! A function with two credentials: it acts for the application with one, and reports to the system
//! with the other. The API server is both, and says who asked and what it may.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, ServiceAccount};
use kube::api::PostParams;
use outrigger_control::{Report, Slot, layout};
use outrigger_e2e::example::Example;
use outrigger_e2e::images::{File, Image, Recipe};
use outrigger_e2e::install::is_rolled_out;
use outrigger_e2e::observe::Observer;
use outrigger_e2e::{cluster, fetch, processes, project, slots};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::scene::{PATIENCE, Scene, Test, test};

const SIDECAR: &str = "redact";
const APPLICATION: &str = "tickets";
const SELECTOR: &str = "app.kubernetes.io/name=tickets";
/// Service accounts, and Secrets with a token of each.
const FILER: &str = "filer";
const AUDITOR: &str = "auditor";
const SERVER: &str = "https://kubernetes.default.svc";
const CLIENTS: usize = 4;
/// Between two tickets of a client: the API server has others to serve too.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(two_credentials_have_their_own_rights_and_are_rotated_under_load),
        test!(a_missing_secret_keeps_the_slots_waiting_and_not_the_application),
    ]
}

async fn two_credentials_have_their_own_rights_and_are_rotated_under_load(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let (mut example, observer) = open(scene, &[FILER, AUDITOR]).await?;
    let pod = observer.pods().pop().context("no pod")?;
    let target: SocketAddr = (slots::address(&pod)?, 8080).into();
    only_slots_have_the_files(&pod)?;
    is_rotated_under_load(scene, target).await?;
    each_may_do_its_own(scene, &mut example, target).await?;
    let totals = observer.totals();
    assert_eq!((totals.ready_transitions, totals.primary_restarts), (0, 0));
    assert_eq!(totals.slot_replacements, 0);
    Ok(())
}

async fn a_missing_secret_keeps_the_slots_waiting_and_not_the_application(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let (_, observer) = open(scene, &[FILER]).await?;
    let pod = observer.pods().pop().context("no pod")?;
    let waits = |report: &Report| {
        let expected = "credential system waits for the key \"token\" of its Secret";
        let reason = report.not_warm.as_deref();
        reason.is_some_and(|reason| reason.contains(expected))
    };
    until_reported(&pod, waits).await?;
    rotate(scene, AUDITOR).await?;
    until_reported(&pod, |report| report.warm).await?;
    let totals = observer.totals();
    assert_eq!((totals.ready_transitions, totals.primary_restarts), (0, 0));
    assert_eq!(totals.slot_replacements, 0);
    Ok(())
}

/// Waits for what both slots say. They can only be asked.
async fn until_reported(pod: &Pod, wanted: impl Fn(&Report) -> bool) -> anyhow::Result<()> {
    let begin = Instant::now();
    for slot in Slot::BOTH {
        loop {
            let report = slots::report(pod, SIDECAR, slot).await?;
            if wanted(&report) {
                break;
            }
            ensure!(begin.elapsed() < PATIENCE, "slot {slot} says {report:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

/// Applies the example, with the Secrets of some of the accounts, and waits until its pod runs.
async fn open(scene: Scene<'_>, with: &[&str]) -> anyhow::Result<(Example, Observer)> {
    let cluster = scene.cluster();
    let example = example(scene).await?;
    cluster.apply(&example.of_kinds(&["Namespace"])).await?;
    cluster.apply(&accounts(scene.namespace)).await?;
    for account in with {
        rotate(scene, account).await?;
    }
    let kinds = ["IntegrationSidecar", "IntegratedApp"];
    cluster.apply(&example.of_kinds(&kinds)).await?;
    scene.ready_application(APPLICATION).await?;
    let kinds = ["Deployment", "Service"];
    cluster.apply(&example.of_kinds(&kinds)).await?;
    let api = cluster.objects::<Deployment>(scene.namespace);
    cluster::wait(&api, APPLICATION, "available", PATIENCE, is_rolled_out).await?;
    let observer = Observer::start(scene.pods(), SELECTOR, SIDECAR, PATIENCE).await?;
    Ok((example, observer))
}

/// The example with one pod, the function with two credentials in place of its own, and an
/// application that has the token of its service account.
async fn example(scene: Scene<'_>) -> anyhow::Result<Example> {
    let images = &scene.stage.site.images;
    let tickets = Recipe::product("tickets", project::VERSION)?;
    let tickets = images.ensure(&tickets).await?;
    let forward = forward(scene).await?;
    let mut example = Example::read("custom-sidecar")?.into_namespace(scene.namespace)?;
    let sidecar = &mut example.object("IntegrationSidecar")?["spec"];
    sidecar["image"] = json!(forward.reference);
    sidecar["credentials"] = json!({
        "application": {"secretName": FILER}, "system": {"secretName": AUDITOR},
    });
    sidecar["functions"][0]["custom"] = json!({});
    sidecar["functions"][0]["configFrom"] = json!([{"configMapRef": {"name": "kube-root-ca.crt"}}]);
    let who = format!("{SERVER}/apis/authentication.k8s.io/v1/selfsubjectreviews");
    set_parameters(&mut example, &who, &who, &who_am_i())?;
    let deployment = &mut example.object("Deployment")?["spec"];
    deployment["replicas"] = json!(1);
    let pod = &mut deployment["template"]["spec"];
    pod["automountServiceAccountToken"] = json!(true);
    pod["containers"][0]["image"] = json!(tickets.reference);
    Ok(example)
}

async fn forward(scene: Scene<'_>) -> anyhow::Result<Image> {
    let path = project::binaries().join("forward");
    let content = std::fs::read(&path);
    let content = content
        .with_context(|| format!("cannot read {}; `make binaries` builds it", path.display()))?;
    let file = File {
        path: "forward".to_owned(),
        content,
        executable: true,
    };
    let dockerfile = "FROM scratch\nCOPY forward /forward\nENTRYPOINT [\"/forward\"]\n";
    let recipe = Recipe::of("forward", dockerfile, vec![file]);
    scene.stage.site.images.ensure(&recipe).await
}

/// What the application's use of the function says: where tickets and reports go.
fn set_parameters(
    example: &mut Example,
    tickets: &str,
    reports: &str,
    report: &Value,
) -> anyhow::Result<()> {
    let application = &mut example.object("IntegratedApp")?["spec"];
    application["sidecars"][0]["parameters"][0]["custom"] =
        json!({"tickets": tickets, "reports": reports, "report": report});
    Ok(())
}

fn who_am_i() -> Value {
    json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
}

/// Two service accounts: one may create ConfigMaps, the other Events.
fn accounts(namespace: &str) -> Vec<Value> {
    [(FILER, "configmaps"), (AUDITOR, "events")]
        .into_iter()
        .flat_map(|(name, resource)| {
            let metadata = json!({"name": name, "namespace": namespace});
            [
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
                json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1",
                    "kind": "Role",
                    "metadata": metadata,
                    "rules": [{"apiGroups": [""], "resources": [resource], "verbs": ["create"]}],
                }),
                json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1",
                    "kind": "RoleBinding",
                    "metadata": metadata,
                    "roleRef": {
                        "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name,
                    },
                    "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
                }),
            ]
        })
        .collect()
}

/// Puts a new token of a service account into its Secret.
async fn rotate(scene: Scene<'_>, account: &str) -> anyhow::Result<()> {
    let accounts = scene.cluster().objects::<ServiceAccount>(scene.namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(3600),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let parameters = PostParams::default();
    let made = accounts.create_token_request(account, &parameters, &request);
    let token = made.await?.status.context("no token")?.token;
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": account, "namespace": scene.namespace},
        "stringData": {layout::TOKEN_FILE: token},
    });
    scene.cluster().apply_one(&secret).await.map(drop)
}

/// Both slots can read both credentials, and the application its own token; neither can read what
/// is the other's.
fn only_slots_have_the_files(pod: &Pod) -> anyhow::Result<()> {
    let has = |container: &ContainerStatus, path: &str| -> anyhow::Result<bool> {
        let pid = processes::first(container)?.pid.as_raw_nonzero();
        Ok(std::path::Path::new(&format!("/proc/{pid}/root{path}")).exists())
    };
    let [own, application, system] = [
        format!("{}/token", layout::SERVICE_ACCOUNT_DIR),
        format!("{}/application/token", layout::CREDENTIALS_DIR),
        format!("{}/system/token", layout::CREDENTIALS_DIR),
    ];
    for slot in Slot::BOTH {
        let slot = slots::container(pod, SIDECAR, slot)?;
        ensure!(has(slot, &application)? && has(slot, &system)?);
        ensure!(
            !has(slot, &own)?,
            "{} has the application's token",
            slot.name
        );
    }
    let status = pod.status.as_ref();
    let primaries = status.and_then(|status| status.container_statuses.as_ref());
    for primary in primaries.context("no containers")? {
        ensure!(has(primary, &own)?);
        ensure!(!has(primary, layout::CREDENTIALS_DIR)?, "{}", primary.name);
        ensure!(!has(primary, &application)? && !has(primary, &system)?);
    }
    Ok(())
}

/// Who asked, as the API server saw it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Caller {
    user: String,
    /// Which token of that user it was.
    token: String,
}

impl Caller {
    fn of(answer: &Value) -> anyhow::Result<Caller> {
        ensure!(answer["status"] == 201, "{answer}");
        let user = &answer["body"]["status"]["userInfo"];
        let token = &user["extra"]["authentication.kubernetes.io/credential-id"][0];
        Ok(Caller {
            user: user["username"].as_str().context("a name")?.to_owned(),
            token: token.as_str().context("a token's number")?.to_owned(),
        })
    }
}

/// Callers of tickets and of reports that were seen.
type Seen = [BTreeSet<Caller>; 2];

async fn is_rotated_under_load(scene: Scene<'_>, target: SocketAddr) -> anyhow::Result<()> {
    let (stop, stopped) = watch::channel(false);
    let seen = watch::Sender::new(Seen::default());
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(file_tickets(target, seen.clone(), stopped.clone()));
    }
    let rotated = async {
        let mut watch = seen.subscribe();
        for (index, account) in [(0, FILER), (1, AUDITOR)] {
            let count = |seen: &Seen| seen[index].len();
            timeout(PATIENCE, watch.wait_for(|seen| count(seen) == 1)).await??;
            rotate(scene, account).await?;
            // kubelet looks at Secrets about once a minute.
            let used = timeout(PATIENCE, watch.wait_for(|seen| count(seen) == 2)).await;
            drop(used.with_context(|| format!("the new token of {account} was not used"))??);
        }
        anyhow::Ok(())
    }
    .await;
    stop.send_replace(true);
    let mut filed = 0;
    for client in clients.join_all().await {
        filed += client?;
    }
    rotated?;
    scene.say(format_args!(
        "{filed} tickets with two tokens each, none failed"
    ));
    for (callers, account) in seen.borrow().iter().zip([FILER, AUDITOR]) {
        let user = format!("system:serviceaccount:{}:{account}", scene.namespace);
        let is_it = |caller: &Caller| caller.user == user;
        ensure!(callers.iter().all(is_it), "{callers:?} for {user}");
    }
    Ok(())
}

/// Files tickets one after the other, and counts them; one that fails is an error.
async fn file_tickets(
    target: SocketAddr,
    seen: watch::Sender<Seen>,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<u64> {
    let mut filed = 0;
    while !*stopped.borrow() {
        let answer = file(target, &who_am_i()).await?;
        let callers = [
            Caller::of(&answer["ticket"])?,
            Caller::of(&answer["report"])?,
        ];
        seen.send_if_modified(|seen| {
            let new = seen.iter_mut().zip(callers);
            new.fold(false, |changed, (seen, caller)| {
                seen.insert(caller) || changed
            })
        });
        filed += 1;
        sleep(PAUSE).await;
    }
    Ok(filed)
}

async fn file(target: SocketAddr, ticket: &Value) -> anyhow::Result<Value> {
    let url = format!("http://{target}/tickets");
    let answer = fetch::post(&url, ticket.to_string()).await?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    answer.json()
}

/// Tickets are ConfigMaps, which only the application may create, and reports are Events, which
/// only the system may.
async fn each_may_do_its_own(
    scene: Scene<'_>,
    example: &mut Example,
    target: SocketAddr,
) -> anyhow::Result<()> {
    let namespace = scene.namespace;
    let url =
        |resource: &str| format!("{SERVER}/api/v1/namespaces/{namespace}/{resource}?dryRun=All");
    let metadata = json!({"name": "ticket", "namespace": namespace});
    let ticket = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
    let report = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": metadata, "reason": "Filed",
        "type": "Normal", "involvedObject": {"kind": "ConfigMap", "namespace": namespace},
    });
    for (tickets, reports, allowed) in
        [("configmaps", "events", 201), ("events", "configmaps", 403)]
    {
        set_parameters(example, &url(tickets), &url(reports), &report)?;
        let application = example.of_kinds(&["IntegratedApp"]);
        scene.cluster().apply(&application).await?;
        // Running slots take the parameters over within seconds.
        let taken = async {
            loop {
                let answer = file(target, &ticket).await?;
                let statuses = ["ticket", "report"].map(|part| answer[part]["status"].clone());
                if statuses == [json!(allowed), json!(allowed)] {
                    return anyhow::Ok(());
                }
            }
        };
        let taken = timeout(PATIENCE, taken).await;
        taken.with_context(|| format!("{tickets} and {reports} were not answered {allowed}"))??;
    }
    Ok(())
}
