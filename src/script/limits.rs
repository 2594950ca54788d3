//! Bounds of the Lua engine, each with its reason.

/// Instructions of the Lua machine between two calls of [`super::Host::pause`]. A loop needs about
/// 200 us for them.
pub const PAUSE_INSTRUCTIONS: i32 = 20_000;

/// The most scripts that EVAL leaves in the cache. The one that ran least recently is evicted.
/// SCRIPT LOAD keeps scripts beyond this number. The number is the reference's.
pub const EVAL_SCRIPTS_MAX: usize = 500;

/// The most bytes that the Lua state of one partition may have. A script that needs more ends with
/// `not enough memory`. The reference has no bound but the machine's memory.
pub const LUA_BYTES_MAX: usize = if cfg!(test) { 16 << 20 } else { 1 << 30 };

/// How long FUNCTION LOAD may run the code of a library. The reference has the same time.
pub const LIBRARY_LOAD_MS_MAX: u64 = 500;

/// The most bytes of a script's reply. A table that contains others many times can have more
/// elements than any memory. The reference has no bound but the machine's memory.
pub const RESULT_BYTES_MAX: usize = if cfg!(test) { 1 << 20 } else { 1 << 30 };

/// Bytes of the stack that a script runs on, with the commands that it calls. Pages that are not
/// used take no memory. As much as a thread has by default.
pub const SCRIPT_STACK_BYTES: usize = 2 << 20;

/// The most scripts of one partition that are suspended at a time; as many functions too. A script
/// above this number is refused: one that ran to its end could be neither passed by nor killed.
pub const SUSPENDED_MAX: usize = if cfg!(test) { 8 } else { 256 };
