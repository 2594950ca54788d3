//! The named maxima of the data plane, each with its unit and its reason.

/// Receive buffers of one driver. All of a turn's input lies in them, so this times
/// [`RECEIVE_BUFFER_BYTES`] bounds a turn's input: 4 MiB.
pub const RECEIVE_BUFFERS: u16 = 256;

/// Size of a receive buffer in bytes: what Redis reads at once, so that a pipeline of usual
/// commands fits into one, while 256 of them stay within a second-level cache.
pub const RECEIVE_BUFFER_BYTES: u32 = 16 * 1024;

/// Entries of a submission queue. A turn of more operations costs one more system call for each
/// such number; 1,024 entries take 64 KiB.
pub const SUBMISSION_ENTRIES: u32 = 1024;

/// Completion entries for each submission entry. A turn's completions are bounded by the receive
/// buffers plus one send and one cancellation for each active connection; what does not fit is
/// kept by the kernel, at a price, and is not lost.
pub const COMPLETIONS_PER_SUBMISSION: u32 = 4;

/// Connection numbers are below this: twice the descriptors that Linux allows by default, and it
/// bounds the driver's table.
pub const CONNECTIONS_MAX: u32 = 1 << 21;

/// Listening sockets of one driver; `bind` takes 16 addresses, times TCP, TLS and HTTP.
pub const LISTENERS_MAX: usize = 64;

/// Bytes asked of the kernel in one send; what is longer is sent in steps. The length of an
/// operation is 32 bits wide and signed.
pub const SEND_BYTES_MAX: usize = 1 << 30;

/// Pause in milliseconds before accepting again after a failure such as lack of descriptors.
pub const ACCEPT_PAUSE_MS: u64 = 100;

/// Connections that one listener accepts in one wait, where the driver decides; more wait in the
/// kernel's backlog, so that a storm of connects does not starve those who are connected.
pub const ACCEPTS_PER_WAIT: usize = 256;

/// Reads from one connection in one wait, where the driver decides; times the buffer size.
pub const READS_PER_WAIT: usize = 8;

/// Calls that discard unread input before a close; with 1 MiB each this is more than a usual
/// receive window.
pub const DISCARDS_PER_CLOSE: usize = 16;

/// Own chunks of this many bytes and more are sent without a copy where that is possible. Below
/// it the copy is cheaper than the second completion and the pinning of pages.
pub const ZERO_COPY_OWN_BYTES_MIN: usize = 64 * 1024;

/// The same for shared chunks.
pub const ZERO_COPY_SHARED_BYTES_MIN: usize = 16 * 1024;

/// The longest wait in nanoseconds: a day. Longer ones are cut to it.
pub const WAIT_NS_MAX: u64 = 86_400_000_000_000;

const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two() && RECEIVE_BUFFERS <= 1 << 15);
const _: () = assert!(SUBMISSION_ENTRIES.is_power_of_two());
const _: () = assert!(SEND_BYTES_MAX <= i32::MAX as usize);
