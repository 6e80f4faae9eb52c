//! Watches: what changes, and bookmarks for who asks for them.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use futures::{Stream, stream};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::failure::EXPIRED;
use crate::selection::Selection;
use crate::server::ApiServer;

/// Between two bookmarks of a watch.
const BETWEEN_BOOKMARKS: Duration = Duration::from_secs(60);
/// From the last bookmark to the end of a watch.
const BEFORE_THE_END: Duration = Duration::from_secs(2);
/// How long a watch lasts that names no time.
const LONGEST: Duration = Duration::from_secs(1800);

struct Watch {
    server: ApiServer,
    selection: Selection,
    versions: watch::Receiver<u64>,
    /// Events about what there was at the beginning.
    first: VecDeque<Value>,
    /// The version of the last change that was looked at.
    version: u64,
    /// The version of the last change of the kind since the beginning, anywhere.
    news: Option<u64>,
    /// The version that there was at the beginning.
    began: u64,
    bookmark: Option<Instant>,
    /// None when it has ended.
    end: Option<Instant>,
}

/// The events of a watch, one in a frame.
pub(crate) fn events(
    server: ApiServer,
    selection: Selection,
    query: &BTreeMap<String, String>,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync + 'static {
    let number = |name: &str| query.get(name).and_then(|text| text.parse().ok());
    let now = Instant::now();
    let lasts = number("timeoutSeconds").map_or(LONGEST, Duration::from_secs);
    let versions = server.versions();
    let mut watch = Watch {
        versions,
        first: VecDeque::new(),
        version: number("resourceVersion").unwrap_or(0),
        news: None,
        began: 0,
        bookmark: None,
        end: Some(now + lasts),
        server,
        selection,
    };
    watch.begin();
    if query
        .get("allowWatchBookmarks")
        .is_some_and(|value| value == "true")
    {
        watch.plan_bookmark();
    }
    stream::unfold(watch, |mut watch| async move {
        let mut event = watch.next().await?.to_string();
        event.push('\n');
        Some((Ok(Frame::data(Bytes::from(event))), watch))
    })
}

impl Watch {
    /// A watch from no version begins with all that there is, and one from a version that is
    /// forgotten has but one event.
    fn begin(&mut self) {
        let state = self.server.state.lock();
        self.began = state.version();
        if self.version == 0 {
            self.version = state.version();
            let all = state.objects.iter();
            let all = all.filter(|(path, object)| self.selection.selects(path, object));
            self.first = all
                .map(|(_, object)| json!({"type": "ADDED", "object": object}))
                .collect();
        } else if !state.history.remembers(self.version) {
            self.first
                .push_back(json!({"type": "ERROR", "object": EXPIRED.status()}));
            self.end = None;
        }
    }

    fn plan_bookmark(&mut self) {
        let now = Instant::now();
        let next = self.end.map(|end| {
            let last = end.checked_sub(BEFORE_THE_END).unwrap_or(now);
            last.min(now + BETWEEN_BOOKMARKS)
        });
        self.bookmark = next.filter(|next| *next > now);
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(event) = self.first.pop_front() {
                return Some(event);
            }
            let end = self.end?;
            let change = self.server.state.lock().history.change_after(self.version);
            if let Some(change) = change {
                self.version += 1;
                if self.version > self.began && self.selection.is_of_kind(&change.path) {
                    self.news = Some(self.version);
                }
                // An object enters and leaves a selection when its labels change.
                let is = |object: &Option<Value>| {
                    let object = object.as_ref();
                    object.is_some_and(|object| self.selection.selects(&change.path, object))
                };
                let (kind, object) = match (is(&change.before), is(&change.after)) {
                    (false, true) => ("ADDED", change.after),
                    (true, true) => ("MODIFIED", change.after),
                    // As it was, at the version at which it went.
                    (true, false) => (
                        "DELETED",
                        change.before.map(|mut object| {
                            object["metadata"]["resourceVersion"] = self.version.to_string().into();
                            object
                        }),
                    ),
                    (false, false) => continue,
                };
                return Some(json!({"type": kind, "object": object}));
            }
            let bookmark = self.bookmark;
            tokio::select! {
                biased;
                changed = self.versions.changed() => changed.ok()?,
                () = sleep_until(bookmark.unwrap_or(end)), if bookmark.is_some() => {
                    self.plan_bookmark();
                    // None repeats what the client knows from the beginning.
                    if let Some(version) = self.news {
                        return Some(self.bookmark(version));
                    }
                }
                () = sleep_until(end) => return None,
            }
        }
    }

    /// Says up to which version nothing more comes.
    fn bookmark(&self, version: u64) -> Value {
        let (api_version, kind) = self.selection.type_();
        json!({"type": "BOOKMARK", "object": {
            "apiVersion": api_version, "kind": kind,
            "metadata": {"resourceVersion": version.to_string()},
        }})
    }
}
