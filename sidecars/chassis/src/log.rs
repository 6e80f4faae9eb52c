//! Log lines: one JSON object each on standard error, naming sidecar, slot and pod.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::settings::Settings;

/// Filter of the worker's lines, in the form of `tracing_subscriber::EnvFilter`.
const ENV_FILTER: &str = "RUST_LOG";

/// Fields of every line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity(Arc<Map<String, Value>>);

impl Identity {
    pub(crate) fn new(settings: &Settings) -> Identity {
        let mut fields = Map::new();
        fields.insert("sidecar".into(), settings.sidecar.clone().into());
        fields.insert("slot".into(), settings.slot.as_str().into());
        if !settings.pod.is_empty() {
            fields.insert("pod".into(), settings.pod.clone().into());
        }
        Identity(Arc::new(fields))
    }

    /// Sends the process's events to standard error.
    pub(crate) fn install(self) {
        let filter = EnvFilter::try_from_env(ENV_FILTER).unwrap_or_else(|_| EnvFilter::new("info"));
        let installed = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .event_format(self)
            .try_init();
        if installed.is_err() {
            tracing::warn!("Kept the log that was already installed");
        }
    }

    /// Writes one line without the machinery, and the memory, of a subscriber.
    pub(crate) fn write(&self, level: &str, message: &str, fields: &[(&str, Value)]) {
        let mut members = Map::new();
        for (name, value) in fields {
            members.insert((*name).to_owned(), value.clone());
        }
        let mut line = self.line(level, message, members);
        line.push('\n');
        // Without standard error there is nobody to tell.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn line(&self, level: &str, message: &str, fields: Map<String, Value>) -> String {
        let mut timestamp = String::new();
        // Writing to a string cannot fail.
        let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
        let mut members = Map::new();
        members.insert("timestamp".into(), timestamp.into());
        members.insert("level".into(), level.into());
        members.insert("message".into(), message.into());
        members.extend(
            self.0
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        members.extend(fields);
        Value::Object(members).to_string()
    }
}

impl<S, N> FormatEvent<S, N> for Identity
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level().as_str();
        writeln!(
            writer,
            "{}",
            self.line(level, &fields.message, fields.others)
        )
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn insert(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string cannot fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.insert(field, format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value.into());
    }
}
