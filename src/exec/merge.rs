//! Merges the replies of a command's parts that have run one after the other.

use super::command::Merge;
use super::slot_stats::SlotStats;
use crate::resp::{Reply, Value};

/// Merges the replies of parts. `order` has the index of a part for each key, or for each part.
pub(super) fn merge_replies(
    merge: Merge,
    parts: &[Vec<u8>],
    order: &[usize],
    mut reply: Reply<'_>,
    draw: &mut dyn FnMut(u64) -> u64,
) {
    if let Some(error) = parts.iter().find(|part| part.starts_with(b"-")) {
        return reply.output().append_raw(error);
    }
    let values: Vec<Value> = parts.iter().map(|part| read(part)).collect();
    match merge {
        Merge::Sum => reply.integer(values.iter().map(integer).sum()),
        Merge::Ok => reply.ok(),
        Merge::ByKey => {
            let mut elements: Vec<_> = parts.iter().map(|part| elements_of(part)).collect();
            reply.array(order.len());
            for part in order {
                let element = elements[*part].next().expect("a part replies an element per key");
                reply.output().append_raw(element);
            }
        }
        Merge::Concat => {
            let count = parts.iter().map(|part| elements_of(part).count()).sum();
            reply.array(count);
            parts
                .iter()
                .flat_map(|part| elements_of(part))
                .for_each(|it| reply.output().append_raw(it));
        }
        Merge::Draw => {
            let weights: Vec<i64> = values.iter().map(weight).collect();
            let total = weights.iter().sum::<i64>();
            if total <= 0 {
                return reply.null();
            }
            let mut left = draw(total as u64) as i64;
            for (part, weight) in parts.iter().zip(weights) {
                if left < weight {
                    let element = elements_of(part).nth(1).expect("a weight and an element");
                    return reply.output().append_raw(element);
                }
                left -= weight;
            }
        }
        Merge::SlotStats => {
            let texts: Vec<&[u8]> = values.iter().map(bulk).collect();
            SlotStats::merge(&texts).write(&mut reply);
        }
        Merge::Walk | Merge::Lines | Merge::Killed | Merge::Debug(_) => {
            unreachable!("no command that scripts may run has parts like these")
        }
    }
}

fn read(part: &[u8]) -> Value {
    Value::read(part).expect("a part has a whole reply").0
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Integer(number) => *number,
        other => unreachable!("{other:?} is no sum"),
    }
}

fn bulk(value: &Value) -> &[u8] {
    match value {
        Value::Bulk(text) => text,
        other => unreachable!("{other:?} is no text"),
    }
}

fn weight(value: &Value) -> i64 {
    match value {
        Value::Array(elements) => integer(&elements[0]),
        other => unreachable!("{other:?} has no weight"),
    }
}

/// Returns the encoded elements of an array.
fn elements_of(part: &[u8]) -> impl Iterator<Item = &[u8]> {
    let head = part.iter().position(|byte| *byte == b'\n').expect("an array has a head") + 1;
    let mut rest = &part[head..];
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (_, len) = Value::read(rest).expect("the elements are whole");
        let (element, after) = rest.split_at(len);
        rest = after;
        Some(element)
    })
}
