//! Unevenly spread files: what pods get of them on their own nodes, beside the most that there can
//! be, and beside the scheduler alone.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use outrigger_e2e::cluster;
use outrigger_e2e::locality::{
    Achieved, Held, Layout, NODES, Row, best_assignment, best_counts, table,
};
use serde_json::{Value, json};

use super::ground::{Ground, local_bytes, numbered};
use crate::scene::{PATIENCE, Scene, Test, test};

/// Files, and pods of the Job.
const FILES: usize = 6;
/// What a pod of the Job asks for, in thousandths of a CPU: a node of two has room for two, whatever
/// small pods are there.
const JOB_CPU: u64 = 700;
/// What a pod of the Deployment asks for.
const REPLICA_CPU: u64 = 10;
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

pub(crate) fn tests() -> Vec<Test> {
    vec![test!(random_layouts_get_as_many_local_bytes_as_can_be_had)]
}

/// How pods are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Required,
    Preferred,
    /// Without an IntegratedApp.
    Scheduler,
}

impl By {
    const ALL: [By; 3] = [By::Required, By::Preferred, By::Scheduler];

    fn name(self, workload: &str) -> String {
        format!("{workload}-{self:?}").to_lowercase()
    }
}

/// A setting of this test in the environment.
fn setting(name: &str) -> anyhow::Result<Option<u64>> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    let number = value.map(|value| value.parse().with_context(|| format!("{name}={value}")));
    number.transpose()
}

async fn random_layouts_get_as_many_local_bytes_as_can_be_had(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let seed = setting("OUTRIGGER_E2E_SEED")?.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let count = setting("OUTRIGGER_E2E_LAYOUTS")?.unwrap_or(3);
    scene.say(format_args!("OUTRIGGER_E2E_SEED={seed}"));
    let mut random = fastrand::Rng::with_seed(seed);
    let ground = Ground::new(scene).await?;
    let mut rows = Vec::new();
    for number in 1..=count {
        let layout = Layout::draw(&mut random, FILES);
        let replicas = random.u32(2..=6);
        let skew = random.u32(1..=3);
        let trial = Trial {
            ground,
            directory: format!("{}/{number}", ground.directory()),
            replicas,
            skew,
        };
        let row = trial.run(number, &layout).await?;
        scene.say(format_args!("{row:?}"));
        assert_eq!(row.job.required, row.job.optimum, "{layout:?}");
        assert_eq!(
            row.deployment.required, row.deployment.optimum,
            "{layout:?}"
        );
        rows.push(row);
    }
    let text = table(&rows);
    for line in text.lines() {
        scene.say(line);
    }
    if let Some(file) = std::env::var_os("OUTRIGGER_E2E_TABLE") {
        write_page(Path::new(&file), seed, &text)?;
    }
    Ok(())
}

/// One layout.
struct Trial<'a> {
    ground: Ground<'a>,
    directory: String,
    replicas: u32,
    skew: u32,
}

impl Trial<'_> {
    async fn run(&self, number: u64, layout: &Layout) -> anyhow::Result<Row> {
        let specs = layout.specs(&self.directory);
        self.ground.hdfs(|hdfs| hdfs.put(&specs))?;
        let blocks = self.ground.hdfs(|hdfs| hdfs.fsck(&self.directory))?;
        let all = Held::of(&blocks);
        let by_file: Vec<_> = layout
            .paths(&self.directory)
            .into_iter()
            .map(|path| Held::of(blocks.iter().filter(|block| block.file == path)))
            .collect();
        self.ready(layout, &all).await?;

        let slots = free_slots(self.ground).await?;
        let nodes: Vec<_> = (1..=NODES).map(numbered).collect();
        let on_nodes = |held: &Held| nodes.iter().map(|node| held.on(node)).collect();
        let local: Vec<Vec<u64>> = by_file.iter().map(on_nodes).collect();
        let held: Vec<u64> = on_nodes(&all);
        let optimum = best_assignment(&local, &slots).context("no room for the Job")?;
        let mut job = Achieved {
            bytes: by_file.iter().map(|file| file.bytes).sum(),
            optimum,
            ..Achieved::default()
        };
        let optimum = best_counts(&held, self.replicas, self.skew).context("no data")?;
        let mut deployment = Achieved {
            bytes: all.bytes * u64::from(self.replicas),
            optimum,
            ..Achieved::default()
        };
        for by in By::ALL {
            let (of_job, of_deployment) = self.round(by).await?;
            let of_job = local_bytes(&of_job, |pod| by_file[index(pod).unwrap_or(0)].clone());
            let of_deployment = local_bytes(&of_deployment, |_| all.clone());
            let (job, deployment) = match by {
                By::Required => (&mut job.required, &mut deployment.required),
                By::Preferred => (&mut job.preferred, &mut deployment.preferred),
                By::Scheduler => (&mut job.scheduler, &mut deployment.scheduler),
            };
            (*job, *deployment) = (of_job, of_deployment);
        }
        let Trial { replicas, skew, .. } = self;
        let layout = format!("{number}: {replicas} replicas, maxSkew {skew}");
        Ok(Row {
            layout,
            job,
            deployment,
        })
    }

    /// The Dataset and the IntegratedApps as this layout wants them.
    async fn ready(&self, layout: &Layout, all: &Held) -> anyhow::Result<()> {
        let ground = self.ground;
        ground
            .apply(&ground.dataset(&layout.paths(&self.directory)))
            .await?;
        let status = ground.located(|_| true).await?;
        for node in &status.nodes {
            ensure!(
                u64::try_from(node.bytes)? == all.on(&node.name),
                "fsck says {all:?}, the Dataset {:?}",
                status.nodes
            );
        }
        ensure!(
            status.nodes.len() == all.nodes().count(),
            "{:?}",
            status.nodes
        );
        for by in [By::Required, By::Preferred] {
            for (workload, kind) in [("job", "Job"), ("deployment", "Deployment")] {
                let locality = json!({
                    "mode": format!("{by:?}"), "relaxAfterSeconds": 10, "maxSkew": self.skew,
                });
                let mut application = ground.application(kind, locality);
                let name = by.name(workload);
                application["metadata"]["name"] = json!(name);
                application["spec"]["workloadRef"]["name"] = json!(name);
                if kind == "Job" {
                    application["spec"]["data"][0]["split"] = json!("ByIndex");
                }
                ground.apply(&application).await?;
                ground.scene.ready_application(&name).await?;
            }
        }
        Ok(())
    }

    /// The pods of a Job and of a Deployment, on their nodes; they have gone when this returns.
    async fn round(&self, by: By) -> anyhow::Result<(Vec<Pod>, Vec<Pod>)> {
        let ground = self.ground;
        let [job, deployment] = ["job", "deployment"].map(|workload| by.name(workload));
        let selectors = [&job, &deployment].map(|name| format!("app={name}"));
        let objects = [self.job(&job), self.deployment(&deployment)];
        ground.scene.cluster().apply(&objects).await?;
        let of_job = ground.all_on_nodes(&selectors[0], FILES).await?;
        let of_deployment = ground
            .all_on_nodes(&selectors[1], self.replicas as usize)
            .await?;
        let cluster = ground.scene.cluster();
        let jobs: Api<Job> = cluster.objects(ground.scene.namespace);
        let deployments: Api<Deployment> = cluster.objects(ground.scene.namespace);
        let background = DeleteParams::background();
        jobs.delete(&job, &background).await?;
        deployments.delete(&deployment, &background).await?;
        for selector in &selectors {
            let pods = ground.scene.pods();
            cluster::wait_all(&pods, selector, "no pod", PATIENCE, |pods: &[Pod]| {
                pods.is_empty()
            })
            .await?;
        }
        Ok((of_job, of_deployment))
    }

    fn template(&self, name: &str, cpu: u64) -> Value {
        let mut template = self.ground.template(&format!("{cpu}m"));
        template["metadata"]["labels"] = json!({"app": name});
        template
    }

    fn job(&self, name: &str) -> Value {
        let mut template = self.template(name, JOB_CPU);
        template["spec"]["restartPolicy"] = json!("Never");
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "namespace": self.ground.scene.namespace},
            "spec": {
                "completionMode": "Indexed", "completions": FILES, "parallelism": FILES,
                "template": template,
            },
        })
    }

    fn deployment(&self, name: &str) -> Value {
        let mut deployment = self.ground.deployment(self.replicas);
        deployment["metadata"]["name"] = json!(name);
        deployment["spec"]["selector"]["matchLabels"] = json!({"app": name});
        deployment["spec"]["template"] = self.template(name, REPLICA_CPU);
        deployment
    }
}

fn index(pod: &Pod) -> Option<usize> {
    pod.annotations().get(INDEX)?.parse().ok()
}

/// How many pods of the Job each node has room for beside all that runs, by CPU.
async fn free_slots(ground: Ground<'_>) -> anyhow::Result<Vec<u32>> {
    let cluster = ground.scene.cluster();
    let all = ListParams::default();
    let mut free = BTreeMap::new();
    for node in cluster.cluster_objects::<Node>().list(&all).await? {
        let allocatable = node.status.iter().flat_map(|it| it.allocatable.iter());
        let cpu = allocatable.flat_map(|it| it.get("cpu")).next();
        let cpu = millis(cpu.context("no cpu")?)?;
        // Pods of the Deployment may be there too.
        free.insert(node.name_any(), cpu.saturating_sub(6 * REPLICA_CPU));
    }
    let pods: Api<Pod> = Api::all(cluster.client());
    for pod in pods.list(&all).await? {
        let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            continue;
        }
        let node = super::ground::node(&pod).unwrap_or_default().to_owned();
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        for container in containers {
            let requests = container.resources.iter().flat_map(|it| &it.requests);
            for cpu in requests.filter_map(|requests| requests.get("cpu")) {
                if let Some(free) = free.get_mut(&node) {
                    *free = free.saturating_sub(millis(cpu)?);
                }
            }
        }
    }
    let slots = free.values().map(|free| u32::try_from(free / JOB_CPU));
    Ok(slots.collect::<Result<_, _>>()?)
}

/// An amount of CPU in thousandths.
fn millis(Quantity(text): &Quantity) -> anyhow::Result<u64> {
    let parsed = match text.strip_suffix('m') {
        Some(millis) => millis.parse(),
        None => text.parse().map(|whole: u64| whole * 1000),
    };
    parsed.with_context(|| format!("cpu {text}"))
}

fn write_page(file: &Path, seed: u64, table: &str) -> anyhow::Result<()> {
    let mut text = String::new();
    let _ = write!(
        text,
        "# Local bytes\n\n\
         `make bench-locality SEED={seed}` wrote this page. It puts {FILES} files into HDFS on four \
         nodes, most of their blocks on few nodes, one or two copies of each, and starts pods that \
         read them:\n\n\
         - an Indexed Job with a pod for each file (`split: ByIndex`), {JOB_CPU}m CPU each, so that a \
         node has room for two;\n\
         - a Deployment whose pods read all files.\n\n\
         Shares are bytes that a pod's own node holds a copy of, of all bytes that pods read, added \
         up over the pods. Which blocks are where is what `hdfs fsck -files -blocks -locations` \
         says, and where pods are, `spec.nodeName`. *Optimum* is the most that there can be, found \
         by looking at all possibilities; *Required* and *Preferred* are `locality.mode`; *scheduler \
         alone* is the same pods without an IntegratedApp. `maxSkew` binds the optimum of the \
         Deployment; the scheduler, which *Preferred* leaves the last word, may go beyond it.\n\n{table}\n\
         The blocks are small, and no pod reads them: the figures are about places, not times.\n"
    );
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
