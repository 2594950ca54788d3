//! `cjson.encode`

use super::number::push_general;
use super::{Invalid, JsonOptions, options};
use crate::script::machine::{Kind, Raise, Stack};

/// A table that is being encoded. It is on the stack; above an object is its last key.
enum Level {
    Array { at: i32, len: i32 },
    Object { is_first: bool },
}

/// Why a value cannot be encoded.
type Fault = Vec<u8>;

/// The only argument is the value.
pub fn encode(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    if stack.top() != 1 {
        return Err(stack.raise_argument(1, b"expected 1 argument"));
    }
    let mut out = Vec::new();
    let options = options(stack);
    match encode_value(stack, &options, &mut out) {
        Ok(()) => {
            stack.reserve(1);
            stack.push_bytes(&out);
            stack.check_memory()?;
            Ok(1)
        }
        Err(text) => Err(stack.raise(&text)),
    }
}

/// Encodes the topmost value and pops it.
fn encode_value(
    stack: &mut Stack<'_>,
    options: &JsonOptions,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let mut levels: Vec<Level> = Vec::new();
    begin(stack, options, out, &mut levels)?;
    while let Some(level) = levels.last_mut() {
        match level {
            Level::Array { at, len } if at == len => {
                out.push(b']');
                stack.pop(1);
                levels.pop();
            }
            Level::Array { at, .. } => {
                if *at > 0 {
                    out.push(b',');
                }
                *at += 1;
                stack.raw_get_at(-1, *at);
                begin(stack, options, out, &mut levels)?;
            }
            Level::Object { is_first } => {
                if !stack.next(-2) {
                    out.push(b'}');
                    stack.pop(1);
                    levels.pop();
                    continue;
                }
                if !std::mem::take(is_first) {
                    out.push(b',');
                }
                push_key(stack, options, out)?;
                begin(stack, options, out, &mut levels)?;
            }
        }
    }
    Ok(())
}

fn fault(stack: &Stack<'_>, index: i32, reason: &str) -> Fault {
    format!("Cannot serialise {}: {reason}", stack.type_name(index)).into_bytes()
}

/// Appends the key below the topmost value.
fn push_key(stack: &mut Stack<'_>, options: &JsonOptions, out: &mut Vec<u8>) -> Result<(), Fault> {
    if let Some(number) = stack.number(-2) {
        out.push(b'"');
        push_number(stack, options, out, (number, -2))?;
        out.extend_from_slice(b"\":");
    } else if let Some(text) = stack.bytes(-2) {
        push_string(out, text);
        out.push(b':');
    } else {
        return Err(fault(stack, -2, "table key must be a number or string"));
    }
    Ok(())
}

/// Encodes the topmost value and pops it, or opens a level if it is a table.
fn begin(
    stack: &mut Stack<'_>,
    options: &JsonOptions,
    out: &mut Vec<u8>,
    levels: &mut Vec<Level>,
) -> Result<(), Fault> {
    match stack.kind(-1) {
        Kind::String => push_string(out, stack.bytes(-1).unwrap_or_default()),
        Kind::Number => {
            let number = stack.number(-1).unwrap_or_default();
            push_number(stack, options, out, (number, -1))?;
        }
        Kind::Boolean if stack.boolean(-1) => out.extend_from_slice(b"true"),
        Kind::Boolean => out.extend_from_slice(b"false"),
        Kind::Table => return begin_table(stack, options, out, levels),
        Kind::Nil => out.extend_from_slice(b"null"),
        Kind::Pointer if stack.is_null_pointer(-1) => out.extend_from_slice(b"null"),
        _ => return Err(fault(stack, -1, "type not supported")),
    }
    stack.pop(1);
    Ok(())
}

fn begin_table(
    stack: &mut Stack<'_>,
    options: &JsonOptions,
    out: &mut Vec<u8>,
    levels: &mut Vec<Level>,
) -> Result<(), Fault> {
    let depth = levels.len() as i64 + 1;
    if depth > options.encode_depth.into() || !stack.reserve(3) {
        return Err(format!("Cannot serialise, excessive nesting ({depth})").into_bytes());
    }
    stack.unprotect(-1);
    match array_len(stack, options)? {
        Some(len) if len > 0 => {
            out.push(b'[');
            levels.push(Level::Array { at: 0, len });
        }
        _ => {
            out.push(b'{');
            stack.push_nil();
            levels.push(Level::Object { is_first: true });
        }
    }
    Ok(())
}

/// Returns the number of places of the topmost table if it is an array, else none.
fn array_len(stack: &mut Stack<'_>, options: &JsonOptions) -> Result<Option<i32>, Fault> {
    let (mut max, mut items) = (0i32, 0i32);
    stack.push_nil();
    while stack.next(-2) {
        let place = stack.number(-2).filter(|key| key.floor() == *key && *key >= 1.0);
        let Some(place) = place else {
            stack.pop(2);
            return Ok(None);
        };
        if place > f64::from(max) {
            max = if place <= f64::from(i32::MAX) { place as i32 } else { i32::MIN };
        }
        items = items.wrapping_add(1);
        stack.pop(1);
    }
    let ratio = options.sparse_ratio;
    if ratio > 0 && max > items.wrapping_mul(ratio) && max > options.sparse_safe {
        if !options.sparse_convert {
            return Err(fault(stack, -1, "excessively sparse array"));
        }
        return Ok(None);
    }
    Ok(Some(max))
}

fn push_number(
    stack: &Stack<'_>,
    options: &JsonOptions,
    out: &mut Vec<u8>,
    (number, index): (f64, i32),
) -> Result<(), Fault> {
    if number.is_finite() {
        push_general(out, number, options.precision);
        return Ok(());
    }
    match options.encode_invalid {
        Invalid::Error => return Err(fault(stack, index, "must not be NaN or Inf")),
        Invalid::Null => out.extend_from_slice(b"null"),
        Invalid::Number if number.is_nan() => out.extend_from_slice(b"nan"),
        Invalid::Number if number > 0.0 => out.extend_from_slice(b"inf"),
        Invalid::Number => out.extend_from_slice(b"-inf"),
    }
    Ok(())
}

/// Appends a string in quotes. Bytes that are not ASCII stay as they are.
fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| needs_escape(byte)) {
        out.extend_from_slice(&rest[..at]);
        push_escape(out, rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | b'/' | 0x7f)
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        8 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        12 => b'f',
        b'\r' => b'r',
        b'"' | b'\\' | b'/' => byte,
        _ => {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            let (high, low) = (DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]);
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
