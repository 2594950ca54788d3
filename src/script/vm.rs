//! Runs scripts and functions: one [`Vm`] per partition.

use super::api;
use super::bits;
use super::header::library_header;
use super::host::{AclAnswer, Host, LogLevel, Propagation, Verdict};
use super::json;
use super::libraries::Library as FunctionLibrary;
use super::libraries::{Function, FunctionFacts};
use super::limits::PAUSE_INSTRUCTIONS;
use super::machine::{
    ARGV, BOTTOM, Called, GLOBALS, HANDLER, KEYS, Kind, LOADING, Library, Machine, PROTECTED,
    Sandbox, Stack,
};
use super::msgpack;
use super::random::Random;
use super::register::{Registered, Registration};
use super::result::{error_line, write_result};
use super::scripts::Script;
use super::state::State;
use super::structs;
use crate::resp::{Args, Error, Output, Protocol, Reply};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

/// Scripts and functions that ran between two steps of the garbage collection, and the size of a
/// step. The reference has the same number for both.
const COLLECT_PERIOD: u32 = 50;

/// Scripts that are not cached any more are dropped when a state has this many more than after the
/// last time.
const STALE_MAX: usize = 64;

/// The libraries that every state offers.
static LIBRARIES: [Library; 4] = [json::LIBRARY, msgpack::LIBRARY, structs::LIBRARY, bits::LIBRARY];

/// What a [`Vm`] is created with.
#[derive(Clone, Copy, Debug, Default)]
pub struct VmOptions {
    /// Whether scripts have `getfenv` and `setfenv` (`lua-enable-insecure-api`).
    pub is_insecure: bool,
    /// The start of the sequence of `math.random`; 0 is the reference's start.
    pub seed: i32,
}

/// The arguments of EVAL, EVALSHA, FCALL and their siblings.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// All arguments of the command.
    pub args: &'a Args<'a>,
    /// Index of the first key.
    pub first_key: usize,
    /// Number of keys. The arguments behind them are those of the script.
    pub keys: usize,
}

/// How a script or function ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// It returned a value.
    Returned,
    /// It ended with an error, which was the reply.
    Failed,
}

/// A library that was loaded into a state.
#[derive(Debug)]
struct Loaded {
    library: Weak<FunctionLibrary>,
    functions: Vec<Registered>,
}

/// A Lua state with the scripts that it has compiled.
#[derive(Debug)]
struct Engine {
    machine: Machine,
    /// The kept Lua function of each script, by the script's number.
    compiled: HashMap<u64, (Arc<Script>, i32)>,
    /// The functions of each library that has run here, by the library's number.
    loaded: HashMap<u64, Loaded>,
    /// Number of scripts after the last removal of stale ones.
    fresh: usize,
    runs: u32,
}

impl Engine {
    fn new(is_for_functions: bool, is_insecure: bool) -> Engine {
        let sandbox = Sandbox {
            libraries: &LIBRARIES,
            replaced: api::REPLACED,
            api: if is_for_functions { api::FUNCTION_API } else { api::EVAL_API },
            loading_api: is_for_functions.then_some(api::LOADING_API),
            is_insecure,
        };
        let machine = Machine::new(&sandbox, api::pause, State::new(is_for_functions));
        Engine { machine, compiled: HashMap::new(), loaded: HashMap::new(), fresh: 0, runs: 0 }
    }

    /// Returns the number of the script's kept Lua function.
    #[inline]
    fn compile(&mut self, script: &Arc<Script>) -> Result<i32, Error> {
        match self.compiled.get(&script.id()) {
            Some((_, kept)) => Ok(*kept),
            None => self.compile_new(script),
        }
    }

    #[cold]
    fn compile_new(&mut self, script: &Arc<Script>) -> Result<i32, Error> {
        if self.compiled.len() >= self.fresh + STALE_MAX {
            self.drop_stale();
        }
        self.machine.load(script.code(), c"@user_script").map_err(compile_error)?;
        let kept = self.machine.with_stack(|stack| stack.keep());
        self.compiled.insert(script.id(), (Arc::clone(script), kept));
        Ok(kept)
    }

    /// Drops the scripts that are not cached any more.
    fn drop_stale(&mut self) {
        let machine = &mut self.machine;
        self.compiled.retain(|_, (script, kept)| {
            let is_cached = script.is_cached();
            if !is_cached {
                machine.with_stack(|stack| stack.release(*kept));
            }
            is_cached
        });
        self.fresh = self.compiled.len();
        self.loaded.retain(|_, loaded| {
            let is_used = loaded.library.strong_count() > 0;
            if !is_used {
                let functions = &loaded.functions;
                machine.with_stack(|stack| {
                    functions.iter().for_each(|function| stack.release(function.callback));
                });
            }
            is_used
        });
    }

    /// Runs the code of a library and returns what it has registered.
    fn load_library(&mut self, code: &[u8], host: &mut dyn Host) -> Result<Vec<Registered>, Error> {
        self.machine
            .load(code, c"@user_function")
            .map_err(|message| Error::quoting(&[b"ERR Error compiling function: ", &message]))?;
        self.machine.with_stack(|stack| stack.set_library_globals(LOADING));
        *self.machine.state().registration.borrow_mut() = Some(Registration::default());
        let called = self.machine.call(Some(host), (0, 0, 0), PAUSE_INSTRUCTIONS);
        let registration = self.machine.state().registration.take().unwrap_or_default();
        self.machine.with_stack(|stack| {
            stack.set_library_globals(PROTECTED);
            if called == Called::Returned {
                return Ok(registration.functions);
            }
            registration.functions.iter().for_each(|function| stack.release(function.callback));
            let text = registration_error(stack);
            stack.set_top(BOTTOM);
            Err(Error::quoting(&[b"ERR Error registering functions: ", &text]))
        })
    }

    /// Returns the number of the function's kept Lua function.
    fn compile_function(&mut self, function: &Function, host: &mut dyn Host) -> Result<i32, Error> {
        let library = function.library();
        if !self.loaded.contains_key(&library.id()) {
            self.drop_stale();
            let (_, code) = library_header(library.text())?;
            let functions = self.load_library(code, &mut Quiet(host))?;
            let library_ref = Arc::downgrade(library);
            self.loaded.insert(library.id(), Loaded { library: library_ref, functions });
        }
        let functions = &self.loaded[&library.id()].functions;
        let found = functions.iter().find(|found| found.name == function.name());
        found.map(|found| found.callback).ok_or_else(|| Error::other("ERR Function not found"))
    }

    /// Calls the function that was pushed with `args` arguments above it, and writes its result.
    fn call(
        &mut self,
        args: i32,
        random: &mut Random,
        host: &mut dyn Host,
        reply: &mut Reply<'_>,
    ) -> Ran {
        let state = self.machine.state();
        state.protocol.set(Protocol::Two);
        state.random.set(*random);
        let called = self.machine.call(Some(host), (args, 1, HANDLER), PAUSE_INSTRUCTIONS);
        *random = self.machine.state().random.get();
        self.runs += 1;
        if self.runs.is_multiple_of(COLLECT_PERIOD) {
            self.machine.collect_step(COLLECT_PERIOD as i32);
        }
        let answers = self.machine.state().protocol.get();
        self.machine.with_stack(|stack| {
            let ran = match called {
                Called::Returned => {
                    write_result(stack, reply, answers, host);
                    Ran::Returned
                }
                Called::Failed => {
                    write_failure(stack, reply, host);
                    Ran::Failed
                }
            };
            stack.set_top(BOTTOM);
            ran
        })
    }
}

fn compile_error(message: Vec<u8>) -> Error {
    Error::quoting(&[b"ERR Error compiling script (new function): ", &message])
}

/// Writes the error that a script raised, which is on the top of the stack.
fn write_failure(stack: &mut Stack<'_>, reply: &mut Reply<'_>, host: &mut dyn Host) {
    const PLAIN_BYTES_MAX: usize = 100;
    let mut is_counted = false;
    let text = if stack.kind(-1) == Kind::Table {
        stack.raw_get_name(-1, "ignore_error_stats_update");
        is_counted = stack.boolean(-1);
        stack.pop(1);
        error_text(stack)
    } else {
        let message = stack.text(-1).unwrap_or(b"execution failure");
        let message = &message[..message.len().min(PLAIN_BYTES_MAX)];
        [b"ERR Error running script, ", api::until_zero(message)].concat()
    };
    let text = error_line(&text);
    reply.error_bytes(&text);
    if !is_counted {
        host.count_error(&text);
    }
}

/// Returns the text of the error object on the top of the stack, with the place of the error.
fn error_text(stack: &mut Stack<'_>) -> Vec<u8> {
    let mut field = |name: &str| -> Option<Vec<u8>> {
        stack.raw_get_name(-1, name);
        let text = stack.text(-1).map(|text| api::until_zero(text).to_vec());
        stack.pop(1);
        text
    };
    let message = field("err").unwrap_or_else(|| b"ERR unknown error".to_vec());
    match (field("source"), field("line")) {
        (Some(source), Some(line)) => {
            [&message[..], b" script: on ", &source, b":", &line, b"."].concat()
        }
        _ => message,
    }
}

/// Returns the text of the error that a library raised while it was loaded. It is on the top of the
/// stack.
fn registration_error(stack: &mut Stack<'_>) -> Vec<u8> {
    if stack.kind(-1) == Kind::Table {
        stack.raw_get_name(-1, "err");
        return stack.text(-1).unwrap_or(b"ERR unknown error").to_vec();
    }
    match stack.text(-1) {
        Some(text) => [b"ERR ", text].concat(),
        None => b"ERR unknown error".to_vec(),
    }
}

/// Pushes some arguments as a table.
fn push_args(stack: &mut Stack<'_>, args: &Args<'_>, range: std::ops::Range<usize>) {
    stack.push_table(range.len(), 0);
    for (at, index) in (1..).zip(range) {
        stack.push_bytes(&args[index]);
        stack.raw_set_at(-2, at);
    }
}

/// Runs the scripts and functions of one partition. A Lua state is created when it is first needed.
#[derive(Debug)]
pub struct Vm {
    options: VmOptions,
    random: Random,
    eval: Option<Engine>,
    functions: Option<Engine>,
}

impl Vm {
    /// Creates a Vm without Lua states.
    pub fn new(options: VmOptions) -> Vm {
        let random =
            if options.seed == 0 { Random::default() } else { Random::seeded(options.seed) };
        Vm { options, random, eval: None, functions: None }
    }

    /// Changes the options. The Lua states are created anew.
    pub fn set_options(&mut self, options: VmOptions) {
        self.options = options;
        self.eval = None;
        self.functions = None;
    }

    /// Runs an EVAL script and writes exactly one reply.
    pub fn run_script(
        &mut self,
        script: &Arc<Script>,
        invocation: &Invocation<'_>,
        host: &mut dyn Host,
        reply: &mut Reply<'_>,
    ) -> Ran {
        let is_insecure = self.options.is_insecure;
        let engine = self.eval.get_or_insert_with(|| Engine::new(false, is_insecure));
        let kept = match engine.compile(script) {
            Ok(kept) => kept,
            Err(error) => {
                reply.error(&error);
                host.count_error(error.bytes());
                return Ran::Failed;
            }
        };
        let &Invocation { args, first_key, keys } = invocation;
        engine.machine.with_stack(|stack| {
            stack.push_kept(kept);
            stack.push_copy(KEYS);
            push_args(stack, args, first_key..first_key + keys);
            stack.raw_set(GLOBALS);
            stack.push_copy(ARGV);
            push_args(stack, args, first_key + keys..args.len());
            stack.raw_set(GLOBALS);
        });
        engine.call(0, &mut self.random, host, reply)
    }

    /// Runs a function and writes exactly one reply.
    pub fn run_function(
        &mut self,
        function: &Function,
        invocation: &Invocation<'_>,
        host: &mut dyn Host,
        reply: &mut Reply<'_>,
    ) -> Ran {
        let is_insecure = self.options.is_insecure;
        let engine = self.functions.get_or_insert_with(|| Engine::new(true, is_insecure));
        let kept = match engine.compile_function(function, host) {
            Ok(kept) => kept,
            Err(error) => {
                reply.error(&error);
                host.count_error(error.bytes());
                return Ran::Failed;
            }
        };
        let &Invocation { args, first_key, keys } = invocation;
        engine.machine.with_stack(|stack| {
            stack.push_kept(kept);
            push_args(stack, args, first_key..first_key + keys);
            push_args(stack, args, first_key + keys..args.len());
        });
        engine.call(2, &mut self.random, host, reply)
    }

    /// Returns the bytes of the Lua states: for EVAL, for functions.
    pub fn bytes(&self) -> (usize, usize) {
        let bytes = |engine: &Option<Engine>| {
            engine.as_ref().map_or(0, |engine| engine.machine.used_bytes())
        };
        (bytes(&self.eval), bytes(&self.functions))
    }

    /// Drops the scripts that were flushed or evicted. A state without scripts is dropped too.
    pub fn tidy(&mut self) {
        if let Some(engine) = &mut self.eval {
            engine.drop_stale();
            if engine.compiled.is_empty() {
                self.eval = None;
            }
        }
        if let Some(engine) = &mut self.functions {
            engine.drop_stale();
            if engine.loaded.is_empty() {
                self.functions = None;
            }
        }
    }
}

/// The server of a library that is loaded again, in one more state: what the library logs was
/// logged when FUNCTION LOAD loaded it.
struct Quiet<'a>(&'a mut dyn Host);

impl Host for Quiet<'_> {
    fn call(&mut self, args: Args<'_>, protocol: Protocol, reply: &mut Output) {
        self.0.call(args, protocol, reply);
    }

    fn pause(&mut self) -> Verdict {
        self.0.pause()
    }

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn acl_check(&mut self, args: Args<'_>) -> AclAnswer {
        self.0.acl_check(args)
    }

    fn set_propagation(&mut self, to: Propagation) {
        self.0.set_propagation(to);
    }

    fn count_error(&mut self, text: &[u8]) {
        self.0.count_error(text);
    }
}

/// Loads libraries to see whether they are valid, in a state of its own.
#[derive(Debug, Default)]
pub struct Loader(Mutex<Option<Engine>>);

impl Loader {
    /// Runs the code of a library, and returns what it has registered.
    pub(super) fn load(
        &self,
        code: &[u8],
        host: &mut dyn Host,
    ) -> Result<Vec<FunctionFacts>, Error> {
        let mut engine = self.0.lock().expect("no library panics");
        let engine = engine.get_or_insert_with(|| Engine::new(true, false));
        let registered = engine.load_library(code, host)?;
        engine.machine.with_stack(|stack| {
            registered.iter().for_each(|function| stack.release(function.callback));
        });
        let facts = registered.into_iter().map(|function| {
            let Registered { name, description, flags, .. } = function;
            FunctionFacts { name, description, flags }
        });
        Ok(facts.collect())
    }
}

/// Compiles scripts to see whether they are valid, in a state of its own.
#[derive(Debug, Default)]
pub(super) struct Checker(Mutex<Option<Engine>>);

impl Checker {
    /// Returns an error if the code does not compile.
    pub fn check(&self, code: &[u8]) -> Result<(), Error> {
        let mut engine = self.0.lock().expect("no compilation panics");
        let engine = engine.get_or_insert_with(|| Engine::new(false, false));
        engine.machine.load(code, c"@user_script").map_err(compile_error)?;
        engine.machine.with_stack(|stack| stack.pop(1));
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
