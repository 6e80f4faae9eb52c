use std::collections::BTreeSet;
use std::fmt;

use futures::StreamExt;
use json_patch::Patch as JsonPatch;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use tokio::time::sleep;

use crate::ReleaseError;
use crate::patience::{pause, persist};

/// Pods in one answer.
const PAGE: u32 = 500;
/// Pods that are changed at a time.
const CONCURRENCY: usize = 16;
/// Looks in a row that changed nothing, before the pods are given up.
const FRUITLESS: u32 = 5;

/// A pod's namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl PodName {
    pub(crate) fn of(pod: &Pod) -> PodName {
        PodName {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
        }
    }
}

/// A pod that waits behind the gate.
#[derive(Clone, Debug)]
struct Gated {
    uid: Option<String>,
    name: PodName,
    opening: JsonPatch,
}

/// Which of the listed pods are meant.
pub(crate) enum Meant {
    /// Those that are there at any time, until none is left.
    All,
    /// Those that are there at first.
    Present,
    /// Those with these names.
    Named(Vec<String>),
}

/// Takes the gate off pods, looks again, and so on until none of those that are meant has it; which
/// were released.
pub(crate) async fn open(
    client: &Client,
    namespace: Option<&str>,
    meant: Meant,
) -> Result<BTreeSet<PodName>, ReleaseError> {
    let pods = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let mut released = BTreeSet::new();
    let mut present: Option<BTreeSet<Option<String>>> = None;
    let mut fruitless = 0;
    loop {
        let mut gated = list(&pods, namespace).await?;
        match &meant {
            Meant::All => {}
            Meant::Present => {
                let uids = || gated.iter().map(|pod| pod.uid.clone()).collect();
                let present = present.get_or_insert_with(uids);
                gated.retain(|pod| present.contains(&pod.uid));
            }
            Meant::Named(names) => gated.retain(|pod| names.contains(&pod.name.name)),
        }
        if gated.is_empty() {
            return Ok(released);
        }
        let patches = futures::stream::iter(gated)
            .map(|pod| open_one(client, pod))
            .buffer_unordered(CONCURRENCY);
        let outcomes: Vec<_> = patches.collect().await;
        let mut left = Vec::new();
        let mut last = None;
        let before = released.len();
        for (pod, outcome) in outcomes {
            match outcome {
                Ok(true) => drop(released.insert(pod)),
                Ok(false) => {}
                Err(error) => {
                    left.push(pod);
                    last = Some(error);
                }
            }
        }
        fruitless = match (released.len() > before, left.is_empty()) {
            (false, false) => fruitless + 1,
            _ => 0,
        };
        match last {
            Some(error) if fruitless == FRUITLESS => {
                left.sort();
                return Err(ReleaseError::Refused { pods: left, error });
            }
            Some(_) => sleep(pause(fruitless)).await,
            None => {}
        }
    }
}

/// The pods with our gate. None of them has a node yet, which leaves most pods out of the answer.
async fn list(pods: &Api<Pod>, namespace: Option<&str>) -> Result<Vec<Gated>, ReleaseError> {
    let doing = || match namespace {
        Some(namespace) => format!("pods of namespace {namespace} cannot be listed"),
        None => "pods of all namespaces cannot be listed".to_owned(),
    };
    let mut gated = Vec::new();
    let mut parameters = ListParams::default().fields("spec.nodeName=").limit(PAGE);
    loop {
        let page = match persist(doing, || pods.list(&parameters)).await {
            Ok(page) => page,
            // The list took so long that its state is forgotten: what is left comes next time.
            Err(ReleaseError::Request {
                error: kube::Error::Api(status),
                ..
            }) if status.code == 410 && !gated.is_empty() => return Ok(gated),
            Err(error) => return Err(error),
        };
        gated.extend(page.items.iter().filter_map(|pod| {
            Some(Gated {
                uid: pod.uid(),
                name: PodName::of(pod),
                opening: outrigger_placement::open(pod)?,
            })
        }));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(gated),
        }
    }
}

/// Whether the gate was taken off here; it is not off a pod that has gone.
async fn open_one(client: &Client, pod: Gated) -> (PodName, Result<bool, kube::Error>) {
    let pods = Api::<Pod>::namespaced(client.clone(), &pod.name.namespace);
    let patch = Patch::<()>::Json(pod.opening);
    let answer = pods
        .patch(&pod.name.name, &PatchParams::default(), &patch)
        .await;
    let opened = match answer {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    };
    (pod.name, opened)
}
