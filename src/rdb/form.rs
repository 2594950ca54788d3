//! The forms in which values are written: the number before a key, and what it means to whom.

use super::kind;

/// Whose numbers they are, from where on they are not the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Versions before they parted: both read them.
    Common,
    /// Redis from 7.4 on.
    Redis,
    /// Valkey from 9.0 on.
    Valkey,
}

impl Dialect {
    /// The dialect of a version.
    pub fn of(version: u32) -> Dialect {
        match version {
            0..=11 => Dialect::Common,
            12..=79 => Dialect::Redis,
            _ => Dialect::Valkey,
        }
    }
}

/// A form of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A string.
    String,
    /// Items.
    List,
    /// Items packed in one ziplist.
    ListZiplist,
    /// Ziplists.
    ListZiplists,
    /// Listpacks, and large items between them.
    ListListpacks,
    /// Members.
    Set,
    /// Numbers of one width.
    SetIntset,
    /// Members in one listpack.
    SetListpack,
    /// Members with scores as text.
    SortedSetText,
    /// Members with scores of 8 bytes.
    SortedSet,
    /// Members and scores in one ziplist.
    SortedSetZiplist,
    /// The same in one listpack.
    SortedSetListpack,
    /// Fields and values.
    Hash,
    /// The same in one zipmap.
    HashZipmap,
    /// The same in one ziplist.
    HashZiplist,
    /// The same in one listpack.
    HashListpack,
    /// Fields, values and when they expire: Valkey's own.
    HashExpiry,
    /// When they expire, fields and values: Redis's; the times count from the earliest one, if
    /// that stands before them.
    HashExpiryFirst {
        /// Whether it does.
        has_base: bool,
    },
    /// Fields, values and when they expire, in one listpack: Redis's.
    HashExpiryListpack {
        /// Whether the earliest time stands before it.
        has_base: bool,
    },
    /// A stream, in one of three versions: each knows more.
    Stream(u8),
    /// A value of a module.
    Module {
        /// Whether it says which module.
        is_named: bool,
    },
}

impl Form {
    /// What is wrong with packed bytes of this form that do not add up.
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

    /// The form that a number means.
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
