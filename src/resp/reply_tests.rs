//! Tests of every reply type in both protocol versions, and of outputs with large values.

use super::*;
use crate::resp::{Value, reply_end};

fn written(protocol: Protocol, write: impl Fn(&mut Reply)) -> String {
    let mut out = Output::default();
    write(&mut Reply::new(&mut out, protocol));
    assert_eq!(out.len(), out.to_vec().len());
    String::from_utf8(out.to_vec()).expect("these replies are text")
}

#[test]
fn kinds_in_both_dialects() {
    type Write = fn(&mut Reply);
    let cases: &[(Write, &str, &str)] = &[
        (|reply| reply.ok(), "+OK\r\n", "+OK\r\n"),
        (|reply| reply.simple("PONG"), "+PONG\r\n", "+PONG\r\n"),
        (|reply| reply.error(&Error::Syntax), "-ERR syntax error\r\n", "-ERR syntax error\r\n"),
        (|reply| reply.error_bytes(b"\nERR a\r\nb\r\n"), "-ERR a  b\r\n", "-ERR a  b\r\n"),
        (|reply| reply.integer(7), ":7\r\n", ":7\r\n"),
        (|reply| reply.integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
        (|reply| reply.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n"),
        (|reply| reply.bulk(&[b'a'; 12]), "$12\r\naaaaaaaaaaaa\r\n", "$12\r\naaaaaaaaaaaa\r\n"),
        (|reply| reply.integer_bulk(99_999_999), "$8\r\n99999999\r\n", "$8\r\n99999999\r\n"),
        (|reply| reply.integer_bulk(100_000_000), "$9\r\n100000000\r\n", "$9\r\n100000000\r\n"),
        (|reply| reply.integer(99_999_999), ":99999999\r\n", ":99999999\r\n"),
        (|reply| reply.integer(100_000_000), ":100000000\r\n", ":100000000\r\n"),
        (|reply| reply.double(1234.0), "$4\r\n1234\r\n", ",1234\r\n"),
        (|reply| reply.double(-1234.0), "$5\r\n-1234\r\n", ",-1234\r\n"),
        (|reply| reply.integer_bulk(-12), "$3\r\n-12\r\n", "$3\r\n-12\r\n"),
        (|reply| reply.null(), "$-1\r\n", "_\r\n"),
        (|reply| reply.null_array(), "*-1\r\n", "_\r\n"),
        (|reply| reply.array(100), "*100\r\n", "*100\r\n"),
        (|reply| reply.map(6), "*12\r\n", "%6\r\n"),
        (|reply| reply.set(3), "*3\r\n", "~3\r\n"),
        (|reply| reply.push(3), "*3\r\n", ">3\r\n"),
        (|reply| reply.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
        (|reply| reply.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
        (|reply| reply.double_text(b"0.1"), "$3\r\n0.1\r\n", ",0.1\r\n"),
        (|reply| reply.big_number(b"123"), "$3\r\n123\r\n", "(123\r\n"),
        (|reply| reply.boolean(true), ":1\r\n", "#t\r\n"),
        (|reply| reply.boolean(false), ":0\r\n", "#f\r\n"),
        (|reply| reply.verbatim("txt", b"abc"), "$3\r\nabc\r\n", "=7\r\ntxt:abc\r\n"),
    ];
    for (write, two, three) in cases {
        assert_eq!(written(Protocol::Two, write), *two);
        assert_eq!(written(Protocol::Three, write), *three);
    }
}

/// Returns a value that is large enough to be shared.
fn large(fill: u8) -> Bytes {
    Bytes::from(vec![fill; SHARED_BYTES_MIN + usize::from(fill)])
}

#[test]
fn large_values_are_shared_and_leave_in_order() {
    let mut out = Output::default();
    let mut reply = Reply::new(&mut out, Protocol::Two);
    reply.array(3);
    reply.bulk_shared(large(1));
    reply.bulk_shared(Bytes::from_static(b"small"));
    reply.bulk_shared(large(2));
    let wire = out.to_vec();
    assert_eq!(reply_end(&wire), Some(out.len()));
    let Some((Value::Array(values), _)) = Value::read(&wire) else { panic!("an array") };
    assert_eq!(values[0], Value::Bulk(large(1).to_vec()));
    let mut pieces = Vec::new();
    out.drain(|piece| pieces.push(piece));
    assert_eq!(pieces.iter().filter(|piece| matches!(piece, Piece::Shared(_))).count(), 2);
    let sent: Vec<u8> = pieces.iter().flat_map(|piece| piece.as_bytes().to_vec()).collect();
    assert_eq!(sent, wire);
    assert!(out.is_empty());
    assert_eq!(out.len(), 0);
}

#[test]
fn without_large_values_the_memory_itself_leaves() {
    let mut out = Output::default();
    Reply::new(&mut out, Protocol::Two).ok();
    let memory = out.own_bytes(0..out.len()).as_ptr();
    let mut pieces = Vec::new();
    out.drain(|piece| pieces.push(piece));
    assert_eq!(pieces.len(), 1);
    let Some(Piece::Own(bytes)) = pieces.pop() else { panic!("own bytes") };
    assert_eq!(bytes.as_ptr(), memory);
    out.reuse(bytes);
    Reply::new(&mut out, Protocol::Two).ok();
    assert_eq!(out.own_bytes(0..out.len()).as_ptr(), memory, "the memory came back");
    out.clear();
    out.drain(|_| panic!("nothing is left to send"));
}

#[test]
fn elements_are_merged_with_their_shared_values() {
    let mut from = Output::default();
    let mut reply = Reply::new(&mut from, Protocol::Two);
    reply.ok();
    let mark = reply.mark();
    for fill in [3, 4, 5] {
        reply.bulk_shared(large(fill));
        reply.element_end();
    }
    reply.null();
    reply.element_end();
    let elements: Vec<_> = from.elements(mark).collect();
    assert_eq!(elements.len(), 4);
    let mut merged = Output::default();
    let mut reply = Reply::new(&mut merged, Protocol::Two);
    reply.array(3);
    for index in [3, 1, 0] {
        reply.append_range(&from, elements[index].clone());
    }
    let wire = merged.to_vec();
    let expected = [Value::Null, Value::Bulk(large(4).to_vec()), Value::Bulk(large(3).to_vec())];
    assert_eq!(Value::read(&wire), Some((Value::Array(expected.to_vec()), merged.len())));
}

#[test]
fn an_error_replaces_what_was_begun() {
    let mut out = Output::default();
    let mut reply = Reply::new(&mut out, Protocol::Three);
    reply.ok();
    let mark = reply.mark();
    reply.array(2);
    reply.bulk_shared(large(9));
    reply.element_end();
    reply.truncate(mark);
    reply.error(&Error::NotFloat);
    assert_eq!(out.to_vec(), b"+OK\r\n-ERR value is not a valid float\r\n");
    assert_eq!(out.elements(mark).len(), 0);
    assert_eq!(out.len(), out.to_vec().len());
}

#[test]
fn a_large_reply_is_cut_into_pieces_and_stays_the_same() {
    for (count, len) in [(3, 10), (2, 20_000), (4_000, 100), (9, 40_000), (1, 1_000_000)] {
        let mut whole = Output::default();
        let mut reply = Reply::new(&mut whole, Protocol::Two);
        reply.array(2 * count);
        for number in 0..count {
            reply.bulk(&vec![b'a' + number as u8 % 26; len]);
            reply.bulk_shared(Bytes::from(vec![b'z'; len]));
        }
        let mut out = Output::default();
        Reply::new(&mut out, Protocol::Two).ok();
        let (mark, expected) = (out.mark(), whole.to_vec());
        out.append_moved(whole);
        assert_eq!(out.to_vec()[5..], expected, "{count} of {len}");
        assert_eq!(out.len(), out.to_vec().len());
        // Merging reads the first line and takes the elements behind it, by reference.
        let (range, head) = (out.range_from(mark), format!("*{}\r\n", 2 * count).len());
        assert!(out.own_bytes(range.clone()).starts_with(&expected[..head]));
        let mut merged = Output::default();
        merged.append_range(&out, range.start + head..range.end);
        assert_eq!(merged.to_vec(), expected[head..], "{count} of {len}");
        let mut pieces = Vec::new();
        merged.drain(|piece| pieces.push(piece));
        let is_small = |piece: &Piece| piece.as_bytes().len() <= PIECE_BYTES_MAX.max(len);
        assert!(pieces.iter().all(is_small), "{count} of {len}");
    }
}
