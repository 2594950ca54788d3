//! The library `struct`: Lua values as the bytes of C structs, as struct 1.7 has them.
//!
//! ```text
//!   > <       byte order            !n       alignment of at most n bytes
//!   b B h H   1 and 2 bytes         l L T    8 bytes
//!   in In     n bytes               f d      float, double
//!   x         a zero                cn s     n bytes; a string that a zero ends
//! ```

use super::api::until_zero;
use super::machine::{Kind, Library, Raise, Stack, to_integer};

/// The library.
pub const LIBRARY: Library = Library {
    name: "struct",
    functions: &[("pack", pack), ("unpack", unpack), ("size", size)],
    numbers: &[],
    texts: &[],
};

/// The most bytes of an integer.
const INTEGER_BYTES_MAX: i32 = 32;
/// The largest alignment of a C type.
const ALIGN_MAX: i32 = 8;

/// A format that is being read.
struct Format {
    text: Vec<u8>,
    at: usize,
    is_big: bool,
    align: usize,
}

/// An option of a format: its letter, and its bytes without alignment.
struct Item {
    letter: u8,
    bytes: usize,
}

impl Format {
    fn new(stack: &mut Stack<'_>) -> Result<Format, Raise> {
        let text = until_zero(stack.string_argument(1)?).to_vec();
        Ok(Format { text, at: 0, is_big: false, align: 1 })
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Reads a number, or returns `default` if there is none.
    fn number(&mut self, stack: &mut Stack<'_>, default: i32) -> Result<i32, Raise> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Ok(default);
        }
        let mut number = 0i32;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            let next = number.checked_mul(10).and_then(|n| n.checked_add(i32::from(digit - b'0')));
            let Some(next) = next else { return Err(stack.raise(b"integral size overflow")) };
            number = next;
            self.at += 1;
        }
        Ok(number)
    }

    /// Reads the next option.
    fn next(&mut self, stack: &mut Stack<'_>) -> Result<Option<Item>, Raise> {
        let Some(letter) = self.peek() else { return Ok(None) };
        self.at += 1;
        let bytes = match letter {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(stack, 1)?,
            b'i' | b'I' => {
                let bytes = self.number(stack, 4)?;
                if bytes > INTEGER_BYTES_MAX {
                    let limit = INTEGER_BYTES_MAX;
                    let text = format!("integral size {bytes} is larger than limit of {limit}");
                    return Err(stack.raise(text.as_bytes()));
                }
                bytes
            }
            _ => 0,
        };
        Ok(Some(Item { letter, bytes: bytes as usize }))
    }

    /// Returns the bytes that align an option behind `before` bytes.
    fn padding(&self, item: &Item, before: usize) -> usize {
        if item.bytes == 0 || item.letter == b'c' {
            return 0;
        }
        let size = item.bytes.min(self.align);
        size.wrapping_sub(before & (size - 1)) & (size - 1)
    }

    /// Takes an option that is no value.
    fn control(&mut self, stack: &mut Stack<'_>, letter: u8) -> Result<(), Raise> {
        match letter {
            b' ' => {}
            b'>' => self.is_big = true,
            b'<' => self.is_big = false,
            b'!' => {
                let align = self.number(stack, ALIGN_MAX)?;
                if align <= 0 || align & (align - 1) != 0 {
                    let text = format!("alignment {align} is not a power of 2");
                    return Err(stack.raise(text.as_bytes()));
                }
                self.align = align as usize;
            }
            _ => {
                let text = [b"invalid format option '", &[letter][..], b"'"].concat();
                return Err(stack.raise_argument(1, &text));
            }
        }
        Ok(())
    }

    /// Puts the bytes of a number with the low byte first into the format's order.
    fn order(&self, bytes: &mut [u8]) {
        if self.is_big {
            bytes.reverse();
        }
    }
}

/// Converts a number to 64 bits like C: a negative one as a signed integer.
fn to_bits(number: f64) -> u64 {
    const HIGH: f64 = 9_223_372_036_854_775_808.0;
    if number >= HIGH {
        to_integer(number - HIGH) as u64 ^ 1 << 63
    } else {
        to_integer(number) as u64
    }
}

fn pack(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let mut format = Format::new(stack)?;
    // The reference puts a nil there, which its error messages show.
    stack.reserve(2);
    stack.push_nil();
    let mut out = Vec::new();
    let mut argument = 2;
    while let Some(item) = format.next(stack)? {
        out.resize(out.len() + format.padding(&item, out.len()), 0);
        match item.letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let bits = to_bits(stack.number_argument(argument)?).to_le_bytes();
                let mut bytes = [0; INTEGER_BYTES_MAX as usize];
                bytes[..bits.len()].copy_from_slice(&bits);
                format.order(&mut bytes[..item.bytes]);
                out.extend_from_slice(&bytes[..item.bytes]);
                argument += 1;
            }
            b'x' => out.push(0),
            b'f' => {
                let mut bytes = (stack.number_argument(argument)? as f32).to_le_bytes();
                format.order(&mut bytes);
                out.extend_from_slice(&bytes);
                argument += 1;
            }
            b'd' => {
                let mut bytes = stack.number_argument(argument)?.to_le_bytes();
                format.order(&mut bytes);
                out.extend_from_slice(&bytes);
                argument += 1;
            }
            b'c' | b's' => {
                let text = stack.string_argument(argument)?;
                argument += 1;
                let bytes = if item.bytes == 0 { text.len() } else { item.bytes };
                let Some(text) = text.get(..bytes) else {
                    return Err(stack.raise_argument(argument, b"string too short"));
                };
                out.extend_from_slice(text);
                if item.letter == b's' {
                    out.push(0);
                }
            }
            letter => format.control(stack, letter)?,
        }
    }
    stack.reserve(1);
    stack.push_bytes(&out);
    Ok(1)
}

/// Returns an integer whose low byte is first.
fn integer(bytes: &[u8], is_signed: bool) -> f64 {
    let low = bytes.len().min(8);
    let mut all = [0; 8];
    all[..low].copy_from_slice(&bytes[..low]);
    let mut bits = u64::from_le_bytes(all);
    if !is_signed {
        return bits as f64;
    }
    let mask = u64::MAX << ((bytes.len() as u32 * 8).wrapping_sub(1) & 63);
    if bits & mask != 0 {
        bits |= mask;
    }
    bits as i64 as f64
}

/// Returns `bytes` bytes of the data at `at`.
fn piece(data: &[u8], at: usize, bytes: usize) -> Option<&[u8]> {
    data.get(at..at.checked_add(bytes)?)
}

fn unpack(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let mut format = Format::new(stack)?;
    let data = stack.string_argument(2)?.to_vec();
    let start = stack.integer_option(3, 1)? as usize;
    if start == 0 {
        return Err(stack.raise_argument(3, b"offset must be 1 or greater"));
    }
    let mut at = start - 1;
    let mut results = 0;
    while let Some(mut item) = format.next(stack)? {
        at = at.wrapping_add(format.padding(&item, at));
        let Some(bytes) = piece(&data, at, item.bytes) else {
            return Err(stack.raise_argument(2, b"data string too short"));
        };
        if !stack.reserve(2) {
            return Err(stack.raise(b"stack overflow (too many results)"));
        }
        match item.letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let mut bytes = bytes.to_vec();
                format.order(&mut bytes);
                stack.push_number(integer(&bytes, item.letter.is_ascii_lowercase()));
                results += 1;
            }
            b'f' => {
                let mut bytes: [u8; 4] = bytes.try_into().expect("a float has 4 bytes");
                format.order(&mut bytes);
                stack.push_number(f32::from_le_bytes(bytes).into());
                results += 1;
            }
            b'd' => {
                let mut bytes: [u8; 8] = bytes.try_into().expect("a double has 8 bytes");
                format.order(&mut bytes);
                stack.push_number(f64::from_le_bytes(bytes));
                results += 1;
            }
            b'x' => {}
            b'c' => {
                if item.bytes == 0 {
                    item.bytes = previous_number(stack, results)?;
                    results -= 1;
                }
                let Some(bytes) = piece(&data, at, item.bytes) else {
                    return Err(stack.raise_argument(2, b"data string too short"));
                };
                stack.push_bytes(bytes);
                results += 1;
            }
            b's' => {
                let Some(len) = memchr::memchr(0, &data[at..]) else {
                    return Err(stack.raise(b"unfinished string in data"));
                };
                stack.push_bytes(&data[at..at + len]);
                item.bytes = len + 1;
                results += 1;
            }
            letter => format.control(stack, letter)?,
        }
        at += item.bytes;
        stack.check_memory()?;
    }
    stack.reserve(1);
    stack.push_number((at + 1) as f64);
    Ok(results + 1)
}

/// Pops the number that was read last.
fn previous_number(stack: &mut Stack<'_>, results: i32) -> Result<usize, Raise> {
    let number = stack.as_number(-1).filter(|_| results > 0);
    let Some(number) = number else {
        return Err(stack.raise(b"format 'c0' needs a previous size"));
    };
    stack.pop(1);
    Ok(to_bits(number) as usize)
}

fn size(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let mut format = Format::new(stack)?;
    let mut size = 0usize;
    while let Some(item) = format.next(stack)? {
        size = size.wrapping_add(format.padding(&item, size));
        if item.letter == b's' {
            return Err(stack.raise_argument(1, b"option 's' has no fixed size"));
        }
        if item.letter == b'c' && item.bytes == 0 {
            return Err(stack.raise_argument(1, b"option 'c0' has no fixed size"));
        }
        if !item.letter.is_ascii_alphanumeric() {
            format.control(stack, item.letter)?;
        }
        size = size.wrapping_add(item.bytes);
    }
    debug_assert_ne!(stack.kind(1), Kind::None);
    stack.reserve(1);
    stack.push_number(size as f64);
    Ok(1)
}
