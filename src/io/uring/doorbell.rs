//! The doorbell with which other threads wake a ring.
#![allow(unsafe_code)]

use super::ring::Ring;
use super::tag::{Kind, Tag};
use crate::io::{self as seam, DoorbellKind, sockets};
use io_uring::{opcode, squeue, types};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// `IORING_REGISTER_SEND_MSG_RING`: posts a completion into a ring from a thread without one.
const REGISTER_SEND_MSG_RING: libc::c_uint = 31;

/// The doorbell of a ring.
pub(super) enum Doorbell {
    /// An event counter that the ring polls edge-triggered; it is never read.
    Counter(Arc<Counter>),
    /// Completions that the ringing thread posts.
    Message(Arc<Message>),
}

/// An event counter; a write completes the armed poll.
pub(super) struct Counter {
    file: File,
}

/// A duplicate of the target ring's descriptor, which keeps naming that ring.
pub(super) struct Message {
    ring: OwnedFd,
}

impl seam::Ring for Counter {
    fn ring(&self) {
        // A write fails only if the counter would overflow, after 2^64 rings.
        let _ = (&self.file).write(&1u64.to_ne_bytes());
    }
}

impl Message {
    fn post(&self) -> io::Result<()> {
        let target = types::Fd(self.ring.as_raw_fd());
        let tag = Tag::new(Kind::Doorbell, 0, 0).0;
        let entry: squeue::Entry = opcode::MsgRingData::new(target, 0, tag, None).build();
        // SAFETY: the kernel reads the one operation that is passed; it names no memory.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                -1,
                REGISTER_SEND_MSG_RING,
                &raw const entry,
                1,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl seam::Ring for Message {
    fn ring(&self) {
        // The kernel keeps a completion that does not fit, so only lack of memory is left as an
        // error. A second try is all that can be done about it.
        if self.post().is_err() {
            let _ = self.post();
        }
    }
}

impl Doorbell {
    /// Creates a doorbell of the wanted kind, or an event counter where the kernel lacks it. The
    /// message that tests for the feature makes the first wait report a ring.
    pub(super) fn new(kind: DoorbellKind, ring: &Ring) -> io::Result<Doorbell> {
        if kind == DoorbellKind::MessageRing {
            // SAFETY: the ring's descriptor is open as long as `ring` is borrowed.
            let fd = unsafe { BorrowedFd::borrow_raw(ring.fd()) };
            let message = Message { ring: fd.try_clone_to_owned()? };
            if message.post().is_ok() {
                return Ok(Doorbell::Message(Arc::new(message)));
            }
        }
        Ok(Doorbell::Counter(Arc::new(Counter { file: sockets::event_counter()? })))
    }

    /// Waits for the next rings, if the kind needs it.
    pub(super) fn arm(&self, ring: &mut Ring) {
        let Doorbell::Counter(counter) = self else { return };
        let entry = opcode::PollAdd::new(types::Fd(counter.file.as_raw_fd()), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(Tag::new(Kind::Doorbell, 0, 0).0);
        // SAFETY: the driver keeps the counter until its ring has nothing under way.
        unsafe { ring.push(entry) };
    }

    /// Whether the driver must arm the poll again once it ends.
    pub(super) fn is_armed_by_us(&self) -> bool {
        matches!(self, Doorbell::Counter(_))
    }

    /// Returns a handle for another thread.
    pub(super) fn handle(&self) -> Arc<dyn seam::Ring> {
        match self {
            Doorbell::Counter(counter) => counter.clone(),
            Doorbell::Message(message) => message.clone(),
        }
    }
}
