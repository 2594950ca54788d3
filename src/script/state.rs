//! What the native functions of one Lua state keep between calls.

use super::json::JsonOptions;
use super::random::Random;
use super::register::Registration;
use crate::resp::{Args, Output, Protocol, Span};
use bytes::BytesMut;
use std::cell::{Cell, RefCell};

/// The arguments of a command.
#[derive(Debug, Default)]
pub struct Arguments {
    /// The arguments one after the other.
    pub text: Vec<u8>,
    /// Where each argument is.
    pub spans: Vec<Span>,
    /// Large arguments.
    pub large: Vec<BytesMut>,
}

impl Arguments {
    /// Returns the arguments in the form in which commands take them.
    pub fn args(&mut self) -> Args<'_> {
        Args::new(&self.text, &self.spans, &mut self.large)
    }
}

/// Memory of native functions that is used again and again.
#[derive(Debug, Default)]
pub struct Scratch {
    /// A command's arguments.
    pub args: Arguments,
    /// The command's reply.
    pub reply: Output,
}

/// What the native functions of one Lua state keep.
#[derive(Debug)]
pub struct State {
    /// Whether the state runs functions of libraries, and not EVAL scripts.
    pub is_for_functions: bool,
    /// The protocol of the replies that the running script gets.
    pub protocol: Cell<Protocol>,
    /// The generator of `math.random`.
    pub random: Cell<Random>,
    /// The options of `cjson`. They outlive a script.
    pub json: Cell<JsonOptions>,
    /// The functions that a library has registered; none unless one is being loaded.
    pub registration: RefCell<Option<Registration>>,
    /// Memory for commands.
    pub scratch: RefCell<Scratch>,
}

impl State {
    /// Creates the state of the native functions.
    pub fn new(is_for_functions: bool) -> State {
        State {
            is_for_functions,
            protocol: Cell::new(Protocol::Two),
            random: Cell::new(Random::default()),
            json: Cell::new(JsonOptions::default()),
            registration: RefCell::new(None),
            scratch: RefCell::new(Scratch::default()),
        }
    }
}
