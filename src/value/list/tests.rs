//! Tests of lists against a model, and of the sizes at which forms change.

use super::*;
use crate::base::rng::Rng;
use std::collections::VecDeque;

type Model = VecDeque<Vec<u8>>;

fn limits(node_size: i32) -> Limits {
    Limits { node_size }
}

fn random_text(rng: &mut Rng, large: bool) -> Vec<u8> {
    match rng.below(12) {
        0 if large => vec![b'L'; 4_080 + rng.below(5_000) as usize],
        0..3 => (rng.next_u64() as i64 >> rng.below(64)).to_string().into_bytes(),
        3 => vec![b'm'; rng.below(700) as usize],
        _ => vec![b'a' + rng.below(3) as u8; rng.below(4) as usize],
    }
}

fn check(list: &List, model: &Model) {
    list.check();
    assert_eq!(list.len(), model.len());
    assert_eq!(list.is_empty(), model.is_empty());
    assert!(list.iter_from(0).map(|item| item.to_vec()).eq(model.iter().cloned()));
    if !model.is_empty() {
        let back = list.iter_back_from(model.len() - 1).map(|item| item.to_vec());
        assert!(back.eq(model.iter().rev().cloned()));
    }
    let nodes: usize = list.nodes().map(|node| node_items(&node)).sum();
    assert_eq!(nodes, model.len());
}

fn node_items(node: &NodeView<'_>) -> usize {
    match node {
        NodeView::Packed(bytes) => listpack::validate(bytes, true).expect("a listpack"),
        NodeView::Plain(_) => 1,
    }
}

fn random_end(rng: &mut Rng) -> End {
    if rng.below(2) == 0 { End::Left } else { End::Right }
}

/// Removes items from the model in the way of [`List::remove_equal`].
fn remove_equal(model: &mut Model, end: End, count_max: usize, text: &[u8]) -> usize {
    let mut removed = 0;
    while removed < count_max {
        let mut texts = model.iter();
        let found = match end {
            End::Left => texts.position(|other| other == text),
            End::Right => texts.rposition(|other| other == text),
        };
        let Some(at) = found else { break };
        model.remove(at);
        removed += 1;
    }
    removed
}

fn step(rng: &mut Rng, list: &mut List, model: &mut Model, limits: &Limits) {
    let text = random_text(rng, true);
    let index = rng.below(model.len() as u64 + 1) as usize;
    let end = random_end(rng);
    match rng.below(20) {
        0..7 => {
            list.push(end, &text, limits);
            match end {
                End::Left => model.push_front(text),
                End::Right => model.push_back(text),
            }
        }
        7 | 8 => {
            let popped = list.pop(end, |item| item.to_vec());
            list.settle(limits);
            let expected = if end == End::Left { model.pop_front() } else { model.pop_back() };
            assert_eq!(popped, expected);
        }
        9..12 => {
            list.expect(1, text.len(), limits);
            let pivot = model.get(index).cloned().unwrap_or_else(|| b"none".to_vec());
            let is_after = rng.below(2) == 0;
            let at = model.iter().position(|other| *other == pivot);
            assert_eq!(list.insert_beside(&pivot, is_after, &text), at.is_some());
            if let Some(at) = at {
                model.insert(at + usize::from(is_after), text);
            }
        }
        12..15 if index < model.len() => {
            list.expect(1, text.len(), limits);
            list.set(index, &text);
            list.settle(limits);
            model[index] = text;
        }
        15 => {
            let last = (index + rng.below(40) as usize).min(model.len());
            list.remove_range(index..last, limits);
            model.drain(index..last);
        }
        16 => {
            let wanted = model.get(index).cloned().unwrap_or_default();
            let count_max = if rng.below(3) == 0 { usize::MAX } else { 1 + rng.below(3) as usize };
            let removed = list.remove_equal(end, count_max, &wanted, limits);
            assert_eq!(removed, remove_equal(model, end, count_max, &wanted));
        }
        17 => {
            assert_eq!(list.get(index).map(|item| item.to_vec()), model.get(index).cloned());
            let from: Vec<_> = list.iter_from(index).take(9).map(|item| item.to_vec()).collect();
            assert!(from.iter().eq(model.iter().skip(index).take(9)));
            let back = list.iter_back_from(index).take(9).map(|item| item.to_vec());
            let end = (index + 1).min(model.len());
            assert!(back.eq(model.range(..end).rev().take(9).cloned()));
        }
        18 if rng.below(8) == 0 => {
            let last = rng.below(4) as usize;
            let cut = model.len().saturating_sub(last)..model.len();
            list.remove_range(0..cut.start, limits);
            model.drain(0..cut.start);
        }
        _ => {}
    }
}

#[test]
fn random_operations_match_a_deque() {
    let mut rng = Rng::new(77);
    for node_size in [-5, -2, -1, 0, 1, 2, 3, 10, 128] {
        let limits = limits(node_size);
        let (mut list, mut model) = (List::default(), Model::new());
        for _ in 0..1_500 {
            step(&mut rng, &mut list, &mut model, &limits);
            check(&list, &model);
        }
        check(&list.clone(), &model);
    }
}

#[test]
fn lists_of_many_nodes_match_a_deque() {
    let mut rng = Rng::new(78);
    let limits = limits(2);
    let (mut list, mut model) = (List::default(), Model::new());
    for round in 0..6 {
        for number in 0..6_000 {
            let text = format!("{}", number * 7 + round).into_bytes();
            let end = if round % 2 == 0 { End::Right } else { random_end(&mut rng) };
            list.push(end, &text, &limits);
            match end {
                End::Left => model.push_front(text),
                End::Right => model.push_back(text),
            }
        }
        check(&list, &model);
        for _ in 0..40 {
            let start = rng.below(model.len() as u64 + 1) as usize;
            let end = (start + rng.below(700) as usize).min(model.len());
            list.remove_range(start..end, &limits);
            model.drain(start..end);
            list.check();
        }
        check(&list, &model);
        for _ in 0..100 {
            step(&mut rng, &mut list, &mut model, &limits);
        }
        check(&list, &model);
    }
    while !model.is_empty() {
        let start = rng.below(model.len() as u64) as usize;
        let end = (start + 1 + rng.below(90) as usize).min(model.len());
        list.remove_range(start..end, &limits);
        model.drain(start..end);
        list.check();
    }
    check(&list, &model);
}

#[test]
fn forms_change_at_the_sizes_of_the_reference() {
    let filled = |limits: &Limits, count: usize, text: &[u8]| {
        let mut list = List::default();
        (0..count).for_each(|_| list.push(End::Right, text, limits));
        list
    };
    // Limit in items: one listpack up to the limit, and again at half of it.
    let mut list = filled(&limits(8), 8, b"x");
    assert_eq!(list.encoding(), "listpack");
    list.push(End::Left, b"x", &limits(8));
    assert_eq!(list.encoding(), "quicklist");
    list.remove_range(0..4, &limits(8));
    assert_eq!((list.len(), list.encoding()), (5, "quicklist"));
    list.remove_range(0..1, &limits(8));
    assert_eq!((list.len(), list.encoding()), (4, "listpack"));
    // Limit in bytes: 4,096 with head and end mark. A new item counts only with its text.
    let text = [b'x'; 100];
    assert_eq!(filled(&limits(-1), 39, &text).encoding(), "listpack");
    let mut list = filled(&limits(-1), 39, &text);
    list.push(End::Right, &[b'y'; 4_096 - 39 * 103 - 7], &limits(-1));
    assert_eq!(list.encoding(), "listpack");
    list.push(End::Right, b"z", &limits(-1));
    assert_eq!(list.encoding(), "quicklist");
    // A list that was built as a chain becomes a listpack only if it is small.
    for (count, encoding) in [(39, "listpack"), (40, "quicklist")] {
        let mut list = List::large(&limits(-1));
        (0..count).for_each(|_| list.add(End::Right, &text));
        assert_eq!(list.encoding(), "quicklist");
        list.settle_new(&limits(-1));
        assert_eq!(list.encoding(), encoding);
    }
    // `expect` makes a chain even if the expected item does not follow.
    let mut list = filled(&limits(-1), 1, b"x");
    list.expect(1, 5_000, &limits(-1));
    assert_eq!((list.len(), list.encoding()), (1, "quicklist"));
}

#[test]
fn large_items_have_their_own_nodes() {
    let limits = limits(-1);
    let large = vec![b'L'; 4_097];
    let mut list = List::default();
    for text in [&b"a"[..], &large, b"b", b"c"] {
        list.push(End::Right, text, &limits);
    }
    let shapes = |list: &List| -> Vec<(bool, usize)> {
        let shape = |node: NodeView<'_>| (matches!(node, NodeView::Plain(_)), node_items(&node));
        list.nodes().map(shape).collect()
    };
    assert_eq!(shapes(&list), [(false, 1), (true, 1), (false, 2)]);
    list.set(2, &large);
    assert_eq!(shapes(&list), [(false, 1), (true, 1), (true, 1), (false, 1)]);
    // A large item that becomes small goes to the right neighbour. Nodes are not merged then.
    list.set(2, b"B");
    assert_eq!(shapes(&list), [(false, 1), (true, 1), (false, 2)]);
    list.set(1, b"A");
    assert_eq!(shapes(&list), [(false, 1), (false, 3)]);
    assert!(list.insert_beside(b"B", true, &large));
    assert_eq!(shapes(&list), [(false, 1), (false, 2), (true, 1), (false, 1)]);
    list.check();
    assert!(list.remove_equal(End::Right, 1, &large, &limits) == 1);
    list.settle(&limits);
    assert_eq!(list.encoding(), "quicklist");
    list.remove_range(1..4, &limits);
    assert_eq!((shapes(&list), list.encoding()), (vec![(false, 1)], "listpack"));
}

#[test]
fn nodes_of_other_servers_are_loaded() {
    let limits = limits(-2);
    // 12 stored as a text, which our own lists never contain.
    let odd = b"\x0b\0\0\0\x01\0\x8212\x03\xff";
    assert_eq!(listpack::validate(odd, true), Some(1));
    let mut list = List::large(&limits);
    list.add_packed(odd, &limits);
    list.add_plain(b"plain", &limits);
    assert_eq!(list.get(0), Some(Item::Int(12)));
    assert_eq!(list.get(1), Some(Item::Bytes(b"plain")));
    list.check();
    let mut list = List::default();
    list.add_packed(of_texts(&["a", "b"]).as_bytes(), &limits);
    list.settle_new(&limits);
    assert_eq!((list.len(), list.encoding()), (2, "listpack"));
}

fn of_texts(texts: &[&str]) -> Listpack {
    texts.iter().map(|text| Item::of(text.as_bytes())).collect()
}

#[test]
fn a_large_list_is_compact_and_freed_in_steps() {
    let limits = limits(-2);
    let mut list = List::default();
    for number in 0..1_400_000u32 {
        list.push(End::Right, format!("item-{number:08}").as_bytes(), &limits);
        if matches!(number + 1, 750_000 | 1_000_000 | 1_400_000) {
            let each = list.memory_bytes(0) as f64 / f64::from(number + 1);
            assert!(each <= 15.2, "{each} bytes for each item");
            let guess = list.memory_bytes(5) as f64 / list.memory_bytes(0) as f64;
            assert!((0.9..1.1).contains(&guess));
        }
    }
    let mut steps = 1;
    while !list.free_step() {
        steps += 1;
    }
    assert!((10..60).contains(&steps), "{steps} steps");
    assert_eq!(size_of::<List>(), 16);
}
