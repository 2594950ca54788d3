//! The sending side of a connection: the transitions of [`Way`], and notices.
//!
//! Hot file: bench `echo`.
#![allow(unsafe_code)]

use super::UringDriver;
use super::conn::{Sending, Use, Way};
use super::ring::Done;
use super::tag::{Kind, Tag};
use crate::io::{Chunk, Completion, ConnId, limits, sockets};
use io_uring::{cqueue, opcode, types};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `IORING_SEND_ZC_REPORT_USAGE`: the notice says whether the kernel copied after all.
const REPORT_USAGE: u16 = 1 << 3;

/// `IORING_NOTIF_USAGE_ZC_COPIED` in a notice's result.
const COPIED: u32 = 1 << 31;

/// Returns whether a send that failed may be tried again.
fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl UringDriver {
    /// Starts to send a chunk. A small chunk is sent by a system call of its own, which costs less
    /// than an operation of the ring with its completion. Returns the chunk if that finishes it.
    pub(super) fn start_send(
        &mut self,
        conn: ConnId,
        chunk: Chunk,
    ) -> Option<(Chunk, io::Result<()>)> {
        let len = chunk.as_slice().len();
        assert!(len > 0, "there is something to send");
        let zero_copy_bytes_min = match chunk {
            Chunk::Own(_) => self.zero_copy_own_bytes_min,
            Chunk::Shared(_) => self.zero_copy_shared_bytes_min,
        };
        let place = self.conn(conn);
        assert_eq!(place.used, Use::Open);
        assert!(place.sending.is_none(), "one send at a time");
        let way =
            if place.zero_copy && len >= zero_copy_bytes_min { Way::ZeroCopy } else { Way::Copy };
        let mut sent = 0;
        if way == Way::Copy && len <= limits::SEND_NOW_BYTES_MAX {
            let socket = place.socket.as_ref().expect("an open connection has its socket");
            match sockets::send_now(socket.as_fd(), chunk.as_slice()) {
                Ok(count) if count == len => return Some((chunk, Ok(()))),
                Ok(count) => sent = count,
                Err(error) if is_temporary(&error) => {}
                Err(error) => return Some((chunk, Err(error))),
            }
        }
        place.sending = Some(Sending { chunk, sent, way, notices: 0, outcome: None });
        self.push_send(conn);
        None
    }

    /// Submits the rest of the chunk.
    fn push_send(&mut self, conn: ConnId) {
        let place = self.conn(conn);
        let tag = Tag::new(Kind::Send, place.generation, conn);
        let socket = place.socket.as_ref().expect("a sending connection has its socket");
        let fd = types::Fd(socket.as_raw_fd());
        let sending = place.sending.as_ref().expect("only a send is pushed");
        assert!(sending.outcome.is_none());
        let rest = &sending.chunk.as_slice()[sending.sent..];
        assert!(!rest.is_empty());
        let (start, len) = (rest.as_ptr(), rest.len().min(limits::SEND_BYTES_MAX) as u32);
        let way = sending.way;
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let entry = match way {
            Way::Copy => opcode::Send::new(fd, start, len).flags(flags).build(),
            Way::ZeroCopy => {
                opcode::SendZc::new(fd, start, len).flags(flags).zc_flags(REPORT_USAGE).build()
            }
        };
        self.ring.statistics.zero_copy_sends += u64::from(way == Way::ZeroCopy);
        // SAFETY: chunk and socket stay in the table until the last completion, notices included.
        // Moving the chunk does not move its bytes.
        unsafe { self.push(entry, tag) };
    }

    /// Cancels a send operation in progress.
    pub(super) fn cancel_send(&mut self, conn: ConnId) {
        let generation = self.conn(conn).generation;
        let target = Tag::new(Kind::Send, generation, conn);
        self.cancel(target, Tag::new(Kind::CancelSend, generation, conn));
    }

    /// Handles the result of a cancellation. It can miss an operation that is just being run; then
    /// it is tried again.
    pub(super) fn on_cancel_send(&mut self, tag: Tag, result: i32) {
        let place = &self.conns[tag.id() as usize];
        let current = place.generation == tag.generation() && place.used != Use::Free;
        if result < 0 && current && place.is_sending() {
            self.cancel_send(tag.id());
        }
    }

    /// Handles a completion of a send operation, or a notice.
    pub(super) fn on_send(&mut self, done: Done) -> Option<Completion> {
        let tag = Tag(done.user_data);
        let place = self.tagged(tag);
        let sending = place.sending.as_mut().expect("a send lasts until its last completion");
        if cqueue::notif(done.flags) {
            assert!(sending.notices > 0, "a notice was announced");
            sending.notices -= 1;
            if done.result as u32 & COPIED != 0 {
                place.zero_copy = false;
            }
        } else {
            assert!(sending.outcome.is_none(), "an operation has one result");
            sending.notices += u32::from(cqueue::more(done.flags));
            self.send_result(tag.id(), done.result);
        }
        self.report_sent(tag.id())
    }

    /// Continues after an operation's result, or sets the outcome.
    fn send_result(&mut self, conn: ConnId, result: i32) {
        let place = self.conn(conn);
        let closing = place.used == Use::Closing;
        let sending = place.sending.as_mut().expect("a result belongs to a send");
        if result > 0 {
            sending.sent += result as usize;
            assert!(sending.sent <= sending.chunk.as_slice().len());
        }
        if sending.sent == sending.chunk.as_slice().len() {
            sending.outcome = Some(Ok(()));
            return;
        }
        let again = match (-result, sending.way) {
            (libc::EAGAIN | libc::EINTR, _) => true,
            // The socket's family or the kernel lacks zero-copy or its report, or there is no
            // memory to pin.
            (libc::EOPNOTSUPP | libc::EINVAL | libc::ENOMEM | libc::ENOBUFS, Way::ZeroCopy) => {
                place.zero_copy = false;
                true
            }
            (error, _) => error < 0,
        };
        if again && !closing {
            if !place.zero_copy {
                sending.way = Way::Copy;
            }
            self.push_send(conn);
            return;
        }
        let error = if again || result == 0 { libc::ECANCELED } else { -result };
        sending.outcome = Some(Err(io::Error::from_raw_os_error(error)));
    }

    /// Returns the chunk in `Sent` once the kernel no longer needs it.
    fn report_sent(&mut self, conn: ConnId) -> Option<Completion> {
        let place = self.conn(conn);
        let closing = place.used == Use::Closing;
        let finished =
            place.sending.take_if(|sending| sending.outcome.is_some() && sending.notices == 0);
        let sent = finished.map(|sending| {
            let outcome = sending.outcome.expect("the filter has checked it");
            Completion::Sent(conn, sending.chunk, outcome)
        });
        if closing {
            let closed = self.settle(conn);
            if sent.is_some() {
                self.ready.extend(closed);
                return sent;
            }
            return closed;
        }
        sent
    }
}
