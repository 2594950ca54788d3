//! A Lua 5.1 state behind a safe interface: its life, its memory, calls into it, its sandbox.
//!
//! The only folder of the engine with `unsafe` code. Lua raises errors by longjmp, which must not
//! cross Rust frames. Three rules see to it:
//!
//! 1. Code that may raise an error runs in C: in Lua itself or in `shim.c`.
//! 2. A native function in Rust calls nothing that raises an error (`stack.rs`). It returns its own
//!    error, and `shim.c` raises it after the Rust frame has ended.
//! 3. A call into Lua from Rust is protected: `lua_pcall` catches the error in C.
//!
//! Must not know: commands, replies, scripts; what the native functions do.
#![allow(unsafe_code)]

mod fiber;
mod heap;
mod sandbox;
mod stack;

pub use sandbox::{
    ARGV, BOTTOM, GLOBALS, HANDLER, KEYS, LOADING, Library, PROTECTED, REPLY_FIELDS,
    REPLY_FIELDS_AT, Sandbox,
};
pub use stack::{Kind, Native, Raise, Stack, to_integer};

use super::host::Host;
use super::state::State;
use fiber::{Fiber, Switch};
use heap::Heap;
use mlua_sys as ffi;
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::ptr::NonNull;

unsafe extern "C-unwind" {
    fn annulet_lua_dispatch(lua: *mut ffi::lua_State) -> c_int;
    fn annulet_lua_hook(lua: *mut ffi::lua_State, debug: *mut ffi::lua_Debug);
    fn annulet_lua_function(number: c_int) -> ffi::lua_CFunction;
    fn annulet_lua_key(shown: c_int) -> *mut c_void;
    fn annulet_lua_load(
        lua: *mut ffi::lua_State,
        text: *const c_char,
        bytes: usize,
        name: *const c_char,
    ) -> c_int;
    fn annulet_lua_push_real(lua: *mut ffi::lua_State, index: c_int) -> c_int;
}

/// What the native functions of a state share.
pub struct Core {
    heap: Heap,
    /// The server during a call; none while it is in use or between calls.
    host: Cell<Option<NonNull<dyn Host>>>,
    switch: Switch,
    /// Decides whether to go on, at each pause.
    pause: fn(&mut Stack<'_>) -> Result<(), Raise>,
    /// The state of the native functions.
    pub state: State,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("heap", &self.heap).finish_non_exhaustive()
    }
}

impl Core {
    /// Calls `ask` with the server. Returns none outside of a call, and inside of `ask`.
    #[inline]
    pub fn with_host<R>(&self, ask: impl FnOnce(&mut dyn Host) -> R) -> Option<R> {
        let mut host = self.host.take()?;
        // SAFETY: `Machine::call` has the exclusive reference for the time of the call, and sets
        // this field only then. It is empty meanwhile, so there is no second reference.
        let answer = ask(unsafe { host.as_mut() });
        self.host.set(Some(host));
        Some(answer)
    }

    /// Suspends the running call until it is resumed, by then with another server. Returns false at
    /// once if the call cannot be suspended.
    pub fn suspend(&self) -> bool {
        let is_resumed = self.switch.suspend();
        self.heap.set_in_rust(true);
        is_resumed
    }
}

/// How a call into Lua ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// It returned its results.
    Returned,
    /// It raised the error that is on the top of the stack.
    Failed,
    /// It suspended itself. Until it is resumed, nothing else may be done with the state.
    Suspended,
}

/// A Lua state.
#[derive(Debug)]
pub struct Machine {
    lua: NonNull<ffi::lua_State>,
    fiber: Fiber,
    core: Box<Core>,
}

// SAFETY: Lua has no state outside of `lua` and knows no threads. Nobody else has the pointer. The
// Core has a server only during a call; its other parts are checked below.
unsafe impl Send for Machine {}

const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<State>();
    is_send::<Heap>();
};

impl Machine {
    /// Creates a state with nothing in it. `pause` decides at each pause of a call whether it goes
    /// on.
    fn empty(pause: fn(&mut Stack<'_>) -> Result<(), Raise>, state: State) -> Machine {
        let core = Box::new(Core {
            heap: Heap::default(),
            host: Cell::new(None),
            switch: Switch::default(),
            pause,
            state,
        });
        core.heap.set_in_rust(true);
        let shared = std::ptr::from_ref::<Core>(&core).cast_mut().cast();
        // SAFETY: the allocator gets its Core, whose address does not change.
        let lua = unsafe { ffi::lua_newstate(heap::allocate, shared) };
        let lua = NonNull::new(lua).expect("memory is not refused");
        Machine { lua, fiber: Fiber::default(), core }
    }

    /// Returns the state of the native functions.
    pub fn state(&self) -> &State {
        &self.core.state
    }

    /// Returns the bytes in use.
    pub fn used_bytes(&self) -> usize {
        self.core.heap.used()
    }

    /// Calls `work` with the stack of the state itself.
    #[inline]
    pub fn with_stack<R>(&mut self, work: impl FnOnce(&mut Stack<'_>) -> R) -> R {
        // SAFETY: the state lives as long as `self`, and has no running function. A new state
        // promises no slots: `reserve` asks for them.
        let mut stack = unsafe { Stack::new(self.lua, 0) };
        assert!(stack.reserve(stack::STACK_SLOTS), "the stack of a state is nearly empty");
        work(&mut stack)
    }

    /// Compiles Lua code and pushes the function. Returns the error message if the code is wrong.
    pub fn load(&mut self, text: &[u8], name: &CStr) -> Result<(), Vec<u8>> {
        self.with_stack(|stack| {
            // SAFETY: two slots are free. `lua_load` catches all errors.
            let status = unsafe {
                let start = text.as_ptr().cast();
                annulet_lua_load(stack.raw(), start, text.len(), name.as_ptr())
            };
            if status == ffi::LUA_OK {
                return Ok(());
            }
            let message = stack.text(-1).unwrap_or_default().to_vec();
            stack.pop(1);
            Err(message)
        })
    }

    /// Calls the function below the topmost `args` values. Afterwards either the `results` or an
    /// error replace them. `handler` is the index of the function that completes an error; 0: none.
    /// `instructions` is their number between two pauses. Only a call that `may_suspend` can be
    /// suspended.
    pub fn call(
        &mut self,
        host: Option<&mut dyn Host>,
        (args, results, handler): (i32, i32, i32),
        instructions: i32,
        may_suspend: bool,
    ) -> Called {
        let lua = self.lua;
        let call = move || {
            let lua = lua.as_ptr();
            // SAFETY: the function and its arguments are on the stack; lua_pcall catches all
            // errors.
            unsafe {
                ffi::lua_sethook(lua, Some(annulet_lua_hook), ffi::LUA_MASKCOUNT, instructions);
                let status = ffi::lua_pcall(lua, args, results, handler);
                ffi::lua_sethook(lua, None, 0, 0);
                status
            }
        };
        self.with_server(host, |fiber, core| {
            if may_suspend { fiber.start(&core.switch, call) } else { Some(call()) }
        })
    }

    /// Continues a suspended call.
    pub fn resume(&mut self, host: &mut dyn Host) -> Called {
        self.with_server(Some(host), |fiber, core| fiber.resume(&core.switch))
    }

    /// Runs Lua code with a server. `run` returns Lua's status, or none if the call is suspended.
    #[inline]
    fn with_server(
        &mut self,
        host: Option<&mut dyn Host>,
        run: impl FnOnce(&mut Fiber, &Core) -> Option<i32>,
    ) -> Called {
        let host = host.map(|host| {
            let host = NonNull::from(host);
            // SAFETY: only the lifetime changes. The field is emptied below, before it ends.
            unsafe { std::mem::transmute::<NonNull<dyn Host + '_>, NonNull<dyn Host>>(host) }
        });
        self.core.host.set(host);
        self.core.heap.set_in_rust(false);
        let status = run(&mut self.fiber, &self.core);
        self.core.heap.set_in_rust(true);
        self.core.host.set(None);
        match status {
            None => Called::Suspended,
            Some(ffi::LUA_OK) => Called::Returned,
            Some(_) => Called::Failed,
        }
    }

    /// Continues the collection of garbage. `size` is a measure of how long. Returns whether this
    /// has ended a round over all objects.
    pub fn collect_step(&mut self, size: i32) -> bool {
        // SAFETY: the state is valid. No object has a finalizer, so no Lua code runs.
        let ended = unsafe { ffi::lua_gc(self.lua.as_ptr(), ffi::LUA_GCSTEP, size) };
        ended == 1
    }

    /// Collects all garbage.
    pub fn collect(&mut self) {
        // SAFETY: the state is valid. No object has a finalizer, so no Lua code runs.
        unsafe { ffi::lua_gc(self.lua.as_ptr(), ffi::LUA_GCCOLLECT, 0) };
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.fiber = Fiber::default();
        // SAFETY: nobody uses the state any more, not even a suspended call. Its Core is dropped
        // later.
        unsafe { ffi::lua_close(self.lua.as_ptr()) }
    }
}

/// Runs the native function whose address is the first upvalue. For `shim.c`.
///
/// # Safety
///
/// Lua calls it with the state of a running function that [`Stack::push_native`] made.
#[unsafe(no_mangle)]
unsafe extern "C" fn annulet_lua_native(lua: NonNull<ffi::lua_State>) -> c_int {
    // SAFETY: the upvalue is the address of a native function, and Lua promises the slots.
    let (native, mut stack) = unsafe {
        let address = ffi::lua_touserdata(lua.as_ptr(), ffi::lua_upvalueindex(1));
        let native = std::mem::transmute::<*mut c_void, Native>(address);
        (native, Stack::new(lua, stack::STACK_SLOTS))
    };
    let core = stack.core();
    core.heap.set_in_rust(true);
    let result = native(&mut stack);
    core.heap.set_in_rust(false);
    result.unwrap_or(-1)
}

/// Decides whether a script ends. For the hook in `shim.c`.
///
/// # Safety
///
/// Lua calls it with a valid state.
#[unsafe(no_mangle)]
unsafe extern "C" fn annulet_lua_pause(lua: NonNull<ffi::lua_State>) -> c_int {
    // SAFETY: Lua promises the slots to a hook.
    let mut stack = unsafe { Stack::new(lua, stack::STACK_SLOTS) };
    let core = stack.core();
    core.heap.set_in_rust(true);
    let result = (core.pause)(&mut stack);
    core.heap.set_in_rust(false);
    c_int::from(result.is_err())
}
