//! The RDB format: encodes a snapshot of the data as bytes, and decodes it.
//!
//! Must not know: where values are stored, shards, files, sockets. The module turns parts into
//! bytes and bytes into parts.
//!
//! ```text
//!   file      "REDIS0010" aux* function* body* 255 checksum
//!   aux       250 string string                       an auxiliary field; readers may skip it
//!   function  245 string                              the code of a function library
//!   body      ( 254 length  [ 251 length length ]  entry* )*
//!              |            |                     '- keys of that database
//!              |            '- hint: number of keys, and of keys with an expiry
//!              '- the number of a database; may be repeated
//!   entry     [ 252 u64 ]  type  string  value
//!              |           |     |       '- by type: a string for type 0, see `write` for others
//!              |           |     '- the key
//!              |           '- one byte, see `kind`
//!              '- the expiry, Unix milliseconds
//!   checksum  u64: CRC-64 (Jones) of all bytes before it; 0 means none
//!
//!   length    00llllll                                up to 63
//!             01llllll llllllll                       up to 16,383, the high bits first
//!             10000000 u32                            big-endian
//!             10000001 u64                            big-endian
//!   string    length bytes
//!             11000000 i8                             the decimal text of a number
//!             11000001 i16
//!             11000010 i32
//!             11000011 length length bytes            LZF: compressed length, length, bytes
//! ```
//! Numbers are little-endian unless noted otherwise. The entry `SET k 12` with an expiry of 1,000
//! ms:
//!
//! ```text
//!   fc e803000000000000  00  01 6b  c0 0c
//! ```
//! Bodies do not depend on each other, so the bodies of several shards can be in one file.

mod checksum;
mod decode;
mod encode;
mod form;
mod functions;
mod limits;
mod lzf;
mod old;
mod pack;
mod payload;
mod read;
mod skip;
mod stream;
mod write;

pub use checksum::Checksum;
pub use decode::{Decoder, Entry, Fault, Part, Text, fault_text};
pub use encode::{Encoder, Kept, Origin, Preamble};
pub use form::{Dialect, Form};
pub use functions::{dump_functions, read_functions};
pub use limits::Limits;
pub use lzf::Lzf;
pub use pack::{Packer, Unpacked, pack_recorded};
pub use payload::{open_payload, seal_payload};
pub use read::{Reading, Value};

use std::ops::RangeInclusive;

/// The version that is written if no newer one is needed: Redis 7.0 and later and every Valkey read
/// it.
pub const VERSION: u32 = 10;

/// The version that is needed for compact sets and for streams with all their fields: Redis 7.2.
pub const VERSION_11: u32 = 11;

/// The version that is needed for hashes with field expiries: Valkey 9.0.
pub const VERSION_80: u32 = 80;

/// The supported versions with Redis's magic.
const VERSIONS: RangeInclusive<u32> = 1..=12;

/// All versions with Redis's magic; from 12 on only Redis writes them.
const REDIS_VERSIONS: RangeInclusive<u32> = 1..=79;

/// The supported versions with Valkey's magic.
const VALKEY_VERSIONS: RangeInclusive<u32> = 80..=80;

/// The magic of a file; four digits follow.
const MAGIC: &[u8] = b"REDIS";

/// The magic of a file in a version of Valkey's own; three digits follow.
const VALKEY_MAGIC: &[u8] = b"VALKEY";

/// Bytes of the magic and the version.
pub const MAGIC_BYTES: usize = 9;

/// The byte after the last entry.
pub const END: u8 = opcode::EOF;

/// Opcodes, which are in the place of an entry's type.
mod opcode {
    /// A hash slot that is being imported: a string, the number of ranges, two lengths per range.
    pub const SLOT_IMPORT: u8 = 243;
    /// The number of keys in a hash slot: three lengths.
    pub const SLOT_INFO: u8 = 244;
    /// The code of a function library: a string.
    pub const FUNCTION: u8 = 245;
    /// The code of a function library in the format before its release.
    pub const FUNCTION_OLD: u8 = 246;
    /// Data of a module that belongs to no key.
    pub const MODULE_AUX: u8 = 247;
    /// Seconds since the last use of the next entry: a length.
    pub const IDLE: u8 = 248;
    /// LFU counter of the next entry: one byte.
    pub const FREQUENCY: u8 = 249;
    /// An auxiliary field: two strings.
    pub const AUX: u8 = 250;
    /// Hints for the sizes of tables: two lengths.
    pub const RESIZEDB: u8 = 251;
    /// The expiry of the next entry, in Unix milliseconds: 64 bits.
    pub const EXPIRETIME_MS: u8 = 252;
    /// The expiry of the next entry, in Unix seconds: 32 bits.
    pub const EXPIRETIME: u8 = 253;
    /// The database of the following entries: a length.
    pub const SELECTDB: u8 = 254;
    /// The end of the entries; the checksum follows.
    pub const EOF: u8 = 255;
}

/// Type numbers of values. From 22 on, Redis and Valkey use them differently.
mod kind {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    pub const SORTED_SET_TEXT: u8 = 3;
    pub const HASH: u8 = 4;
    pub const SORTED_SET: u8 = 5;
    pub const MODULE_OLD: u8 = 6;
    pub const MODULE: u8 = 7;
    pub const HASH_ZIPMAP: u8 = 9;
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const SORTED_SET_ZIPLIST: u8 = 12;
    pub const HASH_ZIPLIST: u8 = 13;
    pub const LIST_QUICKLIST_OLD: u8 = 14;
    pub const STREAM_1: u8 = 15;
    pub const HASH_LISTPACK: u8 = 16;
    pub const SORTED_SET_LISTPACK: u8 = 17;
    pub const LIST_QUICKLIST: u8 = 18;
    pub const STREAM_2: u8 = 19;
    pub const SET_LISTPACK: u8 = 20;
    pub const STREAM_3: u8 = 21;
    /// Valkey: a hash with field expiries.
    pub const VALKEY_HASH_EXPIRY: u8 = 22;
    /// Redis: a hash with field expiries, in two forms, each before and after its release.
    pub const REDIS_HASH_EXPIRY_OLD: u8 = 22;
    pub const REDIS_HASH_EXPIRY_LISTPACK_OLD: u8 = 23;
    pub const REDIS_HASH_EXPIRY: u8 = 24;
    pub const REDIS_HASH_EXPIRY_LISTPACK: u8 = 25;
}

/// How the text of a string is encoded: the low bits of a length byte whose high bits are 11.
mod packing {
    pub const INT8: u8 = 0;
    pub const INT16: u8 = 1;
    pub const INT32: u8 = 2;
    pub const LZF: u8 = 3;
}

/// The high bits of a length's first byte.
mod lead {
    pub const BITS_6: u8 = 0b00;
    pub const BITS_14: u8 = 0b01;
    pub const WIDE: u8 = 0b10;
    pub const PACKED: u8 = 0b11;
    /// The byte before a length of 32 bits.
    pub const BYTE_32: u8 = 0x80;
    /// The byte before a length of 64 bits.
    pub const BYTE_64: u8 = 0x81;
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod value_tests;
