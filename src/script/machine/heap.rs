//! The memory of one Lua state: counted, and bounded while Lua code runs.
//!
//! Lua raises an error if it gets no memory. The error must not cross Rust frames, so memory is
//! refused only while no native function runs. Native functions that may need much memory ask
//! [`Heap::is_full`] between their steps.
#![allow(unsafe_code)]

use crate::script::limits::LUA_BYTES_MAX;
use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

/// Alignment of Lua's blocks, which is the one of a double or a pointer.
const ALIGN: usize = 8;

/// The memory of one Lua state. Like the reference's, it does not count as used memory of the
/// server.
#[derive(Debug, Default)]
pub struct Heap {
    used: Cell<usize>,
    /// Whether Rust code runs, which Lua errors must not cross.
    in_rust: Cell<bool>,
}

impl Heap {
    /// Returns the bytes in use.
    pub fn used(&self) -> usize {
        self.used.get()
    }

    /// Returns whether the bytes in use exceed [`LUA_BYTES_MAX`].
    pub fn is_full(&self) -> bool {
        self.used.get() > LUA_BYTES_MAX
    }

    /// Says whether Rust code runs from now on, and returns what was before.
    pub fn set_in_rust(&self, in_rust: bool) -> bool {
        self.in_rust.replace(in_rust)
    }

    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes, ALIGN).ok()
    }

    /// Resizes a block like `realloc`. Returns null if the memory is refused or if `new` is 0.
    ///
    /// # Safety
    ///
    /// `block` is null and `old` is 0, or `block` is a block of this heap with `old` bytes.
    unsafe fn resize(&self, block: *mut u8, old: usize, new: usize) -> *mut u8 {
        let may_refuse = new > old && !self.in_rust.get();
        if may_refuse && self.used.get().saturating_add(new - old) > LUA_BYTES_MAX {
            return ptr::null_mut();
        }
        let Some(layout) = Heap::layout(old) else { return ptr::null_mut() };
        let moved = match (block.is_null(), new) {
            (true, 0) => ptr::null_mut(),
            (false, 0) => {
                // SAFETY: the block is one of MiMalloc's with this layout.
                unsafe { MiMalloc.dealloc(block, layout) };
                ptr::null_mut()
            }
            (true, _) => match Heap::layout(new) {
                // SAFETY: the size is not 0.
                Some(layout) => unsafe { MiMalloc.alloc(layout) },
                None => ptr::null_mut(),
            },
            // SAFETY: the block is one of MiMalloc's with this layout, and the size is not 0.
            (false, _) => unsafe { MiMalloc.realloc(block, layout, new) },
        };
        if new == 0 || !moved.is_null() {
            self.used.set(self.used.get() - old + new);
        } else if self.in_rust.get() {
            // The machine has no memory left, as for any other allocation in Rust.
            std::alloc::handle_alloc_error(Layout::new::<u8>());
        }
        moved
    }
}

/// The allocator of a Lua state. `heap` is its [`Heap`].
///
/// # Safety
///
/// Only Lua may call it, with a heap that lives as long as the state.
pub unsafe extern "C" fn allocate(
    heap: *mut c_void,
    block: *mut c_void,
    old: usize,
    new: usize,
) -> *mut c_void {
    // SAFETY: the state was created with this pointer. Lua gives the size of each block.
    unsafe {
        let heap = &*heap.cast::<Heap>();
        let old = if block.is_null() { 0 } else { old };
        heap.resize(block.cast(), old, new).cast()
    }
}
