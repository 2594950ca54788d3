//! The receiving side of a connection: the transitions of [`Receive`].
//!
//! Hot file: bench `echo`.
#![allow(unsafe_code)]

use super::UringDriver;
use super::buffers::GROUP;
use super::conn::{Receive, Use};
use super::ring::{Done, buffer_of};
use super::tag::{Kind, Tag};
use crate::io::{Completion, ConnId};
use io_uring::{cqueue, opcode, types};
use std::io;
use std::os::fd::AsRawFd;

impl UringDriver {
    /// Arms a receive: Idle or Starved to Armed.
    pub(super) fn arm_receive(&mut self, conn: ConnId) {
        let place = self.conn(conn);
        assert!(matches!(place.receive, Receive::Idle | Receive::Starved));
        assert!(place.used == Use::Open && place.wanted);
        place.receive = Receive::Armed;
        let tag = Tag::new(Kind::Receive, place.generation, conn);
        let socket = place.socket.as_ref().expect("an open connection has its socket");
        let entry = opcode::RecvMulti::new(types::Fd(socket.as_raw_fd()), GROUP).build();
        // SAFETY: the socket is closed, and the buffers unmapped, only after the operation has
        // ended.
        unsafe { self.push(entry, tag) };
    }

    /// Arms connections that lacked a buffer, the longest waiting first. It arms no more of them
    /// than there are free buffers, so that a flood does not make all of them fail again.
    pub(super) fn arm_starved(&mut self) {
        for _ in 0..self.starved.len().min(self.buffers.free()) {
            let Some((conn, generation)) = self.starved.pop_front() else { return };
            let place = &self.conns[conn as usize];
            if place.generation == generation && place.receive == Receive::Starved {
                self.arm_receive(conn);
            }
        }
    }

    /// Cancels a receive: Armed to Cancelling.
    pub(super) fn cancel_receive(&mut self, conn: ConnId) {
        let place = self.conn(conn);
        assert_eq!(place.receive, Receive::Armed);
        place.receive = Receive::Cancelling;
        let generation = place.generation;
        let target = Tag::new(Kind::Receive, generation, conn);
        self.cancel(target, Tag::new(Kind::CancelReceive, generation, conn));
    }

    /// Handles the result of a cancellation. It can miss an operation that is just being run; then
    /// it is tried again while the caller does not want to receive.
    pub(super) fn on_cancel_receive(&mut self, tag: Tag, result: i32) {
        let conn = tag.id();
        let place = &mut self.conns[conn as usize];
        let current = place.generation == tag.generation() && place.used != Use::Free;
        if result < 0 && current && place.receive == Receive::Cancelling {
            place.receive = Receive::Armed;
            if !place.wanted {
                self.cancel_receive(conn);
            }
        }
    }

    /// Handles a completion of the multishot receive.
    pub(super) fn on_receive(&mut self, done: Done) -> Option<Completion> {
        let tag = Tag(done.user_data);
        let conn = tag.id();
        let place = self.tagged(tag);
        assert!(place.is_receiving(), "only operations in progress complete");
        let closing = place.used == Use::Closing;
        let completion = if done.result > 0 {
            let index = buffer_of(done.flags).expect("received bytes lie in a buffer");
            let buffer = self.buffers.lend(index);
            if closing {
                self.buffers.release(buffer);
                None
            } else {
                Some(Completion::Received { conn, buffer, len: done.result as u32 })
            }
        } else {
            if let Some(index) = buffer_of(done.flags) {
                let buffer = self.buffers.lend(index);
                self.buffers.release(buffer);
            }
            None
        };
        if cqueue::more(done.flags) {
            return completion;
        }
        let hangup = self.receive_ended(conn, tag.generation(), done.result);
        if closing {
            assert!(hangup.is_none());
            return self.settle(conn);
        }
        assert!(completion.is_none() || hangup.is_none());
        completion.or(hangup)
    }

    /// Handles the end of the receive operation: Armed or Cancelling to the next state.
    fn receive_ended(&mut self, conn: ConnId, generation: u32, result: i32) -> Option<Completion> {
        let place = self.conn(conn);
        place.receive = Receive::Idle;
        if place.used == Use::Closing {
            return None;
        }
        let wanted = place.wanted;
        let error = match -result {
            0 => None,
            libc::ENOBUFS => {
                self.ring.statistics.buffers_exhausted += 1;
                if wanted {
                    self.conn(conn).receive = Receive::Starved;
                    self.starved.push_back((conn, generation));
                }
                return None;
            }
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => {
                if wanted {
                    self.arm_receive(conn);
                }
                return None;
            }
            error if error > 0 => Some(io::Error::from_raw_os_error(error)),
            _ => {
                // Bytes came: the kernel has ended the operation for reasons of its own.
                if wanted {
                    self.arm_receive(conn);
                }
                return None;
            }
        };
        place_over(&mut self.conns[conn as usize].receive);
        Some(Completion::Hangup(conn, error))
    }
}

/// Moves from Idle to Over.
fn place_over(receive: &mut Receive) {
    assert_eq!(*receive, Receive::Idle);
    *receive = Receive::Over;
}
