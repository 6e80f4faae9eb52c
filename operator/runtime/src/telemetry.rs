use std::fmt;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

impl FromStr for LogFormat {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<LogFormat, TelemetryError> {
        match text {
            "json" => Ok(LogFormat::Json),
            "text" => Ok(LogFormat::Text),
            _ => Err(TelemetryError::Format(text.to_owned())),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogFormat::Json => "json",
            LogFormat::Text => "text",
        })
    }
}

/// Logs cannot be written as asked.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Unknown format.
    #[error("the log format is {0:?}; allowed are json and text")]
    Format(String),
    /// RUST_LOG is none.
    #[error(
        "RUST_LOG cannot be used: {0}; allowed are a level such as info, or directives such as info,outrigger_controllers=debug"
    )]
    Filter(#[from] tracing_subscriber::filter::FromEnvError),
    /// Something else took the place before.
    #[error("logs are already being written: {0}")]
    Taken(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts to write logs to the standard output, filtered by `RUST_LOG`, from level info when it is
/// not set. Panics are logged like errors.
pub fn init_telemetry(format: LogFormat) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env()?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter);
    match format {
        LogFormat::Json => subscriber.json().flatten_event(true).finish().try_init()?,
        LogFormat::Text => subscriber.finish().try_init()?,
    }
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| match format {
        LogFormat::Json => {
            let location = panic.location().map(ToString::to_string);
            let message = panic.payload_as_str().unwrap_or("panic without a message");
            tracing::error!(location, "panic: {message}");
        }
        LogFormat::Text => default(panic),
    }));
    Ok(())
}
