//! The named maxima of the data plane, each with its unit and its reason.

/// Receive buffers of one driver. They hold all input of a turn, so this number times
/// [`RECEIVE_BUFFER_BYTES`] bounds a turn's input: 4 MiB.
pub const RECEIVE_BUFFERS: u16 = 256;

/// Size of a receive buffer in bytes: what Redis reads at once. A pipeline of usual commands fits
/// into one buffer, and 256 buffers fit into a second-level cache.
pub const RECEIVE_BUFFER_BYTES: u32 = 16 * 1024;

/// Entries of a submission queue; 1,024 entries take 64 KiB. A turn makes one more system call for
/// each further 1,024 operations.
pub const SUBMISSION_ENTRIES: u32 = 1024;

/// Completion entries for each submission entry. A turn's completions are bounded by the receive
/// buffers plus one send and one cancellation for each active connection. The kernel keeps
/// completions that do not fit, at some cost; none is lost.
pub const COMPLETIONS_PER_SUBMISSION: u32 = 4;

/// Upper bound of connection numbers, which bounds the driver's table: twice the number of
/// descriptors that Linux allows by default.
pub const CONNECTIONS_MAX: u32 = 1 << 21;

/// Listening sockets of one driver; `bind` takes 16 addresses, times TCP, TLS and HTTP.
pub const LISTENERS_MAX: usize = 64;

/// Bytes that one send operation passes to the kernel; longer chunks are sent in steps. Copying a
/// step takes about 50 us. The length of an operation is a signed 32-bit number.
pub const SEND_BYTES_MAX: usize = 256 << 10;

/// Maximum size in bytes of a chunk that the io_uring driver sends by a system call of its own. The
/// copy of a larger chunk costs more than an operation of the ring.
pub const SEND_NOW_BYTES_MAX: usize = 16 * 1024;

/// Pause in milliseconds before accepting again after a failure, for example lack of descriptors.
pub const ACCEPT_PAUSE_MS: u64 = 100;

/// Connections that the epoll driver accepts from one listener per wait. Further ones stay in the
/// kernel's backlog, so that a storm of connects does not starve connected clients.
pub const ACCEPTS_PER_WAIT: usize = 256;

/// Reads of one buffer each that the epoll driver makes from one connection per wait.
pub const READS_PER_WAIT: usize = 8;

/// Calls that discard unread input before a close, of 1 MiB each: more than a usual receive window.
pub const DISCARDS_PER_CLOSE: usize = 16;

/// Minimum size in bytes of an own chunk that is sent without a copy, where the kernel can. Below
/// this size the copy is cheaper than the second completion and the pinning of pages.
pub const ZERO_COPY_OWN_BYTES_MIN: usize = 64 * 1024;

/// Minimum size in bytes of a shared chunk that is sent without a copy, where the kernel can.
pub const ZERO_COPY_SHARED_BYTES_MIN: usize = 16 * 1024;

/// The longest wait in nanoseconds: a day. Longer waits are shortened to it.
pub const WAIT_NS_MAX: u64 = 86_400_000_000_000;

const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two() && RECEIVE_BUFFERS <= 1 << 15);
const _: () = assert!(SUBMISSION_ENTRIES.is_power_of_two());
const _: () = assert!(SEND_BYTES_MAX <= i32::MAX as usize);
