use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::events::EventType;
use kube::{Api, Client, Resource, ResourceExt};
use outrigger_api::FIELD_MANAGER;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::status::{Progress, Summary};

/// Longest note that the API server takes.
const LONGEST_NOTE: usize = 1024;
/// How long a repeated event counts up the first one.
const SERIES: Duration = Duration::from_secs(360);

/// What is told about an object. `kubectl describe` shows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Story {
    pub(crate) type_: EventType,
    /// CamelCase, from [`outrigger_api::conditions::reason`] where one fits.
    pub(crate) reason: &'static str,
    /// What the operator did or tried, CamelCase.
    pub(crate) action: &'static str,
    pub(crate) note: String,
    /// Another object that the story is about, such as a pod.
    pub(crate) related: Option<ObjectReference>,
}

/// Publishes events. One that is repeated counts up the first one, if it has the same note:
/// the recorder of kube-runtime would keep the former note.
pub(crate) struct Events {
    client: Client,
    instance: String,
    told: Mutex<BTreeMap<String, (Instant, Event)>>,
}

impl Events {
    pub(crate) fn new(client: Client, instance: String) -> Events {
        Events {
            client,
            instance,
            told: Mutex::default(),
        }
    }

    /// Tells of a new summary in the log and, unless it passes by itself, in an event.
    pub(crate) async fn tell<K>(&self, object: &K, summary: &Summary)
    where
        K: Resource<DynamicType = ()>,
    {
        let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
        let (reason, message) = (summary.reason, &summary.message);
        tracing::info!(namespace, name, reason, message, "{}", K::kind(&()));
        let type_ = match summary.progress {
            Progress::Ready => EventType::Normal,
            Progress::Stalled => EventType::Warning,
            Progress::Reconciling => return,
        };
        let story = Story {
            type_,
            reason,
            action: "Reconcile",
            note: message.clone(),
            related: None,
        };
        self.publish(&object.object_ref(&()), &story).await;
    }

    /// Publishes an event. What an event tells is in the status too, so a failure is only logged.
    pub(crate) async fn publish(&self, regarding: &ObjectReference, story: &Story) {
        if let Err(error) = self.try_publish(regarding, story).await {
            let reason = story.reason;
            tracing::warn!(%error, reason, note = story.note, "event not published");
        }
    }

    async fn try_publish(
        &self,
        regarding: &ObjectReference,
        story: &Story,
    ) -> Result<(), kube::Error> {
        let namespace = regarding.namespace.as_deref().unwrap_or("default");
        let events = Api::<Event>::namespaced(self.client.clone(), namespace);
        let key = key(regarding, story);
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let former = self.former(&key);
        if let Some(former) = former {
            let repeated = repeated(former);
            let patch = serde_json::json!({"series": repeated.series});
            let name = repeated.name_any();
            let patched = events
                .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
                .await;
            match patched {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    self.remember(key, repeated);
                    return Ok(());
                }
            }
        }
        let event = self.event(regarding, story);
        let created = events.create(&parameters, &event).await?;
        self.remember(key, created);
        Ok(())
    }

    fn former(&self, key: &str) -> Option<Event> {
        let mut told = self.told.lock();
        told.retain(|_, (at, _)| at.elapsed() < SERIES);
        told.get(key).map(|(_, event)| event.clone())
    }

    fn remember(&self, key: String, event: Event) {
        self.told.lock().insert(key, (Instant::now(), event));
    }

    fn event(&self, regarding: &ObjectReference, story: &Story) -> Event {
        let now = Timestamp::now();
        let name = regarding.name.as_deref().unwrap_or("outrigger");
        Event {
            metadata: ObjectMeta {
                namespace: regarding.namespace.clone(),
                name: Some(format!("{name}.{:x}", now.as_nanosecond())),
                ..ObjectMeta::default()
            },
            action: Some(story.action.to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(shortened(&story.note)),
            reason: Some(story.reason.to_owned()),
            regarding: Some(regarding.clone()),
            related: story.related.clone(),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(
                match story.type_ {
                    EventType::Normal => "Normal",
                    EventType::Warning => "Warning",
                }
                .to_owned(),
            ),
            ..Event::default()
        }
    }
}

fn key(regarding: &ObjectReference, story: &Story) -> String {
    let related = story.related.as_ref().and_then(|other| other.uid.clone());
    [
        regarding.uid.as_deref().unwrap_or_default(),
        related.as_deref().unwrap_or_default(),
        story.reason,
        story.action,
        &story.note,
    ]
    .join("\n")
}

fn repeated(mut event: Event) -> Event {
    let count = event.series.as_ref().map_or(1, |series| series.count);
    event.series = Some(EventSeries {
        count: count + 1,
        last_observed_time: MicroTime(Timestamp::now()),
    });
    event
}

fn shortened(note: &str) -> String {
    if note.len() <= LONGEST_NOTE {
        return note.to_owned();
    }
    let mut end = LONGEST_NOTE - '…'.len_utf8();
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &note[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_fits_the_api_server() {
        assert_eq!(shortened("short"), "short");
        let long = shortened(&"ä".repeat(600));
        assert_eq!(long.len(), LONGEST_NOTE - 1);
        assert!(long.ends_with('…'));
    }
}
