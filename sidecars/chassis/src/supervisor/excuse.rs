//! What a slot says on its admin port while it has no worker.
//!
//! The supervisor answers between its other events, one caller at a time. Nothing here waits, so no
//! caller delays the next worker.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use http::{Method, Uri};
use outrigger_control::Report;
use prometheus_client::registry::Registry;

use crate::admin::{self, Admin, Source};

/// Longest time of a caller to say what it wants.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest head of a request, in bytes.
const MAX_HEAD: usize = 4 << 10;

/// The admin port of a slot without a worker. The port is free again when this is dropped.
pub(super) struct Excuse {
    listener: TcpListener,
    admin: Admin,
    caller: Option<Caller>,
}

struct Caller {
    stream: TcpStream,
    heard: Vec<u8>,
    until: Instant,
}

/// What a caller has said so far.
enum Heard {
    Head,
    Part,
    /// It is gone, or says what is no request.
    Nothing,
}

impl Excuse {
    /// Listens, to show a report.
    pub(super) fn bind(port: u16, report: Report) -> io::Result<Excuse> {
        Ok(Excuse {
            listener: admin::bind(port)?,
            admin: Admin {
                status: Source::Failed(Box::new(report)),
                registry: Registry::default(),
            },
            caller: None,
        })
    }

    /// When the present caller is waited for no longer.
    pub(super) fn until(&self) -> Option<Instant> {
        self.caller.as_ref().map(|caller| caller.until)
    }

    /// Takes the next step with the present caller, or accepts the next one.
    ///
    /// # Errors
    /// When no caller can be accepted.
    pub(super) fn advance(&mut self) -> io::Result<()> {
        let Some(caller) = &mut self.caller else {
            self.caller = accept(&self.listener)?;
            return Ok(());
        };
        match caller.listen() {
            Heard::Part if Instant::now() < caller.until => return Ok(()),
            Heard::Head => caller.answer(&self.admin),
            Heard::Part | Heard::Nothing => {}
        }
        self.caller = None;
        Ok(())
    }
}

impl AsFd for Excuse {
    /// What becomes readable when there is a next step.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.caller {
            Some(caller) => caller.stream.as_fd(),
            None => self.listener.as_fd(),
        }
    }
}

fn accept(listener: &TcpListener) -> io::Result<Option<Caller>> {
    let stream = match listener.accept() {
        Ok((stream, _)) => stream,
        Err(error) => {
            return match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {
                    Ok(None)
                }
                _ => Err(error),
            };
        }
    };
    stream.set_nonblocking(true)?;
    Ok(Some(Caller {
        stream,
        heard: Vec::new(),
        until: Instant::now() + PATIENCE,
    }))
}

impl Caller {
    fn listen(&mut self) -> Heard {
        let mut bytes = [0; 1024];
        while self.heard.len() < MAX_HEAD {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Heard::Nothing,
                Ok(count) => self.heard.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Heard::Part,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Heard::Nothing,
            }
            if self.heard.windows(4).any(|end| end == b"\r\n\r\n") {
                return Heard::Head;
            }
        }
        Heard::Nothing
    }

    fn answer(&mut self, admin: &Admin) {
        let Some((method, target)) = request(&self.heard) else {
            return;
        };
        let (status, kind, body) = admin.route(&method, target.path());
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        if method != Method::HEAD {
            answer.push_str(&body);
        }
        // A new connection's buffer takes all of it, unless the caller is gone.
        let _ = self.stream.write_all(answer.as_bytes());
    }
}

/// Method and target of a request.
fn request(head: &[u8]) -> Option<(Method, Uri)> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let mut parts = std::str::from_utf8(line).ok()?.split(' ');
    let method = Method::from_bytes(parts.next()?.as_bytes()).ok()?;
    let target = parts.next()?.parse().ok()?;
    parts
        .next()?
        .starts_with("HTTP/1.")
        .then_some((method, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_by_its_first_line() {
        let (method, target) =
            request(b"HEAD /status?slot=a HTTP/1.1\r\nHost: pod\r\n\r\n").unwrap();
        assert_eq!((method, target.path()), (Method::HEAD, "/status"));
        for wrong in [
            &b"\r\n\r\n"[..],
            b"GET /status\r\n\r\n",
            b"GET /status SSH\r\n\r\n",
            b"\xff / HTTP/1.1\r\n\r\n",
        ] {
            assert!(request(wrong).is_none(), "{wrong:?}");
        }
    }
}
