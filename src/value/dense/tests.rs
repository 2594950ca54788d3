//! Tests of the dense table against a B-tree map.

use super::*;
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, (Option<Vec<u8>>, Option<u64>)>;

/// A key with its payload and expiry.
type Known = (Vec<u8>, (Option<Vec<u8>>, Option<u64>));

fn text_of(element: &Element<'_>) -> Known {
    (element.key.to_vec(), (element.payload.map(|payload| payload.to_vec()), element.expiry))
}

fn compare(dense: &Dense, model: &Model) {
    assert_eq!(dense.len(), model.len());
    let elements: Model = dense.iter().map(|element| text_of(&element)).collect();
    assert_eq!(elements, *model);
    let mut walked = Model::new();
    let mut cursor = 0;
    loop {
        cursor = dense.scan(cursor, &mut |element| {
            let (key, rest) = text_of(&element);
            assert!(walked.insert(key, rest).is_none(), "each element is scanned once");
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(walked, *model);
}

/// Returns a random key: short or long, a number or text.
fn name(rng: &mut Rng, names: u64) -> Vec<u8> {
    let number = rng.below(names);
    match number % 7 {
        0 => number.to_string().into_bytes(),
        1 => format!("-{number}").into_bytes(),
        2 => format!("{number:0>300}").into_bytes(),
        3 => format!("{number:x>240}").into_bytes(),
        _ => format!("name:{number}").into_bytes(),
    }
}

fn payload(rng: &mut Rng) -> Option<Vec<u8>> {
    match rng.below(8) {
        0 => None,
        1 => Some(Vec::new()),
        2 => Some(rng.next_u64().to_string().into_bytes()),
        3 => Some(vec![b'p'; rng.below(600) as usize]),
        _ => Some(b"a payload".to_vec()),
    }
}

fn step(dense: &mut Dense, model: &mut Model, rng: &mut Rng, names: u64, grows: bool) {
    let key = name(rng, names);
    match rng.below(10) {
        0..=3 if grows => {
            let payload = payload(rng);
            let expiry = (rng.below(4) == 0).then(|| 1_000 + rng.below(1_000));
            let is_new = dense.insert(&key, payload.as_deref(), expiry);
            assert_eq!(model.insert(key, (payload, expiry)).is_none(), is_new);
        }
        4 if grows => {
            assert_eq!(dense.add(&key), !model.contains_key(&key));
            model.entry(key).or_default();
        }
        5 => {
            let expiry = (rng.below(2) == 0).then(|| 1_000 + rng.below(1_000));
            let entry = model.get_mut(&key);
            assert_eq!(dense.set_expiry(&key, expiry), entry.is_some());
            if let Some(entry) = entry {
                entry.1 = expiry;
            }
        }
        6 => {
            let found = dense.get(&key).map(|element| text_of(&element).1);
            assert_eq!(found, model.get(&key).cloned());
            assert_eq!(dense.contains(&key), model.contains_key(&key));
        }
        7 => match dense.pop_random(rng, text_of) {
            None => assert!(model.is_empty()),
            Some((key, rest)) => assert_eq!(model.remove(&key), Some(rest)),
        },
        8 => {
            let drawn = dense.random(rng).map(|element| text_of(&element));
            assert_eq!(drawn.is_none(), model.is_empty());
            assert!(drawn.is_none_or(|(key, rest)| model.get(&key) == Some(&rest)));
        }
        _ => assert_eq!(dense.remove(&key), model.remove(&key).is_some()),
    }
}

#[test]
fn random_operations_match_a_map() {
    for (seed, names) in [(1, 40), (2, 400), (3, 3_000)] {
        let mut rng = Rng::new(seed);
        let (mut dense, mut model) = (Dense::new(), Model::new());
        for phase in 0..8 {
            for at in 0..names * 2 {
                step(&mut dense, &mut model, &mut rng, names, phase % 2 == 0);
                if at % (names / 4) == 0 {
                    dense.check();
                }
            }
            compare(&dense, &model);
            let copy = dense.clone();
            copy.check();
            compare(&copy, &model);
            assert_eq!(copy.apart_bytes, dense.apart_bytes);
        }
    }
}

#[test]
fn expired_elements_are_shown_once_and_removed() {
    let mut rng = Rng::new(5);
    let (mut dense, mut model) = (Dense::new(), Model::new());
    for _ in 0..20_000 {
        step(&mut dense, &mut model, &mut rng, 10_000, true);
    }
    for moment in [0, 1_000, 1_001, 1_100, 1_500, 1_999, 2_000, 5_000] {
        let first = model.values().filter_map(|entry| entry.1).min();
        assert!(dense.next_expiry() <= first || first.is_none());
        let mut shown = Model::new();
        let mut show = |element: Element<'_>| {
            let (key, rest) = text_of(&element);
            assert!(shown.insert(key, rest).is_none(), "shown once");
        };
        let mut steps = 0;
        while !dense.expire_step(moment, 10, &mut show) {
            steps += 1;
            assert!(steps < 1_000);
        }
        dense.check();
        let expired =
            |entry: &(Option<Vec<u8>>, Option<u64>)| entry.1.is_some_and(|at| at < moment);
        let expected: Model = model
            .iter()
            .filter(|(_, entry)| expired(entry))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        assert_eq!(shown, expected);
        model.retain(|_, entry| !expired(entry));
        compare(&dense, &model);
        let first = model.values().filter_map(|entry| entry.1).min();
        let next = dense.next_expiry();
        assert!(next.is_none_or(|next| next >= moment && first.is_some_and(|at| at >= next)));
    }
    assert!(
        dense.chunks.iter().all(|chunk| chunk.expiries.is_empty()),
        "no bounds are kept without expiries"
    );
}

#[test]
fn a_scan_visits_all_permanent_elements_while_the_table_grows_and_shrinks() {
    for seed in 0..8 {
        let mut rng = Rng::new(seed);
        let mut dense = Dense::new();
        let stay: Vec<String> = (0..300).map(|number| format!("stay:{number}")).collect();
        stay.iter().for_each(|key| assert!(dense.add(key.as_bytes())));
        let mut met = std::collections::BTreeSet::new();
        let (mut cursor, mut others, mut calls) = (0, 0, 0);
        loop {
            cursor = dense.scan(cursor, &mut |element| {
                met.insert(element.key.to_vec());
            });
            if cursor == 0 {
                break;
            }
            calls += 1;
            assert!(calls < 10_000);
            let goal = rng.below(2_000);
            while others < goal {
                dense.add(format!("other:{others}").as_bytes());
                others += 1;
            }
            while others > goal {
                others -= 1;
                dense.remove(format!("other:{others}").as_bytes());
            }
        }
        assert!(stay.iter().all(|key| met.contains(key.as_bytes())));
    }
}

#[test]
fn any_cursor_is_accepted() {
    let mut dense = Dense::new();
    (0..5_000).for_each(|number| assert!(dense.add(format!("{number}").as_bytes())));
    for cursor in [1, 77, u64::from(u32::MAX), u64::from(u32::MAX) + 1, u64::MAX] {
        let next = dense.scan(cursor, &mut |_| {});
        assert!(next == 0 || next > cursor & u64::from(u32::MAX));
    }
}

#[test]
fn random_elements_are_drawn_uniformly() {
    let mut rng = Rng::new(9);
    let mut dense = Dense::new();
    (0..100).for_each(|number| assert!(dense.add(format!("{number}").as_bytes())));
    let mut counts = BTreeMap::new();
    for _ in 0..100_000 {
        let key = dense.random(&mut rng).expect("the table has elements").key.to_vec();
        *counts.entry(key).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 100);
    assert!(counts.values().all(|count| (850..1_150).contains(count)), "{counts:?}");
}

#[test]
fn memory_per_element_is_within_the_limits() {
    for len in [750_000, 1_000_000, 1_400_000].map(|len| len / 10) {
        let (mut set, mut hash) = (Dense::new(), Dense::new());
        for number in 0..len {
            set.add(format!("member:{number:08}").as_bytes());
            hash.insert(format!("field:{number:08}").as_bytes(), Some(&[b'v'; 16]), None);
        }
        let each = |dense: &Dense| dense.memory_bytes() as f64 / len as f64;
        assert!(each(&set) < 28.0, "{} of 36", each(&set));
        assert!(each(&hash) < 48.0, "{} of 58", each(&hash));
        let mut steps = 0;
        while !set.free_step() {
            steps += 1;
        }
        assert!(steps >= len / 16 / FREE_PAGES && set.is_empty());
    }
}
