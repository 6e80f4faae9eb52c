//! The process of a slot that does the work. Its supervisor starts it again when it dies.

mod attend;
mod control;
mod own;
mod seek;
mod stand;
mod stop;

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use outrigger_control::{Order, Role};
use prometheus_client::registry::Registry;
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::admin::{self, Admin, Source};
use crate::configuration::Configuration;
use crate::control_files::ControlFiles;
use crate::exclusive::Exclusives;
use crate::handover::Link;
use crate::listeners::Listeners;
use crate::log::Identity;
use crate::ownership::{OwnerLock, Record, StateDirectory};
use crate::roles::{self, Verdict};
use crate::server::{DRAIN_LIMIT, Server};
use crate::settings::Settings;
use crate::status::Status;
use crate::supervisor::channel::{Channel, Message};
use crate::tenancy::{Gates, Hosted, Peers};
use crate::traffic::Traffic;
use crate::warmth::{Doubt, Warmth};
use crate::{Builder, Leave, Secrets, limits};
use control::{Direction, Follower};
use own::Owning;
use stand::Attempts;
use stop::Stop;

/// Prefix of the chassis's own metrics.
const METRICS: &str = "outrigger_sidecar";
/// Longest time of the last slot to finish its connections, beyond their own limit.
const LAST: Duration = Duration::from_secs(15);

/// Runs until the worker is told to stop.
pub(crate) fn run<B: Builder>(settings: Settings, builder: impl FnOnce() -> B) -> ExitCode {
    Identity::new(&settings).install();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let lived =
        runtime.and_then(|runtime| runtime.block_on(async { live(settings, builder()).await }));
    match lived {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(%error, "Worker cannot run");
            ExitCode::FAILURE
        }
    }
}

async fn live<B: Builder>(settings: Settings, builder: B) -> io::Result<ExitCode> {
    let supervisor = supervisor()?;
    let (restarts, listeners) = held(&supervisor, &settings)?;
    match Worker::start(settings, builder, supervisor, restarts, listeners) {
        Ok(worker) => {
            worker.live().await;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            tracing::error!(%error, "Worker cannot run");
            // The supervisor shows it on the admin port.
            self::supervisor()?.send_failed(&error.to_string())?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The connection to the supervisor.
fn supervisor() -> io::Result<Channel> {
    Ok(Channel::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// A worker and everything that outlives its changes of role.
struct Worker {
    settings: Settings,
    state: StateDirectory,
    supervisor: Channel,
    /// Duplicates of the functions' listening sockets, as soon as they are had.
    listeners: Option<Listeners>,
    server: Server,
    functions: Arc<ArcSwap<Hosted>>,
    exclusives: Exclusives,
    direction: watch::Receiver<Direction>,
    warm: watch::Receiver<Result<(), String>>,
    doubt: Doubt,
    status: Arc<Status>,
    stop: Stop,
    attempts: Attempts,
    /// How many descriptors this process may have open.
    files: u64,
}

/// What a worker does next.
enum Next {
    /// Find the owner, or become it.
    Seek {
        /// Without leaving it to others first.
        at_once: bool,
    },
    /// Be the standby of the owner at the other end.
    Stand(Link),
    /// Be active.
    Own(Owning),
    /// Follow the successor, whose death before that would leave everything to this worker.
    Yield {
        lock: OwnerLock,
        successor: Link,
    },
    /// Finish the connections and end.
    Drain {
        /// The lock of an owner.
        lock: Option<OwnerLock>,
    },
    End,
}

impl Worker {
    /// Starts what every worker needs, whatever its role.
    fn start<B: Builder>(
        settings: Settings,
        builder: B,
        supervisor: Channel,
        restarts: u64,
        listeners: Option<Listeners>,
    ) -> io::Result<Worker> {
        // A worker without its supervisor would serve on unseen.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        let files = limits::raise_open_files();
        let stop = Stop::install()?;
        let state = StateDirectory::open(&settings.directories.shared)?;

        let builder = Arc::new(builder);
        let mut registry = Registry::default();
        builder.register(&mut registry);
        let own_metrics = registry.sub_registry_with_prefix(METRICS);
        let traffic = Arc::new(Traffic::new(&settings.listen, own_metrics));
        let warmth = Warmth::new();
        let (warm, doubt) = (warmth.watch(), warmth.doubt());
        let status = Arc::new(Status::new(
            &settings,
            state.clone(),
            Arc::clone(&traffic),
            (warm.clone(), warmth.cold()),
            restarts,
            own_metrics,
        ));
        let gates = Gates::default();
        gates.register(own_metrics);
        let configuration = Configuration::new(
            builder,
            Secrets::new(&settings.directories.secrets),
            settings.sidecar.clone(),
            settings.listen.clone(),
            state.last_good(settings.slot),
            gates,
        );
        let (functions, waiting) = (configuration.functions(), configuration.waiting());
        let (addresses, peers) = Peers::new();
        let server = Server::new(
            settings.listen.clone(),
            Arc::clone(&functions),
            peers,
            traffic,
        );
        let files_of_control = ControlFiles::watch(&settings.directories)?;
        let (follower, direction) = Follower::new(
            files_of_control,
            configuration,
            warmth,
            settings.slot,
            Arc::clone(&status),
            addresses,
        );
        tokio::spawn(follower.run());
        let shown = Admin {
            status: Source::Worker(Arc::clone(&status)),
            registry,
        };
        tokio::spawn(admin::serve(settings.admin_port, shown));
        Ok(Worker {
            settings,
            state,
            supervisor,
            listeners,
            server,
            exclusives: Exclusives::new(Arc::clone(&functions), waiting),
            functions,
            direction,
            warm,
            doubt,
            status,
            stop,
            attempts: Attempts::default(),
            files,
        })
    }

    async fn live(mut self) {
        let mut next = Next::Seek { at_once: false };
        loop {
            next = match next {
                Next::Seek { at_once } => self.seek(at_once).await,
                Next::Stand(link) => self.stand(link).await,
                Next::Own(owning) => self.own(owning).await,
                Next::Yield { lock, successor } => self.follow(lock, successor).await,
                Next::Drain { lock } => self.drain(lock).await,
                Next::End => return,
            };
        }
    }

    /// The order, the record of ownership, and what the first means for the second.
    fn review(&mut self) -> (Option<Order>, Option<Record>) {
        let record = self.state.record().unwrap_or_else(|error| {
            tracing::error!(%error, "Record of ownership could not be read");
            None
        });
        let Direction {
            order, unreadable, ..
        } = self.direction.borrow_and_update().clone();
        let verdict = order.as_ref().map(|order| roles::judge(order.term, record));
        let refused = match (unreadable, verdict) {
            (Some(reason), _) | (None, Some(Verdict::Refuse(reason))) => Some(reason),
            (None, _) => None,
        };
        self.status
            .order(order.as_ref().map(|order| order.term), refused);
        (order, record)
    }

    /// Keeps listeners that another process passed, and lets the supervisor keep them.
    fn keep_listeners(&mut self, listeners: Listeners) {
        if self.listeners.is_some() {
            return;
        }
        if let Err(error) = self.supervisor.send_hold(&listeners.descriptors()) {
            tracing::error!(%error, "Supervisor could not be given the listeners");
        }
        self.listeners = Some(listeners);
    }

    /// Finishes as the last slot of its pod: there is nobody to hand over to.
    ///
    /// The lock is held for as long as something exclusive is open here: whoever has it next opens
    /// its own.
    async fn drain(&mut self, mut lock: Option<OwnerLock>) -> Next {
        self.status.role(Role::Draining);
        self.server.park(Leave::Close).await;
        self.exclusives.dismiss_waiting();
        let exclusive = self.server.indices(&self.exclusives.open_ports());
        let mut connections = self.server.traffic().watch();
        let limit = tokio::time::sleep(DRAIN_LIMIT + LAST);
        tokio::pin!(limit);
        loop {
            let open = connections.borrow_and_update().clone();
            if lock.is_some() && exclusive.iter().all(|function| open[*function] == 0) {
                self.exclusives.give_up().await;
                lock = None;
            }
            if open.iter().all(|open| *open == 0) {
                break;
            }
            tokio::select! {
                parked = self.server.parked() => drop(parked),
                _ = connections.changed() => {}
                () = &mut limit => {
                    tracing::warn!("Connections were cut that did not end in time");
                    break;
                }
            }
        }
        self.exclusives.give_up().await;
        drop(lock);
        Next::End
    }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// What the supervisor says to its worker first.
fn held(supervisor: &Channel, settings: &Settings) -> io::Result<(u64, Option<Listeners>)> {
    let said = supervisor.receive().map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("a worker is started by its supervisor only: {error}"),
        )
    })?;
    let Some(Message::Held {
        restarts,
        descriptors,
    }) = said
    else {
        return Err(io::Error::other(
            "the supervisor said nothing to its worker",
        ));
    };
    if descriptors.is_empty() {
        return Ok((restarts, None));
    }
    let listeners = Listeners::received(descriptors, &settings.listen).map_err(io::Error::other)?;
    Ok((restarts, Some(listeners)))
}
