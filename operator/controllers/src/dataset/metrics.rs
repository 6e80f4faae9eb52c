use std::time::Duration;

use outrigger_hdfs::Effort;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// How a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(super) enum Result {
    /// All paths were read.
    Succeeded,
    /// Some paths were not.
    Incomplete,
    /// No NameNode answered.
    Failed,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum How {
    Asked,
    Remembered,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Scans {
    result: Result,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Files {
    how: How,
}

/// Counters of scans of HDFS. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct ScanMetrics {
    scans: Family<Scans, Counter>,
    duration: Histogram,
    requests: Counter,
    files: Family<Files, Counter>,
}

impl ScanMetrics {
    pub(crate) fn register(registry: &mut Registry) -> ScanMetrics {
        let metrics = ScanMetrics {
            scans: Family::default(),
            duration: Histogram::new(exponential_buckets(0.01, 4.0, 9)),
            requests: Counter::default(),
            files: Family::default(),
        };
        registry.register(
            "outrigger_hdfs_scans",
            "Scans of HDFS datasets, by result",
            metrics.scans.clone(),
        );
        registry.register(
            "outrigger_hdfs_scan_duration_seconds",
            "Time that a scan of an HDFS dataset took",
            metrics.duration.clone(),
        );
        registry.register(
            "outrigger_hdfs_requests",
            "Requests to NameNodes in scans that were answered",
            metrics.requests.clone(),
        );
        registry.register(
            "outrigger_hdfs_files",
            "Files in scans, by whether their blocks were asked for or remembered",
            metrics.files.clone(),
        );
        for result in [Result::Succeeded, Result::Incomplete, Result::Failed] {
            drop(metrics.scans.get_or_create(&Scans { result }));
        }
        metrics
    }

    /// Counts a scan and, unless nobody answered, what it cost.
    pub(super) fn scanned(&self, result: Result, effort: Option<Effort>, duration: Duration) {
        self.scans.get_or_create(&Scans { result }).inc();
        self.duration.observe(duration.as_secs_f64());
        let Effort {
            requests,
            asked,
            remembered,
        } = effort.unwrap_or_default();
        self.requests.inc_by(requests);
        for (how, count) in [(How::Asked, asked), (How::Remembered, remembered)] {
            self.files.get_or_create(&Files { how }).inc_by(count);
        }
    }
}
