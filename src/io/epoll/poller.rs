//! The system calls of the epoll driver, behind safe functions.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// Events that one wait takes from the kernel; the next wait takes the others.
const EVENTS_MAX: usize = 512;

/// An event on a watched descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    /// The tag under which the descriptor is watched.
    pub(super) tag: u64,
    /// The kernel's EPOLL bits.
    pub(super) bits: u32,
}

/// An epoll descriptor and room for its events.
pub(super) struct Poller {
    fd: OwnedFd,
    events: Box<[libc::epoll_event]>,
}

impl Poller {
    pub(super) fn new() -> io::Result<Poller> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and has no other owner.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Poller { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX].into() })
    }

    fn control(&self, operation: c_int, fd: RawFd, tag: u64, bits: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: bits, u64: tag };
        // SAFETY: the kernel reads `event`, which outlives the call.
        let result = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Watches a descriptor for the events `bits`, until it is closed.
    pub(super) fn watch(&self, fd: BorrowedFd<'_>, tag: u64, bits: u32) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd.as_raw_fd(), tag, bits)
    }

    /// Changes the events for which a watched descriptor is watched.
    pub(super) fn rewatch(&self, fd: BorrowedFd<'_>, tag: u64, bits: u32) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd.as_raw_fd(), tag, bits)
    }

    /// Waits at most `at_most_ms` milliseconds (-1: no limit) and returns the number of events.
    pub(super) fn wait(&mut self, at_most_ms: c_int) -> io::Result<usize> {
        let max = self.events.len() as c_int;
        // SAFETY: the kernel writes at most `max` events, for which there is room.
        let count = unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), self.events.as_mut_ptr(), max, at_most_ms)
        };
        if count >= 0 {
            return Ok(count as usize);
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            error => Err(error),
        }
    }

    /// Returns an event of the last wait.
    pub(super) fn event(&self, index: usize) -> Event {
        let event = self.events[index];
        Event { tag: event.u64, bits: event.events }
    }
}

/// Converts the result of a call that transfers bytes.
fn moved(result: isize) -> io::Result<usize> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as usize) }
}

/// Receives the available bytes, without blocking.
pub(super) fn receive(fd: BorrowedFd<'_>, to: &mut [u8]) -> io::Result<usize> {
    let start = to.as_mut_ptr().cast::<c_void>();
    // SAFETY: the kernel writes at most `to.len()` bytes at `start`.
    moved(unsafe { libc::recv(fd.as_raw_fd(), start, to.len(), libc::MSG_DONTWAIT) })
}

/// Accepts one connection, nonblocking and close-on-exec.
pub(super) fn accept(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no address is asked for.
    let result = unsafe { libc::accept4(fd.as_raw_fd(), ptr::null_mut(), ptr::null_mut(), flags) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}
