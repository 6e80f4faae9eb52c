//! How the active slot passes its work to the standby.
//!
//! The standby stays connected to the owner's socket. Their messages ([`Message`]), each with the
//! descriptors that it speaks of:
//!
//! ```text
//! standby                                owner
//! Hello      ->                                       I am slot b and speak this protocol
//!                        <-         Listeners         hold these
//!                        <-              Take         I am told to stop: take over (only then)
//! Ready      ->                                       I am warm: let me take over, by order or as asked
//!                        <-  Begin or Refused         Begin carries the witness
//!                        <-        Connection         hold this connection, do not read it
//!                        <-          Upgraded         the same, of one with a state of its function
//! Held       ->                                       for each
//!                        <-             State         hold what this function remembers   } only of functions
//!                        <-              Open         they are closed here: open yours     } with something
//! Held or Refused ->                                  they are open here                   } exclusive
//!                        <-            Commit         with the owner lock
//! Held       ->                                       I own them all and serve from now on
//! ```
//!
//! Until the last message the owner keeps a duplicate of everything. If the standby is gone, or
//! silent for too long, the owner says so through the witness, closes the socket, counts what was
//! acknowledged before, and serves on. The witness is a pipe: a byte in it says that the owner
//! gave up and goes on; its end without a byte says that the owner died, so that the standby may
//! keep what it holds.
//!
//! A slot of a former release is told nothing that it does not know: `Hello`, and the data of
//! `Listeners`, say whether a slot takes states. Without them upgraded connections, which move as
//! connections with a state of their function, stay where they are; functions are closed before the
//! commit and open in the other slot without what they remembered.
//!
//! Connections that were busy follow one by one: the former owner is the standby now, and a
//! standby passes every connection that it still has, as soon as it is between two requests, with
//! `Connection` on the same socket on which it waits.

mod give;
mod link;
mod message;
mod pass;
mod take;
mod witness;

pub(crate) use give::give;
pub(crate) use link::{Link, OwnerId, OwnerSocket, Sender};
pub(crate) use message::{Hello, Message, PROTOCOL, Ready, Welcome};
pub(crate) use pass::Passing;
pub(crate) use take::{Taken, Took, take};
