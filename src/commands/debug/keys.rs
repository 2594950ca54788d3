//! DEBUG on keys: the answer of each shard for its own keys, and the merge of all answers into one
//! reply.

use crate::base::slot::slot_of;
use crate::config::Config;
use crate::exec::{DebugAsk, DebugMerge};
use crate::keyspace::{
    DIGEST_BYTES, Digest, Expiry, Key, Slice, TableInfo, View, database_digests_joined,
};
use crate::rdb::Encoder;
use crate::resp::{Error, Reply};
use crate::value::list::{List, NodeView};
use crate::value::string::NewStr;
use std::fmt::Write;

/// Answers for one slice. The reply is a bulk string or an error, or OK for a request that asks for
/// no data.
pub fn answer_debug(ask: &DebugAsk, slice: &mut Slice, config: &Config, reply: &mut Reply<'_>) {
    match ask {
        DebugAsk::Digest => reply.bulk(&database_digests(slice, config)),
        DebugAsk::ValueDigests(db, keys) => {
            let digests = keys.iter().map(|key| match own_key(slice, key) {
                Some(key) => slice.value_digest(*db, &key),
                None => [0; DIGEST_BYTES],
            });
            reply.bulk(digests.collect::<Vec<_>>().as_flattened());
        }
        DebugAsk::Object { db, key, is_fast } => match own_key(slice, key) {
            None => reply.bulk(b""),
            Some(key) => match slice.look(*db, &key) {
                None => reply.error(&Error::NoSuchKey),
                Some(view) => reply.bulk(describe(slice, &view, *is_fast, config).as_bytes()),
            },
        },
        DebugAsk::Tables(db, in_full) => {
            let info = slice.table_info(*db);
            let volatile = slice.volatile_len(*db);
            reply.bulk(table_numbers(&info, volatile, *in_full).as_bytes());
        }
        DebugAsk::Populate { db, keys, prefix, value_bytes } => {
            populate(slice, *db, *keys, prefix, *value_bytes);
            reply.ok();
        }
    }
}

/// Returns the key if this slice owns its hash slot.
fn own_key<'k>(slice: &Slice, bytes: &'k [u8]) -> Option<Key<'k>> {
    let slot = slot_of(bytes);
    slice.owns(slot).then(|| slice.key_in_slot(bytes, slot))
}

/// Returns this slice's share of the digest of each database that has keys. The number of the
/// database precedes each share, in 4 bytes.
fn database_digests(slice: &Slice, config: &Config) -> Vec<u8> {
    let mut text = Vec::new();
    for db in 0..config.database_count() {
        if let Some(digest) = slice.database_digest(db as usize) {
            text.extend_from_slice(&db.to_be_bytes());
            text.extend_from_slice(&digest);
        }
    }
    text
}

/// Returns the line of DEBUG OBJECT.
fn describe(slice: &Slice, view: &View<'_>, is_fast: bool, config: &Config) -> String {
    let encoding = view.encoding();
    let mut line = format!("Value at:0x{:x} refcount:1 encoding:{encoding}", view.address());
    if !is_fast {
        let _ = write!(line, " serializedlength:{}", serialized_len(view, config));
    }
    let clock = view.access_clock();
    let _ = write!(line, " lru:{clock} lru_seconds_idle:{}", slice.idle_s(clock));
    if let Some(list) = view.object::<List>()
        && encoding == "quicklist"
    {
        describe_nodes(list, is_fast, config, &mut line);
    }
    line
}

/// Appends the part of DEBUG OBJECT about a list of several nodes.
fn describe_nodes(list: &List, is_fast: bool, config: &Config, line: &mut String) {
    let nodes = list.nodes().count();
    let average = list.len() as f64 / nodes as f64;
    let (limit, depth) = (config.list_max_listpack_size, config.text("list-compress-depth"));
    let is_packed = depth.is_some_and(|depth| depth != b"0");
    let _ = write!(
        line,
        " ql_nodes:{nodes} ql_avg_node:{average:.2} ql_listpack_max:{limit} ql_compressed:{}",
        u8::from(is_packed)
    );
    if !is_fast {
        let bytes = list.nodes().map(|node| match node {
            NodeView::Packed(bytes) | NodeView::Plain(bytes) => bytes.len(),
        });
        let _ = write!(line, " ql_uncompressed_size:{}", bytes.sum::<usize>());
    }
}

/// Returns the length in bytes of a value in an RDB file.
fn serialized_len(view: &View<'_>, config: &Config) -> usize {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, config.rdbcompression);
    if let Some(value) = view.string() {
        encoder.value(&value);
    }
    view.with_object(|object| encoder.object_value(object));
    bytes.len()
}

/// Returns the numbers that [`DebugMerge::Tables`] adds up.
fn table_numbers(info: &TableInfo, volatile: usize, in_full: bool) -> String {
    let (size, keys) = (info.places(), info.keys);
    let (buckets, overflow) = (info.buckets, info.overflow_buckets);
    format!("{size} {keys} {buckets} {overflow} {volatile} {}", u8::from(in_full))
}

/// Creates the keys `prefix:0`, `prefix:1` and so on that belong to this slice and do not exist
/// yet.
fn populate(slice: &mut Slice, db: usize, keys: u64, prefix: &[u8], value_bytes: usize) {
    let mut name = prefix.to_vec();
    name.push(b':');
    let prefix_len = name.len();
    for number in 0..keys {
        name.truncate(prefix_len);
        name.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        let Some(key) = own_key(slice, &name) else { continue };
        if slice.peek(db, &key).is_some() {
            continue;
        }
        let mut value = format!("value:{number}").into_bytes();
        if value_bytes > 0 {
            value.resize(value_bytes, 0);
        }
        slice.set(db, &key, NewStr::Bytes(&value), Expiry::Clear);
        slice.signal(db, &key);
    }
}

/// Merges the answers of all shards into one reply.
pub fn merge_debug(merge: DebugMerge, texts: &[&[u8]], reply: &mut Reply<'_>) {
    match merge {
        DebugMerge::Digest => {
            let shares = texts.iter().flat_map(|text| text.chunks_exact(4 + DIGEST_BYTES));
            let digest = database_digests_joined(shares.map(|share| {
                let (db, digest) = share.split_at(4);
                (u32::from_be_bytes(db.try_into().expect("4 bytes")), digest_of(digest))
            }));
            reply.simple(&hex(&digest));
        }
        DebugMerge::ValueDigests => {
            let mut sum = texts[0].to_vec();
            for text in &texts[1..] {
                assert_eq!(text.len(), sum.len(), "all shards are asked for the same keys");
                sum.iter_mut().zip(*text).for_each(|(byte, other)| *byte ^= other);
            }
            let digests = sum.chunks_exact(DIGEST_BYTES);
            reply.array(digests.len());
            digests.for_each(|digest| reply.simple(&hex(&digest_of(digest))));
        }
        DebugMerge::Owner => {
            let answer = texts.iter().find(|text| !text.is_empty());
            let answer = answer.expect("the shard that owns the key describes it or fails");
            reply.simple(&String::from_utf8_lossy(answer));
        }
        DebugMerge::Tables => reply.verbatim("txt", tables_text(texts).as_bytes()),
    }
}

fn digest_of(bytes: &[u8]) -> Digest {
    bytes.try_into().expect("the length of a digest")
}

fn hex(digest: &Digest) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns the text of DEBUG HTSTATS, in the reference's form. Keys with an expiry are in the same
/// tables as other keys.
fn tables_text(texts: &[&[u8]]) -> String {
    let mut sums = [0u64; 6];
    for text in texts {
        let text = std::str::from_utf8(text).expect("numbers and spaces");
        let numbers = text.split(' ').map(|number| number.parse::<u64>().expect("a number"));
        sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
    }
    let [size, keys, buckets, overflow, volatile, in_full] = sums;
    let mut text = format!(
        "[Dictionary HT]\nHash table 0 stats (main hash table):\n table size: {size}\n \
         number of entries: {keys}\n rehashing index: -1\n"
    );
    if in_full > 0 {
        let _ = writeln!(text, " top-level buckets: {buckets}\n child buckets: {overflow}");
    }
    let _ = writeln!(text, "[Expires HT]\n number of entries: {volatile}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::{Bench, show};
    use crate::exec::Merge;
    use crate::resp::{Output, Protocol, Value};
    use std::ops::Range;

    /// The slices of a server. Together they own all hash slots.
    struct Slices(Vec<Bench>);

    impl Slices {
        fn new(slots: &[Range<u16>]) -> Slices {
            Slices(slots.iter().cloned().map(Bench::of_slots).collect())
        }

        /// Runs a command on the slice that owns its first key.
        fn run(&mut self, db: usize, line: &str) {
            let args: Vec<&str> = line.split(' ').map(|arg| arg.trim_matches('~')).collect();
            let slot = slot_of(args[1].as_bytes());
            let mut owners = self.0.iter_mut();
            let owner = owners.find(|bench| bench.slice.owns(slot));
            let owner = owner.expect("every slot is owned");
            owner.db = db;
            owner.run(&args);
        }

        /// Sends the request to all slices and merges the answers, as a shard does.
        fn ask(&mut self, ask: &DebugAsk) -> String {
            let mut texts = Vec::new();
            for bench in &mut self.0 {
                let mut out = Output::default();
                let mut reply = Reply::new(&mut out, Protocol::Two);
                answer_debug(ask, &mut bench.slice, &bench.config, &mut reply);
                match Value::read(&out.to_vec()).expect("a reply").0 {
                    Value::Bulk(text) => texts.push(text),
                    other => texts.push(show(&other).into_bytes()),
                }
            }
            let Merge::Debug(merge) = ask.merge() else { return show_all(&texts) };
            if let Some(error) = texts.iter().find(|text| text.starts_with(b"-ERR")) {
                return String::from_utf8_lossy(error).into_owned();
            }
            let texts: Vec<&[u8]> = texts.iter().map(|text| &text[..]).collect();
            let mut out = Output::default();
            merge_debug(merge, &texts, &mut Reply::new(&mut out, Protocol::Two));
            show(&Value::read(&out.to_vec()).expect("a reply").0)
        }

        fn object(&mut self, key: &str, is_fast: bool) -> String {
            self.ask(&DebugAsk::Object { db: 0, key: key.as_bytes().into(), is_fast })
        }
    }

    fn show_all(texts: &[Vec<u8>]) -> String {
        texts.iter().map(|text| String::from_utf8_lossy(text)).collect::<Vec<_>>().join(" ")
    }

    /// Returns two servers: one with a single slice, one with three slices.
    fn setups() -> [Slices; 2] {
        #[allow(clippy::single_range_in_vec_init)]
        let one = Slices::new(&[0..16_384]);
        [one, Slices::new(&[0..5_000, 5_000..11_000, 11_000..16_384])]
    }

    #[test]
    fn digests_are_equal_to_the_reference() {
        let large = format!("SET large {}", "x".repeat(20_000));
        let steps = [
            (0, "DEL none", "0000000000000000000000000000000000000000"),
            (0, "SET a 1", ""),
            (0, "SET b hello", ""),
            (0, "SET int -12345", "531aa07aa2966784d39039d62f7ab5a1237d7d22"),
            (0, "SET c ~ EX 10000", "33782c194e1e30eefccb664452c07e695a81434b"),
            (0, &large, "ac1bf92ee30b02d0fffe01d5d404a65b550becd3"),
            (3, "SET x y", "02e93846c45ba4daef40fed15c40491cc671572c"),
        ];
        for mut slices in setups() {
            for (db, line, digest) in steps {
                slices.run(db, line);
                if !digest.is_empty() {
                    assert_eq!(slices.ask(&DebugAsk::Digest), digest, "{line}");
                }
            }
            let keys = ["a", "b", "c", "none", "large"].map(|key| key.as_bytes().into()).to_vec();
            let digests = [
                "b4fc66738120fba0b5aa500ab5c2bf89cea1c5da",
                "36b23a1456b2dce2c3ed252c456761301dba8060",
                "6db1b93ce6baa1d5cf28f3e32abc6d750a8ed39f",
                "0000000000000000000000000000000000000000",
                "787ecafa8d63ecde9243fb21daecc5233c4d5c2e",
            ];
            let answer = slices.ask(&DebugAsk::ValueDigests(0, keys));
            assert_eq!(answer, format!("[{}]", digests.join(" ")));
            assert_eq!(slices.ask(&DebugAsk::ValueDigests(0, Vec::new())), "[]");
        }
    }

    #[test]
    fn objects_are_described_by_their_owner() {
        for mut slices in setups() {
            assert_eq!(slices.object("none", false), "-ERR no such key");
            for (value, encoding, len) in
                [("1", "int", 2), ("-129", "int", 3), ("70000", "int", 5), ("hello", "embstr", 6)]
            {
                slices.run(0, &format!("SET k {value}"));
                let rest = format!(" refcount:1 encoding:{encoding} serializedlength:{len} lru:");
                let line = slices.object("k", false);
                assert!(line.starts_with("Value at:0x") && line.contains(&rest), "{line}");
            }
            slices.run(0, "SET k 1 PX 20");
            let line = slices.object("k", true);
            slices.run(0, "INCR k");
            assert_eq!(slices.object("k", true), line, "an integer is changed in place");
            for bench in &mut slices.0 {
                bench.slice.set_active_expiry(false);
                bench.advance_ms(2_000);
            }
            let line = slices.object("k", true);
            assert!(
                line.ends_with(" lru_seconds_idle:2"),
                "it has expired, but still exists: {line}"
            );
            assert!(!line.contains("serializedlength"));
        }
    }

    #[test]
    fn populate_creates_keys() {
        for mut slices in setups() {
            slices.run(2, "SET p:1 old");
            let ask =
                DebugAsk::Populate { db: 2, keys: 1_000, prefix: b"p"[..].into(), value_bytes: 9 };
            slices.ask(&ask);
            let keys: usize = slices.0.iter().map(|bench| bench.slice.len(2)).sum();
            assert_eq!(keys, 1_000);
            let text = slices.ask(&DebugAsk::Tables(2, true));
            assert!(text.contains("\n number of entries: 1000\n rehashing index: -1\n"), "{text}");
            assert!(text.contains("\n child buckets: "), "{text}");
            let text = slices.ask(&DebugAsk::Tables(0, false));
            assert!(text.contains(" table size: 0\n number of entries: 0\n"), "{text}");
            assert!(!text.contains("child buckets"), "{text}");
        }
    }
}
