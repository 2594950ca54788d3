//! The shard's bounds, each with its unit and its reason.

/// Batches that one connection may run in a turn: then the others come first.
pub const BATCHES_PER_TURN_MAX: usize = 16;

/// Nanoseconds of serving after which a turn leaves the rest of its connections to the next one:
/// completions and the inbox are looked at that often.
pub const SERVE_NS_MAX: u64 = 400_000;

/// Bytes of unread input above which a connection's receiving pauses. A command that is bigger is
/// received whole all the same: the pause holds only while there is a whole command to run.
pub const INPUT_BYTES_PAUSE: usize = 256 << 10;

/// Bytes of unsent output that every connection may have whatever the others hold: with 10,000
/// that never read it comes to 640 MB.
pub const OUTPUT_BYTES_EACH: usize = 64 << 10;

/// Bytes of unsent output of all connections of a shard together, above which those that hold
/// more than [`OUTPUT_BYTES_EACH`] are not served until they have read.
pub const OUTPUT_BYTES_SHARD: usize = 256 << 20;

/// Nanoseconds from one run of the shard's housekeeping to the next when it has nothing urgent.
pub const TICK_NS: u64 = 100_000_000;

/// Nanoseconds from one slice of housekeeping to the next while work is left: with slices of
/// [`HOUSEKEEP_NS_MAX`] it gets at most a third of the core.
pub const TICK_BUSY_NS: u64 = 1_000_000;

/// The same while the last turn had nothing to do: two thirds of the core.
pub const TICK_IDLE_NS: u64 = 200_000;

/// Nanoseconds of housekeeping at a stretch.
pub const HOUSEKEEP_NS_MAX: u64 = 400_000;

/// Turns that a shard polls without finding anything, while it waits for replies of other shards,
/// before it parks, where it has a core of its own. A poll costs some 100 nanoseconds; a doorbell
/// and a wake-up some microseconds. Against 64: one connection with pipeline 30 over two shards
/// gets 12 % more done, 50 without a pipeline cost the same.
pub const IDLE_POLLS_MAX: u32 = 256;

/// Sockets that the acceptor keeps for shards that cannot take them yet; more it serves itself.
pub const ACCEPT_BACKLOG_MAX: usize = 1024;

/// Ticks in which each connection is looked at once for idleness and buffers to give back.
pub const TICKS_PER_ROUND: usize = 10;

/// Connections looked at per tick for that at least.
pub const CONNECTIONS_PER_TICK: usize = 256;

/// Lines about ended connections that are logged per [`CLOSE_LINES_NS`].
pub const CLOSE_LINES_MAX: u32 = 10;

/// Nanoseconds of that window.
pub const CLOSE_LINES_NS: u64 = 1_000_000_000;

/// Empty flight records kept for reuse.
pub const FLIGHTS_POOLED_MAX: usize = 256;

/// Bytes of unsent output that a replica's connection is given ahead. What it has not been given
/// lies in the backlog, which all replicas share.
pub const LINK_BYTES_MAX: usize = 256 << 10;

/// Milliseconds that a stopping shard gives its connections to take their last replies.
pub const STOP_FLUSH_MS_MAX: u64 = 200;

/// Commands that a shard has posted to a parked shard in one turn, up to which it borrows that
/// shard's partition. More pay for waking a second core.
pub const BORROW_COMMANDS_MAX: u32 = 256;

/// Nanoseconds for which a shard works on a borrowed partition: its own connections wait meanwhile.
pub const BORROW_NS_MAX: u64 = 200_000;

/// Nanoseconds for which a shard that has woken up blocks while another holds its partition. The
/// holder rings; this is for the case that the bell is broken.
pub const LENT_WAIT_NS_MAX: u64 = 10_000_000;

/// One-way messages that wait for credits, above which the end of watches is not sent: such watches
/// stay until the process ends, which costs memory and breaks nothing. Client ids are not reused.
pub const UNWATCH_QUEUED_MAX: usize = 1 << 16;

/// Bytes of a reply up to which the end of its send does not wake the shard: nothing is done then
/// but to reuse the buffer.
pub const QUIET_SEND_BYTES_MAX: usize = 16 << 10;

/// Nanoseconds after which the shard looks at its last sends all the same: a socket may have had no
/// room for all of a reply.
pub const QUIET_SEND_NS_MAX: u64 = 2_000_000;
