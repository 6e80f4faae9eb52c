//! The container of a slot, as kubelet reports it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use outrigger_control::PerSlot;

/// Reason of a container that waits since its program has ended again and again.
const CRASH_LOOP: &str = "CrashLoopBackOff";
/// Reasons of a waiting container that its own start does not end.
const STUCK: [&str; 9] = [
    CRASH_LOOP,
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];

/// A slot in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotState {
    /// Its position in `spec.initContainers`.
    pub index: usize,
    /// Its image in the spec.
    pub image: String,
    /// Its container.
    pub container: Container,
}

impl SlotState {
    /// Reads a container of a pod; `None` if its spec has no such.
    pub(crate) fn read(pod: &Pod, name: &str) -> Option<SlotState> {
        let containers = pod.spec.as_ref()?.init_containers.as_ref()?;
        let index = containers
            .iter()
            .position(|container| container.name == name)?;
        let status = pod.status.as_ref();
        let statuses = status.and_then(|status| status.init_container_statuses.as_ref());
        let mut statuses = statuses.into_iter().flatten();
        Some(SlotState {
            index,
            image: containers[index].image.clone()?,
            container: Container::read(statuses.find(|status| status.name == name)),
        })
    }
}

/// Both slots of a pod.
pub(crate) type Slots = PerSlot<SlotState>;

/// A container, as kubelet reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// ID of the newest one.
    pub id: Option<String>,
    /// Whether it runs.
    pub running: bool,
    /// ID of the one before it, if that has ended.
    pub former: Option<String>,
    /// The digest of the image that it was made from, if it has one in a registry.
    pub digest: Option<String>,
    /// Why it does not run: kubelet's reason and message.
    pub trouble: Option<String>,
    /// When it was started, in whole seconds, while it runs.
    pub started: Option<Timestamp>,
    /// The newest end of it or of the one before it.
    pub ended: Option<Ended>,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When, in whole seconds.
    pub at: Timestamp,
    /// Its exit code, and kubelet's reason.
    pub how: String,
    /// Whether the program is to blame: not when it stopped as it was told to, nor when nobody saw
    /// its end, as after a restart of the node.
    pub crashed: bool,
}

impl Ended {
    fn read(state: &ContainerStateTerminated) -> Option<Ended> {
        let reason = state.reason.as_deref().unwrap_or_default();
        Some(Ended {
            at: state.finished_at.as_ref()?.0,
            how: end(state),
            crashed: state.exit_code != 0 && !reason.ends_with("Unknown"),
        })
    }
}

impl Container {
    /// Reads a container's status; `None` when kubelet has reported none.
    pub fn read(status: Option<&ContainerStatus>) -> Container {
        let Some(status) = status else {
            return Container::default();
        };
        let present = |id: &String| !id.is_empty();
        let running = status
            .state
            .as_ref()
            .is_some_and(|state| state.running.is_some());
        let former = status
            .last_state
            .as_ref()
            .and_then(|state| state.terminated.as_ref())
            .and_then(|terminated| terminated.container_id.clone());
        Container {
            id: status.container_id.clone().filter(present),
            running,
            former: former.filter(present),
            digest: digest(&status.image_id),
            trouble: status.state.as_ref().and_then(trouble),
            started: status
                .state
                .as_ref()
                .and_then(|state| state.running.as_ref()?.started_at.as_ref())
                .map(|time| time.0),
            ended: [&status.state, &status.last_state]
                .into_iter()
                .flatten()
                .find_map(|state| Ended::read(state.terminated.as_ref()?)),
        }
    }

    /// Why it does not run or, if its program ends again and again, how that ended last: the same
    /// words while it runs, while kubelet waits, and however long that is.
    pub fn lasting_trouble(&self) -> Option<&str> {
        let trouble = self.trouble.as_deref();
        let lasting = trouble.filter(|trouble| !trouble.starts_with(CRASH_LOOP));
        let end = || self.ended.as_ref().map(|ended| ended.how.as_str());
        lasting.or_else(end).or(trouble)
    }

    /// How its program crashed after a time, RFC 3339, if it did.
    pub(crate) fn crashed_since(&self, since: &str) -> Option<&str> {
        let since: Timestamp = since.parse().ok()?;
        let ended = self.ended.as_ref().filter(|ended| ended.crashed)?;
        (ended.at > since).then_some(ended.how.as_str())
    }

    /// How long there was none between the former one's end and its own start.
    pub(crate) fn gap(&self) -> Option<SignedDuration> {
        let gap = self.started?.duration_since(self.ended.as_ref()?.at);
        (!gap.is_negative()).then_some(gap)
    }

    /// Whether the container that was to end has ended and another one runs.
    pub(crate) fn replaces(&self, former: Option<&str>) -> bool {
        self.running && self.id.is_some() && self.id.as_deref() != former
    }

    /// Whether a container other than the replaced one has ended since.
    pub(crate) fn ended_after(&self, replaced: &str) -> bool {
        let newest = (!self.running).then_some(self.id.as_deref()).flatten();
        [newest, self.former.as_deref()]
            .into_iter()
            .flatten()
            .any(|id| id != replaced)
    }

    /// Why the container that follows the replaced one does not run, if it does not.
    pub(crate) fn stuck(&self, replaced: Option<&str>) -> Option<&str> {
        let trouble = self.trouble.as_deref()?;
        // The end of the replaced container is no trouble.
        let of_the_replaced = trouble.starts_with(ENDED) && self.id.as_deref() == replaced;
        (!of_the_replaced).then_some(trouble)
    }
}

/// How the trouble of a container that ended begins.
const ENDED: &str = "ended";

fn trouble(state: &ContainerState) -> Option<String> {
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        return STUCK
            .contains(&reason)
            .then(|| sentence(reason, waiting.message.as_deref()));
    }
    state.terminated.as_ref().map(end)
}

fn end(ended: &ContainerStateTerminated) -> String {
    let what = match ended.reason.as_deref() {
        Some(reason) if reason != "Error" => {
            format!("{ENDED} with exit code {} ({reason})", ended.exit_code)
        }
        _ => format!("{ENDED} with exit code {}", ended.exit_code),
    };
    sentence(&what, ended.message.as_deref())
}

/// A reason and the last line of its message.
pub(crate) fn sentence(reason: &str, message: Option<&str>) -> String {
    let mut lines = message.into_iter().flat_map(str::lines).map(str::trim);
    match lines.rfind(|line| !line.is_empty()) {
        Some(line) => format!("{reason}: {line}"),
        None => reason.to_owned(),
    }
}

/// The digest in kubelet's image ID, `REPOSITORY@sha256:…`. Without a repository it is that of the
/// image's configuration, by which no registry knows it.
pub(crate) fn digest(image_id: &str) -> Option<String> {
    let (_, digest) = image_id.rsplit_once('@')?;
    digest.starts_with("sha256:").then(|| digest.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn container(state: Value, last: Value) -> Container {
        let status = serde_json::from_value(json!({
            "name": "orders-b", "image": "i", "imageID": "r/i@sha256:00", "ready": true,
            "restartCount": 0, "containerID": "two", "state": state, "lastState": last,
        }))
        .unwrap();
        Container::read(Some(&status))
    }

    #[test]
    fn a_new_container_that_runs_replaces_the_old_one() {
        let found = container(
            json!({"running": {}}),
            json!({"terminated": {"exitCode": 0, "containerID": "one"}}),
        );
        assert!(found.replaces(Some("one")));
        assert!(!found.replaces(Some("two")));
        assert!(!found.ended_after("one"));
        assert_eq!(found.digest.as_deref(), Some("sha256:00"));
    }

    #[test]
    fn a_container_that_ended_since_is_seen_before_and_after_its_restart() {
        let down = container(
            json!({"terminated": {"exitCode": 1}}),
            json!({"terminated": {"exitCode": 0, "containerID": "one"}}),
        );
        assert!(down.ended_after("one"));
        let again = container(
            json!({"running": {}}),
            json!({"terminated": {"exitCode": 1, "containerID": "first"}}),
        );
        assert!(again.ended_after("one"));
    }

    #[test]
    fn the_end_of_the_replaced_container_is_no_trouble() {
        let ended = container(json!({"terminated": {"exitCode": 0}}), json!({}));
        assert_eq!(ended.stuck(Some("two")), None);
        assert_eq!(ended.stuck(Some("one")), Some("ended with exit code 0"));
    }

    #[test]
    fn trouble_quotes_the_reason_and_the_last_line() {
        let pulling =
            json!({"waiting": {"reason": "ErrImagePull", "message": "first\nnot found\n"}});
        let found = container(pulling, json!({}));
        assert_eq!(found.stuck(None), Some("ErrImagePull: not found"));
        let starting = json!({"waiting": {"reason": "PodInitializing"}});
        assert_eq!(container(starting, json!({})).trouble, None);
    }

    #[test]
    fn a_program_that_ends_again_and_again_has_one_trouble_all_the_time() {
        let end = json!({"terminated": {
            "exitCode": 1, "reason": "Error", "message": "no store",
            "finishedAt": "2026-01-01T00:00:00Z",
        }});
        let waits =
            |message: &str| json!({"waiting": {"reason": "CrashLoopBackOff", "message": message}});
        for state in [
            end.clone(),
            waits("back-off 10s restarting failed container"),
            json!({"running": {}}),
            waits("back-off 20s restarting failed container"),
        ] {
            let found = container(state.clone(), end.clone());
            let told = "ended with exit code 1: no store";
            assert_eq!(found.lasting_trouble(), Some(told), "{state}");
        }
        let pulls = json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}});
        let found = container(pulls, end);
        assert_eq!(found.lasting_trouble(), Some("ErrImagePull: not found"));
        let unseen = container(waits("back-off"), json!({}));
        assert_eq!(unseen.lasting_trouble(), Some("CrashLoopBackOff: back-off"));
    }

    #[test]
    fn the_digest_of_a_configuration_is_no_digest_of_an_image() {
        assert_eq!(digest("sha256:00"), None);
        assert_eq!(digest("r/i@sha256:00").as_deref(), Some("sha256:00"));
    }
}
