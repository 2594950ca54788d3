//! Events: what changed a key, by the names and classes of the reference's keyspace notifications.

use crate::config::EventClasses;

/// The class of an event. A setting enables notifications class by class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Commands on keys of any type.
    Generic,
    /// Commands on strings.
    String,
    /// Commands on lists.
    List,
    /// Commands on sets.
    Set,
    /// Commands on hashes.
    Hash,
    /// Commands on sorted sets.
    SortedSet,
    /// Commands on streams.
    Stream,
    /// A key was removed because it had expired.
    Expired,
    /// A key was removed because memory was full.
    Evicted,
    /// A key was created.
    New,
    /// A command that reads found no key.
    KeyMiss,
}

impl Class {
    /// Returns the letter of the class in the setting `notify-keyspace-events`.
    pub const fn letter(self) -> u8 {
        match self {
            Class::Generic => b'g',
            Class::String => b'$',
            Class::List => b'l',
            Class::Set => b's',
            Class::Hash => b'h',
            Class::SortedSet => b'z',
            Class::Stream => b't',
            Class::Expired => b'x',
            Class::Evicted => b'e',
            Class::New => b'n',
            Class::KeyMiss => b'm',
        }
    }

    /// Returns the class as a set of the setting.
    pub const fn set(self) -> EventClasses {
        EventClasses::of(self.letter())
    }

    /// Returns whether the letter `A` of the setting includes the class.
    pub const fn is_in_all(self) -> bool {
        !matches!(self, Class::New | Class::KeyMiss)
    }
}

/// Declares the events: variant, name, class.
macro_rules! events {
    ($($variant:ident $name:literal $class:ident,)*) => {
        /// What changed a key, or what a command asked for in vain.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Event {
            $(#[doc = concat!("The event `", $name, "`.")] $variant,)*
        }

        impl Event {
            /// Returns the name in notifications.
            pub const fn name(self) -> &'static str {
                match self { $(Event::$variant => $name,)* }
            }

            /// Returns the class.
            pub const fn class(self) -> Class {
                match self { $(Event::$variant => Class::$class,)* }
            }
        }
    };
}

events! {
    Del "del" Generic,
    RenameFrom "rename_from" Generic,
    RenameTo "rename_to" Generic,
    MoveFrom "move_from" Generic,
    MoveTo "move_to" Generic,
    CopyTo "copy_to" Generic,
    Restore "restore" Generic,
    Expire "expire" Generic,
    Persist "persist" Generic,
    Set "set" String,
    SetRange "setrange" String,
    IncrBy "incrby" String,
    IncrByFloat "incrbyfloat" String,
    Append "append" String,
    SetBit "setbit" String,
    PfAdd "pfadd" String,
    LPush "lpush" List,
    RPush "rpush" List,
    LPop "lpop" List,
    RPop "rpop" List,
    LInsert "linsert" List,
    LSet "lset" List,
    LRem "lrem" List,
    LTrim "ltrim" List,
    SortStore "sortstore" List,
    SAdd "sadd" Set,
    SRem "srem" Set,
    SPop "spop" Set,
    SInterStore "sinterstore" Set,
    SUnionStore "sunionstore" Set,
    SDiffStore "sdiffstore" Set,
    HSet "hset" Hash,
    HIncrBy "hincrby" Hash,
    HIncrByFloat "hincrbyfloat" Hash,
    HDel "hdel" Hash,
    HExpire "hexpire" Hash,
    HPersist "hpersist" Hash,
    HExpired "hexpired" Hash,
    ZAdd "zadd" SortedSet,
    ZIncr "zincr" SortedSet,
    ZRem "zrem" SortedSet,
    ZRemRangeByScore "zremrangebyscore" SortedSet,
    ZRemRangeByRank "zremrangebyrank" SortedSet,
    ZRemRangeByLex "zremrangebylex" SortedSet,
    ZPopMin "zpopmin" SortedSet,
    ZPopMax "zpopmax" SortedSet,
    ZUnionStore "zunionstore" SortedSet,
    ZInterStore "zinterstore" SortedSet,
    ZDiffStore "zdiffstore" SortedSet,
    ZRangeStore "zrangestore" SortedSet,
    GeoSearchStore "geosearchstore" SortedSet,
    GeoRadiusStore "georadiusstore" SortedSet,
    XAdd "xadd" Stream,
    XTrim "xtrim" Stream,
    XDel "xdel" Stream,
    XSetId "xsetid" Stream,
    XGroupCreate "xgroup-create" Stream,
    XGroupSetId "xgroup-setid" Stream,
    XGroupDestroy "xgroup-destroy" Stream,
    XGroupCreateConsumer "xgroup-createconsumer" Stream,
    XGroupDelConsumer "xgroup-delconsumer" Stream,
    Expired "expired" Expired,
    Evicted "evicted" Evicted,
    New "new" New,
    KeyMiss "keymiss" KeyMiss,
}

impl Event {
    /// Returns whether only a command that changes a key raises the event. A command that reads may
    /// raise the others too.
    pub const fn is_change(self) -> bool {
        !matches!(self, Event::New | Event::KeyMiss | Event::Expired | Event::Evicted)
    }
}

/// An event that was raised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// What changed the key.
    pub event: Event,
    /// Database of the key.
    pub db: u16,
    /// Name of the key.
    pub key: Box<[u8]>,
}
