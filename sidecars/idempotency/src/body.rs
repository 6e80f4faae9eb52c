//! Reading a request's body: of the right type, within a limit, and always to its end.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Buf;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt;
use outrigger_chassis::RequestBody;
use parking_lot::Mutex;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// A body is given up when nothing of it arrives for this long.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest time to read a body, however steadily it comes: it takes up memory meanwhile.
const READING: Duration = Duration::from_secs(60);
/// Of a refused body this much is read, so that its connection can be kept.
const MOST_DRAINED: u64 = 64 << 20;
/// Documents of one application in memory at one time.
const BUDGET_BYTES: usize = 16 << 20;
/// Documents of all applications.
const MEMORY_BYTES: usize = 2 * BUDGET_BYTES;
const BUDGET_WAIT: Duration = Duration::from_secs(5);
const UNIT: usize = 1 << 10;

/// A body is not taken. Except for the last four it was read to its end.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error(
        "Content-Type is {found}; allowed are application/json and application/…+json, with charset utf-8 if any"
    )]
    ContentType { found: String },
    #[error("Content-Encoding is {found}; allowed is none")]
    ContentEncoding { found: String },
    #[error("the document has more than {limit} bytes (maxDocumentBytes)")]
    TooLarge { limit: usize },
    #[error("documents of other requests fill the memory set aside for them; try again")]
    Overloaded,
    #[error(
        "the document has more than {limit} bytes (maxDocumentBytes), and was not read to its end"
    )]
    FarTooLarge { limit: usize },
    #[error("the body broke off after {read} bytes: {message}")]
    BrokeOff { read: usize, message: String },
    #[error("nothing of the body arrived for {} s", SILENCE.as_secs())]
    Silent,
    #[error("the body did not end within {} s", READING.as_secs())]
    Slow,
}

impl Refused {
    /// True if the rest of the body is still to come, so that the connection cannot be kept.
    pub(crate) fn is_unread(&self) -> bool {
        match self {
            Refused::ContentType { .. }
            | Refused::ContentEncoding { .. }
            | Refused::TooLarge { .. }
            | Refused::Overloaded => false,
            Refused::FarTooLarge { .. }
            | Refused::BrokeOff { .. }
            | Refused::Silent
            | Refused::Slow => true,
        }
    }
}

/// Memory for documents, shared by all functions of the worker.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    all: Arc<Semaphore>,
    /// What each application may have of it, whatever its functions.
    applications: Arc<Mutex<HashMap<String, Weak<Semaphore>>>>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            all: Arc::new(Semaphore::new(MEMORY_BYTES / UNIT)),
            applications: Arc::default(),
        }
    }
}

impl Memory {
    /// For a function's documents of at most `limit` bytes.
    pub(crate) fn budget(&self, application: &str, limit: usize) -> Budget {
        let mut applications = self.applications.lock();
        applications.retain(|_, units| units.strong_count() > 0);
        let known = applications.get(application).and_then(Weak::upgrade);
        let units = known.unwrap_or_else(|| Arc::new(Semaphore::new(BUDGET_BYTES / UNIT)));
        applications.insert(application.to_owned(), Arc::downgrade(&units));
        Budget {
            units,
            memory: Arc::clone(&self.all),
            limit,
        }
    }
}

/// An application's share of it, for the requests of one of its functions.
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    limit: usize,
}

/// A body in memory, with its share of the budget.
pub(crate) struct Document<'b> {
    bytes: Vec<u8>,
    share: Share<'b>,
}

/// What a document takes of its application's budget and of the memory for all.
pub(crate) struct Share<'b> {
    _units: SemaphorePermit<'b>,
    _memory: OwnedSemaphorePermit,
}

impl<'b> Document<'b> {
    /// The bytes, and their share of the budget: to be dropped with whatever becomes of them.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Share<'b>) {
        (self.bytes, self.share)
    }
}

impl Budget {
    /// Reads a document.
    pub(crate) async fn read(
        &self,
        headers: &HeaderMap,
        mut body: RequestBody,
    ) -> Result<Document<'_>, Refused> {
        let refused = match self.admit(headers).await {
            Ok((expected, share)) => {
                let reading = timeout(READING, collect(&mut body, self.limit, expected));
                match reading.await.unwrap_or(Err(Refused::Slow)) {
                    Ok(bytes) => {
                        return Ok(Document { bytes, share });
                    }
                    Err(refused) => refused,
                }
            }
            Err(refused) => refused,
        };
        if refused.is_unread() {
            return Err(refused);
        }
        match drain(body).await {
            Ok(()) => Err(refused),
            Err(DrainError::TooLarge) => Err(Refused::FarTooLarge { limit: self.limit }),
            Err(DrainError::Refused(unread)) => Err(unread),
        }
    }

    /// Judges a request by its headers and sets memory aside for it.
    async fn admit(&self, headers: &HeaderMap) -> Result<(usize, Share<'_>), Refused> {
        check_content_type(headers)?;
        if let Some(encoding) = headers.get(CONTENT_ENCODING)
            && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
        {
            return Err(Refused::ContentEncoding {
                found: quote(encoding.as_bytes()),
            });
        }
        let length = content_length(headers);
        if length.is_some_and(|length| length > self.limit as u64) {
            return Err(Refused::TooLarge { limit: self.limit });
        }
        let expected = length
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or(self.limit);
        let units = u32::try_from(expected.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let share = async {
            let own = self.units.acquire_many(units).await?;
            let memory = Arc::clone(&self.memory).acquire_many_owned(units).await?;
            Ok::<_, AcquireError>(Share {
                _units: own,
                _memory: memory,
            })
        };
        match timeout(BUDGET_WAIT, share).await {
            Ok(Ok(share)) => Ok((length.map_or(0, |_| expected), share)),
            Ok(Err(_)) | Err(_) => Err(Refused::Overloaded),
        }
    }
}

/// Reads a body that nobody wants; true if its end was reached, so that the connection can be kept.
pub(crate) async fn discard(body: RequestBody) -> bool {
    drain(body).await.is_ok()
}

enum DrainError {
    TooLarge,
    Refused(Refused),
}

async fn drain(body: RequestBody) -> Result<(), DrainError> {
    let drained = timeout(READING, drain_all(body)).await;
    drained.unwrap_or(Err(DrainError::Refused(Refused::Slow)))
}

async fn drain_all(mut body: RequestBody) -> Result<(), DrainError> {
    let mut drained = 0_u64;
    let mut read = 0;
    while let Some(data) = next(&mut body, read).await.map_err(DrainError::Refused)? {
        read += data.remaining();
        drained += data.remaining() as u64;
        if drained > MOST_DRAINED {
            return Err(DrainError::TooLarge);
        }
    }
    Ok(())
}

async fn collect(
    body: &mut RequestBody,
    limit: usize,
    expected: usize,
) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::with_capacity(expected);
    while let Some(data) = next(body, bytes.len()).await? {
        if bytes.len() + data.len() > limit {
            return Err(Refused::TooLarge { limit });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// The next piece of data, after `read` bytes.
async fn next(body: &mut RequestBody, read: usize) -> Result<Option<bytes::Bytes>, Refused> {
    loop {
        match timeout(SILENCE, body.frame()).await {
            Err(_) => return Err(Refused::Silent),
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => {
                return Err(Refused::BrokeOff {
                    read,
                    message: error.to_string(),
                });
            }
            // Trailers mean nothing here.
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Refused> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Err(Refused::ContentType {
            found: "missing".to_owned(),
        });
    };
    match value.to_str().is_ok_and(is_json) {
        true => Ok(()),
        false => Err(Refused::ContentType {
            found: quote(value.as_bytes()),
        }),
    }
}

/// True for `application/json` and `application/…+json` whose charset, if any, is UTF-8.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    json && parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    })
}

fn quote(value: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(value).chars().take(80).collect();
    format!("{text:?}")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{FutureExt, stream};
    use http::HeaderValue;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use outrigger_chassis::full;

    use super::*;

    const LARGEST: usize = 16 << 20;

    fn headers(length: usize) -> HeaderMap {
        HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CONTENT_LENGTH, HeaderValue::from(length)),
        ])
    }

    #[tokio::test(start_paused = true)]
    async fn applications_have_a_share_each_and_a_bound_in_common() {
        let memory = Memory::default();
        let budgets = ["bank", "shop", "zoo"].map(|name| memory.budget(name, LARGEST));
        let [one, two, three] = &budgets;
        let other_of_one = memory.budget("bank", LARGEST);
        let headers = headers(LARGEST);
        let mut held = one.admit(&headers).await.ok();
        assert!(held.is_some());
        // The first has used its share, and the second has one.
        assert!(one.admit(&headers).now_or_never().is_none());
        assert!(other_of_one.admit(&headers).now_or_never().is_none());
        let _second = two.admit(&headers).await.ok().unwrap();
        let refused = three.read(&headers, full("{}")).await;
        assert_eq!(refused.err(), Some(Refused::Overloaded));
        held.take();
        assert!(three.admit(&headers).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_ever_so_slowly_is_given_up() {
        let drip = stream::unfold((), |()| async {
            tokio::time::sleep(SILENCE / 2).await;
            Some((Ok(Frame::data(Bytes::from_static(b" "))), ()))
        });
        let budget = Memory::default().budget("shop", LARGEST);
        let body = StreamBody::new(drip).boxed_unsync();
        let refused = budget.read(&headers(LARGEST), body).await;
        assert_eq!(refused.err(), Some(Refused::Slow));
    }
}
