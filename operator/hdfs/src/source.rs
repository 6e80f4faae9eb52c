use std::time::Duration;

/// An HDFS, as a user names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The web addresses of its NameNodes, `http://HOST:PORT` or `https://HOST:PORT`: one, or all of a highly available group.
    pub name_nodes: Vec<String>,
    /// In whose name to ask (`user.name`); without one, HDFS takes `dr.who`.
    pub user: Option<String>,
    /// Certificate authorities in PEM that are believed instead of the public ones.
    pub authorities: Option<Vec<u8>>,
}

/// What a scan may take and how long an answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// For a connection, with its TLS handshake.
    pub connect_timeout: Duration,
    /// For one request, with its whole answer.
    pub request_timeout: Duration,
    /// The largest answer, in bytes.
    pub answer_bytes: usize,
    /// Requests per second, at most.
    pub requests_per_second: u32,
    /// Requests at one time, at most.
    pub concurrency: usize,
    /// Files and directories below all paths together, at most.
    pub max_files: u64,
    /// How long the locations of an unchanged file are believed; the balancer moves blocks without a trace.
    pub location_age: Duration,
    /// A DataNode that was not heard of for so long does not count. The NameNode itself waits more than 10 minutes.
    pub silent_after: Duration,
}

impl Settings {
    /// For so many files and requests per second: 3 s for a connection and 10 s for a request, 4 MiB of answer, 8 requests
    /// at a time, locations for an hour, silence of 30 s.
    pub fn new(max_files: u64, requests_per_second: u32) -> Settings {
        Settings {
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
            answer_bytes: 4 << 20,
            requests_per_second,
            concurrency: 8,
            max_files,
            location_age: Duration::from_secs(3600),
            silent_after: Duration::from_secs(30),
        }
    }
}
