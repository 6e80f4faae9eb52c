//! What hyper still owes on a connection.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use bytes::Bytes;
use futures::task::AtomicWaker;
use parking_lot::Mutex;

/// A condition under which a connection may move; see [`super`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// hyper has dropped the body of the response to every request. It does so after it has encoded
    /// the last part, or when it gives the connection up.
    Answered,
    /// Whoever has the body of the last request has seen its end. hyper shows the end only after
    /// its decoder has reached it, so that the read buffer begins with the next request. A body
    /// that is dropped before leaves this false until hyper parses another request.
    Read,
    /// hyper's write buffer is empty: it flushes the socket only then, and it wrote nothing since.
    Flushed,
}

/// The evidence for the conditions.
///
/// Requests of a connection are numbered from 1, in the order in which hyper parses them. hyper
/// parses a request only after it has answered the one before and has read its body off the wire,
/// so at most the last one is unanswered or unread.
///
/// - `answered <= called`, `read <= called`, and both only rise.
/// - `flushed` is false from the moment in which a response may have left bytes in hyper's buffer
///   (a write, or the end of a response's body) until the next successful flush. It is made false
///   *before* `answered` rises, so that no poll sees an answered request and an old flush.
/// - All but `read` changes only while the task that owns the connection polls hyper. `read` may
///   change in any task; that wakes the owner.
#[derive(Debug)]
pub(super) struct Track {
    called: AtomicU64,
    answered: AtomicU64,
    read: AtomicU64,
    flushed: AtomicBool,
    draining: AtomicBool,
    /// The state of the answer that switched protocols. There is no request after it.
    switch: Mutex<Option<Bytes>>,
    owner: AtomicWaker,
    /// A condition that is taken for granted, to show that the tests need it.
    #[cfg(test)]
    waived: Option<Condition>,
}

impl Default for Track {
    fn default() -> Track {
        Track {
            called: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            read: AtomicU64::new(0),
            // Nothing has been written yet.
            flushed: AtomicBool::new(true),
            draining: AtomicBool::new(false),
            switch: Mutex::new(None),
            owner: AtomicWaker::new(),
            #[cfg(test)]
            waived: None,
        }
    }
}

impl Track {
    #[cfg(test)]
    pub(super) fn waiving(condition: Condition) -> Track {
        Track {
            waived: Some(condition),
            ..Track::default()
        }
    }

    /// The connection may be taken from hyper now. To be asked only between two polls of hyper.
    pub(super) fn may_park(&self) -> bool {
        self.is_draining()
            && self.is_between_requests()
            && self.is_flushed()
            && self.switch.lock().is_none()
    }

    /// Nothing waits to be written.
    pub(super) fn is_flushed(&self) -> bool {
        self.holds(Condition::Flushed)
    }

    /// The next byte from the client belongs to a new request.
    pub(super) fn is_between_requests(&self) -> bool {
        self.holds(Condition::Answered) && self.holds(Condition::Read)
    }

    fn holds(&self, condition: Condition) -> bool {
        #[cfg(test)]
        if self.waived == Some(condition) {
            return true;
        }
        match condition {
            Condition::Answered => self.answered.load(Ordering::Acquire) == self.called(),
            Condition::Read => self.read.load(Ordering::Acquire) == self.called(),
            Condition::Flushed => self.flushed.load(Ordering::Acquire),
        }
    }

    /// Number of the last request that hyper parsed; 0 before the first.
    pub(super) fn called(&self) -> u64 {
        self.called.load(Ordering::Acquire)
    }

    /// hyper has parsed a request; returns its number.
    pub(super) fn call(&self) -> u64 {
        self.called.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// hyper has dropped the body of a response.
    pub(super) fn answered(&self) {
        self.flushed.store(false, Ordering::Release);
        self.answered.fetch_add(1, Ordering::AcqRel);
    }

    /// The end of a request's body has been seen.
    pub(super) fn read(&self, request: u64) {
        self.read.fetch_max(request, Ordering::AcqRel);
        self.owner.wake();
    }

    /// The answer to the last request switches protocols.
    pub(super) fn switch(&self, state: Bytes) {
        *self.switch.lock() = Some(state);
    }

    /// The state of the answer that switched protocols.
    pub(super) fn switched(&self) -> Option<Bytes> {
        self.switch.lock().take()
    }

    pub(super) fn written(&self) {
        self.flushed.store(false, Ordering::Release);
    }

    pub(super) fn flushed(&self) {
        self.flushed.store(true, Ordering::Release);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(super) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Release);
    }

    /// Names the task to wake when another task reads a body to its end.
    pub(super) fn wake_on_change(&self, owner: &Waker) {
        self.owner.register(owner);
    }
}
