//! Tests of a whole slice: against a model, and of the guarantees of SCAN and expiry.

use super::*;
use crate::base::number::parse_i64;
use crate::base::rng::Rng;
use crate::value::set::{Limits, Set};
use crate::value::string::{IntText, NewStr, Str};
use std::collections::{HashMap, HashSet};

const START_MS: u64 = 1_800_000_000_000;

fn slice_of(slots: std::ops::Range<u16>) -> Slice {
    let slots = slots.into();
    let mut slice = Slice::new(SliceOptions { databases: 2, slots, hash_seed: [1, 2], seed: 3 });
    slice.set_now(START_MS);
    slice
}

fn get(slice: &mut Slice, key: &[u8]) -> Option<Vec<u8>> {
    let key = slice.key(key);
    let mut buffer = IntText::new();
    Some(slice.lookup(0, &key)?.string()?.text(&mut buffer).to_vec())
}

fn set(slice: &mut Slice, key: &[u8], value: &[u8], expiry: Expiry) {
    let key = slice.key(key);
    slice.set(0, &key, NewStr::from_bytes(value), expiry);
}

fn housekeep(slice: &mut Slice) -> Work {
    slice.housekeep(&mut || false)
}

/// Returns the live keys that a full scan from `cursor` on visits.
fn scan_from(slice: &mut Slice, mut cursor: u64) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    loop {
        cursor = slice.scan(0, cursor, &mut |key, _, is_expired| {
            if !is_expired {
                seen.push(key.to_vec());
            }
        });
        if cursor == 0 {
            return seen;
        }
    }
}

#[test]
fn a_key_is_set_and_removed() {
    let mut slice = slice_of(0..16384);
    assert_eq!(get(&mut slice, b"k"), None);
    set(&mut slice, b"k", b"value", Expiry::Clear);
    assert_eq!(get(&mut slice, b"k").unwrap(), b"value");
    set(&mut slice, b"k", b"12", Expiry::Clear);
    assert_eq!(get(&mut slice, b"k").unwrap(), b"12");
    let key = slice.key(b"k");
    assert!(slice.remove(0, &key));
    assert!(!slice.remove(0, &key));
    assert_eq!(slice.len(0), 0);
    assert_eq!((slice.stats().hits, slice.stats().misses), (2, 1));
    slice.check();
}

/// The model that the slice is compared with.
#[derive(Default)]
struct Model {
    keys: HashMap<Vec<u8>, (Vec<u8>, Option<u64>)>,
    now_ms: u64,
}

impl Model {
    fn live(&mut self, key: &[u8]) -> Option<&mut (Vec<u8>, Option<u64>)> {
        let now_ms = self.now_ms;
        if self.keys.get(key).is_some_and(|(_, expiry)| expiry.is_some_and(|at| now_ms > at)) {
            self.keys.remove(key);
        }
        self.keys.get_mut(key)
    }
}

fn random_value(rng: &mut Rng) -> Vec<u8> {
    match rng.below(8) {
        0..3 => (rng.next_u64() as i64 >> rng.below(60)).to_string().into_bytes(),
        3..6 => vec![rng.next_u64() as u8; rng.below(100) as usize],
        6 => vec![rng.next_u64() as u8; rng.below(600) as usize],
        _ => vec![rng.next_u64() as u8; rng.below(9_000) as usize],
    }
}

/// Runs one random operation on both the slice and the model.
fn step(slice: &mut Slice, model: &mut Model, rng: &mut Rng, (prefix, keys): (&str, u64)) {
    let mut name = format!("{prefix}{}", rng.below(keys)).into_bytes();
    if name.ends_with(b"77") {
        name.resize(300, b'x');
    }
    let key = slice.key(&name);
    let later = model.now_ms + rng.below(40_000);
    match rng.below(16) {
        0..4 => {
            let value = random_value(rng);
            let (how, expiry) = match rng.below(3) {
                0 => (Expiry::Clear, None),
                1 => (Expiry::Keep, model.live(&name).and_then(|(_, expiry)| *expiry)),
                _ => (Expiry::At(later), Some(later)),
            };
            slice.set(0, &key, NewStr::from_bytes(&value), how);
            model.keys.insert(name, (value, expiry));
        }
        4..7 => {
            let is_there = model.live(&name).is_some();
            assert_eq!(slice.remove(0, &key), is_there);
            model.keys.remove(&name);
        }
        7..9 => {
            let at = (rng.below(3) > 0).then_some(later);
            let there = model.live(&name).map(|(_, expiry)| *expiry = at);
            assert_eq!(slice.set_expiry(0, &key, at), there.is_some());
        }
        9 => {
            let tail = random_value(rng);
            let fresh = (Vec::new(), None);
            model.live(&name);
            let (value, _) = model.keys.entry(name.clone()).or_insert(fresh);
            value.extend_from_slice(&tail);
            assert_eq!(slice.append(0, &key, &tail), value.len());
        }
        10 => {
            let number = rng.next_u64() as i64 >> rng.below(64);
            slice.update_int(0, &key, number);
            model.live(&name);
            model.keys.entry(name).or_default().0 = number.to_string().into_bytes();
        }
        11 => {
            let len = rng.below(5_000) as usize;
            model.live(&name);
            let (value, _) = model.keys.entry(name.clone()).or_default();
            value.resize(value.len().max(len), 0);
            let bytes = slice.string_mut(0, &key, len);
            assert_eq!(bytes, value);
            if let (Some(byte), Some(other)) = (bytes.last_mut(), value.last_mut()) {
                *byte = b'!';
                *other = b'!';
            }
        }
        12 => {
            model.now_ms += rng.below(2_000);
            slice.set_now(model.now_ms);
        }
        13 => {
            housekeep(slice);
        }
        _ => {
            let expected = model.live(&name).cloned();
            let mut buffer = IntText::new();
            let found = slice
                .peek(0, &key)
                .map(|view| (view.string().unwrap().text(&mut buffer).to_vec(), view.expiry()));
            assert_eq!(found, expected);
        }
    }
}

fn compare(slice: &mut Slice, model: &mut Model) {
    slice.check();
    let now_ms = model.now_ms;
    model.keys.retain(|_, (_, expiry)| expiry.is_none_or(|at| now_ms <= at));
    let mut seen = HashSet::new();
    slice.for_each_key(0, &mut |key, view| {
        let (value, expiry) = &model.keys[key];
        assert_eq!(view.string().unwrap().text(&mut IntText::new()), value);
        assert_eq!(view.expiry(), *expiry);
        if let Some(Str::Int(number)) = view.string() {
            assert_eq!(parse_i64(value), Some(number));
        }
        assert!(seen.insert(key.to_vec()), "every key is visited once");
    });
    assert_eq!(seen.len(), model.keys.len());
    let scanned: HashSet<_> = scan_from(slice, 0).into_iter().collect();
    assert_eq!(scanned, seen);
}

#[test]
fn a_slice_behaves_like_a_map() {
    for seed in 0..6 {
        let mut rng = Rng::new(seed);
        let mut slice = slice_of(0..16384);
        let mut model = Model { now_ms: START_MS, ..Model::default() };
        // With odd seeds all keys are in one hash slot.
        let prefix = ["k", "{t}"][seed as usize % 2];
        for round in 0..6 {
            let keys = [10, 3_000, 200][round % 3];
            for _ in 0..8_000 {
                step(&mut slice, &mut model, &mut rng, (prefix, keys));
            }
            compare(&mut slice, &mut model);
        }
        slice.flush((seed % 2 == 0).then_some(0));
        model.keys.clear();
        compare(&mut slice, &mut model);
        housekeep(&mut slice);
        assert_eq!(slice.heap_bytes(), 0, "all memory is freed");
    }
}

/// Returns a key name; all of them are in one hash slot.
fn tagged(number: usize) -> Vec<u8> {
    format!("{{t}}{number}").into_bytes()
}

#[test]
fn scan_misses_nothing_while_the_table_grows_and_shrinks() {
    for seed in 0..4 {
        let mut rng = Rng::new(seed);
        let mut slice = slice_of(0..16384);
        let steady = 300 + rng.below(300) as usize;
        (0..steady).for_each(|number| set(&mut slice, &tagged(number), b"v", Expiry::Clear));
        let (mut cursor, mut calls, mut extra) = (0, 0, steady);
        let mut seen = HashSet::new();
        loop {
            cursor = slice.scan(0, cursor, &mut |key, _, _| {
                assert!(seen.insert(key.to_vec()), "a key is visited once");
            });
            calls += 1;
            if cursor == 0 {
                break;
            }
            let (target, span) = ([3_000, steady][calls / 60 % 2], 40);
            for _ in 0..rng.below(span) {
                if extra < target {
                    set(&mut slice, &tagged(extra), b"v", Expiry::Clear);
                    extra += 1;
                } else if extra > target {
                    extra -= 1;
                    let name = tagged(extra);
                    let key = slice.key(&name);
                    assert!(slice.remove(0, &key));
                }
            }
        }
        assert!(calls > 60, "the table changed in between");
        assert!((0..steady).all(|number| seen.contains(&tagged(number))));
    }
}

#[test]
fn scan_of_an_unchanged_table_visits_each_key_once() {
    for keys in [1, 2, 5, 9, 10, 37, 64, 500] {
        let mut slice = slice_of(0..16384);
        (0..keys).for_each(|number| set(&mut slice, &tagged(number), b"v", Expiry::Clear));
        let seen = scan_from(&mut slice, 0);
        assert_eq!(seen.len(), keys);
        assert_eq!(seen.into_iter().collect::<HashSet<_>>().len(), keys);
    }
    assert_eq!(slice_of(0..10).scan(0, 0x1234_5678_9abc_def0, &mut |_, _, _| {}), 0);
}

#[test]
fn one_slot_holds_300_000_keys_and_frees_all_memory() {
    let mut slice = slice_of(0..16384);
    let keys = 300_000;
    (0..keys).for_each(|number| set(&mut slice, &tagged(number), b"v", Expiry::Clear));
    let info = slice.table_info(0);
    assert_eq!(info.keys, keys);
    assert!(info.chunks > 512, "more than a segment: {info:?}");
    for number in (0..keys).step_by(97) {
        assert_eq!(get(&mut slice, &tagged(number)).unwrap(), b"v");
    }
    slice.check();
    for number in 0..keys {
        let name = tagged(number);
        let key = slice.key(&name);
        assert!(slice.remove(0, &key), "key {number}");
    }
    assert_eq!(slice.table_info(0), TableInfo::default());
    assert_eq!(slice.heap_bytes(), 0);
}

#[test]
fn expired_keys_are_removed_without_an_access() {
    let mut slice = slice_of(0..16384);
    // One hash slot with many chunks, and many hash slots with one chunk.
    for number in 0..4_000 {
        let at = START_MS + 1_000 * (1 + number as u64 % 100);
        set(&mut slice, &tagged(number), b"v", Expiry::At(at));
        set(&mut slice, format!("k{number}").as_bytes(), b"v", Expiry::At(at));
        set(&mut slice, format!("s{number}").as_bytes(), b"v", Expiry::Clear);
    }
    assert_eq!(slice.volatile_len(0), 8_000);
    assert_eq!(housekeep(&mut slice).expired, 0);
    for second in 1..=100 {
        let now_ms = START_MS + 1_000 * second + 300;
        slice.set_now(now_ms);
        let mut work = Work { more: true, ..Work::default() };
        let mut expired = 0;
        while work.more {
            let mut steps = 0;
            work = slice.housekeep(&mut || {
                steps += 1;
                steps > 9
            });
            expired += work.expired;
        }
        assert_eq!(expired, 80, "second {second}");
        assert!(work.next_expiry_ms.is_none_or(|at| at > now_ms));
        slice.check();
    }
    assert_eq!((slice.volatile_len(0), slice.len(0)), (0, 4_000));
    assert_eq!(housekeep(&mut slice), Work::default());
}

#[test]
fn an_interrupted_sweep_misses_nothing() {
    for seed in 0..8 {
        let mut rng = Rng::new(seed);
        let mut slice = slice_of(0..16384);
        let mut now_ms = START_MS;
        for round in 0..400 {
            for _ in 0..rng.below(60) {
                let name = match rng.below(2) {
                    0 => tagged(rng.below(3_000) as usize),
                    _ => format!("k{}", rng.below(300)).into_bytes(),
                };
                let key = slice.key(&name);
                match rng.below(4) {
                    0 => drop(slice.remove(0, &key)),
                    1 => slice.set(0, &key, NewStr::Int(1), Expiry::Clear),
                    _ => {
                        let at = now_ms + rng.below(300_000);
                        slice.set(0, &key, NewStr::Int(1), Expiry::At(at));
                    }
                }
            }
            match round % 50 {
                20 => slice.swap_databases(0, 1),
                40 => slice.swap_databases(1, 0),
                _ => {}
            }
            now_ms += rng.below(3_000);
            slice.set_now(now_ms);
            let (mut steps, limit) = (0, rng.below(20));
            slice.housekeep(&mut || {
                steps += 1;
                steps > limit
            });
        }
        slice.set_now(now_ms + 400_000);
        while housekeep(&mut slice).expired > 0 {}
        assert_eq!((slice.volatile_len(0), slice.volatile_len(1)), (0, 0));
        slice.check();
    }
}

#[test]
fn a_distant_expiry_is_neither_missed_nor_early() {
    let mut slice = slice_of(0..16384);
    let hour = 3_600_000;
    for hours in 1..200 {
        set(&mut slice, &tagged(hours), b"v", Expiry::At(START_MS + hours as u64 * hour));
    }
    for hours in 1..200 {
        slice.set_now(START_MS + hours * hour + 300);
        assert_eq!(housekeep(&mut slice).expired, 1, "hour {hours}");
    }
    set(&mut slice, b"never", b"v", Expiry::At(u64::MAX));
    slice.set_now(START_MS + 1_000_000 * hour);
    assert!(get(&mut slice, b"never").is_some());
}

#[test]
fn the_role_decides_who_removes_expired_keys() {
    let mut slice = slice_of(0..16384);
    set(&mut slice, b"k", b"v", Expiry::At(START_MS + 10));
    slice.set_now(START_MS + 10);
    assert!(get(&mut slice, b"k").is_some(), "a key lives to the end of its last millisecond");
    slice.set_now(START_MS + 11);
    slice.set_role(ExpiryRole::Loading);
    assert!(get(&mut slice, b"k").is_some());
    slice.set_role(ExpiryRole::Replica);
    assert!(get(&mut slice, b"k").is_none());
    assert!(scan_from(&mut slice, 0).is_empty());
    slice.set_now(START_MS + 1_000);
    assert_eq!(housekeep(&mut slice).expired, 0);
    assert_eq!(slice.len(0), 1);
    set(&mut slice, b"k", b"w", Expiry::Clear);
    assert_eq!((slice.len(0), slice.volatile_len(0)), (1, 0));
    set(&mut slice, b"k", b"w", Expiry::At(START_MS));
    let key = slice.key(b"k");
    assert!(!slice.remove(0, &key), "the key is hidden, but it is removed");
    assert_eq!(slice.len(0), 0);
    set(&mut slice, b"k", b"w", Expiry::At(START_MS));
    slice.set_role(ExpiryRole::Primary);
    assert!(get(&mut slice, b"k").is_none());
    assert_eq!((slice.len(0), slice.stats().expired_lazy), (0, 1));
}

#[test]
fn the_longest_times_to_live_are_averaged() {
    let mut slice = slice_of(0..16384);
    for number in 0..100 {
        set(&mut slice, &tagged(number), b"v", Expiry::At(i64::MAX as u64));
    }
    slice.set_now(0);
    assert_eq!(slice.sample_ttl_ms(0), Some(i64::MAX as u64));
}

#[test]
fn lengthening_replaces_an_expired_key_that_is_hidden() {
    for silently in [false, true] {
        let mut slice = slice_of(0..16384);
        set(&mut slice, b"k", &[b'v'; 500], Expiry::At(START_MS));
        slice.set_now(START_MS + 10);
        slice.set_role(ExpiryRole::Replica);
        let key = slice.key(b"k");
        let bytes = match silently {
            false => slice.string_mut(0, &key, 3),
            true => slice.string_mut_silently(0, &key, 3),
        };
        assert_eq!(bytes, [0; 3]);
        assert_eq!((slice.len(0), slice.volatile_len(0)), (1, 0));
    }
}

#[test]
fn random_keys_are_evenly_distributed() {
    let mut slice = slice_of(0..16384);
    let keys = 100;
    for number in 0..keys / 2 {
        set(&mut slice, &tagged(number), b"v", Expiry::Clear);
        set(&mut slice, format!("k{number}").as_bytes(), b"v", Expiry::Clear);
    }
    let mut counts = HashMap::new();
    for _ in 0..keys * 400 {
        *counts.entry(slice.random(0).unwrap()).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), keys);
    assert!(counts.values().all(|count| (280..540).contains(count)), "{counts:?}");
    assert_eq!(slice.random(1), None);
}

#[test]
fn large_values_are_shared_and_freed_in_steps() {
    let mut slice = slice_of(0..16384);
    let value = vec![7u8; 5 << 20];
    set(&mut slice, b"k", &value, Expiry::Clear);
    let key = slice.key(b"k");
    let Some(Str::Large(shared)) = slice.peek(0, &key).unwrap().string() else { panic!("large") };
    let reply = shared.clone();
    assert_eq!(slice.append(0, &key, b"tail"), value.len() + 4);
    assert_eq!(reply, value, "a reply does not see the change");
    assert!(slice.remove(0, &key));
    let mut steps = 0;
    slice.housekeep(&mut || {
        steps += 1;
        false
    });
    assert!(steps > 2, "{steps} steps");
    set(&mut slice, b"k", &value, Expiry::Clear);
    let Some(Str::Large(shared)) = slice.peek(0, &key).unwrap().string() else { panic!("large") };
    let reply_too = shared.clone();
    slice.flush(None);
    housekeep(&mut slice);
    assert!(!slice.graveyard.is_empty(), "a reply shares the value");
    drop(reply_too);
    housekeep(&mut slice);
    assert!(slice.graveyard.is_empty());
}

#[test]
fn what_was_removed_is_news_until_it_is_freed() {
    let mut slice = slice_of(0..16384);
    set(&mut slice, b"short", b"value", Expiry::Clear);
    let key = slice.key(b"short");
    assert!(slice.remove(0, &key) && !slice.has_removed(), "it was freed at once");
    for _ in 0..2 {
        set(&mut slice, b"long", &vec![7; 5 << 20], Expiry::Clear);
        slice.flush(None);
        assert!(slice.has_removed());
        assert!(slice.free_removed(&mut || true) && slice.has_removed(), "it had no time");
        assert!(!slice.free_removed(&mut || false) && !slice.has_removed());
        assert_eq!(slice.unfreed_values(), 0);
    }
    slice.flush(None);
    set(&mut slice, b"long", &vec![7; 5 << 20], Expiry::Clear);
    let key = slice.key(b"long");
    let Some(Str::Large(shared)) = slice.peek(0, &key).unwrap().string() else { panic!("large") };
    let reply = shared.clone();
    assert!(slice.remove(0, &key) && slice.has_removed());
    assert!(!slice.free_removed(&mut || false), "a reply shares the value: a round looks again");
    assert_eq!((slice.unfreed_values(), slice.has_removed()), (1, false));
    drop(reply);
    housekeep(&mut slice);
    assert_eq!(slice.unfreed_values(), 0);
}

#[test]
fn large_values_of_copies_are_freed() {
    let mut slices = [slice_of(0..8192), slice_of(8192..16384)];
    let (key, copied) = (slices[0].key(b"b"), slices[1].key(b"a"));
    assert!(key.slot < 8192 && copied.slot >= 8192, "the copy is on another shard");
    set(&mut slices[0], b"b", &vec![7u8; 2 << 20], Expiry::Clear);
    let Some(Str::Large(value)) = slices[0].peek(0, &key).unwrap().string() else { panic!() };
    let start = value.as_ptr();
    let parcel = slices[0].export(0, &key).unwrap();
    slices[1].import(0, &copied, parcel);
    let Some(Str::Large(value)) = slices[1].peek(0, &copied).unwrap().string() else { panic!() };
    assert_eq!(value.as_ptr(), start, "the copy shares the memory");
    assert!(slices[0].remove(0, &key) && slices[1].remove(0, &copied));
    for _ in 0..20 {
        for slice in &mut slices {
            housekeep(slice);
        }
    }
    assert!(slices.iter().all(|slice| slice.graveyard.is_empty()), "no copy waits for the other");
}

#[test]
fn scan_visits_only_the_slots_of_the_slice() {
    let mut slice = slice_of(8_000..16_384);
    let mut names = HashSet::new();
    for number in 0..500 {
        let name = format!("k{number}").into_bytes();
        if slice.owns(crate::base::slot::slot_of(&name)) {
            set(&mut slice, &name, b"v", Expiry::Clear);
            names.insert(name);
        }
    }
    assert_eq!(scan_from(&mut slice, 0).into_iter().collect::<HashSet<_>>(), names);
    let per_slot: usize = (8_000..16_384).map(|slot| slice.slot_len(0, slot)).sum();
    assert_eq!(per_slot, names.len());
}

#[test]
fn tables_without_keys_are_freed() {
    let mut slice = slice_of(0..16384);
    let has_table = |slice: &Slice, name: &[u8]| {
        let slot = usize::from(crate::base::slot::slot_of(name));
        slice.databases[0].table(slot).is_some()
    };
    let names: Vec<Vec<u8>> = (0..40).map(|at| format!("{{{at}}}").into_bytes()).collect();
    for name in &names {
        set(&mut slice, name, b"v", Expiry::Clear);
    }
    assert!(names.iter().all(|name| has_table(&slice, name)));
    for name in &names {
        let key = slice.key(name);
        assert!(slice.remove(0, &key));
    }
    for _ in 0..16 {
        housekeep(&mut slice);
    }
    slice.check();
    assert!(!names.iter().any(|name| has_table(&slice, name)));
    set(&mut slice, b"{1}", b"again", Expiry::Clear);
    assert_eq!(get(&mut slice, b"{1}").unwrap(), b"again");
}

#[test]
fn memory_per_key_is_within_the_limits() {
    let root = 16_384 * 32;
    for keys in [750_000 / 16, 1_000_000 / 16, 1_400_000 / 16] {
        // A sixteenth of the keys in a sixteenth of the hash slots.
        for (value, expiry, bar) in [
            (&b"0123456789abcdeX"[..], Expiry::Clear, 56),
            (b"0123456789abcdeX", Expiry::At(START_MS * 2), 64),
            (&[b'x'; 64], Expiry::Clear, 104),
            (b"1234567", Expiry::Clear, 46),
        ] {
            let mut slice = slice_of(0..1_024);
            for number in 0..keys {
                let name = format!("{number:010}").into_bytes();
                let slot = crate::base::slot::slot_of(&name) % 1_024;
                let key = slice.key_in_slot(&name, slot);
                slice.set(0, &key, NewStr::from_bytes(value), expiry);
            }
            let bytes = (slice.heap_bytes() + root / 16) as f64 / keys as f64;
            println!("{keys} keys, {} bytes, {expiry:?}: {bytes:.1}", value.len());
            assert!(bytes <= f64::from(bar), "{bytes} of {bar} bytes per key");
        }
    }
}

#[test]
fn encoding_names_are_reported() {
    let mut slice = slice_of(0..16384);
    set(&mut slice, b"k", b"12", Expiry::Clear);
    let key = slice.key(b"k");
    let name = |slice: &mut Slice| {
        let view = slice.peek(0, &key).unwrap();
        assert_eq!(view.kind(), crate::value::Kind::String);
        view.string().unwrap().encoding_name(view.is_edited(), 1, false)
    };
    assert_eq!(name(&mut slice), "int");
    slice.append(0, &key, b"x");
    assert_eq!(name(&mut slice), "raw");
    slice.set(0, &key, NewStr::from_bytes(b"12x"), Expiry::Clear);
    assert_eq!(name(&mut slice), "embstr");
}

#[test]
fn a_write_replaces_an_expired_key_that_is_hidden() {
    let writes: [fn(&mut Slice, &Key<'_>); 6] = [
        |slice, key| slice.string_mut(0, key, 3).fill(b'x'),
        |slice, key| slice.string_mut_silently(0, key, 600).fill(b'x'),
        |slice, key| assert_eq!(slice.append(0, key, b"tail"), 4),
        |slice, key| slice.update_int(0, key, 7),
        |slice, key| slice.set(0, key, NewStr::from_bytes(b"v"), Expiry::Keep),
        |slice, key| {
            let mut set = slice.edit_or_new::<Set>(0, key).expect("a new set");
            let limits = Limits { intset_entries: 4, listpack_entries: 4, listpack_value: 8 };
            set.insert(b"member", &limits);
        },
    ];
    for old in [&b"12"[..], b"text", &[b'l'; 2_000]] {
        for (number, write) in writes.iter().enumerate() {
            let mut slice = slice_of(0..16384);
            set(&mut slice, b"k", old, Expiry::At(START_MS + 1));
            slice.set_role(ExpiryRole::Replica);
            slice.set_now(START_MS + 2);
            slice.note_expired(true);
            let key = slice.key(b"k");
            write(&mut slice, &key);
            assert_eq!(slice.len(0), 1, "write {number}");
            let expiry = slice.peek(0, &key).map(|view| view.expiry());
            assert_eq!(expiry, Some(None), "write {number}");
            // A replica may still have the old value, of another type.
            let gone: Vec<_> = slice.drain_expired().map(|expired| expired.key).collect();
            assert_eq!(gone, [Box::from(&b"k"[..])], "write {number}");
            slice.check();
        }
    }
}

#[test]
fn the_removal_of_an_expired_key_that_is_hidden_is_recorded() {
    let mut slice = slice_of(0..16384);
    set(&mut slice, b"k", b"v", Expiry::At(START_MS + 1));
    slice.set_role(ExpiryRole::Replica);
    slice.set_now(START_MS + 2);
    slice.note_expired(true);
    let key = slice.key(b"k");
    assert!(!slice.remove(0, &key), "clients do not see it");
    assert_eq!((slice.len(0), slice.drain_expired().count()), (0, 1));
    slice.check();
}
