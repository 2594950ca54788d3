//! Tests of HyperLogLogs.

use super::*;
use sha1::{Digest, Sha1};

const BYTES_MAX: usize = 3000;

fn add(value: &mut Vec<u8>, element: &str) -> bool {
    let (index, rank) = place_of(element.as_bytes());
    let raised = raise(value, index, rank, BYTES_MAX, &mut Cursor::default());
    raised.expect("an intact value")
}

/// Returns a value with the numbers in a range as elements.
fn value_of(numbers: std::ops::Range<u32>) -> Vec<u8> {
    let mut value = empty();
    forget_count(&mut value);
    for number in numbers {
        if add(&mut value, &number.to_string()) {
            forget_count(&mut value);
        }
    }
    value
}

fn digest(value: &[u8]) -> String {
    Sha1::digest(value).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Valkey 9.1 makes the same bytes from the same elements.
#[test]
fn the_layout_is_frozen() {
    let mut value = empty();
    assert_eq!(value, b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff");
    for element in ["a", "b", "c", "d", "e", "f", "g"] {
        assert!(add(&mut value, element));
        assert!(!add(&mut value, element));
    }
    assert_eq!(cached_count(&value), None);
    let count = count(&value).expect("an intact value");
    put_cached_count(&mut value, count);
    let expected = b"HYLL\x01\0\0\0\x07\0\0\0\0\0\0\0\
        \x46\x6d\x80\x56\x0c\x80\x44\x3c\x84\x38\x80\x50\xb1\x84\x49\x8c\x80\x42\x6d\x80\x42\x5a";
    assert_eq!(value, expected);
    assert_eq!(cached_count(&value), Some(7));
    let runs = "Z:1646 v:1,1 Z:5645 v:1,1 Z:1085 v:2,1 z:57 v:1,1 Z:4274 v:2,1 Z:2445 v:1,1 \
        Z:622 v:1,1 Z:603";
    assert_eq!(describe(&value), runs);
    let dense = to_dense(&value).expect("an intact value");
    assert_eq!((form(&dense), register(&dense, 1646)), (Some(Form::Dense), 1));
    assert_eq!(dense[HEAD_BYTES + 1646 * 6 / 8..][..2], [0b01_0000, 0]);
    assert_eq!(cached_count(&dense), Some(7));
}

#[test]
fn growing_values_match_the_reference() {
    let mut sparse = value_of(1000..2600);
    assert_eq!((sparse.len(), count(&sparse)), (2899, Ok(1607)));
    put_cached_count(&mut sparse, 1607);
    let mut expected = value_of(1000..2600);
    put_cached_count(&mut expected, 1607);
    assert_eq!(sparse, expected);
    forget_count(&mut sparse);
    sparse[COUNT_AT..HEAD_BYTES].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, OUTDATED]);
    assert_eq!(digest(&sparse), "a6d9c3292e5a473583fb93bb0c59b19a1f4dd68c");
    let mut dense = value_of(1000..41_000);
    assert_eq!((dense.len(), count(&dense)), (DENSE_BYTES, Ok(40_491)));
    put_cached_count(&mut dense, 40_491);
    assert_eq!(digest(&dense), "94cfd3ac252c65fd136a953f33b3e775a0dbde9e");
}

#[test]
fn merged_values_match_the_reference() {
    let mut registers = Registers::new(Stride::Wide);
    let mut value = value_of(650..800);
    for other in [&value, &value_of(0..300), &value_of(200..700)] {
        registers.merge(other).expect("an intact value");
    }
    assert_eq!(registers.count(), 802);
    let mut cursor = Cursor::default();
    for (index, rank) in registers.ranks() {
        raise(&mut value, index, rank, BYTES_MAX, &mut cursor).expect("an intact value");
    }
    assert_eq!(value.len(), 1572);
    assert_eq!(digest(&value), "8703c02f66f008dc9ac00708400b364fbcd9681e");
}

/// Random raises give the same registers as a plain array, in both forms.
#[test]
fn both_forms_match_an_array() {
    for seed in 0..12 {
        let mut rng = Rng::new(seed);
        let ranks_max = [3, 33, 51][seed as usize % 3];
        // Few registers, so that runs are often split and joined.
        let indices_max = [40, 700, REGISTERS as u64][seed as usize / 4];
        let mut model = vec![0u8; REGISTERS];
        let (mut sparse, mut dense) = (empty(), to_dense(&empty()).unwrap());
        for step in 0..3_000 {
            let index = REGISTERS - 1 - rng.below(indices_max) as usize;
            let rank = rng.below(ranks_max) as u8 + 1;
            let is_higher = rank > model[index];
            model[index] = model[index].max(rank);
            assert_eq!(raise_dense(&mut dense, index, rank), is_higher);
            let raised = raise(&mut sparse, index, rank, BYTES_MAX, &mut Cursor::default());
            assert_eq!(raised, Ok(is_higher));
            if step % 500 == 499 {
                let again = match form(&sparse) {
                    Some(Form::Sparse) => to_dense(&sparse).unwrap(),
                    _ => sparse.clone(),
                };
                (0..REGISTERS).for_each(|at| assert_eq!(register(&again, at), model[at]));
                assert_eq!(count(&sparse), count(&dense));
                assert_eq!(again[HEAD_BYTES..], dense[HEAD_BYTES..]);
            }
        }
        assert_eq!(form(&sparse) == Some(Form::Dense), ranks_max > 32 || indices_max > 10_000);
    }
}

#[test]
fn a_cursor_does_not_change_results() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let (mut one, mut other, mut cursor) = (empty(), empty(), Cursor::default());
        let (ranks_max, step_max) = (1 + rng.below(4), 1 + rng.below(30));
        for _ in 0..4 {
            let mut index = rng.below(step_max) as usize;
            while index < REGISTERS {
                let rank = rng.below(ranks_max) as u8 + 1;
                let raised = raise(&mut one, index, rank, 40_000, &mut cursor);
                let same = raise(&mut other, index, rank, 40_000, &mut Cursor::default());
                assert_eq!(raised, same);
                index += rng.below(step_max) as usize * 20 + 1;
            }
            assert_eq!(one, other);
        }
    }
}

#[test]
fn a_sparse_value_becomes_dense_at_the_limit() {
    let mut value = empty();
    for (index, len) in [(1, 20), (5, 22), (9, 24)] {
        let mut next = value.clone();
        assert_eq!(raise(&mut next, index, 1, len - 1, &mut Cursor::default()), Ok(true));
        assert_eq!(next.len(), DENSE_BYTES);
        assert_eq!(raise(&mut value, index, 1, len, &mut Cursor::default()), Ok(true));
        assert_eq!(value.len(), len);
    }
    assert_eq!(raise(&mut value, 5, 32, 0, &mut Cursor::default()), Ok(true));
    assert_eq!(value.len(), 24, "a raise that needs no more bytes keeps the sparse form");
    assert_eq!(raise(&mut value, 5, 33, 3000, &mut Cursor::default()), Ok(true));
    assert_eq!(register(&value, 5), 33);
}

#[test]
fn strides_agree() {
    let mut rng = Rng::new(5);
    let mut sums = [Registers::new(Stride::Wide), Registers::new(Stride::Single)];
    for _ in 0..3 {
        let mut value = to_dense(&empty()).unwrap();
        (0..REGISTERS).for_each(|index| put_register(&mut value, index, rng.below(64) as u8));
        sums.iter_mut().for_each(|sum| sum.merge(&value).unwrap());
    }
    assert_eq!(sums[0].ranks, sums[1].ranks);
    let [wide, single] = sums.map(|sum| {
        let mut value = to_dense(&empty()).unwrap();
        sum.write_to(&mut value);
        (value, sum.count())
    });
    assert_eq!(wide, single);
    assert_eq!(count(&wide.0), Ok(wide.1));
    for index in 0..8 {
        let mut six = [0u8; 6];
        six[index * 6 / 8] = 0xff << (index * 6 % 8);
        if index * 6 / 8 < 5 {
            six[index * 6 / 8 + 1] = 0xff;
        }
        assert_eq!(squeeze(spread(&six)), six);
    }
}

#[test]
fn corrupted_values_are_detected() {
    assert_eq!(form(b"HYLL"), None);
    assert_eq!(form(&[&b"HYLL\x02"[..], &[0; 20]].concat()), None);
    assert_eq!(form(&[&b"HYLX\x01"[..], &[0; 20]].concat()), None);
    assert_eq!(form(&[&b"HYLL\x00"[..], &[0; 20]].concat()), None);
    let with = |runs: &[u8]| [&empty()[..HEAD_BYTES], runs].concat();
    for runs in [&b""[..], b"\x7f", b"\x7f\xfe", b"\x7f\xff\x00", b"\x84", b"\x80\x7f\xff"] {
        let value = with(runs);
        assert_eq!(form(&value), Some(Form::Sparse));
        assert_eq!(count(&value), Err(Corrupted), "{runs:?}");
        assert_eq!(to_dense(&value), Err(Corrupted));
        assert_eq!(Registers::new(Stride::Wide).merge(&value), Err(Corrupted));
    }
    let raised = raise(&mut with(b"\x84"), 100, 1, BYTES_MAX, &mut Cursor::default());
    assert_eq!(raised, Err(Corrupted));
    // Ranks that no hash can have.
    let mut dense = to_dense(&empty()).unwrap();
    dense[HEAD_BYTES..].fill(0xff);
    assert_eq!(count(&dense), Ok(i64::MIN as u64));
}

#[test]
fn random_bytes_do_not_panic() {
    let mut rng = Rng::new(77);
    for _ in 0..2_000 {
        let len = rng.below(60) as usize;
        let mut value = empty()[..HEAD_BYTES].to_vec();
        value.extend((0..len).map(|_| rng.next_u64() as u8));
        for _ in 0..20 {
            let (index, rank) = (rng.below(REGISTERS as u64) as usize, rng.below(50) as u8 + 1);
            let _ = raise(&mut value, index, rank, 60, &mut Cursor::default());
            let _ = (count(&value), describe(&value).len());
        }
    }
}

#[test]
fn the_self_test_passes() {
    assert_eq!(self_test(1, BYTES_MAX), Ok(()));
}
