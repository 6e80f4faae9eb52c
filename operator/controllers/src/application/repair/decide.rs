use std::collections::BTreeSet;

use super::memory::Memory;

/// A pod of the application.
#[derive(Clone, Debug)]
pub(super) struct PodState {
    pub(super) name: String,
    pub(super) uid: String,
    /// Whether it is Ready, and does not end.
    pub(super) ready: bool,
    /// Whether it ends.
    pub(super) ends: bool,
    pub(super) fate: Fate,
}

/// What is to become of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is as the spec asks for.
    Fit,
    /// It is to be evicted.
    Replace,
    /// It is to be evicted once the swap of a sidecar has come to its end.
    Swapping,
    /// It would have to be created anew, but is not evicted: why.
    Kept(String),
}

/// Everything that a decision rests on.
#[derive(Debug)]
pub(super) struct Situation<'a> {
    /// The pods that have not ended.
    pub(super) pods: Vec<PodState>,
    /// How many pods there are to be.
    pub(super) desired: usize,
    /// How many of them are still to be created.
    pub(super) missing: usize,
    /// How many may be unavailable.
    pub(super) limit: usize,
    pub(super) memory: &'a Memory,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: no pod may be evicted.
    Rest,
    /// Evicts the pods with these UIDs.
    Evict(BTreeSet<String>),
    /// Evicts none now.
    Wait { why: String },
    /// Evicts none any more, since this successor is no better.
    Stop { pod: String },
}

impl Situation<'_> {
    /// The pods that stay although they are not as they should be, and why.
    pub(super) fn kept(&self) -> Vec<(&str, &str)> {
        let pods = self.pods.iter();
        pods.filter_map(|pod| match &pod.fate {
            Fate::Kept(why) => Some((pod.name.as_str(), why.as_str())),
            _ => None,
        })
        .collect()
    }

    fn ends(&self, pod: &PodState) -> bool {
        pod.ends || self.memory.evicted.contains(&pod.uid)
    }
}

/// Which pods go now. Never are more pods unavailable than the limit allows because of it: a pod
/// that is not Ready counts already, and so does one that is to come.
pub(super) fn decide(situation: &Situation<'_>) -> Verdict {
    let Situation {
        pods,
        desired,
        missing,
        limit,
        memory,
    } = situation;
    let open: Vec<_> = pods
        .iter()
        .filter(|pod| matches!(pod.fate, Fate::Replace | Fate::Swapping))
        .collect();
    if open.is_empty() {
        return Verdict::Rest;
    }
    let mut candidates: Vec<_> = open
        .iter()
        .filter(|pod| pod.fate == Fate::Replace && !situation.ends(pod))
        .collect();
    let came_after = |uid: &String| {
        let before = memory.before.as_ref();
        before.is_some_and(|before| !before.contains(uid))
    };
    if let Some(pod) = candidates.iter().find(|pod| came_after(&pod.uid)) {
        return Verdict::Stop {
            pod: pod.name.clone(),
        };
    }
    // Those that are not Ready serve nobody.
    candidates.sort_by_key(|pod| (pod.ready, &pod.name));
    let ends = pods.iter().filter(|pod| situation.ends(pod)).count();
    let ready = pods
        .iter()
        .filter(|pod| pod.ready && !situation.ends(pod))
        .count();
    let mut unavailable = desired.saturating_sub(ready);
    let mut chosen = BTreeSet::new();
    for pod in &candidates {
        if ends + missing + chosen.len() >= *limit || pod.ready && unavailable >= *limit {
            break;
        }
        unavailable += usize::from(pod.ready);
        chosen.insert(pod.uid.clone());
    }
    match chosen.is_empty() {
        false => Verdict::Evict(chosen),
        true => Verdict::Wait {
            why: why(situation, candidates.is_empty()),
        },
    }
}

/// Why no pod goes now.
fn why(situation: &Situation<'_>, none_left: bool) -> String {
    let first = |wanted: &dyn Fn(&&PodState) -> bool| {
        let mut pods = situation.pods.iter();
        pods.find(wanted).map(|pod| pod.name.as_str())
    };
    let swapping = first(&|pod| pod.fate == Fate::Swapping);
    if let Some(pod) = swapping.filter(|_| none_left) {
        return format!("a swap in pod {pod} comes to its end first");
    }
    let reason = if let Some(pod) = first(&|pod| situation.ends(pod)) {
        format!("pod {pod} is ending")
    } else if situation.missing > 0 {
        "a pod is still to be created".to_owned()
    } else {
        match first(&|pod| !pod.ready) {
            Some(pod) => format!("pod {pod} is not Ready"),
            None => "pods are still to come".to_owned(),
        }
    };
    match situation.limit {
        1 => format!("{reason}, and 1 pod may be unavailable at a time"),
        limit => format!("{reason}, and {limit} pods may be unavailable at a time"),
    }
}
