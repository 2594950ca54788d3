//! `redis.register_function`: what a library does while it is loaded.

use super::answer::push_error;
use super::api::until_zero;
use super::header::ScriptFlags;
use super::machine::{Kind, Raise, Stack};

/// A function that a library has registered.
#[derive(Debug)]
pub struct Registered {
    /// Its name, not checked yet.
    pub name: Vec<u8>,
    /// Its description.
    pub description: Option<Vec<u8>>,
    /// Its flags.
    pub flags: ScriptFlags,
    /// The number of its kept Lua function.
    pub callback: i32,
}

/// The functions that a library has registered, in order.
#[derive(Debug, Default)]
pub struct Registration {
    /// The functions.
    pub functions: Vec<Registered>,
}

/// What is known of a function before all its arguments are read.
#[derive(Default)]
struct Draft {
    name: Option<Vec<u8>>,
    description: Option<Vec<u8>>,
    flags: ScriptFlags,
    callback: Option<i32>,
}

/// `redis.register_function`
pub fn register_function(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let state = &stack.core().state;
    let mut draft = Draft::default();
    let read = if state.registration.borrow().is_none() {
        Err("server.register_function can only be called on FUNCTION LOAD command")
    } else {
        read_arguments(stack, &mut draft)
    };
    let mut registration = state.registration.borrow_mut();
    match (read, draft, registration.as_mut()) {
        (
            Ok(()),
            Draft { name: Some(name), description, flags, callback: Some(callback) },
            Some(registration),
        ) => {
            registration.functions.push(Registered { name, description, flags, callback });
            Ok(0)
        }
        (read, draft, _) => {
            if let Some(callback) = draft.callback {
                stack.release(callback);
            }
            let text = read.err().unwrap_or("unknown error");
            stack.set_top(0);
            push_error(stack, format!("ERR {text}").as_bytes(), false);
            Err(stack.raise_top())
        }
    }
}

fn read_arguments(stack: &mut Stack<'_>, draft: &mut Draft) -> Result<(), &'static str> {
    match stack.top() {
        1 => read_named(stack, draft),
        2 => read_positional(stack, draft),
        _ => Err("wrong number of arguments to server.register_function"),
    }
}

fn string_at(stack: &mut Stack<'_>, index: i32) -> Option<Vec<u8>> {
    stack.text(index).map(<[u8]>::to_vec)
}

fn read_positional(stack: &mut Stack<'_>, draft: &mut Draft) -> Result<(), &'static str> {
    draft.name = string_at(stack, 1);
    if draft.name.is_none() {
        return Err("first argument to server.register_function must be a string");
    }
    if stack.kind(2) != Kind::Function {
        return Err("second argument to server.register_function must be a function");
    }
    draft.callback = Some(stack.keep());
    Ok(())
}

fn read_named(stack: &mut Stack<'_>, draft: &mut Draft) -> Result<(), &'static str> {
    if stack.kind(1) != Kind::Table {
        return Err(
            "calling server.register_function with a single argument is only applicable to \
                    Lua table (representing named arguments).",
        );
    }
    stack.push_nil();
    while stack.next(1) {
        let key = match stack.kind(-2) {
            Kind::String => {
                stack.bytes(-2).map(until_zero).unwrap_or_default().to_ascii_lowercase()
            }
            Kind::Number => return Err("unknown argument given to server.register_function"),
            _ => {
                return Err("named argument key given to server.register_function is not a string");
            }
        };
        read_argument(stack, draft, &key)?;
        stack.set_top(2);
    }
    if draft.name.is_none() {
        return Err("server.register_function must get a function name argument");
    }
    if draft.callback.is_none() {
        return Err("server.register_function must get a callback argument");
    }
    Ok(())
}

/// Reads the named argument whose value is on the top of the stack.
fn read_argument(stack: &mut Stack<'_>, draft: &mut Draft, key: &[u8]) -> Result<(), &'static str> {
    match key {
        b"function_name" => {
            let text = "function_name argument given to server.register_function must be a string";
            draft.name = Some(string_at(stack, -1).ok_or(text)?);
        }
        b"description" => {
            let text = "description argument given to server.register_function must be a string";
            draft.description = Some(string_at(stack, -1).ok_or(text)?);
        }
        b"callback" => {
            if stack.kind(-1) != Kind::Function {
                return Err(
                    "callback argument given to server.register_function must be a function",
                );
            }
            if let Some(earlier) = draft.callback.replace(stack.keep()) {
                stack.release(earlier);
            }
        }
        b"flags" => {
            if stack.kind(-1) != Kind::Table {
                return Err("flags argument to server.register_function must be a table \
                            representing function flags");
            }
            draft.flags = read_flags(stack).ok_or("unknown flag given")?;
        }
        _ => return Err("unknown argument given to server.register_function"),
    }
    Ok(())
}

/// Reads the flags in the topmost table.
fn read_flags(stack: &mut Stack<'_>) -> Option<ScriptFlags> {
    let mut flags = ScriptFlags::default();
    for at in 1.. {
        stack.raw_get_at(-1, at);
        if stack.kind(-1) == Kind::Nil {
            break;
        }
        flags.add(ScriptFlags::named(until_zero(stack.text(-1)?))?);
        stack.pop(1);
    }
    stack.pop(1);
    Some(flags)
}
