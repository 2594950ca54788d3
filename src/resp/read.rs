//! Reads replies: where a reply ends, and its value. Used for merging, by tests and by clients.
//!
//! ```text
//!   line:       + - : _ , # (          text CR LF
//!   string:     $ = !                  length CR LF bytes CR LF        ($-1 CR LF: null)
//!   aggregate:  * ~ > (n values)  % | (n pairs)    n CR LF values      (*-1 CR LF: null)
//! ```
//! An attribute (`|`) belongs to the value that follows it.

use crate::base::number::parse_i64;
use memchr::memchr;

/// The deepest nesting that [`Value::read`] accepts.
pub const VALUE_DEPTH_MAX: usize = 64;

/// The first line of a value.
struct Head<'a> {
    kind: u8,
    /// The text of the line, without type byte and line end.
    text: &'a [u8],
    /// Bytes of the line, with its line end.
    len: usize,
}

impl<'a> Head<'a> {
    fn read(bytes: &'a [u8]) -> Option<Head<'a>> {
        let (&kind, rest) = bytes.split_first()?;
        let end = memchr(b'\n', rest)?;
        let text = rest[..end].strip_suffix(b"\r")?;
        Some(Head { kind, text, len: end + 2 })
    }

    /// Returns the bytes of a string and its line end; 0 for a null. Returns none for other types.
    fn string_bytes(&self) -> Option<usize> {
        if !matches!(self.kind, b'$' | b'=' | b'!') {
            return None;
        }
        let len = parse_i64(self.text)?;
        Some(if len < 0 { 0 } else { len as usize + 2 })
    }

    /// Returns the number of values inside an aggregate. For an attribute, counts also the value
    /// that follows. Returns 0 for other types.
    fn children(&self) -> Option<usize> {
        let count = |text| parse_i64(text).map(|count| count.max(0) as usize);
        match self.kind {
            b'*' | b'~' | b'>' => count(self.text),
            b'%' => count(self.text)?.checked_mul(2),
            b'|' => count(self.text)?.checked_mul(2)?.checked_add(1),
            _ => Some(0),
        }
    }
}

/// Returns the length of the reply at the start of `bytes`; none if it is incomplete or invalid.
/// Does not recurse, whatever the nesting.
pub fn reply_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut left: usize = 1;
    while left > 0 {
        let head = Head::read(bytes.get(at..)?)?;
        at += head.len;
        left = (left - 1).checked_add(head.children()?)?;
        if matches!(head.kind, b'$' | b'=' | b'!') {
            at = at.checked_add(head.string_bytes()?)?;
        }
    }
    (at <= bytes.len()).then_some(at)
}

/// A decoded reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Simple string, `+`
    Simple(Vec<u8>),
    /// Error, `-` or `!`
    Error(Vec<u8>),
    /// Integer, `:`
    Integer(i64),
    /// Bulk string, `$`
    Bulk(Vec<u8>),
    /// Null, `$-1`, `*-1` or `_`
    Null,
    /// Array, `*`
    Array(Vec<Value>),
    /// Map, `%`
    Map(Vec<(Value, Value)>),
    /// Set, `~`
    Set(Vec<Value>),
    /// Push message, `>`
    Push(Vec<Value>),
    /// Double, `,`, as text
    Double(Vec<u8>),
    /// Boolean, `#`
    Boolean(bool),
    /// Big number, `(`, as digits
    BigNumber(Vec<u8>),
    /// Verbatim string, `=`: its format in three letters, and its text
    Verbatim([u8; 3], Vec<u8>),
}

impl Value {
    /// Decodes the reply at the start of `bytes`, and returns it with its length. Returns none if
    /// it is incomplete, invalid or nested more deeply than [`VALUE_DEPTH_MAX`]. Attributes are
    /// skipped.
    pub fn read(bytes: &[u8]) -> Option<(Value, usize)> {
        let end = reply_end(bytes)?;
        let mut at = 0;
        let value = Value::read_at(&bytes[..end], &mut at, VALUE_DEPTH_MAX)?;
        debug_assert_eq!(at, end);
        Some((value, end))
    }

    fn read_at(bytes: &[u8], at: &mut usize, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        let head = Head::read(&bytes[*at..])?;
        *at += head.len;
        let text = head.text;
        let values = |at: &mut usize| -> Option<Vec<Value>> {
            (0..head.children()?).map(|_| Value::read_at(bytes, at, depth)).collect()
        };
        Some(match head.kind {
            b'+' => Value::Simple(text.to_vec()),
            b'-' => Value::Error(text.to_vec()),
            b':' => Value::Integer(parse_i64(text)?),
            b',' => Value::Double(text.to_vec()),
            b'#' => Value::Boolean(text == b"t"),
            b'(' => Value::BigNumber(text.to_vec()),
            b'_' => Value::Null,
            b'$' | b'=' | b'!' => return Value::read_string(&head, bytes, at),
            b'*' if text.starts_with(b"-") => Value::Null,
            b'*' => Value::Array(values(at)?),
            b'~' => Value::Set(values(at)?),
            b'>' => Value::Push(values(at)?),
            b'%' => {
                let mut values = values(at)?.into_iter();
                let mut pairs = Vec::new();
                while let (Some(key), Some(value)) = (values.next(), values.next()) {
                    pairs.push((key, value));
                }
                Value::Map(pairs)
            }
            b'|' => values(at)?.pop()?,
            _ => return None,
        })
    }

    fn read_string(head: &Head, bytes: &[u8], at: &mut usize) -> Option<Value> {
        let len = head.string_bytes()?;
        if len == 0 {
            return Some(Value::Null);
        }
        let text = &bytes[*at..*at + len - 2];
        *at += len;
        Some(match head.kind {
            b'$' => Value::Bulk(text.to_vec()),
            b'!' => Value::Error(text.to_vec()),
            _ => Value::Verbatim(*text.first_chunk()?, text.get(4..)?.to_vec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_whole_replies() {
        let whole: &[&[u8]] = &[
            b"+OK\r\n",
            b"-ERR no\r\n",
            b":-12\r\n",
            b"$3\r\nabc\r\n",
            b"$0\r\n\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
            b"%1\r\n+k\r\n~1\r\n,1.5\r\n",
            b">2\r\n+message\r\n_\r\n",
            b"|1\r\n+ttl\r\n:3\r\n$1\r\na\r\n",
            b"=7\r\ntxt:abc\r\n",
            b"#t\r\n",
            b"(123456789012345678901234567890\r\n",
        ];
        for reply in whole {
            let mut longer = reply.to_vec();
            longer.extend_from_slice(b"+next\r\n");
            assert_eq!(reply_end(&longer), Some(reply.len()));
            assert_eq!(Value::read(&longer).map(|(_, len)| len), Some(reply.len()));
            for len in 0..reply.len() {
                assert_eq!(reply_end(&reply[..len]), None, "{:?}", &reply[..len]);
            }
        }
    }

    #[test]
    fn values() {
        let (value, _) = Value::read(b"%1\r\n+k\r\n*2\r\n$-1\r\n=7\r\ntxt:abc\r\n").unwrap();
        let list = Value::Array(vec![Value::Null, Value::Verbatim(*b"txt", b"abc".to_vec())]);
        assert_eq!(value, Value::Map(vec![(Value::Simple(b"k".to_vec()), list)]));
        assert_eq!(Value::read(&b"*1\r\n".repeat(100_000)), None);
        let deep = [&b"*1\r\n".repeat(1_000)[..], b"_\r\n"].concat();
        assert_eq!(reply_end(&deep), Some(deep.len()));
        assert_eq!(Value::read(&deep), None, "too deep");
    }
}
