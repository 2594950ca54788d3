#![allow(unsafe_code)]
//! The calls of mimalloc that [`super::alloc`] uses, made with the system's allocator. For builds
//! with sanitizers, which see only that one.

use std::ffi::{c_int, c_long, c_void};

/// Stands in for mimalloc's allocator, for layouts with an alignment.
pub(super) use std::alloc::System as MiMalloc;

/// Allocates a block.
///
/// # Safety
/// None of its own; mimalloc's call is unsafe.
pub(super) unsafe fn mi_malloc(size: usize) -> *mut c_void {
    // SAFETY: any size may be requested.
    unsafe { libc::malloc(size) }
}

/// Allocates a block of zeros.
///
/// # Safety
/// None of its own; mimalloc's call is unsafe.
pub(super) unsafe fn mi_zalloc(size: usize) -> *mut c_void {
    // SAFETY: any size may be requested.
    unsafe { libc::calloc(1, size) }
}

/// Changes the size of a block.
///
/// # Safety
/// The block came from these calls or from `System`, and its alignment is the natural one.
pub(super) unsafe fn mi_realloc(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's contract.
    unsafe { libc::realloc(block, size) }
}

/// Frees a block.
///
/// # Safety
/// The block came from these calls or from `System`, which frees all blocks by this call.
pub(super) unsafe fn mi_free(block: *mut c_void) {
    // SAFETY: the caller's contract.
    unsafe { libc::free(block) }
}

/// Does nothing: the system's allocator keeps what it wants.
///
/// # Safety
/// None of its own; mimalloc's call is unsafe.
pub(super) unsafe fn mi_collect(_force: bool) {}

/// Does nothing: the system's allocator has no such options.
///
/// # Safety
/// None of its own; mimalloc's call is unsafe.
pub(super) unsafe fn mi_option_set(_option: c_int, _value: c_long) {}

/// Leaves all numbers as they are: the system's allocator does not tell them.
///
/// # Safety
/// None of its own; mimalloc's call is unsafe.
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn mi_process_info(
    _elapsed_ms: *mut usize,
    _user_ms: *mut usize,
    _system_ms: *mut usize,
    _resident: *mut usize,
    _resident_peak: *mut usize,
    _committed: *mut usize,
    _committed_peak: *mut usize,
    _faults: *mut usize,
) {
}
