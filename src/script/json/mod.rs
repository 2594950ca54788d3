//! The library `cjson`: JSON as Lua values, with the options and error texts of lua-cjson 2.1.
//!
//! Must not know: commands, replies, the server.

mod decode;
mod encode;
mod number;

use super::machine::{Kind, Library, Raise, Stack};

/// The options of the library. Scripts set them, and they outlive a script.
#[derive(Clone, Copy, Debug)]
pub struct JsonOptions {
    /// Whether a table with many gaps becomes an object, and not an error.
    sparse_convert: bool,
    /// How many times more places than elements a table may have; 0: any.
    sparse_ratio: i32,
    /// The number of places up to which a table may have any gaps.
    sparse_safe: i32,
    encode_depth: i32,
    decode_depth: i32,
    encode_invalid: Invalid,
    decode_invalid: bool,
    /// Significant digits of numbers.
    precision: i32,
    keep_buffer: bool,
}

/// How infinities and NaN are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Invalid {
    Error,
    Number,
    Null,
}

impl Default for JsonOptions {
    fn default() -> JsonOptions {
        JsonOptions {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth: 1000,
            decode_depth: 1000,
            encode_invalid: Invalid::Error,
            decode_invalid: true,
            precision: 14,
            keep_buffer: true,
        }
    }
}

/// The library. `cjson.null` is added where it is set up.
pub const LIBRARY: Library = Library {
    name: "cjson",
    functions: &[
        ("encode", encode::encode),
        ("decode", decode::decode),
        ("encode_sparse_array", encode_sparse_array),
        ("encode_max_depth", encode_max_depth),
        ("decode_max_depth", decode_max_depth),
        ("encode_number_precision", encode_number_precision),
        ("encode_keep_buffer", encode_keep_buffer),
        ("encode_invalid_numbers", encode_invalid_numbers),
        ("decode_invalid_numbers", decode_invalid_numbers),
        ("new", new),
    ],
    numbers: &[],
    texts: &[("_NAME", "cjson"), ("_VERSION", "2.1.0")],
};

fn options(stack: &Stack<'_>) -> JsonOptions {
    stack.core().state.json.get()
}

/// Changes the options.
fn change(stack: &Stack<'_>, change: impl FnOnce(&mut JsonOptions)) {
    let cell = &stack.core().state.json;
    let mut options = cell.get();
    change(&mut options);
    cell.set(options);
}

/// Raises an error if there are more than `count` arguments. Missing ones become nil.
fn take_arguments(stack: &mut Stack<'_>, count: i32) -> Result<(), Raise> {
    if stack.top() > count {
        return Err(stack.raise_argument(count + 1, b"found too many arguments"));
    }
    stack.set_top(count);
    Ok(())
}

/// Returns the integer of an option, or none if it is nil.
fn integer(
    stack: &mut Stack<'_>,
    argument: i32,
    (least, most): (i32, i32),
) -> Result<Option<i32>, Raise> {
    if stack.kind(argument) == Kind::Nil {
        return Ok(None);
    }
    let value = stack.integer_argument(argument)? as i32;
    if (least..=most).contains(&value) {
        return Ok(Some(value));
    }
    let text = format!("expected integer between {least} and {most}");
    Err(stack.raise_argument(1, text.as_bytes()))
}

/// Returns the number of a word among `words`, or none if it is nil. A boolean is 0 or `if_true`.
fn word(
    stack: &mut Stack<'_>,
    argument: i32,
    words: &[&str],
    if_true: usize,
) -> Result<Option<usize>, Raise> {
    match stack.kind(argument) {
        Kind::Nil => return Ok(None),
        Kind::Boolean => return Ok(Some(if stack.boolean(argument) { if_true } else { 0 })),
        _ => {}
    }
    let text = super::api::until_zero(stack.string_argument(argument)?).to_vec();
    if let Some(at) = words.iter().position(|word| word.as_bytes() == text) {
        return Ok(Some(at));
    }
    Err(stack.raise_argument(argument, &[b"invalid option '", text.as_slice(), b"'"].concat()))
}

const SWITCH: &[&str] = &["off", "on"];

fn encode_sparse_array(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    take_arguments(stack, 3)?;
    stack.reserve(3);
    let convert = word(stack, 1, SWITCH, 1)?;
    change(stack, |options| {
        options.sparse_convert = convert.map_or(options.sparse_convert, |on| on == 1);
    });
    let ratio = integer(stack, 2, (0, i32::MAX))?;
    change(stack, |options| options.sparse_ratio = ratio.unwrap_or(options.sparse_ratio));
    let safe = integer(stack, 3, (0, i32::MAX))?;
    change(stack, |options| options.sparse_safe = safe.unwrap_or(options.sparse_safe));
    let options = options(stack);
    stack.push_boolean(options.sparse_convert);
    stack.push_number(options.sparse_ratio.into());
    stack.push_number(options.sparse_safe.into());
    Ok(3)
}

/// Sets one of the integers, and returns its value.
fn set_integer(
    stack: &mut Stack<'_>,
    range: (i32, i32),
    field: impl Fn(&mut JsonOptions) -> &mut i32,
) -> Result<i32, Raise> {
    take_arguments(stack, 1)?;
    stack.reserve(1);
    if let Some(value) = integer(stack, 1, range)? {
        change(stack, |options| *field(options) = value);
    }
    let mut options = options(stack);
    stack.push_number((*field(&mut options)).into());
    Ok(1)
}

fn encode_max_depth(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    set_integer(stack, (1, i32::MAX), |options| &mut options.encode_depth)
}

fn decode_max_depth(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    set_integer(stack, (1, i32::MAX), |options| &mut options.decode_depth)
}

fn encode_number_precision(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    set_integer(stack, (1, 14), |options| &mut options.precision)
}

/// Sets one of the switches, and returns its value.
fn set_switch(
    stack: &mut Stack<'_>,
    field: impl Fn(&mut JsonOptions) -> &mut bool,
) -> Result<i32, Raise> {
    take_arguments(stack, 1)?;
    stack.reserve(1);
    if let Some(value) = word(stack, 1, SWITCH, 1)? {
        change(stack, |options| *field(options) = value == 1);
    }
    let mut options = options(stack);
    stack.push_boolean(*field(&mut options));
    Ok(1)
}

fn encode_keep_buffer(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    set_switch(stack, |options| &mut options.keep_buffer)
}

fn decode_invalid_numbers(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    set_switch(stack, |options| &mut options.decode_invalid)
}

fn encode_invalid_numbers(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    const ALL: [Invalid; 3] = [Invalid::Error, Invalid::Number, Invalid::Null];
    take_arguments(stack, 1)?;
    stack.reserve(1);
    if let Some(at) = word(stack, 1, &["off", "on", "null"], 1)? {
        change(stack, |options| options.encode_invalid = ALL[at]);
    }
    match options(stack).encode_invalid {
        Invalid::Error => stack.push_boolean(false),
        Invalid::Number => stack.push_boolean(true),
        Invalid::Null => stack.push_bytes(b"null"),
    }
    Ok(1)
}

/// Returns a further table of the library's functions. It shares the options.
fn new(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    stack.reserve(4);
    stack.push_table(0, 16);
    stack.add(std::slice::from_ref(&LIBRARY));
    stack.push_null_pointer();
    stack.raw_set_name(-2, "null");
    Ok(1)
}
