//! One ring: set-up with the best features that the kernel has, a submission queue that loses
//! nothing, and one system call per turn.
//!
//! ```text
//!   push ---> submission queue (shared with the kernel) ---> enter ---> completion queue ---> pop
//!     \-full-> kernel takes queued entries (enter) --still full--> overflow (VecDeque) --enter-/
//! ```
//!
//! Hot file: bench `echo`.
#![allow(unsafe_code)]

use super::Refusal;
use crate::io::{Options, Statistics, limits};
use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode, squeue};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// `IORING_REGISTER_RING_FDS`: the kernel keeps a reference to the ring's file for this thread.
const REGISTER_RING_FDS: libc::c_uint = 20;

/// One entry of `IORING_REGISTER_RING_FDS`.
#[repr(C)]
struct RingFdUpdate {
    /// The wanted index, all ones for any; the kernel writes the index it chose.
    offset: u32,
    reserved: u32,
    fd: u64,
}

/// `struct io_uring_getevents_arg` of the kernel.
#[repr(C)]
struct WaitArgument {
    signal_mask: u64,
    signal_mask_bytes: u32,
    min_wait_us: u32,
    /// Address of a [`WaitTime`], 0 for none.
    time: u64,
}

/// `struct __kernel_timespec`.
#[repr(C)]
struct WaitTime {
    seconds: i64,
    nanoseconds: i64,
}

const _: () = assert!(size_of::<RingFdUpdate>() == 16);
const _: () = assert!(size_of::<WaitArgument>() == 24);
const _: () = assert!(size_of::<WaitTime>() == 16);

/// How long [`Ring::enter`] may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// Not at all.
    No,
    /// Until there is a completion, at most this number of nanoseconds.
    UntilOne { at_most_ns: u64 },
}

/// The kernel's result of one operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) user_data: u64,
    pub(super) result: i32,
    pub(super) flags: u32,
}

/// A ring of the calling thread.
pub(super) struct Ring {
    inner: IoUring,
    /// The ring's descriptor, or its index if it is registered.
    enter_fd: i32,
    /// Flags of every call.
    enter_flags: u32,
    /// Operations for which the submission queue had no room, in their order. The callers bound it:
    /// each connection and listener has a few operations in progress.
    overflow: VecDeque<squeue::Entry>,
    /// Whether the kernel has SEND_ZC.
    zero_copy: bool,
    pub(super) statistics: Statistics,
}

/// The feature sets to try, the best first. All need a ring that only one thread submits to (Linux
/// 6.0); such a kernel also has multishot receive.
const FEATURE_SETS: [fn(&mut io_uring::Builder); 3] = [
    |builder| {
        builder.setup_defer_taskrun().setup_taskrun_flag().setup_no_sqarray();
    },
    |builder| {
        builder.setup_defer_taskrun().setup_taskrun_flag();
    },
    |builder| {
        builder.setup_coop_taskrun().setup_taskrun_flag();
    },
];

impl Ring {
    /// Creates a ring for the calling thread.
    pub(super) fn new(options: &Options) -> Result<Ring, Refusal> {
        assert!(options.entries.is_power_of_two(), "the kernel would round it up");
        let inner = build(options)?;
        let parameters = inner.params();
        if !parameters.is_feature_ext_arg() || !parameters.is_feature_nodrop() {
            return Err(Refusal::too_old("waiting with a time limit"));
        }
        let zero_copy = check_operations(&inner)?;
        let (fd, mut flags) = match register(inner.as_raw_fd()) {
            Some(index) => (index, EnterFlags::REGISTERED_RING),
            None => (inner.as_raw_fd(), EnterFlags::empty()),
        };
        if parameters.is_feature_no_iowait() {
            flags |= EnterFlags::NO_IOWAIT;
        }
        Ok(Ring {
            enter_fd: fd,
            enter_flags: flags.bits(),
            overflow: VecDeque::new(),
            zero_copy,
            statistics: Statistics::default(),
            inner,
        })
    }

    /// Whether zero-copy sends are available.
    pub(super) fn has_zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Returns the ring's own descriptor.
    pub(super) fn fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }

    /// Returns the submitter, for registering buffers.
    pub(super) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.inner.submitter()
    }

    /// Queues an operation for the next [`Ring::enter`].
    ///
    /// # Safety
    /// Memory and descriptor that the operation names must stay valid until its last completion.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry) {
        if self.overflow.is_empty() {
            // SAFETY: the caller's promise.
            if unsafe { self.inner.submission().push(&entry) }.is_ok() {
                return;
            }
            self.statistics.queue_full += 1;
            // If the submission fails, the next wait fails too and reports the error.
            let _ = self.call(0, EnterFlags::empty(), 0);
            // SAFETY: the caller's promise.
            if unsafe { self.inner.submission().push(&entry) }.is_ok() {
                return;
            }
        }
        self.overflow.push_back(entry);
    }

    /// Moves overflown operations into the submission queue as far as it has room.
    fn refill(&mut self) {
        let mut queue = self.inner.submission();
        while let Some(entry) = self.overflow.front() {
            // SAFETY: the caller that pushed the entry has promised that it stays valid.
            if unsafe { queue.push(entry) }.is_err() {
                return;
            }
            self.overflow.pop_front();
        }
    }

    /// Submits everything, runs the work that the kernel has deferred, and blocks as `block` says.
    pub(super) fn enter(&mut self, block: Block) -> io::Result<()> {
        while !self.overflow.is_empty() {
            self.refill();
            if self.overflow.is_empty() {
                break;
            }
            if self.call(0, EnterFlags::empty(), 0)? == 0 {
                // The kernel takes no more entries before completions are collected.
                return self.call(0, EnterFlags::GETEVENTS, 0).map(drop);
            }
        }
        match block {
            Block::No => {
                let queue = self.inner.submission();
                if queue.is_empty() && !queue.taskrun() && !queue.cq_overflow() {
                    return Ok(());
                }
                drop(queue);
                self.call(0, EnterFlags::GETEVENTS, 0).map(drop)
            }
            Block::UntilOne { at_most_ns } => {
                self.call(1, EnterFlags::GETEVENTS, at_most_ns).map(drop)
            }
        }
    }

    /// Makes the system call. Returns the number of operations that the kernel has taken.
    fn call(&mut self, wait_for: u32, flags: EnterFlags, at_most_ns: u64) -> io::Result<usize> {
        let to_submit = self.inner.submission().len();
        self.statistics.waits += 1;
        let at_most_ns = at_most_ns.min(limits::WAIT_NS_MAX);
        let time = WaitTime {
            seconds: (at_most_ns / 1_000_000_000) as i64,
            nanoseconds: (at_most_ns % 1_000_000_000) as i64,
        };
        let argument = WaitArgument {
            signal_mask: 0,
            signal_mask_bytes: 0,
            min_wait_us: 0,
            time: (&raw const time) as u64,
        };
        let timed = wait_for > 0;
        let flags = if timed { flags | EnterFlags::EXT_ARG } else { flags };
        // SAFETY: with EXT_ARG the kernel reads `argument`, whose size is passed, and `time`; both
        // outlive the call. Queued operations are valid by the contract of `push`.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.enter_fd,
                to_submit as u32,
                wait_for,
                flags.bits() | self.enter_flags,
                if timed { &raw const argument } else { std::ptr::null() },
                if timed { size_of::<WaitArgument>() } else { 0 },
            )
        };
        if result >= 0 {
            return Ok(result as usize);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // The time is over, a signal came, or completions must be collected or memory freed
            // first.
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(0),
            _ => Err(error),
        }
    }

    /// Returns the number of completions that [`Ring::pop`] would return now.
    pub(super) fn completions(&mut self) -> usize {
        self.inner.completion().len()
    }

    /// Returns the oldest completion.
    pub(super) fn pop(&mut self) -> Option<Done> {
        let entry = self.inner.completion().next()?;
        self.statistics.completions += 1;
        Some(Done { user_data: entry.user_data(), result: entry.result(), flags: entry.flags() })
    }
}

/// Creates the ring with the best feature set that the kernel accepts.
fn build(options: &Options) -> Result<IoUring, Refusal> {
    let mut last = None;
    for features in FEATURE_SETS {
        let mut builder = IoUring::builder();
        builder
            .setup_single_issuer()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(options.entries * limits::COMPLETIONS_PER_SUBMISSION)
            .dontfork();
        features(&mut builder);
        match builder.build(options.entries) {
            Ok(ring) => return Ok(ring),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => last = Some(error),
            Err(error) => return Err(Refusal::setup(error)),
        }
    }
    Err(Refusal::setup(last.expect("there is at least one feature set")))
}

/// Checks that the kernel has every operation that the driver needs. Returns whether it also has
/// zero-copy sends.
fn check_operations(ring: &IoUring) -> Result<bool, Refusal> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(Refusal::setup)?;
    let needed = [
        (opcode::AcceptMulti::CODE, "accept"),
        (opcode::RecvMulti::CODE, "receive"),
        (opcode::Send::CODE, "send"),
        (opcode::AsyncCancel::CODE, "cancel"),
        (opcode::PollAdd::CODE, "poll"),
        (opcode::Timeout::CODE, "timeout"),
    ];
    match needed.iter().find(|(code, _)| !probe.is_supported(*code)) {
        Some((_, name)) => Err(Refusal::too_old(name)),
        None => Ok(probe.is_supported(opcode::SendZc::CODE)),
    }
}

/// Registers the ring's descriptor for this thread, which saves a lookup in every call. Returns the
/// index, or `None` where the kernel cannot (before 5.18).
fn register(fd: RawFd) -> Option<i32> {
    let mut update = RingFdUpdate { offset: u32::MAX, reserved: 0, fd: fd as u64 };
    // SAFETY: the kernel reads and writes the one entry that is passed; it outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_io_uring_register, fd, REGISTER_RING_FDS, &raw mut update, 1)
    };
    (result == 1).then_some(update.offset as i32)
}

/// Returns the buffer of a receive completion.
pub(super) fn buffer_of(flags: u32) -> Option<u16> {
    cqueue::buffer_select(flags)
}
