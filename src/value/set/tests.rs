//! Tests of sets against a B-tree set, and of the sizes at which forms change.

use super::*;
use std::collections::BTreeSet;

const LIMITS: Limits = Limits { intset_entries: 20, listpack_entries: 10, listpack_value: 8 };

fn compare(set: &Set, model: &BTreeSet<Vec<u8>>) {
    set.check();
    assert_eq!(set.len(), model.len());
    let members: Vec<_> = set.iter().map(|member| member.to_vec()).collect();
    assert_eq!(members.len(), model.len());
    assert_eq!(members.into_iter().collect::<BTreeSet<_>>(), *model);
    let (mut cursor, mut scanned) = (0, BTreeSet::new());
    loop {
        cursor = set.scan(cursor, &mut |member| assert!(scanned.insert(member.to_vec())));
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(scanned, *model);
}

fn name(rng: &mut Rng, kinds: u64) -> Vec<u8> {
    let number = rng.below(40) as i64;
    let text = match rng.below(kinds) {
        0 => (number - 20).to_string(),
        1 => (number * 1_000).to_string(),
        2 => (number * 1_000_000_000_000 - 7).to_string(),
        3 => format!("m{number}"),
        4 => format!("member:{number}"),
        _ => format!("0{number}"),
    };
    text.into_bytes()
}

#[test]
fn random_operations_match_a_btree_set() {
    let mut encodings = BTreeSet::new();
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let kinds = 1 + seed % 6;
        let (mut set, mut model) = (Set::default(), BTreeSet::new());
        for at in 0..200 {
            let member = name(&mut rng, kinds);
            match rng.below(8) {
                0..=3 => assert_eq!(set.insert(&member, &LIMITS), model.insert(member)),
                4 => assert_eq!(set.contains(&member), model.contains(&member)),
                5 => {
                    let drawn = set.random(&mut rng).map(|member| member.to_vec());
                    assert_eq!(drawn.is_none(), model.is_empty());
                    assert!(drawn.is_none_or(|member| model.contains(&member)));
                }
                6 if rng.below(4) == 0 => {
                    let popped = set.pop_random(&mut rng);
                    assert!(popped.map_or(model.is_empty(), |member| model.remove(&member)));
                }
                _ => assert_eq!(set.remove(&member), model.remove(&member)),
            }
            encodings.insert(set.encoding());
            if at % 10 == 0 {
                compare(&set, &model);
                compare(&set.clone(), &model);
            }
        }
    }
    assert_eq!(encodings.len(), 3);
}

fn of(members: &[&str]) -> Set {
    let mut set = Set::default();
    for member in members {
        assert!(set.insert(member.as_bytes(), &LIMITS));
    }
    set.check();
    set
}

fn of_range(range: std::ops::Range<i64>) -> Set {
    let texts: Vec<String> = range.map(|number| number.to_string()).collect();
    of(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn forms_change_at_the_sizes_of_the_reference() {
    assert_eq!(of_range(0..20).encoding(), "intset");
    assert_eq!(of_range(0..21).encoding(), "hashtable");
    let with = |mut set: Set, member: &str| {
        assert!(set.insert(member.as_bytes(), &LIMITS));
        set.check();
        set.encoding()
    };
    assert_eq!(with(of_range(0..9), "x"), "listpack");
    assert_eq!(with(of_range(0..10), "x"), "hashtable");
    assert_eq!(with(of_range(0..3), "12345678x"), "hashtable");
    assert_eq!(with(of_range(0..3), "1234567x"), "listpack");
    assert_eq!(with(of(&["123456789"]), "x"), "hashtable");
    assert_eq!(with(of(&["-12345678", "1"]), "x"), "hashtable");
    assert_eq!(with(of(&["x"]), "123456789"), "hashtable");
    let begun = |first: &str, count| Set::beginning_with(first.as_bytes(), count, &LIMITS);
    assert_eq!(begun("1", 20).encoding(), "intset");
    assert_eq!(begun("1", 21).encoding(), "hashtable");
    assert_eq!(begun("x", 10).encoding(), "listpack");
    assert_eq!(begun("x", 11).encoding(), "hashtable");
    let mut set = of(&["x", "y"]);
    set.expect(10, &LIMITS);
    assert_eq!(set.encoding(), "listpack");
    set.expect(11, &LIMITS);
    assert_eq!(set.encoding(), "hashtable");
    set.check();
    let mut set = Set::packed();
    for number in ["30", "-5", "700000"] {
        set.insert(number.as_bytes(), &LIMITS);
    }
    assert_eq!(set.encoding(), "listpack");
    set.make_ints(&LIMITS);
    assert_eq!(set.encoding(), "intset");
    set.check();
    assert_eq!(set.iter().collect::<Vec<_>>(), [-5, 30, 700_000].map(Item::Int));
}

#[test]
fn many_members_are_popped_and_sampled_at_random() {
    let mut rng = Rng::new(3);
    let ints = of_range(0..15);
    let packed = of(&["a", "b", "c", "d", "e", "f", "g"]);
    let mut dense = Set::dense();
    for number in 0..400 {
        dense.insert(format!("m{number}").as_bytes(), &LIMITS);
    }
    for set in [ints, packed, dense] {
        let all: BTreeSet<_> = set.iter().map(|member| member.to_vec()).collect();
        for count in [0, 1, 3, set.len() / 2, set.len() - 2, set.len() - 1] {
            let mut shown = BTreeSet::new();
            set.sample(count, &mut rng, &mut |member| assert!(shown.insert(member.to_vec())));
            assert!(shown.len() == count && shown.is_subset(&all));
            let mut left = set.clone();
            let gone: BTreeSet<_> = left.pop_many(count, &mut rng, &LIMITS).into_iter().collect();
            left.check();
            assert_eq!((gone.len(), left.len()), (count, set.len() - count));
            assert!(gone.iter().all(|member| all.contains(member) && !left.contains(member)));
            let is_rebuilt = set.encoding() == "hashtable" && (set.len() - count) * 5 <= count;
            let expected = if is_rebuilt { "listpack" } else { set.encoding() };
            assert!(left.encoding() == expected || left.len() > LIMITS.listpack_entries);
        }
    }
}

#[test]
fn samples_are_uniform() {
    let mut rng = Rng::new(8);
    let mut counts = [0; 15];
    let set = of_range(0..15);
    for _ in 0..20_000 {
        set.sample(3, &mut rng, &mut |member| {
            let Item::Int(number) = member else { panic!("all members are integers") };
            counts[number as usize] += 1;
        });
    }
    assert!(counts.iter().all(|count| (3_700..4_300).contains(count)), "{counts:?}");
}

#[test]
fn the_layouts_are_frozen() {
    let block = |set: &Set| match &set.form {
        Form::Small(block) => block.to_vec(),
        Form::Dense(_) => panic!("the set is small"),
    };
    assert_eq!(block(&of(&["5", "-2"])), *b"\x02\xfe\xff\x05\0");
    assert_eq!(block(&of(&["5", "-40000"])), *b"\x04\xc0\x63\xff\xff\x05\0\0\0");
    assert_eq!(block(&of(&["5", "4294967296"])), *b"\x08\x05\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0");
    assert_eq!(block(&of(&["ab", "12"])), *b"\x01\x02\0\0\0\x02ab\xcc");
    assert_eq!(block(&Set::default()), *b"");
}
