//! The library `cmsgpack`: Lua values as MessagePack, as lua-cmsgpack 0.4 has them.

use super::machine::{Kind, Library, Raise, Stack, to_integer};

/// The library.
pub const LIBRARY: Library = Library {
    name: "cmsgpack",
    functions: &[
        ("pack", pack),
        ("unpack", unpack),
        ("unpack_one", unpack_one),
        ("unpack_limit", unpack_limit),
    ],
    numbers: &[],
    texts: &[
        ("_NAME", "cmsgpack"),
        ("_VERSION", "lua-cmsgpack 0.4.0"),
        ("_COPYRIGHT", "Copyright (C) 2012, Redis Ltd."),
        ("_DESCRIPTION", "MessagePack C implementation for Lua"),
    ],
};

/// Tables nested more deeply become nil.
const DEPTH_MAX: usize = 16;

/// Encodes all arguments, one after the other.
fn pack(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let count = stack.top();
    if count == 0 {
        return Err(stack.raise_argument(0, b"MessagePack pack needs input."));
    }
    let mut out = Vec::new();
    for argument in 1..=count {
        if !stack.reserve(8) {
            return Err(stack.raise_argument(0, b"Too many arguments for MessagePack pack."));
        }
        stack.push_copy(argument);
        encode(stack, &mut out, 0);
    }
    stack.push_bytes(&out);
    stack.check_memory()?;
    Ok(1)
}

/// Encodes the topmost value and pops it.
fn encode(stack: &mut Stack<'_>, out: &mut Vec<u8>, depth: usize) {
    match stack.kind(-1) {
        Kind::String => push_string(out, stack.bytes(-1).unwrap_or_default()),
        Kind::Boolean => out.push(if stack.boolean(-1) { 0xc3 } else { 0xc2 }),
        Kind::Number => push_number(out, stack.number(-1).unwrap_or_default()),
        Kind::Table if depth < DEPTH_MAX => {
            stack.reserve(8);
            stack.unprotect(-1);
            match array_len(stack) {
                Some(len) => encode_array(stack, out, len, depth),
                None => encode_map(stack, out, depth),
            }
        }
        _ => out.push(0xc0),
    }
    stack.pop(1);
}

/// Returns the number of elements of the topmost table if its keys are 1 to that number.
fn array_len(stack: &mut Stack<'_>) -> Option<i32> {
    let (mut count, mut max) = (0, 0);
    stack.push_nil();
    while stack.next(-2) {
        stack.pop(1);
        let key = stack.number(-1).filter(|key| *key > 0.0 && f64::from(*key as i32) == *key);
        let Some(key) = key else {
            stack.pop(1);
            return None;
        };
        max = max.max(key as i32);
        count += 1;
    }
    (max == count).then_some(count)
}

fn encode_array(stack: &mut Stack<'_>, out: &mut Vec<u8>, len: i32, depth: usize) {
    push_len(out, len as usize, (0x90, 0xdc, 0xdd));
    for at in 1..=len {
        stack.raw_get_at(-1, at);
        encode(stack, out, depth + 1);
    }
}

fn encode_map(stack: &mut Stack<'_>, out: &mut Vec<u8>, depth: usize) {
    let mut len = 0;
    stack.push_nil();
    while stack.next(-2) {
        stack.pop(1);
        len += 1;
    }
    push_len(out, len, (0x80, 0xde, 0xdf));
    stack.push_nil();
    while stack.next(-2) {
        stack.push_copy(-2);
        encode(stack, out, depth + 1);
        encode(stack, out, depth + 1);
    }
}

/// Appends the head of an array or map: up to 15 elements, up to 65,535, more.
fn push_len(out: &mut Vec<u8>, len: usize, (short, middle, long): (u8, u8, u8)) {
    if len <= 15 {
        out.push(short | len as u8);
    } else if let Ok(len) = u16::try_from(len) {
        out.push(middle);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(long);
        out.extend_from_slice(&(len as u32).to_be_bytes());
    }
}

fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    let len = text.len();
    if len < 32 {
        out.push(0xa0 | len as u8);
    } else if let Ok(len) = u8::try_from(len) {
        out.extend_from_slice(&[0xd9, len]);
    } else if let Ok(len) = u16::try_from(len) {
        out.push(0xda);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(0xdb);
        out.extend_from_slice(&(len as u32).to_be_bytes());
    }
    out.extend_from_slice(text);
}

fn push_number(out: &mut Vec<u8>, number: f64) {
    let integer = to_integer(number);
    if integer as f64 == number {
        return push_integer(out, integer);
    }
    let float = number as f32;
    if f64::from(float) == number {
        out.push(0xca);
        out.extend_from_slice(&float.to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn push_integer(out: &mut Vec<u8>, number: i64) {
    let (head, bytes) = match number {
        -32..=127 => return out.push(number as u8),
        128..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -128..=-33 => (0xd0, 1),
        -32_768..=-129 => (0xd1, 2),
        -2_147_483_648..=-32_769 => (0xd2, 4),
        _ => (0xd3, 8),
    };
    out.push(head);
    out.extend_from_slice(&number.to_be_bytes()[8 - bytes..]);
}

/// Why bytes cannot be decoded.
enum Fault {
    Missing,
    Invalid,
    Key(&'static str),
    Slots,
    Memory,
}

impl Fault {
    fn raise(self, stack: &mut Stack<'_>) -> Raise {
        match self {
            Fault::Missing => stack.raise(b"Missing bytes in input."),
            Fault::Invalid => stack.raise(b"Bad data format in input."),
            Fault::Key(text) => stack.raise_plain(text.as_bytes()),
            Fault::Slots => stack.raise(
                b"stack overflow (too many return values at once; \
                  use unpack_one or unpack_limit instead.)",
            ),
            Fault::Memory => stack.raise_plain(b"not enough memory"),
        }
    }
}

/// A table that is being filled. It is on the stack; above a map may be the key of the next value.
enum Level {
    Array { at: i32, left: u32 },
    Map { left: u32, has_key: bool },
}

/// What a value begins with.
enum Head {
    Whole,
    Array(u32),
    Map(u32),
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Fault::Missing)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        Ok(self.take(N)?.try_into().expect("as many bytes were taken"))
    }

    fn len(&mut self, bytes: usize) -> Result<u32, Fault> {
        let taken = self.take(bytes)?;
        Ok(taken.iter().fold(0, |len, byte| len << 8 | u32::from(*byte)))
    }

    fn string(&mut self, stack: &mut Stack<'_>, len: u32) -> Result<Head, Fault> {
        stack.push_bytes(self.take(len as usize)?);
        Ok(Head::Whole)
    }

    /// Reads a value without elements and pushes it, or the head of an array or map.
    fn head(&mut self, stack: &mut Stack<'_>) -> Result<Head, Fault> {
        let first = self.take(1)?[0];
        let number = match first {
            0x00..=0x7f => f64::from(first),
            0xe0..=0xff => f64::from(first as i8),
            0xcc => f64::from(self.array::<1>()?[0]),
            0xcd => f64::from(u16::from_be_bytes(self.array()?)),
            0xce => f64::from(u32::from_be_bytes(self.array()?)),
            0xcf | 0xd3 => i64::from_be_bytes(self.array()?) as f64,
            0xd0 => f64::from(self.array::<1>()?[0] as i8),
            0xd1 => f64::from(i16::from_be_bytes(self.array()?)),
            0xd2 => f64::from(i32::from_be_bytes(self.array()?)),
            0xca => f64::from(f32::from_be_bytes(self.array()?)),
            0xcb => f64::from_be_bytes(self.array()?),
            0xa0..=0xbf => return self.string(stack, u32::from(first & 0x1f)),
            0xd9..=0xdb => {
                let len = self.len(1 << (first - 0xd9))?;
                return self.string(stack, len);
            }
            0x90..=0x9f => return Ok(Head::Array(u32::from(first & 0xf))),
            0xdc | 0xdd => return Ok(Head::Array(self.len(2 << (first - 0xdc))?)),
            0x80..=0x8f => return Ok(Head::Map(u32::from(first & 0xf))),
            0xde | 0xdf => return Ok(Head::Map(self.len(2 << (first - 0xde))?)),
            0xc0 => {
                stack.push_nil();
                return Ok(Head::Whole);
            }
            0xc2 | 0xc3 => {
                stack.push_boolean(first == 0xc3);
                return Ok(Head::Whole);
            }
            _ => return Err(Fault::Invalid),
        };
        stack.push_number(number);
        Ok(Head::Whole)
    }

    /// Reads a value and pushes it.
    fn value(&mut self, stack: &mut Stack<'_>) -> Result<(), Fault> {
        let mut levels: Vec<Level> = Vec::new();
        loop {
            if !stack.reserve(2) {
                return Err(Fault::Slots);
            }
            if stack.check_memory().is_err() {
                return Err(Fault::Memory);
            }
            match self.head(stack)? {
                Head::Whole => {}
                Head::Array(left) => {
                    stack.push_table(0, 0);
                    if left > 0 {
                        levels.push(Level::Array { at: 1, left });
                        continue;
                    }
                }
                Head::Map(left) => {
                    stack.push_table(0, 0);
                    if left > 0 {
                        levels.push(Level::Map { left, has_key: false });
                        continue;
                    }
                }
            }
            if !store(stack, &mut levels)? {
                return Ok(());
            }
        }
    }
}

/// Stores the topmost value in its table, and tables that are complete in theirs. Returns whether a
/// table still needs values.
fn store(stack: &mut Stack<'_>, levels: &mut Vec<Level>) -> Result<bool, Fault> {
    while let Some(level) = levels.last_mut() {
        let left = match level {
            Level::Array { at, left } => {
                stack.raw_set_at(-2, *at);
                *at += 1;
                left
            }
            Level::Map { has_key, .. } if !*has_key => {
                *has_key = true;
                return Ok(true);
            }
            Level::Map { has_key, left } => {
                *has_key = false;
                let is_nil = stack.kind(-2) == Kind::Nil;
                if !stack.raw_set(-3) {
                    return Err(Fault::Key(match is_nil {
                        true => "table index is nil",
                        false => "table index is NaN",
                    }));
                }
                left
            }
        };
        *left -= 1;
        if *left > 0 {
            return Ok(true);
        }
        levels.pop();
    }
    Ok(false)
}

fn unpack_from(stack: &mut Stack<'_>, limit: i64, offset: i64) -> Result<i32, Raise> {
    let decodes_all = limit == 0 && offset == 0;
    let data = stack.string_argument(1)?.to_vec();
    let len = data.len() as i64;
    if offset < 0 || limit < 0 {
        let (offset, len) = (offset as i32, len as i32);
        let text = format!("Invalid request to unpack with offset of {offset} and limit of {len}.");
        return Err(stack.raise(text.as_bytes()));
    }
    if offset > len {
        let (offset, len) = (offset as i32, len as i32);
        let text = format!("Start offset {offset} greater than input length {len}.");
        return Err(stack.raise(text.as_bytes()));
    }
    let limit = if decodes_all { i64::from(i32::MAX) } else { limit };
    let mut reader = Reader(&data[offset as usize..]);
    let mut count = 0;
    while !reader.0.is_empty() && i64::from(count) < limit {
        if let Err(fault) = reader.value(stack) {
            return Err(fault.raise(stack));
        }
        count += 1;
    }
    if decodes_all {
        return Ok(count);
    }
    if !stack.reserve(1) {
        return Err(Fault::Slots.raise(stack));
    }
    let left = reader.0.len() as i64;
    stack.push_number(if left == 0 { -1.0 } else { (len - left) as f64 });
    stack.insert(2);
    Ok(count + 1)
}

fn unpack(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    unpack_from(stack, 0, 0)
}

fn unpack_one(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let offset = stack.integer_option(2, 0)?;
    stack.set_top(stack.top().min(1));
    unpack_from(stack, 1, offset)
}

fn unpack_limit(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let limit = stack.integer_argument(2)?;
    let offset = stack.integer_option(3, 0)?;
    stack.set_top(1);
    unpack_from(stack, limit, offset)
}
