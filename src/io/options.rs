//! The choice between io_uring and epoll, and the sizes of a driver.

use super::{Driver, limits};
use std::io;

/// Which driver to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Preference {
    /// io_uring, or epoll where io_uring is forbidden or too old.
    #[default]
    Auto,
    /// io_uring, or an error.
    Uring,
    /// epoll.
    Epoll,
}

/// How other threads wake a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DoorbellKind {
    /// An event counter in the kernel, which the ring polls.
    #[default]
    EventFd,
    /// A completion posted straight into the ring (Linux 6.13); an event counter on older kernels.
    MessageRing,
}

/// Sizes and settings of a driver.
#[derive(Clone, Debug)]
pub struct Options {
    /// Entries of the submission queue, a power of two.
    pub entries: u32,
    /// Receive buffers, a power of two, at most 32,768.
    pub buffers: u16,
    /// Size of a receive buffer in bytes.
    pub buffer_bytes: u32,
    /// Seconds of silence before keepalive probes, 0 for none.
    pub keepalive_s: u32,
    /// Minimum size in bytes of own chunks that are sent without a copy, where possible.
    pub zero_copy_own_bytes_min: usize,
    /// Minimum size in bytes of shared chunks that are sent without a copy, where possible.
    pub zero_copy_shared_bytes_min: usize,
    /// How other threads wake the driver.
    pub doorbell: DoorbellKind,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            entries: limits::SUBMISSION_ENTRIES,
            buffers: limits::RECEIVE_BUFFERS,
            buffer_bytes: limits::RECEIVE_BUFFER_BYTES,
            keepalive_s: 300,
            zero_copy_own_bytes_min: limits::ZERO_COPY_OWN_BYTES_MIN,
            zero_copy_shared_bytes_min: limits::ZERO_COPY_SHARED_BYTES_MIN,
            doorbell: DoorbellKind::EventFd,
        }
    }
}

/// Opens a driver for the calling thread; no other thread may use it.
///
/// With [`Preference::Auto`] the second value says why io_uring is not used, for the log.
///
/// # Errors
/// The wanted driver is not available, or the process is out of descriptors or memory.
pub fn open(
    preference: Preference,
    options: &Options,
) -> io::Result<(Box<dyn Driver>, Option<String>)> {
    if preference != Preference::Epoll {
        match super::uring::UringDriver::new(options) {
            Ok(driver) => return Ok((Box::new(driver), None)),
            Err(refusal) if preference == Preference::Uring => return Err(refusal.into()),
            Err(refusal) => {
                let driver = super::epoll::EpollDriver::new(options)?;
                return Ok((Box::new(driver), Some(refusal.to_string())));
            }
        }
    }
    Ok((Box::new(super::epoll::EpollDriver::new(options)?), None))
}
