//! Process 1 of a slot. It binds the listeners, runs the worker, repairs its crashes and never
//! ends by itself: a container that ends makes the user's pod NotReady.

pub(crate) mod channel;
mod excuse;
mod signals;

use std::fmt::Display;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use outrigger_control::{Order, Slot, layout};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SocketFlags;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};

use crate::command::WORKER_COMMAND;
use crate::listeners::{Listeners, NoListeners};
use crate::log::Identity;
use crate::ownership::StateDirectory;
use crate::packet::{self, Accepted, Acceptor};
use crate::restart::RestartBackoff;
use crate::settings::{InvalidSettings, Settings};
use crate::status;
use channel::{Channel, Message};
use excuse::Excuse;
use signals::Signals;

/// Runs until the slot is told to stop.
pub(crate) fn run(settings: Settings) -> ExitCode {
    let log = Identity::new(&settings);
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            complain(&log, "Signals could not be received", &error);
            return ExitCode::FAILURE;
        }
    };
    let mut supervisor = Supervisor {
        listeners: None,
        acceptor: None,
        worker: Worker::Down {
            until: Instant::now(),
            excuse: None,
        },
        restarts: 0,
        backoff: RestartBackoff::default(),
        stopping: false,
        settings,
        signals,
        log,
    };
    supervisor.bind_if_first();
    supervisor.offer_listeners();
    supervisor.supervise()
}

/// Waits to be told to stop. A container whose environment is wrong does nothing, rather than
/// end and make its pod NotReady.
pub(crate) fn idle(reason: &InvalidSettings) -> ExitCode {
    complain(&Identity::default(), "The slot cannot run", reason);
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(_) => return ExitCode::FAILURE,
    };
    let terminate = PollFd::new(&signals.terminate, PollFlags::IN);
    let told = rustix::io::retry_on_intr(|| poll(&mut [terminate.clone()], None));
    signals.terminate.clear();
    match told {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

struct Supervisor {
    settings: Settings,
    signals: Signals,
    log: Identity,
    listeners: Option<Listeners>,
    /// Where the other slot's worker finds this supervisor's listeners.
    acceptor: Option<Acceptor>,
    worker: Worker,
    restarts: u64,
    backoff: RestartBackoff,
    stopping: bool,
}

enum Worker {
    Running {
        pid: Pid,
        since: Instant,
        /// `None` once the worker has closed its end.
        channel: Option<Channel>,
        /// Why it cannot run, in its own words, if it cannot.
        reason: Option<String>,
    },
    Down {
        until: Instant,
        /// Tells callers of the admin port why.
        excuse: Option<Excuse>,
    },
}

/// What a wait ended with.
#[derive(Default)]
struct Ready {
    child: bool,
    terminate: bool,
    channel: bool,
    acceptor: bool,
}

impl Supervisor {
    /// The slot that is to be active listens before anything else, so that early connects wait
    /// in the kernel's queue. The other slot's worker listens later if it must.
    fn bind_if_first(&mut self) {
        let order_file = self.settings.directories.control.join(layout::ORDER_FILE);
        let named = std::fs::read_to_string(order_file)
            .ok()
            .and_then(|text| Order::parse(&text).ok())
            .map_or(Slot::A, |order| order.active);
        if named != self.settings.slot {
            return;
        }
        match Listeners::bind(&self.settings.listen) {
            Ok(listeners) => self.listeners = Some(listeners),
            Err(NoListeners::Taken { .. }) => {}
            Err(error) => complain(&self.log, "Listeners could not be bound", &error),
        }
    }

    fn offer_listeners(&mut self) {
        let offered = StateDirectory::open(&self.settings.directories.shared)
            .and_then(|state| Acceptor::bind(&state.listeners_socket(self.settings.slot)));
        match offered {
            Ok(acceptor) => self.acceptor = Some(acceptor),
            Err(error) => complain(
                &self.log,
                "Listeners could not be offered to the other slot",
                &error,
            ),
        }
    }

    fn supervise(&mut self) -> ExitCode {
        loop {
            if let Worker::Down { until, excuse } = &mut self.worker {
                if self.stopping {
                    return ExitCode::SUCCESS;
                }
                if *until <= Instant::now() {
                    // The next worker is to have the admin port.
                    *excuse = None;
                    self.start_worker();
                }
            }
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(error) => {
                    complain(&self.log, "Waiting for events failed", &error);
                    // Never a busy loop, and never an end.
                    std::thread::sleep(Duration::from_secs(1));
                    continue;
                }
            };
            if ready.channel {
                self.read_channel();
            }
            if ready.acceptor {
                self.give_listeners();
            }
            self.excuse_worker();
            if ready.terminate {
                self.signals.terminate.clear();
                self.stop();
            }
            if ready.child {
                self.signals.child.clear();
                self.reap();
            }
        }
    }

    fn wait(&self) -> io::Result<Ready> {
        let (channel, excuse, until) = match &self.worker {
            Worker::Running { channel, .. } => (channel.as_ref(), None, None),
            Worker::Down { until, excuse } => {
                let excuse = excuse.as_ref();
                let next = excuse
                    .and_then(Excuse::until)
                    .map_or(*until, |next| next.min(*until));
                (None, excuse, Some(next))
            }
        };
        let timeout = until.map(|until| {
            let left = until.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let mut fds = vec![
            PollFd::new(&self.signals.child, PollFlags::IN),
            PollFd::new(&self.signals.terminate, PollFlags::IN),
        ];
        let channel_at = channel.map(|channel| {
            fds.push(PollFd::new(channel, PollFlags::IN));
            fds.len() - 1
        });
        let acceptor_at = self.acceptor.as_ref().map(|acceptor| {
            fds.push(PollFd::new(acceptor, PollFlags::IN));
            fds.len() - 1
        });
        fds.extend(excuse.map(|excuse| PollFd::new(excuse, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        }
        let is_ready = |at: usize| !fds[at].revents().is_empty();
        Ok(Ready {
            child: is_ready(0),
            terminate: is_ready(1),
            channel: channel_at.is_some_and(is_ready),
            acceptor: acceptor_at.is_some_and(is_ready),
        })
    }

    fn start_worker(&mut self) {
        let since = Instant::now();
        match self.spawn() {
            Ok((pid, channel)) => {
                self.worker = Worker::Running {
                    pid,
                    since,
                    channel: Some(channel),
                    reason: None,
                };
            }
            Err(error) => {
                complain(&self.log, "The worker could not be started", &error);
                self.worker_ended(Duration::ZERO, &error.to_string());
            }
        }
    }

    fn spawn(&self) -> io::Result<(Pid, Channel)> {
        let (ours, theirs) = Channel::pair()?;
        let descriptors = self
            .listeners
            .as_ref()
            .map(Listeners::descriptors)
            .unwrap_or_default();
        ours.send_held(self.restarts, &descriptors)?;
        let child = Command::new("/proc/self/exe")
            .arg(WORKER_COMMAND)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()?;
        Ok((Pid::from_child(&child), ours))
    }

    fn worker_ended(&mut self, lived: Duration, reason: &str) {
        self.restarts += 1;
        let pause = self.backoff.after(lived);
        let silent = pause.is_zero() || self.stopping;
        self.worker = Worker::Down {
            until: Instant::now() + pause,
            excuse: (!silent).then(|| self.excuse(reason)).flatten(),
        };
    }

    /// Listens on the admin port in the worker's stead.
    fn excuse(&self, reason: &str) -> Option<Excuse> {
        let report = status::failed(&self.settings, self.restarts, reason);
        match Excuse::bind(self.settings.admin_port, report) {
            Ok(excuse) => Some(excuse),
            Err(error) => {
                complain(&self.log, "Admin port could not be had", &error);
                None
            }
        }
    }

    fn excuse_worker(&mut self) {
        if let Worker::Down { excuse, .. } = &mut self.worker
            && let Some(Err(error)) = excuse.as_mut().map(Excuse::advance)
        {
            // Tried again, it would fail again.
            *excuse = None;
            complain(&self.log, "Admin port could not be answered", &error);
        }
    }

    /// Takes the listeners that the worker received from the other slot, or its last words.
    fn read_channel(&mut self) {
        let Worker::Running {
            channel: open @ Some(_),
            reason,
            ..
        } = &mut self.worker
        else {
            return;
        };
        match open.as_ref().map(Channel::receive) {
            Some(Ok(Some(Message::Hold { descriptors }))) => {
                match Listeners::received(descriptors, &self.settings.listen) {
                    Ok(listeners) => self.listeners = Some(listeners),
                    Err(error) => {
                        complain(&self.log, "Listeners from the worker were refused", &error)
                    }
                }
            }
            Some(Ok(Some(Message::Failed { reason: said }))) => *reason = Some(said),
            _ => *open = None,
        }
    }

    fn give_listeners(&self) {
        let Some(acceptor) = &self.acceptor else {
            return;
        };
        let Ok(Accepted::Peer(peer)) = packet::accept(acceptor, SocketFlags::NONBLOCK) else {
            return;
        };
        let descriptors = self
            .listeners
            .as_ref()
            .map(Listeners::descriptors)
            .unwrap_or_default();
        // A peer that is gone needs nothing.
        let _ = Channel::from(peer).send_held(self.restarts, &descriptors);
    }

    fn stop(&mut self) {
        self.stopping = true;
        if let Worker::Running { pid, .. } = self.worker {
            // It is not reaped yet, so the number is still the worker's.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Why the worker could not run, if it said so before it ended.
    fn last_words(&mut self) -> Option<String> {
        while let Worker::Running {
            channel: Some(channel),
            ..
        } = &self.worker
            && channel.is_readable()
        {
            self.read_channel();
        }
        match &mut self.worker {
            Worker::Running { reason, .. } => reason.take(),
            Worker::Down { .. } => None,
        }
    }

    /// Collects every ended child: as process 1 the supervisor inherits orphans too.
    fn reap(&mut self) {
        while let Ok(Some((ended, status))) = wait(WaitOptions::NOHANG) {
            let Worker::Running { pid, since, .. } = self.worker else {
                continue;
            };
            if ended != pid {
                continue;
            }
            let lived = since.elapsed();
            let status = describe(status);
            let reason = self
                .last_words()
                .unwrap_or_else(|| format!("it ended with {status}"));
            self.worker_ended(lived, &reason);
            if !self.stopping {
                self.log.write(
                    "WARN",
                    "The worker ended and is started again",
                    &[
                        ("status", status.into()),
                        ("restarts", self.restarts.into()),
                    ],
                );
            }
        }
    }
}

fn complain(log: &Identity, message: &str, error: &dyn Display) {
    log.write("ERROR", message, &[("error", error.to_string().into())]);
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown status".to_owned(),
    }
}
