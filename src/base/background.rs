//! Detaching from the terminal, and stopping the process for a service manager.
#![allow(unsafe_code)]

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;

/// Continues in a child process with a session of its own, without a terminal; the calling process
/// exits with success. Call it before there is a second thread.
///
/// # Errors
/// The system cannot create another process.
pub fn leave_terminal() -> io::Result<()> {
    // SAFETY: the caller guarantees that there is only one thread, so the child may run any code.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {}
        // SAFETY: no memory is passed. The parent runs no clean-up, because the child will.
        _ => unsafe { libc::_exit(0) },
    }
    // SAFETY: no memory is passed. A child leads no process group, so it cannot fail.
    unsafe { libc::setsid() };
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for standard in 0..=2 {
        // SAFETY: no memory is passed, and no object owns the standard descriptors.
        if unsafe { libc::dup2(null.as_raw_fd(), standard) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Stops this process with SIGSTOP until it gets SIGCONT.
pub fn stop_self() {
    // SAFETY: no memory is passed.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// Ignores SIGHUP, so that closing the terminal does not end this process.
pub fn ignore_hangup() {
    // SAFETY: ignoring a signal installs no handler.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
}
