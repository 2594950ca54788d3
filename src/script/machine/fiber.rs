//! A stack of its own for a call into Lua, so that the call can be suspended at any instruction.
//!
//! ```text
//!   idle --start--> running --suspend--> suspended --resume--> running --the call ends--> idle
//!                                        suspended --drop: the stack is forgotten as it is
//! ```
//!
//! What lies on the stack of a suspended call: frames of Lua in C, and the frames of the pause,
//! which own nothing. So nothing is lost when the stack is forgotten, and another thread may
//! resume the call.
#![allow(unsafe_code)]

use crate::script::limits::SCRIPT_STACK_BYTES;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::cell::Cell;
use std::fmt;
use std::ptr::NonNull;

/// A call on a stack of its own. Returns Lua's status.
type Call = Coroutine<(), (), i32, DefaultStack>;

/// Lets the running call suspend itself.
#[derive(Debug, Default)]
pub struct Switch(Cell<Option<NonNull<Yielder<(), ()>>>>);

impl Switch {
    /// Suspends the running call until it is resumed. Returns false at once if the call has no
    /// stack of its own.
    pub fn suspend(&self) -> bool {
        let Some(yielder) = self.0.get() else { return false };
        // SAFETY: the pointer is set while the call runs on the stack that the yielder belongs to,
        // and only that call suspends itself.
        unsafe { yielder.as_ref() }.suspend(());
        self.0.set(Some(yielder));
        true
    }
}

/// The stack of a Lua state.
#[derive(Default)]
pub struct Fiber {
    idle: Option<DefaultStack>,
    call: Option<Call>,
}

impl fmt::Debug for Fiber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fiber").field("is_suspended", &self.call.is_some()).finish()
    }
}

impl Fiber {
    /// Runs `call` on the stack until it ends or suspends itself. Returns none if it is suspended.
    /// Without memory for a stack, `call` runs on the caller's.
    #[inline]
    pub fn start(&mut self, switch: &Switch, call: impl FnOnce() -> i32 + 'static) -> Option<i32> {
        assert!(self.call.is_none(), "one call at a time");
        let Some(stack) = self.idle.take().or_else(|| DefaultStack::new(SCRIPT_STACK_BYTES).ok())
        else {
            return Some(call());
        };
        let switch_at = NonNull::from(switch);
        self.call = Some(Coroutine::with_stack(stack, move |yielder, ()| {
            // SAFETY: the switch lives as long as the state that the call is in.
            unsafe { switch_at.as_ref() }.0.set(Some(NonNull::from(yielder)));
            call()
        }));
        self.resume(switch)
    }

    /// Continues the suspended call, as [`Fiber::start`] does.
    #[inline]
    pub fn resume(&mut self, switch: &Switch) -> Option<i32> {
        let mut call = self.call.take().expect("a call is suspended");
        let result = call.resume(());
        switch.0.set(None);
        match result {
            CoroutineResult::Yield(()) => {
                self.call = Some(call);
                None
            }
            CoroutineResult::Return(status) => {
                self.idle = Some(call.into_stack());
                Some(status)
            }
        }
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        if let Some(call) = &mut self.call {
            // SAFETY: no frame on the stack owns anything, see above.
            unsafe { call.force_reset() }
        }
    }
}
