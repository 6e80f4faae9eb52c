//! What became of requests.

use serde::{Deserialize, Serialize};

/// Which requests are sent, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// `HOST:PORT`, or the path of a Unix socket.
    pub target: String,
    /// Their shape.
    pub shape: Shape,
    /// Requests in a second, in an open loop.
    pub rate: u32,
    /// Connections, each with one request at a time, a batch of pipelined ones, or some streams.
    pub connections: usize,
    /// Connections besides, each of which stays idle and sends one request at the end.
    #[serde(default)]
    pub idle: usize,
    /// Id of the first request.
    #[serde(default)]
    pub first: u64,
}

/// The shape of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Shape {
    /// One after the other on a kept connection.
    KeepAlive,
    /// Each on a connection of its own.
    NewConnection,
    /// On kept connections, but each tenth on a connection of its own.
    Mixed,
    /// The answer takes three seconds.
    SlowAnswer,
    /// The body is 1 MB in chunks, sent over a quarter of a second.
    Upload,
    /// The head comes in two parts, 10 ms apart.
    SplitHead,
    /// Eight are sent at once.
    Pipelined,
    /// Streams of HTTP/2 without TLS, eight of a connection at a time.
    Http2,
    /// Messages on connections that were upgraded to another protocol, two at a time, of which the
    /// first comes in two parts, 10 ms apart.
    Upgraded,
}

/// Counts, and what failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Id after that of the last request.
    pub end: u64,
    /// Requests that were sent.
    pub sent: u64,
    /// Those that were answered rightly.
    pub answered: u64,
    /// Those that were sent again, since the server had refused them unread: see RFC 9113, sections
    /// 6.8 and 8.7. A request may be among them more than once.
    #[serde(default)]
    pub resent: u64,
    /// The others.
    pub failures: Vec<Failure>,
    /// Connections that the other side closed, without being asked to.
    pub closed: u64,
}

/// A request that was not answered rightly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Its id.
    pub id: u64,
    /// When it was sent, in nanoseconds since 1970.
    pub sent_ns: u64,
    /// When it had failed.
    pub failed_ns: u64,
    /// Whether no connection could be opened.
    pub connect: bool,
    /// In words.
    pub detail: String,
}

/// An answered request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it was due, in nanoseconds since 1970.
    pub due_ns: u64,
    /// From then to the end of its answer.
    pub latency_ns: u64,
}

impl Sample {
    /// When it was answered.
    pub fn answered_ns(&self) -> u64 {
        self.due_ns + self.latency_ns
    }

    /// All samples as bytes, which take a tenth of what JSON takes.
    pub fn encode(samples: &[Sample]) -> Vec<u8> {
        let words = samples
            .iter()
            .flat_map(|sample| [sample.due_ns, sample.latency_ns]);
        words.flat_map(u64::to_le_bytes).collect()
    }

    /// The samples of [`Sample::encode`].
    pub fn decode(bytes: &[u8]) -> Vec<Sample> {
        let (words, _) = bytes.as_chunks::<8>();
        let (pairs, _) = words.as_chunks::<2>();
        let samples = pairs.iter().map(|[due, latency]| Sample {
            due_ns: u64::from_le_bytes(*due),
            latency_ns: u64::from_le_bytes(*latency),
        });
        samples.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_the_same_after_their_way_as_bytes() {
        let samples: Vec<_> = (1..5)
            .map(|number| Sample {
                due_ns: number << 40,
                latency_ns: number,
            })
            .collect();
        assert_eq!(Sample::decode(&Sample::encode(&samples)), samples);
    }
}
