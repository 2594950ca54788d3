//! The bounds of a shard, each with its unit and its reason.

/// The most batches of one connection in a turn. Then other connections are served.
pub const BATCHES_PER_TURN_MAX: usize = 16;

/// Number of arguments after which a batch takes no further command; about 500 us if each argument
/// is a member of a large value.
pub const BATCH_ARGS_MAX: usize = 2048;

/// Number of arguments for which a shard keeps memory from batch to batch; 32 KiB.
pub const BATCH_ARGS_KEPT_MAX: usize = 2 * BATCH_ARGS_MAX;

/// Nanoseconds of serving after which a turn leaves the remaining batches and connections to the
/// next turn. Bounds the time between two looks at completions and the inbox.
pub const SERVE_NS_MAX: u64 = 400_000;

/// Nanoseconds for steps of TLS handshakes in a turn; at least one step is made. A step takes up to
/// a millisecond with an RSA key of 2,048 bits. The turn's replies are sent before.
pub const HANDSHAKES_NS_MAX: u64 = 400_000;

/// Nanoseconds that a shard with other work does not shake hands after the last step. Handshakes
/// then get at most half of the core, and established clients wait for one step, not for one in
/// each of several turns.
pub const HANDSHAKES_REST_NS: u64 = 1_000_000;

/// The most TLS records that a turn takes, about: it stops behind the buffer that exceeds them.
/// A peer may send a record for each byte, and a record costs some 0.4 us; so about 400 us.
pub const RECORDS_PER_TURN_MAX: u32 = 1024;

/// Nanoseconds for which a unit that has all slices runs further scripts of its shard's clients.
pub const CARRY_NS_MAX: u64 = 400_000;

/// Nanoseconds for which a step of a move of hash slots holds commands back before it gives up, if
/// earlier commands are not over.
pub const MOVE_HELD_NS_MAX: u64 = 2_000_000;

/// The most times that a step of a move asks all shards whether they are at rest.
pub const MOVE_CHECKS_MAX: u32 = 8;

/// Nanoseconds without progress after which a move ends with an error.
pub const MOVE_PATIENCE_NS: u64 = 5_000_000_000;

/// Nanoseconds between two steps of a move, by the number of steps that were given up one after the
/// other. Commands that are always under way are held back for a tenth of the time at most.
pub const MOVE_RESTS_NS: [u64; 7] = [0, 0, 0, 1_000_000, 2_000_000, 5_000_000, 20_000_000];

/// The most commands and keys of one step of a unit with very many of them; about 200 us. A turn
/// runs one step.
pub const STEP_COMMANDS_MAX: usize = 2048;

/// The most completions that a turn takes, if none of them opens or closes a connection; about
/// 400 us.
pub const REAP_WEIGHT_MAX: u32 = 1024;

/// Completions in whose time a connection is opened or closed.
pub const REAP_WEIGHT_OPENING: u32 = 8;

/// Bytes of unread input above which receiving on a connection pauses. A larger command is still
/// received completely: receiving pauses only while a complete command is there to run.
pub const INPUT_BYTES_PAUSE: usize = 256 << 10;

/// Bytes of unsent output of a connection above which its batches have one command, if a limit can
/// disconnect it for its output. The size of replies is known only after the run, and the limit is
/// checked after each batch.
pub const OUTPUT_BYTES_BATCHED_MAX: usize = 1 << 20;

/// Nanoseconds between two ticks when the shard has nothing urgent.
pub const TICK_NS: u64 = 100_000_000;

/// Nanoseconds between two ticks while housekeeping is left to do. With ticks of
/// [`HOUSEKEEP_NS_MAX`], housekeeping gets at most a third of the core.
pub const TICK_BUSY_NS: u64 = 1_000_000;

/// Nanoseconds between two ticks while housekeeping is left and the last turn was idle.
/// Housekeeping then gets two thirds of the core.
pub const TICK_IDLE_NS: u64 = 200_000;

/// The most nanoseconds of housekeeping in one tick.
pub const HOUSEKEEP_NS_MAX: u64 = 400_000;

/// The most nanoseconds of a turn for freeing what its commands have removed. Ticks free what is
/// left.
pub const FREE_NS_MAX: u64 = 100_000;

/// The most times that a shard polls in a row for replies of other shards, before it parks. Applies
/// to a shard with its own core. A poll costs some 20 nanoseconds, but a doorbell and a wake-up
/// cost some microseconds.
pub const POLLS_MAX: u32 = 1_024;

/// The fewest of these polls: a reply of a shard that is running comes after about as many.
pub const POLLS_MIN: u32 = 64;

/// One in this number of polls for replies is as long as [`POLLS_MAX`] allows, after shorter polls
/// that found nothing. It finds out whether longer polls pay again.
pub const POLLS_FULL_EVERY: u32 = 16;

/// The most sockets that the acceptor keeps for shards that cannot take them yet. It serves further
/// sockets itself.
pub const ACCEPT_BACKLOG_MAX: usize = 1024;

/// Number of ticks in which each connection is checked once for idle time and excess buffers.
pub const TICKS_PER_ROUND: usize = 10;

/// The fewest connections that one tick checks.
pub const CONNECTIONS_PER_TICK: usize = 256;

/// Bytes of an excess that one shard evicts. A larger excess is divided.
pub const PART_BYTES_MIN: u64 = 16 << 10;

/// The most connections whose spare buffers are released each time before keys are evicted; about
/// 2 us.
pub const CONNECTIONS_SHRUNK_MAX: usize = 64;

/// The most log lines about closed connections per [`CLOSE_LINES_NS`].
pub const CLOSE_LINES_MAX: u32 = 10;

/// Length in nanoseconds of the window for [`CLOSE_LINES_MAX`].
pub const CLOSE_LINES_NS: u64 = 1_000_000_000;

/// Nanoseconds between two log lines about HTTP requests.
pub const ATTACK_LINES_NS: u64 = 60_000_000_000;

/// The most empty flights that are kept for reuse.
pub const FLIGHTS_POOLED_MAX: usize = 256;

/// The most bytes of unsent output of a replica's connection. Later data stays in the backlog,
/// which all replicas share.
pub const LINK_BYTES_MAX: usize = 256 << 10;

/// The most milliseconds that a stopping shard waits for its connections to take their last
/// replies.
pub const STOP_FLUSH_MS_MAX: u64 = 200;

/// The most commands that a shard posts to a parked shard in one turn and still runs itself, by
/// borrowing that shard's partition. More commands justify waking a second core.
pub const BORROW_COMMANDS_MAX: u32 = 256;

/// The most nanoseconds for which a shard works on a borrowed partition. Its own connections wait
/// meanwhile.
pub const BORROW_NS_MAX: u64 = 200_000;

/// Nanoseconds for which a woken shard blocks while another shard holds its partition. The holder
/// rings; this timeout only guards against a broken doorbell.
pub const LENT_WAIT_NS_MAX: u64 = 10_000_000;

/// Nanoseconds that a shard sleeps at a time while a file that is being written is too far behind:
/// about as long as its thread takes for 20 KB.
pub const DISK_WAIT_NS: u64 = 200_000;

/// Seconds between two attempts of a save in the background after one has failed.
pub const SAVE_RETRY_S: u64 = 5;
