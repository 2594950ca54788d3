//! The forms of encoded values: the meaning of the type number before a key, by dialect.

use super::kind;

/// The server whose type numbers a file uses. Redis and Valkey differ in newer versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Versions that Redis and Valkey share.
    Common,
    /// Redis 7.4 and later.
    Redis,
    /// Valkey 9.0 and later.
    Valkey,
}

impl Dialect {
    /// Returns the dialect of an RDB version.
    pub fn of(version: u32) -> Dialect {
        match version {
            0..=11 => Dialect::Common,
            12..=79 => Dialect::Redis,
            _ => Dialect::Valkey,
        }
    }
}

/// The form of an encoded value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A string.
    String,
    /// A list: items one after the other.
    List,
    /// A list in one ziplist.
    ListZiplist,
    /// A list of ziplists.
    ListZiplists,
    /// A list of listpacks and single large items.
    ListListpacks,
    /// A set: members one after the other.
    Set,
    /// A set in an intset: numbers of one width.
    SetIntset,
    /// A set in one listpack.
    SetListpack,
    /// A sorted set: members with scores as text.
    SortedSetText,
    /// A sorted set: members with binary scores of 8 bytes.
    SortedSet,
    /// A sorted set in one ziplist.
    SortedSetZiplist,
    /// A sorted set in one listpack.
    SortedSetListpack,
    /// A hash: names and values of fields one after the other.
    Hash,
    /// A hash in one zipmap.
    HashZipmap,
    /// A hash in one ziplist.
    HashZiplist,
    /// A hash in one listpack.
    HashListpack,
    /// A hash with field expiries, as Valkey writes it: name, value and expiry of each field.
    HashExpiry,
    /// A hash with field expiries, as Redis writes it: expiry, name and value of each field. If the
    /// earliest expiry precedes the fields, their expiries are relative to it.
    HashExpiryFirst {
        /// Whether the earliest expiry precedes the fields.
        has_base: bool,
    },
    /// A hash with field expiries in one listpack, as Redis writes it: name, value and expiry.
    HashExpiryListpack {
        /// Whether the earliest expiry precedes the listpack.
        has_base: bool,
    },
    /// A stream in version 1, 2 or 3 of its form; each version adds fields.
    Stream(u8),
    /// A value of a module.
    Module {
        /// Whether the value contains the module's number.
        is_named: bool,
    },
}

impl Form {
    /// Returns the error text for inconsistent bytes of this form, if the form has a text of its
    /// own.
    pub(super) fn broken(self) -> Option<&'static str> {
        Some(match self {
            Form::ListZiplist => "List ziplist integrity check failed.",
            Form::ListZiplists => "Ziplist integrity check failed.",
            Form::ListListpacks => "Quicklist integrity check failed.",
            Form::SetIntset => "Intset integrity check failed.",
            Form::SetListpack => "Set listpack integrity check failed.",
            Form::SortedSetZiplist => "Zset ziplist integrity check failed.",
            Form::SortedSetListpack => "Zset listpack integrity check failed.",
            Form::HashZipmap => "Zipmap integrity check failed.",
            Form::HashZiplist => "Hash ziplist integrity check failed.",
            Form::HashListpack | Form::HashExpiryListpack { .. } => {
                "Hash listpack integrity check failed."
            }
            _ => return None,
        })
    }

    /// Returns the form of a type number.
    pub fn of(number: u8, dialect: Dialect) -> Option<Form> {
        Some(match (number, dialect) {
            (kind::STRING, _) => Form::String,
            (kind::LIST, _) => Form::List,
            (kind::SET, _) => Form::Set,
            (kind::SORTED_SET_TEXT, _) => Form::SortedSetText,
            (kind::HASH, _) => Form::Hash,
            (kind::SORTED_SET, _) => Form::SortedSet,
            (kind::MODULE_OLD, _) => Form::Module { is_named: false },
            (kind::MODULE, _) => Form::Module { is_named: true },
            (kind::HASH_ZIPMAP, _) => Form::HashZipmap,
            (kind::LIST_ZIPLIST, _) => Form::ListZiplist,
            (kind::SET_INTSET, _) => Form::SetIntset,
            (kind::SORTED_SET_ZIPLIST, _) => Form::SortedSetZiplist,
            (kind::HASH_ZIPLIST, _) => Form::HashZiplist,
            (kind::LIST_QUICKLIST_OLD, _) => Form::ListZiplists,
            (kind::STREAM_1, _) => Form::Stream(1),
            (kind::HASH_LISTPACK, _) => Form::HashListpack,
            (kind::SORTED_SET_LISTPACK, _) => Form::SortedSetListpack,
            (kind::LIST_QUICKLIST, _) => Form::ListListpacks,
            (kind::STREAM_2, _) => Form::Stream(2),
            (kind::SET_LISTPACK, _) => Form::SetListpack,
            (kind::STREAM_3, _) => Form::Stream(3),
            (kind::VALKEY_HASH_EXPIRY, Dialect::Valkey) => Form::HashExpiry,
            (kind::REDIS_HASH_EXPIRY_OLD, Dialect::Redis) => {
                Form::HashExpiryFirst { has_base: false }
            }
            (kind::REDIS_HASH_EXPIRY_LISTPACK_OLD, Dialect::Redis) => {
                Form::HashExpiryListpack { has_base: false }
            }
            (kind::REDIS_HASH_EXPIRY, Dialect::Redis) => Form::HashExpiryFirst { has_base: true },
            (kind::REDIS_HASH_EXPIRY_LISTPACK, Dialect::Redis) => {
                Form::HashExpiryListpack { has_base: true }
            }
            _ => return None,
        })
    }
}
