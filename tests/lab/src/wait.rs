//! Waiting for a component to be ready.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Looks again and again until `look` succeeds. `look` says what is missing (`Err` inside), or that
/// waiting is pointless (`Err` outside).
pub(crate) fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Result<Result<T, String>>,
) -> Result<T> {
    const PAUSE: Duration = Duration::from_millis(150);
    let start = Instant::now();
    loop {
        match look()? {
            Ok(found) => return Ok(found),
            Err(last) if start.elapsed() > patience => {
                return Err(Error::Timeout {
                    what: what.to_owned(),
                    waited: patience,
                    last,
                });
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// One plain HTTP GET; the body if the answer is 200.
pub(crate) fn http_get(address: SocketAddr, path: &str) -> Result<String, String> {
    const LIMIT: u64 = 4 << 20;
    let get = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(LIMIT).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = get().map_err(|error| format!("http://{address}{path}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") {
        Ok(body.to_owned())
    } else {
        Err(format!("http://{address}{path} answered {status:?}"))
    }
}
