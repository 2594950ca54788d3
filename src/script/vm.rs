//! Runs scripts and functions: one [`Vm`] per partition. Hot, see bench `script`.

use super::api;
use super::bits;
use super::header::library_header;
use super::host::{AclAnswer, Host, LogLevel, Propagation, Verdict};
use super::json;
use super::libraries::Library as FunctionLibrary;
use super::libraries::{Function, FunctionFacts};
use super::limits::{LUA_BYTES_MAX, PAUSE_INSTRUCTIONS, SUSPENDED_MAX};
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
use ahash::AHasher;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::{Arc, Mutex, Weak};

/// Scripts and functions that ran between two steps of the garbage collection, and the size of a
/// step. The reference has the same number for both.
const COLLECT_PERIOD: u32 = 50;

/// Size of a step of the collection between scripts, in KiB; about 200 us.
const IDLE_STEP_KIB: i32 = 256;

/// Rounds of the collection after a run that leave none of its garbage: the round in progress may
/// have passed some of it before the run ended.
const ROUNDS_AFTER_RUN: u8 = 2;

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
    /// It was suspended and has not replied yet. [`Vm::resume`] continues it.
    Suspended(RunId),
}

/// A suspended run of a [`Vm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunId(u64);

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
    compiled: HashMap<u64, (Arc<Script>, i32), BuildHasherDefault<AHasher>>,
    /// The functions of each library that has run here, by the library's number.
    loaded: HashMap<u64, Loaded>,
    /// Number of scripts after the last removal of stale ones.
    fresh: usize,
    runs: u32,
    /// Rounds of the collection after which no garbage of past runs is left.
    rounds_left: u8,
    /// The run that is suspended in this state.
    suspended: Option<RunId>,
    /// Whether no further script may run in this state.
    is_last_run: bool,
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
        Engine {
            machine,
            compiled: HashMap::default(),
            loaded: HashMap::new(),
            fresh: 0,
            runs: 0,
            rounds_left: 0,
            suspended: None,
            is_last_run: false,
        }
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

    /// Collects a part of the garbage of past runs, for some 100 us.
    fn collect_some(&mut self) {
        if self.rounds_left > 0 && self.machine.collect_step(IDLE_STEP_KIB) {
            self.rounds_left -= 1;
        }
    }

    /// Runs the code of a library and returns what it has registered.
    fn load_library(&mut self, code: &[u8], host: &mut dyn Host) -> Result<Vec<Registered>, Error> {
        self.machine
            .load(code, c"@user_function")
            .map_err(|message| Error::quoting(&[b"ERR Error compiling function: ", &message]))?;
        self.machine.with_stack(|stack| stack.set_library_globals(LOADING));
        *self.machine.state().registration.borrow_mut() = Some(Registration::default());
        let called = self.machine.call(Some(host), (0, 0, 0), PAUSE_INSTRUCTIONS, false);
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

    /// Calls the function that was pushed with `args` arguments above it, and writes its result. If
    /// it is suspended, its run is `id`.
    fn call(&mut self, args: i32, id: RunId, run: &mut Run<'_, '_>) -> Ran {
        let state = self.machine.state();
        state.protocol.set(Protocol::Two);
        state.random.set(*run.random);
        let shape = (args, 1, HANDLER);
        let called = self.machine.call(Some(run.host), shape, PAUSE_INSTRUCTIONS, true);
        self.suspended = (called == Called::Suspended).then_some(id);
        self.end(called, run)
    }

    /// Continues the suspended call.
    fn resume(&mut self, run: &mut Run<'_, '_>) -> Ran {
        self.machine.state().random.set(*run.random);
        let called = self.machine.resume(run.host);
        if called != Called::Suspended {
            self.suspended = None;
        }
        self.end(called, run)
    }

    /// Writes the result of a call, unless it is suspended.
    fn end(&mut self, called: Called, run: &mut Run<'_, '_>) -> Ran {
        *run.random = self.machine.state().random.get();
        if let (Called::Suspended, Some(id)) = (called, self.suspended) {
            return Ran::Suspended(id);
        }
        self.runs += 1;
        self.rounds_left = ROUNDS_AFTER_RUN;
        if self.machine.used_bytes() > LUA_BYTES_MAX / 2 {
            // A script may have stopped the collection.
            self.machine.collect();
        } else if self.runs.is_multiple_of(COLLECT_PERIOD) {
            self.machine.collect_step(COLLECT_PERIOD as i32);
        }
        let answers = self.machine.state().protocol.get();
        self.machine.with_stack(|stack| {
            let ran = if called == Called::Returned {
                write_result(stack, run.reply, answers, run.host);
                Ran::Returned
            } else {
                write_failure(stack, run.reply, run.host);
                Ran::Failed
            };
            stack.set_top(BOTTOM);
            ran
        })
    }
}

/// What a run needs besides its Lua state.
struct Run<'a, 'r> {
    random: &'a mut Random,
    host: &'a mut dyn Host,
    reply: &'a mut Reply<'r>,
}

/// The Lua states for EVAL, or for functions. All but one are there because a run is suspended in
/// another one.
#[derive(Debug, Default)]
struct Pool {
    engines: Vec<Engine>,
}

impl Pool {
    /// Returns a state without suspended run, or `None` if [`SUSPENDED_MAX`] runs are suspended.
    #[inline]
    fn free(&mut self, new: impl FnOnce() -> Engine) -> Option<&mut Engine> {
        let is_free = |engine: &Engine| engine.suspended.is_none() && !engine.is_last_run;
        let at = self.engines.iter().position(is_free);
        let at = match at {
            Some(at) => at,
            None if self.engines.len() >= SUSPENDED_MAX => return None,
            None => {
                self.engines.push(new());
                self.engines.len() - 1
            }
        };
        Some(&mut self.engines[at])
    }

    fn suspended(&mut self, id: RunId) -> Option<&mut Engine> {
        self.engines.iter_mut().find(|engine| engine.suspended == Some(id))
    }

    /// Continues the collection of garbage, and drops what is not needed any more: scripts,
    /// libraries, and all but the first of the states without suspended run. A first state without
    /// scripts and libraries is dropped too.
    fn tidy(&mut self) {
        let mut has_free = false;
        self.engines.retain_mut(|engine| {
            if engine.suspended.is_some() {
                return true;
            }
            if engine.is_last_run {
                return false;
            }
            engine.drop_stale();
            engine.collect_some();
            let is_used = !engine.compiled.is_empty() || !engine.loaded.is_empty();
            is_used && !std::mem::replace(&mut has_free, true)
        });
    }

    fn used_bytes(&self) -> usize {
        self.engines.iter().map(|engine| engine.machine.used_bytes()).sum()
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
    stack.push_strings(range.map(|index| &args[index]));
}

/// Runs the scripts and functions of one partition. A Lua state is created when it is first needed.
#[derive(Debug)]
pub struct Vm {
    options: VmOptions,
    random: Random,
    next_id: u64,
    eval: Pool,
    functions: Pool,
}

impl Vm {
    /// Creates a Vm without Lua states.
    pub fn new(options: VmOptions) -> Vm {
        let random =
            if options.seed == 0 { Random::default() } else { Random::seeded(options.seed) };
        Vm { options, random, next_id: 0, eval: Pool::default(), functions: Pool::default() }
    }

    fn new_id(&mut self) -> RunId {
        self.next_id += 1;
        RunId(self.next_id)
    }

    /// Runs an EVAL script. Writes exactly one reply, or none if the run is suspended.
    pub fn run_script(
        &mut self,
        script: &Arc<Script>,
        invocation: &Invocation<'_>,
        host: &mut dyn Host,
        reply: &mut Reply<'_>,
    ) -> Ran {
        let (id, is_insecure) = (self.new_id(), self.options.is_insecure);
        let Some(engine) = self.eval.free(|| Engine::new(false, is_insecure)) else {
            return fail(&Error::BusyScript, host, reply);
        };
        let kept = match engine.compile(script) {
            Ok(kept) => kept,
            Err(error) => return fail(&error, host, reply),
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
        let mut run = Run { random: &mut self.random, host, reply };
        engine.call(0, id, &mut run)
    }

    /// Runs a function. Writes exactly one reply, or none if the run is suspended.
    pub fn run_function(
        &mut self,
        function: &Function,
        invocation: &Invocation<'_>,
        host: &mut dyn Host,
        reply: &mut Reply<'_>,
    ) -> Ran {
        let (id, is_insecure) = (self.new_id(), self.options.is_insecure);
        let Some(engine) = self.functions.free(|| Engine::new(true, is_insecure)) else {
            return fail(&Error::BusyFunction, host, reply);
        };
        let kept = match engine.compile_function(function, host) {
            Ok(kept) => kept,
            Err(error) => return fail(&error, host, reply),
        };
        let &Invocation { args, first_key, keys } = invocation;
        engine.machine.with_stack(|stack| {
            stack.push_kept(kept);
            push_args(stack, args, first_key..first_key + keys);
            push_args(stack, args, first_key + keys..args.len());
        });
        let mut run = Run { random: &mut self.random, host, reply };
        engine.call(2, id, &mut run)
    }

    /// Continues a suspended run. Writes exactly one reply, or none if the run is suspended again.
    /// The script asks [`Host::pause`] at once whether it goes on.
    pub fn resume(&mut self, id: RunId, host: &mut dyn Host, reply: &mut Reply<'_>) -> Ran {
        let engine = self.eval.suspended(id).or_else(|| self.functions.suspended(id));
        let engine = engine.expect("a run is resumed once for each time that it is suspended");
        engine.resume(&mut Run { random: &mut self.random, host, reply })
    }

    /// Drops a suspended run with its state, at whatever instruction it is.
    pub fn abandon(&mut self, id: RunId) {
        self.eval.engines.retain(|engine| engine.suspended != Some(id));
        self.functions.engines.retain(|engine| engine.suspended != Some(id));
    }

    /// Sets whether EVAL scripts have `getfenv` and `setfenv`. Returns whether that is new. Then
    /// scripts get a new state, except suspended ones. Functions keep theirs, as in the reference.
    pub fn set_insecure(&mut self, is_insecure: bool) -> bool {
        let before = std::mem::replace(&mut self.options.is_insecure, is_insecure);
        if before != is_insecure {
            self.eval.engines.retain(|engine| engine.suspended.is_some());
            self.eval.engines.iter_mut().for_each(|engine| engine.is_last_run = true);
        }
        before != is_insecure
    }

    /// Returns the bytes of the Lua states: for EVAL, for functions.
    pub fn bytes(&self) -> (usize, usize) {
        (self.eval.used_bytes(), self.functions.used_bytes())
    }

    /// Drops what was flushed, evicted or deleted, and states that are not needed any more.
    pub fn tidy(&mut self) {
        self.eval.tidy();
        self.functions.tidy();
    }
}

/// Replies an error of the engine.
#[cold]
fn fail(error: &Error, host: &mut dyn Host, reply: &mut Reply<'_>) -> Ran {
    reply.error(error);
    host.count_error(error.bytes());
    Ran::Failed
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
