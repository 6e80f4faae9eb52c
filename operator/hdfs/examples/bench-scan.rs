//! What a scan of 200 directories with 1,000 files each takes, and what the next one takes.
//!
//! The NameNode is another process of this program. Its answers have the form of Hadoop 3.5's.
#![allow(clippy::unwrap_used, reason = "a panic is how a measurement fails")]

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use outrigger_hdfs::{AddressPolicy, Scanner, Settings, Source};
use parking_lot::Mutex;

const PATHS: u64 = 200;
const FILES: u64 = 1000;
const BLOCK: u64 = 128 << 20;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    match arguments.next().as_deref() {
        Some("serve") => serve(arguments.next().unwrap().parse().unwrap()),
        Some(limit) if !limit.starts_with('-') => {
            let data_nodes = arguments.next().unwrap().parse().unwrap();
            runtime().block_on(measure(limit.parse().unwrap(), data_nodes));
        }
        _ => {
            println!(
                "| DataNodes | allowed per second | scan | time | requests | most in a second | \
                 memory after it | of it per file |"
            );
            println!("|--:|--:|---|--:|--:|--:|--:|--:|");
            // Each in a process of its own, whose memory is its own.
            for (limit, data_nodes) in [(100_000, 4), (100_000, 100), (2_000, 4)] {
                let measured = Command::new(std::env::current_exe().unwrap())
                    .args([limit.to_string(), data_nodes.to_string()])
                    .status();
                assert!(measured.unwrap().success());
            }
        }
    }
}

// === the scans ===

async fn measure(limit: u32, data_nodes: u64) {
    let mut server = Server::start(data_nodes);
    let source = Source {
        name_nodes: vec![server.url.clone()],
        ..Source::default()
    };
    let here = AddressPolicy::new(["127.0.0.1".parse().unwrap()], []);
    let settings = Settings::new(PATHS * FILES, limit);
    let mut scanner = Scanner::new(&source, Arc::new(here), settings).unwrap();
    let paths: Vec<String> = (0..PATHS)
        .map(|path| format!("/data/part-{path:03}"))
        .collect();
    let empty = memory("VmRSS");
    let (hasher, mut last) = (RandomState::new(), None);
    for name in ["first", "second"] {
        let began = Instant::now();
        let scan = scanner.scan(&paths).await.unwrap();
        let took = began.elapsed();
        assert_eq!((scan.paths.len() as u64, scan.problems.len()), (PATHS, 0));
        // Not the paths themselves: they would count as memory.
        let hash = hasher.hash_one(&scan.paths);
        assert_eq!(*last.get_or_insert(hash), hash);
        let most = server.most();
        let held = memory("VmRSS").saturating_sub(empty);
        drop(scan);
        println!(
            "| {data_nodes} | {limit} | {name} | {:.1} s | {} | {most} | {:.1} MiB | {} B |",
            took.as_secs_f64(),
            scanner.effort().requests,
            held as f64 / 1024.0,
            held * 1024 / (PATHS * FILES),
        );
    }
}

/// A line of this process's status, in KiB.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|all| all.strip_prefix(line)?.strip_prefix(':'));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// The other process.
struct Server {
    url: String,
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Server {
    fn start(data_nodes: u64) -> Server {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["serve".to_owned(), data_nodes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let questions = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut server = Server {
            url: String::new(),
            child,
            questions,
            answers,
        };
        server.url = server.line();
        server
    }

    /// The most requests in a second since the last time.
    fn most(&mut self) -> u64 {
        writeln!(self.questions).unwrap();
        self.line().parse().unwrap()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === the NameNode ===

/// Requests of the last second, and the most that were so.
#[derive(Default)]
struct Count {
    recent: std::collections::VecDeque<Instant>,
    most: usize,
}

fn serve(data_nodes: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let count = Arc::new(Mutex::new(Count::default()));
    let asked = count.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            line.unwrap();
            println!("{}", std::mem::take(&mut *asked.lock()).most);
        }
    });
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}", listener.local_addr().unwrap());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let count = count.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                count.lock().add();
                let body = answer(
                    data_nodes,
                    request.uri().path(),
                    request.uri().query().unwrap(),
                );
                let response = Response::builder().header("content-type", "application/json");
                let response = response.body(Full::new(Bytes::from(body))).unwrap();
                async { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(async move {
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

impl Count {
    fn add(&mut self) {
        let now = Instant::now();
        self.recent.push_back(now);
        while self
            .recent
            .front()
            .is_some_and(|first| now - *first > Duration::from_secs(1))
        {
            self.recent.pop_front();
        }
        self.most = self.most.max(self.recent.len());
    }
}

fn answer(data_nodes: u64, path: &str, query: &str) -> String {
    let path = path.trim_start_matches("/webhdfs/v1");
    let operation = query.strip_prefix("op=").unwrap_or_default();
    match operation.split('&').next().unwrap() {
        "GETCONTENTSUMMARY" => format!(
            r#"{{"ContentSummary":{{"directoryCount":1,"ecPolicy":"","fileCount":{FILES},"length":0,"quota":-1}}}}"#
        ),
        "LISTSTATUS_BATCH" => listing(path),
        "GETFILEBLOCKLOCATIONS" => blocks(data_nodes, path),
        "" => jmx(data_nodes),
        other => panic!("{other}"),
    }
}

fn jmx(data_nodes: u64) -> String {
    let node = |number| {
        format!(
            r#"\"node-{number}:9866\":{{\"xferaddr\":\"10.0.{number}.1:9866\",\"location\":\"/default-rack\",\"lastContact\":1,\"adminState\":\"In Service\"}}"#
        )
    };
    let nodes: Vec<_> = (0..data_nodes).map(node).collect();
    format!(
        r#"{{"beans":[{{"name":"Hadoop:service=NameNode,name=NameNodeStatus","State":"active"}},{{"name":"Hadoop:service=NameNode,name=NameNodeInfo","Safemode":"","LiveNodes":"{{{}}}","DeadNodes":"{{}}"}}]}}"#,
        nodes.join(",")
    )
}

/// The number of a file, from its path or name.
fn number(text: &str) -> u64 {
    let digits = text.bytes().filter(u8::is_ascii_digit);
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

/// Up to three blocks.
fn length(file: u64) -> u64 {
    1 + file * 7_919_003 % (3 * BLOCK - 2)
}

fn listing(path: &str) -> String {
    let file = |file: u64| {
        let name = format!("part-{file:05}.parquet");
        let length = length(number(path) * 100_000 + file);
        format!(
            r#"{{"accessTime":1795314496471,"blockSize":{BLOCK},"childrenNum":0,"fileId":16391,"group":"supergroup","length":{length},"modificationTime":1795314496633,"owner":"root","pathSuffix":"{name}","permission":"644","replication":3,"storagePolicy":0,"type":"FILE"}}"#
        )
    };
    let files: Vec<_> = (0..FILES).map(file).collect();
    format!(
        r#"{{"DirectoryListing":{{"partialListing":{{"FileStatuses":{{"FileStatus":[{}]}}}},"remainingEntries":0}}}}"#,
        files.join(",")
    )
}

fn blocks(data_nodes: u64, path: &str) -> String {
    let file = number(path);
    let length = length(file);
    let block = |block: u64| {
        let offset = block * BLOCK;
        let seed = (file * 3 + block).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let first = seed % data_nodes;
        let second = (first + 1 + seed / 1000 % (data_nodes - 2)) % data_nodes;
        let third = (first + data_nodes - 1) % data_nodes;
        let told = |text: fn(u64) -> String| {
            let all = [first, second, third].map(text);
            all.join(",")
        };
        format!(
            r#"{{"topologyPaths":[{}],"corrupt":false,"cachedHosts":[],"names":[{}],"offset":{offset},"hosts":[{}],"length":{},"storageTypes":["DISK","DISK","DISK"]}}"#,
            told(|node| format!("\"/default-rack/10.0.{node}.1:9866\"")),
            told(|node| format!("\"10.0.{node}.1:9866\"")),
            told(|node| format!("\"node-{node}\"")),
            BLOCK.min(length - offset),
        )
    };
    let blocks: Vec<_> = (0..length.div_ceil(BLOCK)).map(block).collect();
    format!(
        r#"{{"BlockLocations":{{"BlockLocation":[{}]}}}}"#,
        blocks.join(",")
    )
}
