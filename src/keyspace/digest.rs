//! Digests of keys and databases. Two servers with the same keys, values and expiries have the same
//! digest; of an expiry only its presence counts. The digests are equal to the reference server's.
//!
//! ```text
//!   mix(d, bytes)      d = SHA1(d ^ SHA1(bytes))          the order of the calls matters
//!   key with value     0, mix key, mix type, mix value, ^ SHA1("!!expire!!") if it expires
//!   value alone        as a key with value, without "mix key"
//!   database           ^ of SHA1(digest) over its keys    in any order, so on any shard
//!   everything         0; for each database with keys, in order: mix number, ^ its digest
//! ```

use super::slice::{Key, Slice};
use super::table::View;
use crate::base::number::FloatText;
use crate::value::string::IntText;
use crate::value::{Kind, ObjectRef};
use sha1::{Digest as _, Sha1};

/// Length of a digest in bytes.
pub const DIGEST_BYTES: usize = 20;

/// A digest: SHA1 sums, mixed.
pub type Digest = [u8; DIGEST_BYTES];

fn sum(bytes: &[u8]) -> Digest {
    Sha1::digest(bytes).into()
}

/// Adds another digest by exclusive or; the order of the additions does not matter.
fn add(digest: &mut Digest, other: &Digest) {
    for (byte, other) in digest.iter_mut().zip(other) {
        *byte ^= other;
    }
}

fn mix(digest: &mut Digest, bytes: &[u8]) {
    add(digest, &sum(bytes));
    *digest = sum(digest);
}

/// Returns the number of a type in a digest.
fn kind_number(kind: Kind) -> u32 {
    match kind {
        Kind::String => 0,
        Kind::List => 1,
        Kind::Set => 2,
        Kind::SortedSet => 3,
        Kind::Hash => 4,
        Kind::Stream => 6,
    }
}

/// Mixes type, value and presence of an expiry in; elements that expire before `horizon_ms` (Unix
/// milliseconds) are hidden.
fn mix_value(digest: &mut Digest, view: &View<'_>, horizon_ms: u64) {
    mix(digest, &kind_number(view.kind()).to_be_bytes());
    if let Some(value) = view.string() {
        mix(digest, value.text(&mut IntText::new()));
    }
    view.with_object(|object| mix_object(digest, object, horizon_ms));
    if view.expiry().is_some() {
        add(digest, &sum(b"!!expire!!"));
    }
}

/// Mixes the elements of ordered types in one after the other, and adds those of unordered types.
fn mix_object(digest: &mut Digest, object: ObjectRef<'_>, horizon_ms: u64) {
    let text = &mut IntText::new();
    match object {
        ObjectRef::List(list) => list.iter_from(0).for_each(|item| mix(digest, item.text(text))),
        ObjectRef::Set(set) => set.iter().for_each(|item| add(digest, &sum(item.text(text)))),
        ObjectRef::SortedSet(set) => {
            for (member, score) in set.iter_from(0) {
                let mut element = [0; DIGEST_BYTES];
                mix(&mut element, member.text(text));
                mix(&mut element, FloatText::of_digits(score).as_bytes());
                add(digest, &sum(&element));
            }
        }
        ObjectRef::Hash(hash) => {
            let is_seen = |at: Option<u64>| at.is_none_or(|at| at >= horizon_ms);
            for field in hash.iter().filter(|field| is_seen(field.expiry)) {
                let mut element = [0; DIGEST_BYTES];
                mix(&mut element, field.name.text(text));
                mix(&mut element, field.value.text(text));
                add(digest, &sum(&element));
            }
        }
        ObjectRef::Stream(stream) => {
            for entry in stream.log().iter() {
                mix(digest, format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
                for (name, value) in entry.fields {
                    mix(digest, name.text(text));
                    mix(digest, value.text(text));
                }
            }
        }
    }
}

impl Slice {
    /// Returns a key's value, expired or not. Has no side effects: counts nothing, removes nothing,
    /// leaves the access clock alone. Returns `None` for a stub.
    pub fn look(&self, db: usize, key: &Key<'_>) -> Option<View<'_>> {
        let entry = self.find_hidden(db, key)?.entry();
        (!entry.is_detached()).then(|| View::new(entry))
    }

    /// Returns the digest of a key's value; zeros if there is no such key.
    pub fn value_digest(&self, db: usize, key: &Key<'_>) -> Digest {
        let mut digest = [0; DIGEST_BYTES];
        if let Some(view) = self.look(db, key) {
            mix_value(&mut digest, &view, self.horizon_ms());
        }
        digest
    }

    /// Returns this slice's part of a database's digest, or `None` if the slice has no keys there.
    /// The exclusive or of all slices' parts is the digest of the database. O(keys).
    pub fn database_digest(&self, db: usize) -> Option<Digest> {
        let database = &self.databases[db];
        let mut all = [0; DIGEST_BYTES];
        let mut next = database.next_occupied(0);
        next?;
        while let Some(index) = next {
            let table = database.table(index).expect("an occupied table exists");
            for number in 0..table.buckets() {
                table.for_each_in_bucket(number, &mut |word| {
                    if word.entry().is_detached() {
                        return;
                    }
                    let view = View::new(word.entry());
                    let mut digest = [0; DIGEST_BYTES];
                    mix(&mut digest, view.key());
                    mix_value(&mut digest, &view, self.horizon_ms());
                    add(&mut all, &sum(&digest));
                });
            }
            next = database.next_occupied(index + 1);
        }
        Some(all)
    }
}

/// Returns the digest of everything. `shares` yields pairs of a database number and a slice's part
/// of that database's digest, in any order.
pub fn database_digests_joined(shares: impl Iterator<Item = (u32, Digest)>) -> Digest {
    let mut databases = std::collections::BTreeMap::<u32, Digest>::new();
    for (db, share) in shares {
        add(databases.entry(db).or_default(), &share);
    }
    let mut all = [0; DIGEST_BYTES];
    for (db, digest) in &databases {
        mix(&mut all, &db.to_be_bytes());
        add(&mut all, digest);
    }
    all
}
