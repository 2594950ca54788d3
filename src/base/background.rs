//! Leaving the terminal, and stopping to be seen stopped.
#![allow(unsafe_code)]

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;

/// Goes on in a child process of a session of its own, without a terminal: the calling process
/// ends here, in success. To be called before there is a second thread.
///
/// # Errors
/// There is no room for another process.
pub fn leave_terminal() -> io::Result<()> {
    // SAFETY: the caller vouches that there is one thread only, so the child may do anything.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {}
        // SAFETY: no memory is passed; nothing of the parent is to be cleaned up twice.
        _ => unsafe { libc::_exit(0) },
    }
    // SAFETY: no memory is passed. A child leads no group yet, so it cannot fail.
    unsafe { libc::setsid() };
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for standard in 0..=2 {
        // SAFETY: no memory is passed, and the standard descriptors are not owned by anybody.
        if unsafe { libc::dup2(null.as_raw_fd(), standard) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Stops this process until somebody lets it go on.
pub fn stop_self() {
    // SAFETY: no memory is passed.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// The end of the terminal does not end this process.
pub fn ignore_hangup() {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
}
