//! Written files are loaded again; files of other servers contain what their descriptions say;
//! malformed files are rejected.

use super::super::testing::{slices, snapshot};
use super::super::{NextPiece, SnapshotReader};
use super::*;
use crate::config::Config;
use crate::keyspace::SliceOptions;
use crate::rdb::Limits;
use crate::value::{Item, ObjectRef};
use serde_json::Value as Json;
use std::path::PathBuf;
use std::sync::Arc;

const TRUST: Trust = Trust { any_version: false, has_checksum: true };

/// The result of loading a file.
struct Loading {
    slice: Slice,
    kept: Kept,
    loaded: Loaded,
}

fn load(file: &[u8], due_before_ms: u64) -> Result<Loading, String> {
    let options =
        SliceOptions { databases: 16, slots: (0..16384).into(), hash_seed: [1, 2], seed: 3 };
    let mut loading =
        Loading { slice: Slice::new(options), kept: Kept::default(), loaded: Loaded::default() };
    let config = Config::default();
    let limits = Limits::of(&config);
    let reading = Reading { limits: &limits, due_before_ms: Some(due_before_ms) };
    let rules = LoadRules { reading, due_before_ms, may_replace: false, note: &|_| {} };
    let mut reader = FileReader::open(file, TRUST)?;
    let mut db = 0;
    loop {
        let more = reader.next(|part| {
            match part {
                Part::Database(number) => db = *number as u32,
                Part::Entry(entry) => {
                    let buffer = &mut IntText::new();
                    let key = entry.key.bytes(buffer);
                    let mut batch = Batch::default();
                    batch.add(db, slot_of(key), key, entry);
                    loading.loaded.add(load_batch(&mut loading.slice, &batch, &rules)?);
                }
                part => keep_fact(&mut loading.kept, part),
            }
            Ok(())
        })?;
        if more.is_none() {
            loading.slice.check();
            return Ok(loading);
        }
    }
}

fn bytes_of(snapshot: Snapshot) -> Vec<u8> {
    let mut reader = SnapshotReader::new(Arc::new(snapshot), None);
    let mut file = Vec::new();
    while let NextPiece::Piece(piece) = reader.next_piece(1 << 16) {
        file.extend_from_slice(&piece);
    }
    file
}

use super::super::Snapshot;

#[test]
fn keys_are_loaded_again_except_expired_ones() {
    let (mut slices, keys) = slices();
    let file = bytes_of(snapshot(&mut slices, &"a".repeat(40), 9));
    let all = load(&file, 0).expect("a file");
    assert_eq!(all.loaded.keys, keys.len() as u64);
    for ((db, key), (expiry, value)) in &keys {
        let place = all.slice.key(key);
        let view = all.slice.look(*db as usize, &place).expect("the key exists");
        let text = view.string().expect("a string");
        assert_eq!(text.text(&mut IntText::new()), value);
        assert_eq!(view.expiry(), *expiry);
    }
    let due_before_ms = 1_000_000 + 1_500;
    let some = load(&file, due_before_ms).expect("a file");
    let is_expired = |expiry: &Option<u64>| expiry.is_some_and(|at| at < due_before_ms);
    let expired = keys.values().filter(|(expiry, _)| is_expired(expiry)).count() as u64;
    assert_eq!((some.loaded.expired, some.loaded.keys), (expired, keys.len() as u64 - expired));
    for at in [0, 5, 9, 100, file.len() / 2, file.len() - 9, file.len() - 1] {
        let why = load(&file[..at], 0).map(drop).expect_err("the file is truncated");
        assert!(why.contains("Unexpected EOF"), "{why}");
    }
    let mut broken = file.clone();
    let end = broken.len() - 1;
    broken[end] ^= 1;
    let why = load(&broken, 0).map(drop).expect_err("the checksum is wrong");
    assert!(why.starts_with("Wrong RDB checksum expected: ("), "{why}");
    broken[0] = b'X';
    assert!(load(&broken, 0).map(drop).expect_err("no file").starts_with("Wrong signature"));
}

#[test]
fn errors_name_the_part_that_cannot_be_loaded() {
    let file = |body: &[u8]| [b"REDIS0009", body, b"\xff\0\0\0\0\0\0\0\0"].concat();
    let why = |body: &[u8]| load(&file(body), 0).map(drop).expect_err("the file is rejected");
    assert!(why(b"\0\x01k\x01a\0\x01k\x01b").contains("duplicated key 'k' in DB 0"));
    let module = 0x2144_4b03_9a15_e402u64;
    let body = [&b"\x07\x01k\x81"[..], &module.to_be_bytes()].concat();
    assert!(why(&body).contains("no matching module type '"), "{}", why(&body));
    assert!(why(b"\x1d\x01k").contains("foreign type or opcode 29 in RDB with version 9"));
    assert!(load(b"REDIS0099", 0).map(drop).expect_err("new").contains("version 99"));
    let empty = load(&file(b"\x02\x01k\0\0\x01l\x01a"), 0).expect("an empty set is skipped");
    assert_eq!((empty.loaded.empty, empty.loaded.keys), (1, 1));
    let kept = load(&file(b"\xf5\x04code\xfa\x05other\x01x\xfa\x05ctime\x01x"), 0).expect("a file");
    assert_eq!(kept.kept.functions, [&b"code"[..]]);
    assert_eq!(kept.kept.facts, [(Bytes::from_static(b"other"), Bytes::from_static(b"x"))]);
}

/// Returns the folder of files that other servers wrote, if it exists.
fn corpus() -> Option<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    dir.is_dir().then_some(dir)
}

/// Returns a text as in the descriptions: byte for byte, or only its length if it is long.
fn described_text(text: &[u8]) -> Json {
    match text.len() {
        0..=1_000 => text.iter().map(|byte| char::from(*byte)).collect::<String>().into(),
        len => Json::Object([("len".to_string(), len.into())].into_iter().collect()),
    }
}

fn described_item(item: &Item<'_>) -> Json {
    described_text(&item.to_vec())
}

/// Returns a value of several elements as in the descriptions; `None` for types that are compared
/// separately.
fn described_object(object: ObjectRef<'_>) -> Option<Json> {
    Some(match object {
        ObjectRef::List(list) => list.iter_from(0).map(|item| described_item(&item)).collect(),
        ObjectRef::Set(set) => {
            let mut members: Vec<Vec<u8>> = set.iter().map(|item| item.to_vec()).collect();
            members.sort();
            members.iter().map(|member| described_text(member)).collect()
        }
        ObjectRef::Hash(hash) => {
            let field = |name: Vec<u8>| name.iter().map(|byte| char::from(*byte)).collect();
            let fields = hash.iter();
            Json::Object(
                fields.map(|it| (field(it.name.to_vec()), described_item(&it.value))).collect(),
            )
        }
        ObjectRef::SortedSet(_) | ObjectRef::Stream(_) => return None,
    })
}

#[test]
fn files_of_other_servers_match_their_descriptions() {
    let Some(dir) = corpus() else {
        println!("skipped: the corpus does not exist");
        return;
    };
    for name in ["valkey-9.1", "redis-8.0", "redis-7.0"] {
        let file = std::fs::read(dir.join(format!("{name}.rdb"))).expect("a file");
        let text = std::fs::read(dir.join(format!("{name}.json"))).expect("its description");
        let described: Json = serde_json::from_slice(&text).expect("JSON");
        let loading = load(&file, 1).expect("a file");
        let mut keys = 0;
        for (db, described) in described.as_object().expect("databases") {
            let db: usize = db.parse().expect("a number");
            for (key, facts) in described.as_object().expect("keys") {
                let bytes: Vec<u8> = key.chars().map(|letter| letter as u8).collect();
                let place = loading.slice.key(&bytes);
                let view = loading.slice.look(db, &place).expect("the key exists");
                let expiry = view.expiry().map_or(-1, |at| at as i64);
                assert_eq!(facts["expire_at_ms"], expiry, "{name} {key}");
                assert_eq!(facts["type"], view.kind().name(), "{name} {key}");
                if let Some(value) = view.string() {
                    assert_eq!(
                        facts["value"],
                        described_text(value.text(&mut IntText::new())),
                        "{key}"
                    );
                }
                if let Some(value) = view.with_object(described_object).flatten() {
                    assert_eq!(facts["value"], value, "{name} {key}");
                }
                view.with_object(|object| match object {
                    ObjectRef::SortedSet(set) => check_scores(&facts["value"], set),
                    ObjectRef::Stream(stream) => {
                        let len = facts["value"].as_array().expect("entries").len();
                        assert_eq!(stream.log().len(), len as u64);
                        let groups = facts["groups"].as_array().expect("groups");
                        assert_eq!(stream.groups().len(), groups.len());
                    }
                    _ => {}
                });
                keys += 1;
            }
        }
        assert_eq!(loading.loaded, Loaded { keys, ..Loaded::default() }, "{name}");
        assert_eq!(loading.kept.functions.len(), 1, "{name}");
    }
}

fn check_scores(described: &Json, set: &crate::value::sorted_set::SortedSet) {
    let described = described.as_array().expect("members");
    assert_eq!(described.len(), set.len());
    for (member, (item, score)) in described.iter().zip(set.iter_from(0)) {
        assert_eq!(member[0], described_item(&item));
        let text = member[1].as_str().expect("a score");
        assert_eq!(text.parse::<f64>().expect("a number"), score);
    }
}
