//! The library `bit`: operations on 32 bits, as Lua BitOp 1.0.2 has them.

use super::machine::{Library, Raise, Stack};

/// The library.
pub const LIBRARY: Library = Library {
    name: "bit",
    functions: &[
        ("tobit", tobit),
        ("bnot", bnot),
        ("band", band),
        ("bor", bor),
        ("bxor", bxor),
        ("lshift", lshift),
        ("rshift", rshift),
        ("arshift", arshift),
        ("rol", rol),
        ("ror", ror),
        ("bswap", bswap),
        ("tohex", tohex),
    ],
    numbers: &[],
    texts: &[],
};

/// Adding it to a double shifts the integer part to the lowest bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// Returns the 32 lowest bits of an argument.
fn bits(stack: &mut Stack<'_>, argument: i32) -> Result<u32, Raise> {
    let number = stack.as_number(argument);
    match number {
        Some(number) => Ok((number + ROUNDER).to_bits() as u32),
        None => Err(stack.raise_type(argument, "number")),
    }
}

/// Returns bits as a signed number.
fn give(stack: &mut Stack<'_>, bits: u32) -> Result<i32, Raise> {
    stack.reserve(1);
    stack.push_number(f64::from(bits as i32));
    Ok(1)
}

fn fold(stack: &mut Stack<'_>, operation: fn(u32, u32) -> u32) -> Result<i32, Raise> {
    let mut result = bits(stack, 1)?;
    for argument in (2..=stack.top()).rev() {
        result = operation(result, bits(stack, argument)?);
    }
    give(stack, result)
}

fn shift(stack: &mut Stack<'_>, operation: fn(u32, u32) -> u32) -> Result<i32, Raise> {
    let value = bits(stack, 1)?;
    let places = bits(stack, 2)? & 31;
    give(stack, operation(value, places))
}

fn tobit(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let value = bits(stack, 1)?;
    give(stack, value)
}

fn bnot(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let value = bits(stack, 1)?;
    give(stack, !value)
}

fn band(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    fold(stack, |a, b| a & b)
}

fn bor(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    fold(stack, |a, b| a | b)
}

fn bxor(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    fold(stack, |a, b| a ^ b)
}

fn lshift(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    shift(stack, |value, places| value << places)
}

fn rshift(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    shift(stack, |value, places| value >> places)
}

fn arshift(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    shift(stack, |value, places| (value as i32 >> places) as u32)
}

fn rol(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    shift(stack, u32::rotate_left)
}

fn ror(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    shift(stack, u32::rotate_right)
}

fn bswap(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let value = bits(stack, 1)?;
    give(stack, value.swap_bytes())
}

/// Hexadecimal digits; large ones if the second argument, their number, is negative.
fn tohex(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let value = bits(stack, 1)?;
    let count = if stack.top() < 2 { 8 } else { bits(stack, 2)? as i32 };
    let digits = if count < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
    let shown = count.unsigned_abs().min(8) as usize;
    stack.reserve(1);
    stack.push_bytes(&digits.as_bytes()[8 - shown..]);
    Ok(1)
}
