//! The named maxima of TLS, each with its unit and its reason.

/// Plaintext bytes of a record at most, as TLS defines it.
pub const RECORD_PLAIN_BYTES_MAX: usize = 16 << 10;

/// Bytes that a record has besides its plaintext, at most: header, explicit nonce, content type and
/// tag take 30.
pub const RECORD_OVERHEAD_BYTES_MAX: usize = 64;

/// Bytes of records after which a send begins. One system call for 8 full records costs a hundredth
/// of their encryption. The kernel has no use for more at once.
pub const SEND_BYTES_MAX: usize = 128 << 10;

/// Bytes of memory for records that a connection keeps between two sends.
pub const KEPT_BYTES_MAX: usize = 4 << 10;

/// Received bytes of a connection that waits for the next step of its handshake, above which
/// receiving pauses. A handshake message has at most 64 KiB, but usual ones have less than 4 KiB.
/// The buffers that the driver has lent already still arrive.
pub const HANDSHAKE_BYTES_PAUSE: usize = 64 << 10;

/// Bytes of heap memory that an engine is assumed to use, with its keys and certificates: what a
/// thousand idle connections of clients with certificates took, each.
pub const ENGINE_HEAP_BYTES: usize = 8 << 10;

/// Milliseconds from the start of a connection in which its handshake must be complete.
pub const HANDSHAKE_MS_MAX: u64 = 10_000;

/// Sessions that are kept for clients that come back, whatever `tls-session-cache-size` says.
pub const SESSIONS_MAX: usize = 128 << 10;

/// Bytes of the sessions that are kept, whatever their number. A session takes some 300 bytes, or
/// 5,000 with a client's certificate; the default number of sessions fits without certificates.
pub const SESSIONS_BYTES_MAX: usize = 16 << 20;

/// Bytes that a session takes besides its name, twice, and its secrets.
pub const SESSION_OVERHEAD_BYTES: usize = 160;

/// Records that one key of TLS 1.2 may encrypt. TLS 1.2 cannot change keys, so the connection ends
/// then. The advantage of an attacker grows with the square of the blocks of 16 bytes: these are at
/// most 2^46, which gives 2^(2 * 46 - 129) = 2^-37. At 100,000 records a second the number is
/// reached after 190 hours. Most peers have no limit at all.
pub const RECORDS_MAX: u64 = 1 << 36;
