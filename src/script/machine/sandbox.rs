//! Sets up a Lua state: the libraries that scripts may use, all of them read-only.
//!
//! ```text
//!   what a script holds       its metatable (hidden)            behind it
//!   empty table          -->  real_key: the real table     -->  real table: call, pcall, ...
//!                             __index:  the real table          (its metatable: unknown names)
//!                             __newindex: refuses
//!                             shown_key: what getmetatable gives
//! ```
//!
//! The reference has a Lua with a read-only flag in each table instead. Scripts can tell the two
//! apart only by the address of a table.
#![allow(unsafe_code)]

use super::{Called, Machine, Native, Stack, ffi};
use super::{annulet_lua_function, annulet_lua_key};
use crate::script::state::State;
use std::ffi::{CStr, c_int};

/// A table of native functions and constants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Library {
    /// Its name.
    pub name: &'static str,
    /// Its functions.
    pub functions: &'static [(&'static str, Native)],
    /// Its numbers.
    pub numbers: &'static [(&'static str, f64)],
    /// Its strings.
    pub texts: &'static [(&'static str, &'static str)],
}

/// What a state offers to its scripts.
#[derive(Clone, Copy, Debug)]
pub struct Sandbox {
    /// Libraries beside those of Lua itself.
    pub libraries: &'static [Library],
    /// Native functions in place of Lua's own: library, name, function.
    pub replaced: &'static [(&'static str, &'static str, Native)],
    /// The tables `redis` and `server`, which are one.
    pub api: &'static [Library],
    /// `redis` and `server` while a function library is loaded, which sees nothing else.
    pub loading_api: Option<&'static [Library]>,
    /// Whether there are `getfenv` and `setfenv`.
    pub is_insecure: bool,
}

/// Values at the bottom of a state's stack.
pub const HANDLER: i32 = 1;
/// The real table of global variables.
pub const GLOBALS: i32 = 2;
/// The string `KEYS`
pub const KEYS: i32 = 3;
/// The string `ARGV`
pub const ARGV: i32 = 4;
/// The metatable of the table of globals that libraries see; nil in a state for EVAL.
const LIBRARY_META: i32 = 5;
/// The protected globals.
pub const PROTECTED: i32 = 6;
/// What a library sees while it is loaded; nil in a state for EVAL.
pub const LOADING: i32 = 7;
/// The name of the chunk that the state compiles. Lua 5.1.5 does not protect it from the collector.
const CHUNK_NAMES: [&str; 2] = ["@user_script", "@user_function"];
/// Where the strings of [`REPLY_FIELDS`] are, one after the other.
pub const REPLY_FIELDS_AT: i32 = LOADING + CHUNK_NAMES.len() as i32 + 1;
/// The fields that say what reply a table stands for, in the order in which they count.
pub const REPLY_FIELDS: [&str; 7] =
    ["err", "ok", "double", "big_number", "verbatim_string", "map", "set"];
/// Values that stay at the bottom.
pub const BOTTOM: i32 = REPLY_FIELDS_AT + REPLY_FIELDS.len() as i32 - 1;

/// Functions in `shim.c`, by their number there.
#[derive(Clone, Copy)]
enum Shim {
    RefuseNewIndex,
    RefuseIndex,
    Next,
    Pairs,
    RawGet,
    RawSet,
    GetMetatable,
    SetMetatable,
    Pcall,
    Unpack,
    LoadString,
    Load,
    Insert,
    Foreach,
    Pattern,
    Rep,
}

/// Lua's own global functions that scripts keep.
const KEPT: &[&str] = &[
    "_VERSION",
    "assert",
    "collectgarbage",
    "error",
    "gcinfo",
    "ipairs",
    "rawequal",
    "select",
    "tonumber",
    "tostring",
    "type",
    "xpcall",
];

/// Lua's own global functions for `lua-enable-insecure-api`. `newproxy` is not among them: its
/// objects have finalizers.
const INSECURE: &[&str] = &["getfenv", "setfenv"];

/// Lua's own globals that nothing must lead to, not even the environment of the error handler.
const REMOVED: &[&str] = &["debug", "dofile", "loadfile", "newproxy", "os", "print"];

/// Global functions that `shim.c` has in place of Lua's.
const SHIMMED: &[(&str, Shim)] = &[
    ("getmetatable", Shim::GetMetatable),
    ("load", Shim::Load),
    ("loadstring", Shim::LoadString),
    ("next", Shim::Next),
    ("pcall", Shim::Pcall),
    ("rawget", Shim::RawGet),
    ("rawset", Shim::RawSet),
    ("setmetatable", Shim::SetMetatable),
    ("unpack", Shim::Unpack),
];

/// Functions of Lua's libraries that `shim.c` guards: library, name, guard.
const GUARDED: &[(&str, &str, Shim)] = &[
    ("table", "insert", Shim::Insert),
    ("table", "foreach", Shim::Foreach),
    ("string", "find", Shim::Pattern),
    ("string", "match", Shim::Pattern),
    ("string", "gmatch", Shim::Pattern),
    ("string", "gfind", Shim::Pattern),
    ("string", "gsub", Shim::Pattern),
    ("string", "rep", Shim::Rep),
];

/// Completes an error with the place where it was raised. A C function is not a place.
const ERROR_HANDLER: &CStr = c"
local getinfo, type, tostring = ...
return function(raised)
    local place = getinfo(2, 'Sl')
    if place and place.what == 'C' then place = getinfo(3, 'Sl') end
    local object = raised
    if type(object) ~= 'table' then object = {err = 'ERR ' .. tostring(raised)} end
    if place then
        object['source'] = place.source
        object['line'] = place.currentline
    end
    return object
end";

impl Machine {
    /// Creates a state that offers `sandbox`. `pause` decides at each pause of a call whether it
    /// goes on.
    pub fn new(
        sandbox: &Sandbox,
        pause: fn(&mut Stack<'_>) -> Result<(), super::Raise>,
        state: State,
    ) -> Machine {
        let mut machine = Machine::empty(pause, state);
        machine.open_libraries();
        machine.push_error_handler();
        machine.with_stack(|stack| {
            stack.push_globals(sandbox);
            stack.push_bytes(b"KEYS");
            stack.push_bytes(b"ARGV");
            stack.set_globals(sandbox);
            let names = CHUNK_NAMES.iter().chain(&REPLY_FIELDS);
            stack.reserve(BOTTOM);
            names.for_each(|name| stack.push_bytes(name.as_bytes()));
            assert_eq!(stack.top(), BOTTOM);
        });
        machine.collect();
        machine
    }

    /// Opens Lua's own libraries.
    fn open_libraries(&mut self) {
        let libraries: [(unsafe extern "C-unwind" fn(*mut ffi::lua_State) -> c_int, &str); 6] = [
            (ffi::luaopen_base, ""),
            (ffi::luaopen_table, "table"),
            (ffi::luaopen_string, "string"),
            (ffi::luaopen_math, "math"),
            (ffi::luaopen_debug, "debug"),
            (ffi::luaopen_os, "os"),
        ];
        for (open, name) in libraries {
            self.with_stack(|stack| {
                // SAFETY: two slots are free.
                unsafe { ffi::lua_pushcclosure(stack.raw(), open, 0) }
                stack.push_bytes(name.as_bytes());
            });
            let called = self.call(None, (1, 0, 0), 0, false);
            assert_eq!(called, Called::Returned, "opening a library needs only memory");
        }
    }

    fn push_error_handler(&mut self) {
        let text = ERROR_HANDLER.to_bytes();
        self.load(text, c"=error_handler").expect("the error handler is valid Lua");
        self.with_stack(|stack| {
            stack.push_lua_globals();
            stack.raw_get_name(-1, "debug");
            stack.raw_get_name(-1, "getinfo");
            stack.remove(-2);
            stack.raw_get_name(-2, "type");
            stack.raw_get_name(-3, "tostring");
            stack.remove(-4);
        });
        let called = self.call(None, (3, 1, 0), 0, false);
        assert_eq!(called, Called::Returned, "the error handler is made");
    }
}

impl Stack<'_> {
    /// Pushes the table of globals that the state uses.
    fn push_lua_globals(&mut self) {
        self.reserve(1);
        self.take(1);
        // SAFETY: a slot is taken.
        unsafe { ffi::lua_pushvalue(self.raw(), ffi::LUA_GLOBALSINDEX) }
    }

    /// Pops a table, which becomes the table of globals.
    fn replace_lua_globals(&mut self) {
        assert_eq!(self.kind(-1), super::Kind::Table);
        // SAFETY: the value is a table.
        unsafe { ffi::lua_replace(self.raw(), ffi::LUA_GLOBALSINDEX) }
        self.room += 1;
    }

    /// Pops a table, which becomes the metatable of the value at `index`.
    fn set_metatable(&mut self, index: i32) {
        assert_eq!(self.kind(-1), super::Kind::Table);
        // SAFETY: the value is a table, and no metatable here has a finalizer.
        unsafe { ffi::lua_setmetatable(self.raw(), index) };
        self.room += 1;
    }

    /// Pops `upvalues` values and pushes a function of `shim.c`.
    fn push_shim(&mut self, shim: Shim, upvalues: i32) {
        self.take(1 - upvalues);
        // SAFETY: the numbers are those of `shim.c`, and the upvalues are on the stack.
        unsafe {
            ffi::lua_pushcclosure(self.raw(), annulet_lua_function(shim as c_int), upvalues);
        }
    }

    /// Pushes a key of the hidden metatables.
    fn push_key(&mut self, shown: bool) {
        self.take(1);
        // SAFETY: a slot is taken; the key is an address in `shim.c`.
        unsafe {
            ffi::lua_pushlightuserdata(self.raw(), annulet_lua_key(c_int::from(shown)));
        }
    }

    /// Replaces the topmost table by one that protects it. If `has_shown`, the value below is what
    /// getmetatable gives, and is popped.
    fn protect(&mut self, has_shown: bool) {
        self.reserve(6);
        self.push_table(0, 0);
        self.push_table(0, 4);
        self.push_key(false);
        self.push_copy(-4);
        self.raw_set(-3);
        self.push_copy(-3);
        self.raw_set_name(-2, "__index");
        self.push_shim(Shim::RefuseNewIndex, 0);
        self.raw_set_name(-2, "__newindex");
        if has_shown {
            self.push_key(true);
            self.push_copy(-5);
            self.raw_set(-3);
        }
        self.set_metatable(-2);
        self.remove(-2);
        if has_shown {
            self.remove(-2);
        }
    }

    /// Makes unknown names in the topmost table an error, and pushes what getmetatable shows, below
    /// the table.
    fn refuse_unknown_names(&mut self) {
        self.reserve(4);
        self.push_table(0, 1);
        self.push_shim(Shim::RefuseIndex, 0);
        self.raw_set_name(-2, "__index");
        self.push_copy(-1);
        self.set_metatable(-3);
        self.protect(false);
        self.insert(-2);
    }

    /// Adds the contents of libraries to the topmost table.
    pub fn add(&mut self, libraries: &[Library]) {
        self.reserve(4);
        for library in libraries {
            for &(name, native) in library.functions {
                self.push_native(native);
                self.raw_set_name(-2, name);
            }
            for &(name, number) in library.numbers {
                self.push_number(number);
                self.raw_set_name(-2, name);
            }
            for &(name, text) in library.texts {
                self.push_bytes(text.as_bytes());
                self.raw_set_name(-2, name);
            }
        }
    }

    /// Pushes the real table of globals.
    fn push_globals(&mut self, sandbox: &Sandbox) {
        self.push_lua_globals();
        self.push_table(0, 64);
        let insecure: &[&str] = if sandbox.is_insecure { INSECURE } else { &[] };
        for name in KEPT.iter().chain(insecure) {
            self.raw_get_name(-2, name);
            self.raw_set_name(-2, name);
        }
        for &(name, shim) in SHIMMED {
            self.push_shim(shim, 0);
            self.raw_set_name(-2, name);
        }
        self.push_shim(Shim::Next, 0);
        self.push_shim(Shim::Pairs, 1);
        self.raw_set_name(-2, "pairs");
        self.add_lua_libraries(sandbox);
        for library in sandbox.libraries {
            self.push_table(0, 16);
            self.add(std::slice::from_ref(library));
            if library.name == "cjson" {
                self.push_null_pointer();
                self.raw_set_name(-2, "null");
            }
            self.protect(false);
            self.raw_set_name(-2, library.name);
        }
        self.push_table(0, 32);
        self.add(sandbox.api);
        self.protect(false);
        self.push_copy(-1);
        self.raw_set_name(-3, "redis");
        self.raw_set_name(-2, "server");
        if sandbox.loading_api.is_none() {
            for name in ["__redis__err__handler", "__server__err__handler"] {
                self.push_copy(HANDLER);
                self.raw_set_name(-2, name);
            }
        }
        for name in REMOVED {
            self.push_nil();
            self.raw_set_name(-3, name);
        }
        self.remove(-2);
    }

    /// Adds Lua's own libraries to the topmost table. Lua's globals are below it.
    fn add_lua_libraries(&mut self, sandbox: &Sandbox) {
        for library in ["string", "table", "math", "coroutine"] {
            self.raw_get_name(-2, library);
            for &(of, name, shim) in GUARDED {
                if of == library {
                    self.raw_get_name(-1, name);
                    self.push_shim(shim, 1);
                    self.raw_set_name(-2, name);
                }
            }
            for &(of, name, native) in sandbox.replaced {
                if of == library {
                    self.push_native(native);
                    self.raw_set_name(-2, name);
                }
            }
            self.protect(false);
            if library == "string" {
                self.protect_strings();
            }
            self.raw_set_name(-2, library);
        }
        // Of the library `os`, scripts have the clock alone.
        self.raw_get_name(-2, "os");
        self.push_table(0, 1);
        self.raw_get_name(-2, "clock");
        self.raw_set_name(-2, "clock");
        self.protect(false);
        self.remove(-2);
        self.raw_set_name(-2, "os");
    }

    /// Lets getmetatable show a protected metatable for strings. The topmost value is the protected
    /// library.
    fn protect_strings(&mut self) {
        self.reserve(8);
        self.push_bytes(b"");
        self.take(1);
        // SAFETY: a slot is taken. Lua's library has given strings a metatable.
        let has_meta = unsafe { ffi::lua_getmetatable(self.raw(), -1) };
        assert_eq!(has_meta, 1);
        self.push_key(true);
        self.push_table(0, 1);
        self.push_copy(-5);
        self.raw_set_name(-2, "__index");
        self.protect(false);
        self.raw_set(-3);
        self.pop(2);
    }

    /// Makes the real table of globals at [`GLOBALS`] the globals of the state, and pushes the
    /// values of the bottom that follow.
    fn set_globals(&mut self, sandbox: &Sandbox) {
        self.push_copy(GLOBALS);
        self.refuse_unknown_names();
        self.protect(true);
        self.push_copy(-1);
        self.raw_set_name(GLOBALS, "_G");
        let Some(loading_api) = sandbox.loading_api else {
            self.push_nil();
            self.insert(-2);
            self.push_nil();
            self.push_copy(PROTECTED);
            return self.replace_lua_globals();
        };
        self.push_library_globals();
        self.insert(-2);
        self.push_table(0, 2);
        self.push_table(0, 32);
        self.add(loading_api);
        self.refuse_unknown_names();
        self.protect(true);
        self.push_copy(-1);
        self.raw_set_name(-3, "redis");
        self.raw_set_name(-2, "server");
        self.refuse_unknown_names();
        self.protect(true);
    }

    /// Lets the globals of libraries lead to [`PROTECTED`] or [`LOADING`].
    pub fn set_library_globals(&mut self, which: i32) {
        self.push_copy(which);
        self.raw_set_name(LIBRARY_META, "__index");
    }

    /// Gives the state globals of its own for libraries, and pushes their metatable. What it leads
    /// to changes while a library is loaded. The topmost value is the protected globals.
    fn push_library_globals(&mut self) {
        self.reserve(8);
        self.push_table(0, 0);
        self.push_table(0, 3);
        self.push_copy(-3);
        self.raw_set_name(-2, "__index");
        self.push_shim(Shim::RefuseNewIndex, 0);
        self.raw_set_name(-2, "__newindex");
        self.push_copy(-1);
        self.set_metatable(-3);
        self.insert(-2);
        self.replace_lua_globals();
    }
}
