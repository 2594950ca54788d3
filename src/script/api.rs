//! The tables `redis` and `server`: what scripts ask of the server.

use super::answer::{error_text, push_error, push_reply};
use super::host::{AclAnswer, LogLevel, Propagation, Verdict};
use super::machine::{Kind, Library, Native, Raise, Stack, to_integer};
use super::random::{RANDOM_MAX, Random};
use super::register::register_function;
use super::state::{Arguments, Scratch};
use crate::base::number::FloatText;
use crate::resp::{LARGE_WORD_BYTES, Protocol, Span};
use bytes::BytesMut;
use sha1::{Digest, Sha1};
use std::fmt::Write;

/// The version of Redis that scripts see.
pub const REDIS_VERSION: &str = "7.2.4";
const REDIS_VERSION_NUMBER: u32 = 0x0007_0204;
const VALKEY_VERSION: &str = "9.1.0";
const VALKEY_VERSION_NUMBER: u32 = 0x0009_0100;

/// Bits of `redis.set_repl`.
const TO_FILE: i64 = 1;
const TO_REPLICAS: i64 = 2;

/// The log and the versions, which libraries see even while they are loaded.
const COMMON: Library = Library {
    name: "",
    functions: &[("log", log)],
    numbers: &[
        ("LOG_DEBUG", LogLevel::Debug as u8 as f64),
        ("LOG_VERBOSE", LogLevel::Verbose as u8 as f64),
        ("LOG_NOTICE", LogLevel::Notice as u8 as f64),
        ("LOG_WARNING", LogLevel::Warning as u8 as f64),
        ("REDIS_VERSION_NUM", REDIS_VERSION_NUMBER as f64),
        ("VALKEY_VERSION_NUM", VALKEY_VERSION_NUMBER as f64),
    ],
    texts: &[
        ("REDIS_VERSION", REDIS_VERSION),
        ("VALKEY_VERSION", VALKEY_VERSION),
        ("SERVER_NAME", "valkey"),
    ],
};

/// What functions and EVAL scripts see while they run.
const RUNNING: Library = Library {
    name: "",
    functions: &[
        ("call", call),
        ("pcall", pcall),
        ("setresp", setresp),
        ("sha1hex", sha1hex),
        ("error_reply", error_reply),
        ("status_reply", status_reply),
        ("set_repl", set_repl),
        ("acl_check_cmd", acl_check_cmd),
    ],
    numbers: &[
        ("REPL_NONE", 0.0),
        ("REPL_AOF", TO_FILE as f64),
        ("REPL_SLAVE", TO_REPLICAS as f64),
        ("REPL_REPLICA", TO_REPLICAS as f64),
        ("REPL_ALL", (TO_FILE | TO_REPLICAS) as f64),
    ],
    texts: &[],
};

/// What EVAL scripts alone see.
const EVAL_ONLY: Library = Library {
    name: "",
    functions: &[
        ("breakpoint", breakpoint),
        ("debug", debug),
        ("replicate_commands", replicate_commands),
    ],
    numbers: &[],
    texts: &[],
};

const LOADING_ONLY: Library = Library {
    name: "",
    functions: &[("register_function", register_function)],
    numbers: &[],
    texts: &[],
};

/// `redis` for EVAL scripts.
pub const EVAL_API: &[Library] = &[COMMON, RUNNING, EVAL_ONLY];
/// `redis` for functions.
pub const FUNCTION_API: &[Library] = &[COMMON, RUNNING];
/// `redis` for a library that is being loaded.
pub const LOADING_API: &[Library] = &[COMMON, LOADING_ONLY];

/// Functions in place of those of Lua's library `math`.
pub const REPLACED: &[(&str, &str, Native)] =
    &[("math", "random", math_random), ("math", "randomseed", math_randomseed)];

/// Decides whether the running script goes on.
pub fn pause(stack: &mut Stack<'_>) -> Result<(), Raise> {
    let core = stack.core();
    let verdict = loop {
        let verdict = core.with_host(|host| host.pause()).unwrap_or(Verdict::Continue);
        if verdict != Verdict::Suspend || !core.suspend() {
            break verdict;
        }
    };
    let text: &[u8] = match verdict {
        Verdict::Continue | Verdict::Suspend => return Ok(()),
        Verdict::Kill if core.state.is_for_functions => {
            b"ERR Script killed by user with FUNCTION KILL."
        }
        Verdict::Kill => b"ERR Script killed by user with SCRIPT KILL.",
        Verdict::Timeout => b"ERR FUNCTION LOAD timeout",
    };
    if verdict == Verdict::Kill {
        core.with_host(|host| host.log(LogLevel::Notice, &text[b"ERR ".len()..]));
    }
    push_error(stack, text, false);
    Err(stack.raise_top())
}

/// Raises an error of the engine as a table.
#[cold]
fn fail(stack: &mut Stack<'_>, text: &[u8]) -> Raise {
    stack.set_top(0);
    push_error(stack, &[b"ERR ", text].concat(), false);
    stack.raise_top()
}

/// The most bytes of memory that are kept for the arguments of the next command.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Collects the arguments of a command from the stack, which is empty afterwards.
fn take_args(stack: &mut Stack<'_>, args: &mut Arguments) -> Result<(), &'static [u8]> {
    let count = stack.top();
    if args.text.capacity() > KEPT_BYTES_MAX {
        args.text = Vec::new();
    }
    args.text.clear();
    args.spans.clear();
    args.large.clear();
    let mut result = Ok(());
    if count == 0 {
        result = Err(&b"Please specify at least one argument for this call"[..]);
    }
    for index in 1..=count {
        let start = args.text.len();
        if let Some(bytes) = stack.bytes(index) {
            if bytes.len() >= LARGE_WORD_BYTES {
                args.spans.push(Span::large(args.large.len(), bytes.len()));
                args.large.push(BytesMut::from(bytes));
                continue;
            }
            args.text.extend_from_slice(bytes);
        } else if let Some(number) = stack.number(index) {
            push_number_text(&mut args.text, number);
        } else {
            result = Err(&b"Command arguments must be strings or integers"[..]);
            break;
        }
        args.spans.push(Span::text(start, args.text.len() - start));
    }
    stack.set_top(0);
    result
}

/// Appends a number as a command's argument. Numbers without a fraction have no exponent.
fn push_number_text(text: &mut Vec<u8>, number: f64) {
    const EXACT: f64 = (i64::MAX / 2) as f64;
    if (-EXACT..=EXACT).contains(&number) && number == number.trunc() {
        text.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
    } else {
        if number.is_nan() && number.is_sign_negative() {
            text.push(b'-');
        }
        text.extend_from_slice(FloatText::of_digits(number).as_bytes());
    }
}

/// Runs a command and pushes its reply. Returns whether the reply is an error.
fn run_command(stack: &mut Stack<'_>) -> Result<bool, Raise> {
    let core = stack.core();
    let mut scratch = core.state.scratch.borrow_mut();
    let Scratch { args, reply } = &mut *scratch;
    if let Err(message) = take_args(stack, args) {
        push_error(stack, &[b"ERR ", message].concat(), false);
        return Ok(true);
    }
    let start = reply.mark();
    let protocol = core.state.protocol.get();
    core.with_host(|host| host.call(args.args(), protocol, reply));
    let own = reply.range_from(start);
    let result = match own.len() == reply.len() {
        true => push_reply(stack, &reply.own_bytes(own)),
        false => push_reply(stack, &reply.to_vec()),
    };
    reply.clear();
    result
}

/// `redis.call`
fn call(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    match run_command(stack)? {
        true => Err(stack.raise_top()),
        false => Ok(1),
    }
}

/// `redis.pcall`
fn pcall(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    run_command(stack)?;
    Ok(1)
}

/// `redis.setresp`
fn setresp(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    if stack.top() != 1 {
        return Err(fail(stack, b"server.setresp() requires one argument."));
    }
    let protocol = match to_integer(stack.as_number(1).unwrap_or(0.0)) {
        2 => Protocol::Two,
        3 => Protocol::Three,
        _ => return Err(fail(stack, b"RESP version must be 2 or 3.")),
    };
    stack.core().state.protocol.set(protocol);
    Ok(0)
}

/// Returns the SHA1 digest in hexadecimal digits.
pub fn sha1_digits(bytes: &[u8]) -> String {
    let digest = Sha1::digest(bytes);
    digest.iter().fold(String::with_capacity(40), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("writing to a string does not fail");
        digits
    })
}

/// `redis.sha1hex`
fn sha1hex(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    if stack.top() != 1 {
        return Err(fail(stack, b"wrong number of arguments"));
    }
    let digits = sha1_digits(stack.text(1).unwrap_or_default());
    stack.push_bytes(digits.as_bytes());
    Ok(1)
}

/// Returns the bytes before the first zero, which ends a string of the reference.
pub fn until_zero(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr::memchr(0, bytes).unwrap_or(bytes.len())]
}

/// `redis.error_reply`
fn error_reply(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let Some(text) = stack.bytes(1).filter(|_| stack.top() == 1) else {
        stack.set_top(0);
        push_error(stack, b"ERR wrong number or type of arguments", false);
        return Ok(1);
    };
    let text = until_zero(text);
    let text = error_text(text.strip_prefix(b"-").unwrap_or(text));
    push_error(stack, &text, false);
    Ok(1)
}

/// `redis.status_reply`
fn status_reply(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    if stack.top() != 1 || stack.kind(1) != Kind::String {
        push_error(stack, b"ERR wrong number or type of arguments", false);
        return Ok(1);
    }
    stack.push_table(0, 1);
    stack.push_copy(1);
    stack.raw_set_name(-2, "ok");
    Ok(1)
}

/// `redis.set_repl`
fn set_repl(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    if stack.top() != 1 {
        return Err(fail(stack, b"server.set_repl() requires one argument."));
    }
    let flags = to_integer(stack.as_number(1).unwrap_or(0.0));
    if flags & !(TO_FILE | TO_REPLICAS) != 0 {
        let text = b"Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.";
        return Err(fail(stack, text));
    }
    let to = Propagation { to_file: flags & TO_FILE != 0, to_replicas: flags & TO_REPLICAS != 0 };
    stack.core().with_host(|host| host.set_propagation(to));
    Ok(0)
}

/// `redis.acl_check_cmd`
fn acl_check_cmd(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let mut args = Arguments::default();
    if let Err(message) = take_args(stack, &mut args) {
        return Err(fail(stack, message));
    }
    match stack.core().with_host(|host| host.acl_check(args.args())) {
        Some(AclAnswer::Allowed) => stack.push_boolean(true),
        Some(AclAnswer::Denied) => stack.push_boolean(false),
        Some(AclAnswer::Invalid) | None => {
            return Err(fail(stack, b"Invalid command passed to server.acl_check_cmd()"));
        }
    }
    Ok(1)
}

/// `redis.log`
fn log(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let count = stack.top();
    if count < 2 {
        return Err(fail(stack, b"server.log() requires two arguments or more."));
    }
    let Some(level) = stack.as_number(1) else {
        return Err(fail(stack, b"First argument must be a number (log level)."));
    };
    let level = match to_integer(level) {
        0 => LogLevel::Debug,
        1 => LogLevel::Verbose,
        2 => LogLevel::Notice,
        3 => LogLevel::Warning,
        _ => return Err(fail(stack, b"Invalid log level.")),
    };
    let mut line = Vec::new();
    for index in 2..=count {
        if let Some(text) = stack.text(index) {
            if index > 2 {
                line.push(b' ');
            }
            line.extend_from_slice(until_zero(text));
        }
    }
    stack.core().with_host(|host| host.log(level, &line));
    Ok(0)
}

/// `redis.breakpoint`: there is no debugger that it could stop for.
fn breakpoint(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    stack.reserve(1);
    stack.push_boolean(false);
    Ok(1)
}

/// `redis.debug`: there is no debugger that it could write to.
fn debug(_: &mut Stack<'_>) -> Result<i32, Raise> {
    Ok(0)
}

/// `redis.replicate_commands`: always on.
fn replicate_commands(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    stack.reserve(1);
    stack.push_boolean(true);
    Ok(1)
}

/// Returns an argument as a C `int`.
fn int_argument(stack: &mut Stack<'_>, argument: i32) -> Result<i32, Raise> {
    Ok(stack.integer_argument(argument)? as i32)
}

/// `math.random`
fn math_random(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let state = &stack.core().state;
    let mut random = state.random.get();
    let fraction = f64::from(random.next() % RANDOM_MAX) / f64::from(RANDOM_MAX);
    state.random.set(random);
    let number = match stack.top() {
        0 => fraction,
        1 => {
            let high = int_argument(stack, 1)?;
            if high < 1 {
                return Err(stack.raise_argument(1, b"interval is empty"));
            }
            (fraction * f64::from(high)).floor() + 1.0
        }
        2 => {
            let (low, high) = (int_argument(stack, 1)?, int_argument(stack, 2)?);
            if low > high {
                return Err(stack.raise_argument(2, b"interval is empty"));
            }
            let width = high.wrapping_sub(low).wrapping_add(1);
            (fraction * f64::from(width)).floor() + f64::from(low)
        }
        _ => return Err(stack.raise(b"wrong number of arguments")),
    };
    stack.push_number(number);
    Ok(1)
}

/// `math.randomseed`
fn math_randomseed(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let seed = int_argument(stack, 1)?;
    stack.core().state.random.set(Random::seeded(seed));
    Ok(0)
}
