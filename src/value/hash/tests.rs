//! Tests of hashes against a model.

use super::*;
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

fn limits(entries: usize, value: usize) -> Limits {
    Limits { listpack_entries: entries, listpack_value: value }
}

fn contents(hash: &Hash) -> Model {
    hash.iter().map(|field| (field.name.to_vec(), (field.value.to_vec(), field.expiry))).collect()
}

fn compare(hash: &Hash, model: &Model) {
    hash.check();
    assert_eq!(hash.len(), model.len());
    assert_eq!(hash.iter().count(), model.len(), "each field is iterated once");
    assert_eq!(contents(hash), *model);
    let volatile = model.values().filter_map(|(_, expiry)| *expiry);
    assert_eq!(hash.volatile_len(), volatile.clone().count());
    assert_eq!(hash.next_expiry().is_some(), volatile.clone().count() > 0);
    assert!(hash.next_expiry() <= volatile.min(), "`next_expiry` is a lower bound");
}

fn text(rng: &mut Rng, long: u64) -> Vec<u8> {
    match rng.below(5) {
        0 => rng.below(40).to_string().into_bytes(),
        1 => (rng.next_u64() as i64).to_string().into_bytes(),
        2 => vec![b'x'; rng.below(long) as usize],
        _ => format!("text:{}", rng.below(30)).into_bytes(),
    }
}

fn step(hash: &mut Hash, model: &mut Model, rng: &mut Rng, limits: &Limits, volatile: bool) {
    let name = text(rng, 12);
    let expiry = (volatile && rng.below(3) == 0).then(|| rng.below(50));
    match rng.below(20) {
        0..9 => {
            let long = if rng.below(50) == 0 { 70_000 } else { 300 };
            let value = text(rng, long);
            let is_new = model.insert(name.clone(), (value.clone(), expiry)).is_none();
            assert_eq!(hash.set(&name, &value, expiry, limits), is_new);
        }
        9..12 => {
            let found = model.get_mut(&name).map(|entry| entry.1 = expiry);
            assert_eq!(hash.set_expiry(&name, expiry), found.is_some());
        }
        12..18 => assert_eq!(hash.remove(&name), model.remove(&name).is_some()),
        18 => {
            let horizon = rng.below(50);
            let is_over = hash.remove_expired(horizon, &mut |field| {
                assert!(field.expiry.is_some_and(|at| at < horizon));
                let gone =
                    model.remove(&field.name.to_vec()).expect("the removed field was present");
                assert_eq!(gone, (field.value.to_vec(), field.expiry));
            });
            let is_left = model.values().any(|entry| entry.1.is_some_and(|at| at < horizon));
            assert!(!is_over || !is_left);
            assert!(!is_over || hash.next_expiry().is_none_or(|at| at >= horizon));
        }
        _ => {
            let field = hash.get(&name);
            let found = field.map(|field| (field.value.to_vec(), field.expiry));
            assert_eq!(found.as_ref(), model.get(&name));
        }
    }
}

#[test]
fn random_operations_in_both_forms() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let limits = match seed % 4 {
            0 => limits(8, 64),
            1 => limits(0, 64),
            2 => limits(512, 1 << 20),
            _ => limits(512, 10),
        };
        let (mut hash, mut model) = (Hash::default(), Model::new());
        for number in 0..300 {
            step(&mut hash, &mut model, &mut rng, &limits, seed % 3 == 0);
            if number % 16 == 0 {
                compare(&hash, &model);
            }
        }
        compare(&hash, &model);
        compare(&hash.clone(), &model);
    }
}

#[test]
fn the_form_follows_the_limits() {
    let limits = limits(3, 4);
    let made = |fields: &[(&str, &str)]| {
        let mut hash = Hash::default();
        for (name, value) in fields {
            hash.set(name.as_bytes(), value.as_bytes(), None, &limits);
        }
        hash
    };
    let mut hash = made(&[("a", "1"), ("b", "1234"), ("abcd", "3")]);
    assert_eq!(hash.encoding(), "listpack");
    assert!(hash.set_expiry(b"a", None) && !hash.set_expiry(b"x", Some(5)));
    hash.expect(3, &limits);
    assert_eq!(hash.encoding(), "listpack");
    assert!(hash.set_expiry(b"a", Some(5)));
    assert_eq!((hash.encoding(), hash.next_expiry()), ("hashtable", Some(5)));
    assert!(hash.set_expiry(b"a", None) && hash.next_expiry().is_none());
    assert_eq!((hash.encoding(), hash.len()), ("hashtable", 3));
    assert_eq!(made(&[("a", "12345")]).encoding(), "hashtable");
    assert_eq!(made(&[("abcde", "1")]).encoding(), "hashtable");
    assert_eq!(made(&[("a", ""), ("b", ""), ("c", ""), ("d", "")]).encoding(), "hashtable");
    let mut hash = Hash::default();
    hash.expect(4, &limits);
    assert_eq!(hash.encoding(), "hashtable");
    let mut hash = Hash::default();
    assert!(hash.set(b"f", b"v", Some(7), &limits));
    assert_eq!((hash.encoding(), hash.next_expiry()), ("hashtable", Some(7)));
}
