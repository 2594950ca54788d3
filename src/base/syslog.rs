//! The system's log daemon, through the C library.
#![allow(unsafe_code)]

use std::ffi::{CString, c_int};

/// The facilities that can be named, in the order of [`open`]'s index.
const FACILITIES: [c_int; 9] = [
    libc::LOG_USER,
    libc::LOG_LOCAL0,
    libc::LOG_LOCAL1,
    libc::LOG_LOCAL2,
    libc::LOG_LOCAL3,
    libc::LOG_LOCAL4,
    libc::LOG_LOCAL5,
    libc::LOG_LOCAL6,
    libc::LOG_LOCAL7,
];

/// Priorities by level, from debugging to warnings.
const PRIORITIES: [c_int; 4] =
    [libc::LOG_DEBUG, libc::LOG_INFO, libc::LOG_NOTICE, libc::LOG_WARNING];

/// Sets the name and the facility of later messages: facility 0 is `user`, 1 to 8 are `local0` to
/// `local7`. Call it once.
pub fn open(name: &str, facility: usize) {
    // A zero byte would end the name.
    let name = CString::new(name.replace('\0', " ")).expect("zero bytes were replaced");
    let options = libc::LOG_PID | libc::LOG_NDELAY | libc::LOG_NOWAIT;
    // SAFETY: the library keeps the pointer, and the leaked text lives as long as the process.
    unsafe { libc::openlog(name.into_raw(), options, FACILITIES[facility]) };
}

/// Sends one message; `level` runs from 0 (debug) to 3 (warning).
pub fn write(level: usize, message: &str) {
    let text = CString::new(message.replace('\0', " ")).expect("zero bytes were replaced");
    // SAFETY: both texts end with a zero and outlive the call, and the format takes one of them.
    unsafe { libc::syslog(PRIORITIES[level], c"%s".as_ptr(), text.as_ptr()) };
}
