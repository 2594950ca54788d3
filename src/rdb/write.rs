//! Encoding of values: in the form in which the reference server writes a value of the same
//! encoding.
//!
//! ```text
//!   18 list         length ( 1 string: one large item | 2 string: a listpack )*
//!    2 set          length string*
//!   11 set          string: u32 bytes of a number, u32 count, the numbers in ascending order
//!   20 set          string: a listpack
//!    5 sorted set   length ( string f64 )*            from the greatest score on
//!   17 sorted set   string: a listpack of members and scores
//!    4 hash         length ( string string )*
//!   16 hash         string: a listpack of names and values
//!   22 hash         length ( string string i64 )*     with the expiry of each field, or -1
//!   21 stream       see `stream.rs`
//! ```
//! The set of 1 and -3 is `0b  0c  02000000 02000000  fdff 0100`.

use super::encode::Encoder;
use super::{VERSION, VERSION_11, VERSION_80, kind, payload};
use crate::base::number::FloatText;
use crate::value::hash::Hash;
use crate::value::list::{List, NodeView};
use crate::value::listpack::Listpack;
use crate::value::set::Set;
use crate::value::sorted_set::SortedSet;
use crate::value::string::Str;
use crate::value::{Container, Item, ObjectRef};

/// Numbers before the nodes of a list: one large item, or a listpack.
const NODE_PLAIN: u64 = 1;
const NODE_PACKED: u64 = 2;

/// Returns the type number of an object, and the version that it needs.
fn kind_of(object: ObjectRef<'_>) -> (u8, u32) {
    match (object, object.encoding()) {
        (ObjectRef::List(_), _) => (kind::LIST_QUICKLIST, VERSION),
        (ObjectRef::Set(_), "intset") => (kind::SET_INTSET, VERSION),
        (ObjectRef::Set(_), "listpack") => (kind::SET_LISTPACK, VERSION_11),
        (ObjectRef::Set(_), _) => (kind::SET, VERSION),
        (ObjectRef::SortedSet(_), "listpack") => (kind::SORTED_SET_LISTPACK, VERSION),
        (ObjectRef::SortedSet(_), _) => (kind::SORTED_SET, VERSION),
        (ObjectRef::Hash(hash), _) if hash.next_expiry().is_some() => {
            (kind::VALKEY_HASH_EXPIRY, VERSION_80)
        }
        (ObjectRef::Hash(_), "listpack") => (kind::HASH_LISTPACK, VERSION),
        (ObjectRef::Hash(_), _) => (kind::HASH, VERSION),
        (ObjectRef::Stream(_), _) => (kind::STREAM_3, VERSION_11),
    }
}

impl Encoder<'_> {
    /// Writes a key with a value of several elements and an expiry (Unix milliseconds).
    pub fn object_entry(&mut self, key: &[u8], expiry: Option<u64>, object: ObjectRef<'_>) {
        let (kind, version) = kind_of(object);
        self.need(version);
        self.entry(key, expiry, kind);
        self.object(object, kind);
    }

    /// Writes a string as the payload of DUMP.
    pub fn string_payload(&mut self, value: &Str<'_>) {
        self.out.push(kind::STRING);
        self.value(value);
        payload::seal_payload(self.out, self.version);
    }

    /// Writes a value of several elements as the payload of DUMP.
    pub fn object_payload(&mut self, object: ObjectRef<'_>) {
        let (kind, version) = kind_of(object);
        self.need(version);
        self.out.push(kind);
        self.object(object, kind);
        payload::seal_payload(self.out, self.version);
    }

    /// Writes a value without its type.
    pub fn object_value(&mut self, object: ObjectRef<'_>) {
        self.object(object, kind_of(object).0);
    }

    fn object(&mut self, object: ObjectRef<'_>, kind: u8) {
        match object {
            ObjectRef::List(list) => self.list(list),
            ObjectRef::Set(set) => self.set(set, kind),
            ObjectRef::SortedSet(set) => self.sorted_set(set, kind),
            ObjectRef::Hash(hash) => self.hash(hash, kind),
            ObjectRef::Stream(stream) => self.stream(stream),
        }
    }

    fn item(&mut self, item: &Item<'_>) {
        match *item {
            Item::Int(number) => self.integer(number),
            Item::Bytes(text) => self.string(text),
        }
    }

    fn list(&mut self, list: &List) {
        self.length(list.nodes().count() as u64);
        for node in list.nodes() {
            match node {
                NodeView::Plain(text) => {
                    self.length(NODE_PLAIN);
                    self.string(text);
                }
                NodeView::Packed(listpack) => {
                    self.length(NODE_PACKED);
                    self.string(listpack);
                }
            }
            self.spill();
        }
    }

    fn set(&mut self, set: &Set, kind: u8) {
        match kind {
            kind::SET_INTSET => {
                let numbers = set.iter().map(|item| match item {
                    Item::Int(number) => number,
                    Item::Bytes(_) => unreachable!("an intset holds numbers"),
                });
                let packed = intset(numbers.collect());
                self.string(&packed);
            }
            kind::SET_LISTPACK => self.packed_items(set.iter()),
            _ => {
                self.length(set.len() as u64);
                for member in set.iter() {
                    self.item(&member);
                    self.spill();
                }
            }
        }
    }

    fn sorted_set(&mut self, set: &SortedSet, kind: u8) {
        if kind == kind::SORTED_SET_LISTPACK {
            let mut packed = Listpack::new();
            for (member, score) in set.iter_from(0) {
                packed.append(&member);
                packed.append(&Item::of(FloatText::new(score).as_bytes()));
            }
            return self.string(packed.as_bytes());
        }
        self.length(set.len() as u64);
        // The greatest score comes first, so that the reference server inserts each member without
        // a search.
        for (member, score) in set.iter_back_from(set.len()) {
            self.item(&member);
            self.out.extend_from_slice(&score.to_le_bytes());
            self.spill();
        }
    }

    fn hash(&mut self, hash: &Hash, kind: u8) {
        if kind == kind::HASH_LISTPACK {
            return self.packed_items(hash.iter().flat_map(|field| [field.name, field.value]));
        }
        self.length(hash.len() as u64);
        for field in hash.iter() {
            self.item(&field.name);
            self.item(&field.value);
            if kind == kind::VALKEY_HASH_EXPIRY {
                let at = field.expiry.map_or(-1, |at| at as i64);
                self.out.extend_from_slice(&at.to_le_bytes());
            }
            self.spill();
        }
    }

    fn packed_items<'i>(&mut self, items: impl Iterator<Item = Item<'i>>) {
        let mut packed = Listpack::new();
        items.for_each(|item| packed.append(&item));
        self.string(packed.as_bytes());
    }
}

/// Encodes numbers as an intset.
fn intset(mut numbers: Vec<i64>) -> Vec<u8> {
    numbers.sort_unstable();
    let fits = |least: i64, most: i64| {
        numbers.first().is_none_or(|number| *number >= least)
            && numbers.last().is_none_or(|number| *number <= most)
    };
    let width = if fits(i16::MIN.into(), i16::MAX.into()) {
        2
    } else if fits(i32::MIN.into(), i32::MAX.into()) {
        4
    } else {
        8
    };
    let mut bytes = Vec::with_capacity(8 + numbers.len() * width);
    bytes.extend_from_slice(&(width as u32).to_le_bytes());
    bytes.extend_from_slice(&(numbers.len() as u32).to_le_bytes());
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes()[..width]);
    }
    bytes
}
