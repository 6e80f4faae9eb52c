//! Process 1 of a slot. It binds the listeners, runs the worker, repairs its crashes and never
//! ends by itself: a container that ends makes the user's pod NotReady.

pub(crate) mod channel;

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use outrigger_control::{Order, Slot, layout};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SocketFlags;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use serde_json::Value;
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};

use crate::command::WORKER_COMMAND;
use crate::listeners::{Listeners, NoListeners};
use crate::log::Identity;
use crate::ownership::StateDirectory;
use crate::packet::{self, Accepted, Acceptor};
use crate::restart::RestartBackoff;
use crate::settings::{InvalidSettings, Settings};
use channel::{Channel, Message};

/// Runs until the slot is told to stop.
pub(crate) fn run(settings: Settings) -> ExitCode {
    let log = Identity::new(&settings);
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            log.write(
                "ERROR",
                "Signals could not be received",
                &[("error", error.to_string().into())],
            );
            return ExitCode::FAILURE;
        }
    };
    let mut supervisor = Supervisor {
        listeners: None,
        acceptor: None,
        worker: Worker::Down {
            until: Instant::now(),
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
    Identity::default().write(
        "ERROR",
        "The slot cannot run",
        &[("error", reason.to_string().into())],
    );
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(_) => return ExitCode::FAILURE,
    };
    let terminate = PollFd::new(&signals.terminate.0, PollFlags::IN);
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
    },
    Down {
        until: Instant,
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
            Err(error) => self.log.write(
                "ERROR",
                "Listeners could not be bound",
                &[("error", error.to_string().into())],
            ),
        }
    }

    fn offer_listeners(&mut self) {
        let offered = StateDirectory::open(&self.settings.directories.shared)
            .and_then(|state| Acceptor::bind(&state.listeners_socket(self.settings.slot)));
        match offered {
            Ok(acceptor) => self.acceptor = Some(acceptor),
            Err(error) => self.log.write(
                "ERROR",
                "Listeners could not be offered to the other slot",
                &[("error", error.to_string().into())],
            ),
        }
    }

    fn supervise(&mut self) -> ExitCode {
        loop {
            if let Worker::Down { until } = self.worker {
                if self.stopping {
                    return ExitCode::SUCCESS;
                }
                if until <= Instant::now() {
                    self.start_worker();
                }
            }
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(error) => {
                    self.log.write(
                        "ERROR",
                        "Waiting for events failed",
                        &[("error", error.to_string().into())],
                    );
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
        let (channel, until) = match &self.worker {
            Worker::Running { channel, .. } => (channel.as_ref(), None),
            Worker::Down { until } => (None, Some(*until)),
        };
        let timeout = until.map(|until| {
            let left = until.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let mut fds = vec![
            PollFd::new(&self.signals.child.0, PollFlags::IN),
            PollFd::new(&self.signals.terminate.0, PollFlags::IN),
        ];
        let channel_at = channel.map(|channel| {
            fds.push(PollFd::new(channel, PollFlags::IN));
            fds.len() - 1
        });
        let acceptor_at = self.acceptor.as_ref().map(|acceptor| {
            fds.push(PollFd::new(acceptor, PollFlags::IN));
            fds.len() - 1
        });
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
                };
            }
            Err(error) => {
                self.log.write(
                    "ERROR",
                    "The worker could not be started",
                    &[("error", error.to_string().into())],
                );
                self.worker_ended(Duration::ZERO);
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

    fn worker_ended(&mut self, lived: Duration) {
        self.restarts += 1;
        self.worker = Worker::Down {
            until: Instant::now() + self.backoff.after(lived),
        };
    }

    /// Takes the listeners that the worker received from the other slot.
    fn read_channel(&mut self) {
        let Worker::Running {
            channel: open @ Some(_),
            ..
        } = &mut self.worker
        else {
            return;
        };
        match open.as_ref().map(Channel::receive) {
            Some(Ok(Some(Message::Hold { descriptors }))) => {
                match Listeners::received(descriptors, &self.settings.listen) {
                    Ok(listeners) => self.listeners = Some(listeners),
                    Err(error) => self.log.write(
                        "ERROR",
                        "Listeners from the worker were refused",
                        &[("error", error.to_string().into())],
                    ),
                }
            }
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
            self.worker_ended(lived);
            if !self.stopping {
                self.log.write(
                    "WARN",
                    "The worker ended and is started again",
                    &[
                        ("status", describe(status)),
                        ("restarts", self.restarts.into()),
                    ],
                );
            }
        }
    }
}

fn describe(status: WaitStatus) -> Value {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}").into(),
        (None, Some(signal)) => format!("signal {signal}").into(),
        (None, None) => Value::Null,
    }
}

/// Readable when a signal has arrived.
struct SignalPipe(UnixStream);

impl SignalPipe {
    fn install(signals: &[i32]) -> io::Result<SignalPipe> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        for signal in signals {
            signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
        }
        Ok(SignalPipe(read))
    }

    fn clear(&mut self) {
        let mut bytes = [0; 64];
        while matches!(self.0.read(&mut bytes), Ok(count) if count > 0) {}
    }
}

struct Signals {
    child: SignalPipe,
    terminate: SignalPipe,
}

impl Signals {
    fn install() -> io::Result<Signals> {
        Ok(Signals {
            child: SignalPipe::install(&[SIGCHLD])?,
            terminate: SignalPipe::install(&[SIGTERM, SIGINT])?,
        })
    }
}
