//! The stack of a running native function: all that safe code sees of Lua.
//!
//! Invariants that the methods keep:
//!
//! - A push takes one of the slots that Lua has promised, and panics without one. Lua promises
//!   [`STACK_SLOTS`] to a native function, and [`Stack::reserve`] asks for more.
//! - No method raises a Lua error, so no error crosses a Rust frame. Tables are read and written
//!   without metamethods, keys are checked, table sizes are bounded, and memory is never refused
//!   while Rust code runs (`heap.rs`).
#![allow(unsafe_code)]

use super::Core;
use mlua_sys as ffi;
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

/// Slots that Lua promises to a native function.
pub const STACK_SLOTS: i32 = ffi::LUA_MINSTACK;

/// The most slots that a table is created with. A larger table grows later: Lua raises an error for
/// sizes beyond 2^26.
const TABLE_HINT_MAX: usize = 1 << 20;

/// The type of a Lua value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is no value at this index.
    None,
    /// `nil`
    Nil,
    /// `true` or `false`
    Boolean,
    /// A pointer; `cjson.null` is one.
    Pointer,
    /// A number
    Number,
    /// A string
    String,
    /// A table
    Table,
    /// A function
    Function,
    /// A userdata or a coroutine
    Other,
}

/// An error that a native function raises. Its value is on the top of the stack.
#[derive(Debug)]
pub struct Raise(());

/// A native function in Rust. Its arguments are on the stack. Returns the number of results, which
/// are the topmost values.
pub type Native = fn(&mut Stack<'_>) -> Result<i32, Raise>;

/// The stack of a running native function.
#[derive(Debug)]
pub struct Stack<'a> {
    lua: NonNull<ffi::lua_State>,
    /// Slots above the top that Lua has promised.
    pub(super) room: i32,
    scope: PhantomData<&'a Core>,
}

impl<'a> Stack<'a> {
    /// # Safety
    ///
    /// `lua` is a valid state with `room` promised slots, created by [`super::Machine`], and stays
    /// valid for `'a`.
    pub(super) unsafe fn new(lua: NonNull<ffi::lua_State>, room: i32) -> Stack<'a> {
        Stack { lua, room, scope: PhantomData }
    }

    pub(super) fn raw(&self) -> *mut ffi::lua_State {
        self.lua.as_ptr()
    }

    /// Returns what the state's native functions share.
    #[inline]
    pub fn core(&self) -> &'a Core {
        let mut core: *mut c_void = ptr::null_mut();
        // SAFETY: the state is valid. Its allocator was created with a pointer to its Core, which
        // lives longer than the state.
        unsafe {
            ffi::lua_getallocf(self.raw(), &mut core);
            &*core.cast::<Core>()
        }
    }

    /// Takes promised slots.
    #[inline]
    pub(super) fn take(&mut self, slots: i32) {
        assert!(self.room >= slots, "a native function has reserved its slots");
        self.room -= slots;
    }

    /// Makes sure that `slots` further values can be pushed. Returns whether it is possible: a
    /// function may have some 8,000 values, and memory may be short.
    #[inline]
    pub fn reserve(&mut self, slots: i32) -> bool {
        if self.room >= slots {
            return true;
        }
        // SAFETY: the state is valid. Lua 5.1.5 catches a lack of memory here by itself.
        let granted = unsafe { ffi::lua_checkstack(self.raw(), slots) } != 0;
        if granted {
            self.room = slots;
        }
        granted
    }

    /// Returns the number of values.
    #[inline]
    pub fn top(&self) -> i32 {
        // SAFETY: the state is valid.
        unsafe { ffi::lua_gettop(self.raw()) }
    }

    /// Returns whether `index` refers to a value or to a promised slot: Lua does not check.
    #[inline]
    fn is_index(&self, index: i32) -> bool {
        let top = self.top();
        if index > 0 { index <= top + self.room } else { index < 0 && -index <= top }
    }

    /// Panics unless `index` refers to a value or to a promised slot.
    #[inline]
    fn check(&self, index: i32) -> c_int {
        debug_assert!(self.is_index(index), "no slot has the index {index}");
        index
    }

    /// Returns the type of a value.
    #[inline]
    pub fn kind(&self, index: i32) -> Kind {
        // SAFETY: the index is checked.
        match unsafe { ffi::lua_type(self.raw(), self.check(index)) } {
            ffi::LUA_TNONE => Kind::None,
            ffi::LUA_TNIL => Kind::Nil,
            ffi::LUA_TBOOLEAN => Kind::Boolean,
            ffi::LUA_TLIGHTUSERDATA => Kind::Pointer,
            ffi::LUA_TNUMBER => Kind::Number,
            ffi::LUA_TSTRING => Kind::String,
            ffi::LUA_TTABLE => Kind::Table,
            ffi::LUA_TFUNCTION => Kind::Function,
            _ => Kind::Other,
        }
    }

    /// Returns Lua's name of a value's type.
    pub fn type_name(&self, index: i32) -> &'static str {
        // SAFETY: the index is checked, and the names are constants of Lua.
        let name = unsafe {
            let kind = ffi::lua_type(self.raw(), self.check(index));
            CStr::from_ptr(ffi::lua_typename(self.raw(), kind))
        };
        name.to_str().unwrap_or("userdata")
    }

    /// Returns the bytes of a string; none for other types.
    #[inline]
    pub fn bytes(&self, index: i32) -> Option<&[u8]> {
        if self.kind(index) != Kind::String {
            return None;
        }
        let mut len = 0;
        // SAFETY: the value is a string. It stays on the stack while `self` is borrowed.
        unsafe {
            let start = ffi::lua_tolstring(self.raw(), index, &mut len);
            Some(std::slice::from_raw_parts(start.cast(), len))
        }
    }

    /// Returns the bytes of a string or number; none for other types. A number becomes a string on
    /// the stack, so it must not be a key that [`Stack::next`] gave.
    #[inline]
    pub fn text(&mut self, index: i32) -> Option<&[u8]> {
        if self.kind(index) == Kind::Number {
            // SAFETY: the index is checked. The string may need memory, which is not refused.
            unsafe { ffi::lua_tolstring(self.raw(), index, ptr::null_mut()) };
        }
        self.bytes(index)
    }

    /// Returns a number; none for other types.
    #[inline]
    pub fn number(&self, index: i32) -> Option<f64> {
        let is_number = self.kind(index) == Kind::Number;
        // SAFETY: the index is checked.
        is_number.then(|| unsafe { ffi::lua_tonumber(self.raw(), index) })
    }

    /// Returns a number, or the number that a string denotes; none for other values.
    pub fn as_number(&self, index: i32) -> Option<f64> {
        // SAFETY: the index is checked.
        unsafe {
            let is_number = ffi::lua_isnumber(self.raw(), self.check(index)) != 0;
            is_number.then(|| ffi::lua_tonumber(self.raw(), index))
        }
    }

    /// Returns whether a value counts as true.
    #[inline]
    pub fn boolean(&self, index: i32) -> bool {
        // SAFETY: the index is checked.
        unsafe { ffi::lua_toboolean(self.raw(), self.check(index)) != 0 }
    }

    /// Returns whether a value is `cjson.null`.
    pub fn is_null_pointer(&self, index: i32) -> bool {
        // SAFETY: the index is checked.
        self.kind(index) == Kind::Pointer
            && unsafe { ffi::lua_touserdata(self.raw(), index) }.is_null()
    }

    /// Pushes `nil`.
    #[inline]
    pub fn push_nil(&mut self) {
        self.take(1);
        // SAFETY: a slot is taken.
        unsafe { ffi::lua_pushnil(self.raw()) }
    }

    /// Pushes a boolean.
    #[inline]
    pub fn push_boolean(&mut self, value: bool) {
        self.take(1);
        // SAFETY: a slot is taken.
        unsafe { ffi::lua_pushboolean(self.raw(), c_int::from(value)) }
    }

    /// Pushes a number.
    #[inline]
    pub fn push_number(&mut self, value: f64) {
        self.take(1);
        // SAFETY: a slot is taken.
        unsafe { ffi::lua_pushnumber(self.raw(), value) }
    }

    /// Pushes a string.
    #[inline]
    pub fn push_bytes(&mut self, value: &[u8]) {
        self.take(1);
        // SAFETY: a slot is taken. The string may need memory, which is not refused.
        unsafe { ffi::lua_pushlstring_(self.raw(), value.as_ptr().cast(), value.len()) }
    }

    /// Pushes an empty table with space for `array` and `fields` elements.
    #[inline]
    pub fn push_table(&mut self, array: usize, fields: usize) {
        self.take(1);
        let hint = |len: usize| len.min(TABLE_HINT_MAX) as c_int;
        // SAFETY: a slot is taken, the sizes are within Lua's bounds, and memory is not refused.
        unsafe { ffi::lua_createtable(self.raw(), hint(array), hint(fields)) }
    }

    /// Pushes a table of strings.
    pub fn push_strings<'s>(&mut self, strings: impl ExactSizeIterator<Item = &'s [u8]>) {
        self.push_table(strings.len(), 0);
        self.take(1);
        for (at, string) in (1..).zip(strings) {
            // SAFETY: a slot is taken, and the table was just pushed. Memory is not refused.
            unsafe {
                ffi::lua_pushlstring_(self.raw(), string.as_ptr().cast(), string.len());
                ffi::lua_rawseti_(self.raw(), -2, at);
            }
        }
        self.room += 1;
    }

    /// Pushes `cjson.null`.
    pub fn push_null_pointer(&mut self) {
        self.take(1);
        // SAFETY: a slot is taken.
        unsafe { ffi::lua_pushlightuserdata(self.raw(), ptr::null_mut()) }
    }

    /// Pushes a copy of a value.
    #[inline]
    pub fn push_copy(&mut self, index: i32) {
        let index = self.check(index);
        self.take(1);
        // SAFETY: a slot is taken, and the index is checked.
        unsafe { ffi::lua_pushvalue(self.raw(), index) }
    }

    /// Pushes a native function. It has no other upvalues.
    pub fn push_native(&mut self, native: Native) {
        self.take(2);
        // SAFETY: two slots are taken. `dispatch` reads the function's address from the upvalue.
        unsafe {
            ffi::lua_pushlightuserdata(self.raw(), native as *mut c_void);
            ffi::lua_pushcclosure(self.raw(), super::annulet_lua_dispatch, 1);
        }
        self.room += 1;
    }

    /// Pops values.
    #[inline]
    pub fn pop(&mut self, count: i32) {
        assert!((0..=self.top()).contains(&count), "as many values are on the stack");
        // SAFETY: there are as many values.
        unsafe { ffi::lua_settop(self.raw(), -count - 1) }
        self.room += count;
    }

    /// Pops values, or pushes nils, until there are `top` values.
    pub fn set_top(&mut self, top: i32) {
        let now = self.top();
        assert!(top >= 0);
        self.take(top - now);
        // SAFETY: slots are taken.
        unsafe { ffi::lua_settop(self.raw(), top) }
    }

    /// Moves the topmost value below the values from `index` on.
    pub fn insert(&mut self, index: i32) {
        // SAFETY: the index is checked.
        unsafe { ffi::lua_insert(self.raw(), self.check(index)) }
    }

    /// Removes a value.
    pub fn remove(&mut self, index: i32) {
        // SAFETY: the index is checked.
        unsafe { ffi::lua_remove(self.raw(), self.check(index)) }
        self.room += 1;
    }

    /// Moves the topmost value to `index`.
    pub fn replace(&mut self, index: i32) {
        // SAFETY: the index is checked.
        unsafe { ffi::lua_replace(self.raw(), self.check(index)) }
        self.room += 1;
    }

    #[inline]
    fn check_table(&self, index: i32) {
        assert_eq!(self.kind(index), Kind::Table);
    }

    /// Replaces the topmost value by the value of the table at `index` under that key.
    pub fn raw_get(&mut self, index: i32) {
        self.check_table(index);
        // SAFETY: the value is a table. Without metamethods reading raises no error.
        unsafe { ffi::lua_rawget_(self.raw(), index) }
    }

    /// Pushes the value of the table at `index` under a name.
    pub fn raw_get_name(&mut self, index: i32, name: &str) {
        self.push_bytes(name.as_bytes());
        self.raw_get(if index < 0 { index - 1 } else { index });
    }

    /// Pushes element number `at` of the table at `index`.
    #[inline]
    pub fn raw_get_at(&mut self, index: i32, at: i32) {
        self.check_table(index);
        self.take(1);
        // SAFETY: a slot is taken, and the value is a table.
        unsafe { ffi::lua_rawgeti_(self.raw(), index, at) }
    }

    /// Pops a value and below it a key, and sets the key in the table at `index`. Returns false,
    /// and sets nothing, if the key is nil or NaN.
    #[inline]
    pub fn raw_set(&mut self, index: i32) -> bool {
        self.check_table(index);
        let is_key = match self.kind(-2) {
            Kind::Nil => false,
            Kind::Number => self.number(-2).is_some_and(|number| !number.is_nan()),
            _ => true,
        };
        if is_key {
            // SAFETY: the value is a table and the key is valid. Memory is not refused.
            unsafe { ffi::lua_rawset(self.raw(), index) }
            self.room += 2;
        } else {
            self.pop(2);
        }
        is_key
    }

    /// Pops a value and sets it in the table at `index` under a name.
    pub fn raw_set_name(&mut self, index: i32, name: &str) {
        self.push_bytes(name.as_bytes());
        self.insert(-2);
        self.raw_set(if index < 0 { index - 1 } else { index });
    }

    /// Pops a value and sets it as element number `at` of the table at `index`.
    #[inline]
    pub fn raw_set_at(&mut self, index: i32, at: i32) {
        self.check_table(index);
        // SAFETY: the value is a table. Memory is not refused.
        unsafe { ffi::lua_rawseti_(self.raw(), index, at) }
        self.room += 1;
    }

    /// Pops a key and pushes the next key and value of the table at `index`. Returns false, and
    /// pushes nothing, at the end. The key must be nil, or a key that this method gave for this
    /// table while nobody has changed it.
    #[inline]
    pub fn next(&mut self, index: i32) -> bool {
        self.check_table(index);
        assert!(self.room >= 1, "a native function has reserved its slots");
        // SAFETY: the value is a table and has the key, so that Lua raises no error.
        let has_next = unsafe { ffi::lua_next(self.raw(), index) } != 0;
        self.room += if has_next { -1 } else { 1 };
        has_next
    }

    /// Replaces a protected table by the table that it protects. Leaves other values as they are.
    #[inline]
    pub fn unprotect(&mut self, index: i32) {
        if self.kind(index) != Kind::Table {
            return;
        }
        assert!(self.room >= 2, "a native function has reserved its slots");
        // SAFETY: two slots are free, and the index is checked.
        if unsafe { super::annulet_lua_push_real(self.raw(), index) } != 0 {
            self.room -= 1;
            self.replace(if index < 0 { index - 1 } else { index });
        }
    }

    /// Pops a function or nil and keeps it. Returns its number for [`Stack::push_kept`].
    pub fn keep(&mut self) -> i32 {
        // SAFETY: there is a value, and the registry is Lua's own table. Memory is not refused.
        let number = unsafe { ffi::luaL_ref(self.raw(), ffi::LUA_REGISTRYINDEX) };
        self.room += 1;
        number
    }

    /// Pushes a value that was kept.
    #[inline]
    pub fn push_kept(&mut self, number: i32) {
        self.take(1);
        // SAFETY: a slot is taken.
        unsafe { ffi::lua_rawgeti_(self.raw(), ffi::LUA_REGISTRYINDEX, number) }
    }

    /// Releases a value that was kept.
    pub fn release(&mut self, number: i32) {
        // SAFETY: the registry is Lua's own table.
        unsafe { ffi::luaL_unref(self.raw(), ffi::LUA_REGISTRYINDEX, number) }
    }

    /// Returns the position of the function at `level` of the call stack as Lua writes it before a
    /// message (`user_script:1: `); empty for a function that is not in Lua.
    fn position(&self, level: i32) -> Vec<u8> {
        let mut debug = MaybeUninit::<ffi::lua_Debug>::zeroed();
        // SAFETY: Lua fills the struct, whose fields are numbers, pointers and an array.
        unsafe {
            if ffi::lua_getstack(self.raw(), level, debug.as_mut_ptr()) == 0 {
                return Vec::new();
            }
            ffi::lua_getinfo(self.raw(), c"Sl".as_ptr(), debug.as_mut_ptr());
            let debug = debug.assume_init_ref();
            if debug.currentline <= 0 {
                return Vec::new();
            }
            let source = CStr::from_ptr(debug.short_src.as_ptr());
            let mut text = source.to_bytes().to_vec();
            text.extend_from_slice(format!(":{}: ", debug.currentline).as_bytes());
            text
        }
    }

    /// Raises the topmost value.
    pub fn raise_top(&mut self) -> Raise {
        Raise(())
    }

    /// Raises a message, with the position of the function that called the native function.
    #[cold]
    pub fn raise(&mut self, message: &[u8]) -> Raise {
        let mut text = self.position(1);
        text.extend_from_slice(message);
        self.raise_plain(&text)
    }

    /// Raises a message without a position.
    #[cold]
    pub fn raise_plain(&mut self, message: &[u8]) -> Raise {
        self.set_top(0);
        self.push_bytes(message);
        Raise(())
    }

    /// Raises Lua's error about argument number `argument`.
    #[cold]
    pub fn raise_argument(&mut self, argument: i32, message: &[u8]) -> Raise {
        let (name, is_method) = self.function_name();
        if is_method && argument == 1 {
            return self.raise(
                &[b"calling '", name.as_slice(), b"' on bad self (", message, b")"].concat(),
            );
        }
        let argument = argument - i32::from(is_method);
        let head = format!("bad argument #{argument} to '");
        self.raise(&[head.as_bytes(), &name, b"' (", message, b")"].concat())
    }

    /// Returns the name by which the running native function was called, and whether as a method.
    fn function_name(&self) -> (Vec<u8>, bool) {
        let mut debug = MaybeUninit::<ffi::lua_Debug>::zeroed();
        // SAFETY: Lua fills the struct, whose fields are numbers, pointers and an array. The names
        // are strings that end with a zero.
        unsafe {
            if ffi::lua_getstack(self.raw(), 0, debug.as_mut_ptr()) == 0 {
                return (b"?".to_vec(), false);
            }
            ffi::lua_getinfo(self.raw(), c"n".as_ptr(), debug.as_mut_ptr());
            let debug = debug.assume_init_ref();
            let is_method = CStr::from_ptr(debug.namewhat).to_bytes() == b"method";
            let name = match debug.name.is_null() {
                true => b"?".to_vec(),
                false => CStr::from_ptr(debug.name).to_bytes().to_vec(),
            };
            (name, is_method)
        }
    }

    /// Raises Lua's error about an argument of the wrong type.
    #[cold]
    pub fn raise_type(&mut self, argument: i32, expected: &str) -> Raise {
        let found = match self.kind(argument) {
            Kind::None => "no value",
            _ => self.type_name(argument),
        };
        self.raise_argument(argument, format!("{expected} expected, got {found}").as_bytes())
    }

    /// Returns an argument that must be a string or number, as a string.
    pub fn string_argument(&mut self, argument: i32) -> Result<&[u8], Raise> {
        if self.text(argument).is_none() {
            return Err(self.raise_type(argument, "string"));
        }
        Ok(self.bytes(argument).unwrap_or_default())
    }

    /// Returns an argument that must be a number, or a string that denotes one.
    pub fn number_argument(&mut self, argument: i32) -> Result<f64, Raise> {
        match self.as_number(argument) {
            Some(number) => Ok(number),
            None => Err(self.raise_type(argument, "number")),
        }
    }

    /// Returns an argument that must be a number, as Lua converts it to an integer.
    pub fn integer_argument(&mut self, argument: i32) -> Result<i64, Raise> {
        Ok(to_integer(self.number_argument(argument)?))
    }

    /// Returns an integer argument, or `default` if the argument is nil or missing.
    pub fn integer_option(&mut self, argument: i32, default: i64) -> Result<i64, Raise> {
        match self.kind(argument) {
            Kind::None | Kind::Nil => Ok(default),
            _ => self.integer_argument(argument),
        }
    }

    /// Raises an error if Lua has too much memory, for native functions that may need much.
    #[inline]
    pub fn check_memory(&mut self) -> Result<(), Raise> {
        match self.core().heap.is_full() {
            true => Err(self.raise_plain(b"not enough memory")),
            false => Ok(()),
        }
    }
}

/// Converts a number to an integer like the processor: what does not fit becomes the smallest.
pub fn to_integer(number: f64) -> i64 {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if (-BOUND..BOUND).contains(&number) { number as i64 } else { i64::MIN }
}
