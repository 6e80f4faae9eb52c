//! Clients of every kind at once.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::{Answer, Connection, Target, get};
use crate::tally::Tally;

/// A kind of client that keeps its connection.
#[derive(Clone, Copy)]
enum Kind {
    /// Requests at fixed times, whatever became of those before.
    Steady,
    /// Requests that take 200 ms.
    Slow,
    /// 1 MiB in chunks, over 80 ms.
    Upload,
    /// Heads in two pieces, 15 ms apart.
    Split,
    /// Eight requests in one write.
    Pipelined,
}

const PERIOD: Duration = Duration::from_millis(20);
const STEADY: u32 = 20;
const UPLOAD: usize = 1 << 20;

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Steady => "steady",
            Kind::Slow => "slow",
            Kind::Upload => "upload",
            Kind::Split => "split",
            Kind::Pipelined => "pipelined",
        }
    }

    /// One round of a client; yields the last answer.
    async fn round(
        self,
        connection: &mut Connection,
        round: usize,
        tag: &str,
    ) -> Result<Answer, String> {
        match self {
            Kind::Steady => connection.get("/", tag).await,
            Kind::Slow => connection.get("/slow", tag).await,
            Kind::Upload => {
                let head = format!(
                    "POST /upload?{tag} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                );
                connection.send(head).await?;
                let chunk = [b"10000\r\n", &[b'u'; 65_536][..], b"\r\n"].concat();
                for _ in 0..UPLOAD / 65_536 {
                    connection.send(&chunk).await?;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                connection.send("0\r\n\r\n").await?;
                let answer = connection.answer(tag).await?;
                match answer.seen.length {
                    UPLOAD => Ok(answer),
                    length => Err(format!("{length} bytes of {UPLOAD} arrived")),
                }
            }
            Kind::Split => {
                let request = get("/", tag);
                let (first, second) = request.split_at(1 + round * 7 % (request.len() - 2));
                connection.send(first).await?;
                tokio::time::sleep(Duration::from_millis(15)).await;
                connection.send(second).await?;
                connection.answer(tag).await
            }
            Kind::Pipelined => {
                let tags: Vec<_> = (0..8).map(|place| format!("{tag}.{place}")).collect();
                let requests: String = tags.iter().map(|tag| get("/", tag)).collect();
                connection.send(requests).await?;
                let (last, others) = tags.split_last().unwrap();
                for tag in others {
                    if connection.answer(tag).await?.closes {
                        return Err("closed amid pipelined requests".into());
                    }
                }
                connection.answer(last).await
            }
        }
    }
}

/// Running clients.
pub(crate) struct Load {
    pub(crate) tally: Tally,
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts clients of every kind.
    pub(crate) fn mixed(target: impl Into<Target>) -> Load {
        let target = target.into();
        let mut load = Load::steady(target.clone());
        for (kind, clients) in [
            (Kind::Slow, 8),
            (Kind::Upload, 2),
            (Kind::Split, 4),
            (Kind::Pipelined, 2),
        ] {
            for number in 0..clients {
                load.keep_alive(&target, kind, number);
            }
        }
        load
    }

    /// Starts clients with short requests only: with kept connections, and with new ones.
    pub(crate) fn steady(target: impl Into<Target>) -> Load {
        let target = target.into();
        let mut load = Load {
            tally: Tally::default(),
            stop: watch::Sender::new(false),
            clients: JoinSet::new(),
        };
        for number in 0..STEADY {
            load.keep_alive(&target, Kind::Steady, number);
        }
        let (tally, stop) = (load.tally.clone(), load.stop.subscribe());
        load.clients.spawn(new_connections(target, tally, stop));
        load
    }

    fn keep_alive(&mut self, target: &Target, kind: Kind, number: u32) {
        let member = Member {
            target: target.clone(),
            kind,
            number,
            tally: self.tally.clone(),
            stop: self.stop.subscribe(),
        };
        self.clients.spawn(member.run());
    }

    /// Waits until so many more requests have been answered.
    pub(crate) async fn answers(&self, count: u64) {
        let aim = self.tally.total() + count;
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.tally.total() < aim {
            assert!(Instant::now() < deadline, "no answers\n{}", self.tally);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Lets the clients finish their requests.
    pub(crate) async fn finish(mut self) -> Tally {
        self.stop.send_replace(true);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        println!("{}", self.tally);
        self.tally
    }
}

/// A client that keeps its connection.
struct Member {
    target: Target,
    kind: Kind,
    number: u32,
    tally: Tally,
    stop: watch::Receiver<bool>,
}

impl Member {
    async fn run(self) {
        let mut stop = self.stop.clone();
        let class = self.kind.name();
        let mut connection = self.connect().await;
        let began = Instant::now() + PERIOD * self.number / STEADY;
        for round in 0_u32.. {
            let due = match self.kind {
                Kind::Steady | Kind::Pipelined => began + PERIOD * round,
                _ => Instant::now() + Duration::from_millis(2),
            };
            // An idle connection that is closed is noticed at once.
            let over = loop {
                tokio::select! {
                    biased;
                    () = stopped(&mut stop) => break true,
                    () = connection.closed() => {
                        self.tally.closed(class);
                        connection = self.connect().await;
                    }
                    () = tokio::time::sleep_until(due.into()) => break false,
                }
            };
            if over {
                return;
            }
            let tag = format!("{class}-{}-{round}", self.number);
            let begun = Instant::now();
            match self.kind.round(&mut connection, round as usize, &tag).await {
                Ok(answer) => {
                    self.tally.answered(class, answer.seen.worker, begun);
                    if answer.closes {
                        self.tally.closed(class);
                        connection = self.connect().await;
                    }
                }
                Err(error) => {
                    self.tally.failed(class, connection.opened, error);
                    connection = self.connect().await;
                }
            }
        }
    }

    async fn connect(&self) -> Connection {
        loop {
            match Connection::open(self.target.clone()).await {
                Ok(connection) => return connection,
                Err(error) => {
                    self.tally.refused(error.to_string());
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }
}

/// A new connection for each request, a hundred in a second.
async fn new_connections(target: Target, tally: Tally, mut stop: watch::Receiver<bool>) {
    const CLASS: &str = "new";
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let mut requests = JoinSet::new();
    for number in 0_u32.. {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            _ = ticks.tick() => {}
        }
        let (tally, target) = (tally.clone(), target.clone());
        requests.spawn(async move {
            let begun = Instant::now();
            let mut connection = match Connection::open(target).await {
                Ok(connection) => connection,
                Err(error) => return tally.refused(error.to_string()),
            };
            match connection.get("/", &format!("{CLASS}-{number}")).await {
                Ok(answer) => tally.answered(CLASS, answer.seen.worker, begun),
                Err(error) => tally.failed(CLASS, connection.opened, error),
            }
        });
    }
    requests.join_all().await;
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Without a load, its clients are over too.
    let _ = stop.wait_for(|stop| *stop).await;
}
