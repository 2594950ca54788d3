//! The process's title, as `ps` shows it: written over the process's arguments.
//!
//! The kernel shows the memory between the first argument and the end of the environment:
//!
//! ```text
//!   arguments start            end  environment                  end
//!   | annulet\0--port\07000\0 |  | PATH=...\0HOME=...\0        |
//!   | title, then zeros to the end                                |
//! ```
#![allow(unsafe_code)]

use std::env;
use std::ffi::{CString, c_char};
use std::os::unix::ffi::OsStringExt;
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// The memory for the title.
#[derive(Debug)]
struct Room {
    start: usize,
    bytes: usize,
    /// The name by which the program was started.
    program: String,
}

static ROOM: OnceLock<Mutex<Room>> = OnceLock::new();

/// Makes room for a title by moving the environment elsewhere. Call it after the arguments were
/// read and before there is a second thread. `program` is the first argument.
pub fn make_room(program: &str) {
    let Some((start, end)) = find_room() else { return };
    let mut variables: Vec<*mut c_char> = Vec::new();
    for (name, value) in env::vars_os() {
        let text = [name.into_vec(), b"=".to_vec(), value.into_vec()].concat();
        if let Ok(text) = CString::new(text) {
            variables.push(text.into_raw());
        }
    }
    variables.push(ptr::null_mut());
    // SAFETY: there is only one thread, so no other code reads the environment meanwhile. The new
    // one is an array of texts that ends with a null, and both live as long as the process.
    unsafe { environ = Vec::leak(variables).as_mut_ptr() };
    let program = program.to_string();
    ROOM.get_or_init(|| Mutex::new(Room { start, bytes: end - start, program }));
}

/// Returns where the arguments begin, and where the environment behind them ends.
fn find_room() -> Option<(usize, usize)> {
    let status = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name is in parentheses, and may contain blanks.
    let fields: Vec<&str> = status.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<usize>().ok();
    let (start, arguments_end, variables, end) = (field(48)?, field(49)?, field(50)?, field(51)?);
    (start != 0 && start < arguments_end && arguments_end <= variables && variables < end)
        .then_some((start, end))
}

/// Sets the title that `make` builds from the program's name, cut to the available room. Does
/// nothing before [`make_room`].
pub fn set(make: impl FnOnce(&str) -> String) {
    let Some(room) = ROOM.get() else { return };
    let room = room.lock().unwrap_or_else(PoisonError::into_inner);
    let title = make(&room.program);
    let len = title.len().min(room.bytes - 1);
    // SAFETY: the kernel has put the arguments there, in memory that stays writable as long as the
    // process lives. The environment was moved away, and only copies of the arguments are in use.
    // The lock prevents concurrent writes.
    unsafe {
        let to = ptr::with_exposed_provenance_mut::<u8>(room.start);
        ptr::copy_nonoverlapping(title.as_ptr(), to, len);
        ptr::write_bytes(to.add(len), 0, room.bytes - len);
    }
}
