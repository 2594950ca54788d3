//! Information from the kernel about the machine and this process.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::mem::zeroed;
use std::os::fd::AsRawFd;
use std::ptr;

/// Fills a buffer with random bytes of the kernel, good enough for secrets.
pub fn fill_random(bytes: &mut [u8]) -> io::Result<()> {
    File::open("/dev/urandom")?.read_exact(bytes)
}

/// CPU time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// Time spent in the kernel.
    pub system_us: u64,
    /// Time spent in user mode.
    pub user_us: u64,
}

/// Returns the CPU time of all threads of this process, and of its child processes that have ended.
pub fn cpu_times() -> (CpuTime, CpuTime) {
    (usage(libc::RUSAGE_SELF), usage(libc::RUSAGE_CHILDREN))
}

fn usage(who: libc::c_int) -> CpuTime {
    // SAFETY: an rusage is plain numbers, for which zero is valid.
    let mut usage: libc::rusage = unsafe { zeroed() };
    // SAFETY: `usage` is valid for writes for the length of the call.
    if unsafe { libc::getrusage(who, &mut usage) } != 0 {
        return CpuTime::default();
    }
    let us = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    CpuTime { system_us: us(usage.ru_stime), user_us: us(usage.ru_utime) }
}

/// Returns the C library's text of an error, without the number that std appends.
pub fn error_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Has the kernel begin to write a part of a file, which lies in its cache, to the disk.
pub fn begin_writeback(file: &File, at: u64, len: u64) -> io::Result<()> {
    sync_range(file, (at, len), libc::SYNC_FILE_RANGE_WRITE)
}

/// Waits until the kernel has written a part of a file to the disk. The file is not durable: it
/// still needs a sync.
pub fn await_writeback(file: &File, at: u64, len: u64) -> io::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    sync_range(file, (at, len), flags)
}

fn sync_range(file: &File, (at, len): (u64, u64), flags: libc::c_uint) -> io::Result<()> {
    let (at, len) = (at as libc::off64_t, len as libc::off64_t);
    // SAFETY: the descriptor is open for the length of the call, which takes plain numbers.
    let status = unsafe { libc::sync_file_range(file.as_raw_fd(), at, len, flags) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns the machine's memory in bytes; 0 if unknown.
pub fn memory_bytes() -> u64 {
    // SAFETY: a sysinfo is plain numbers, for which zero is valid.
    let mut info: libc::sysinfo = unsafe { zeroed() };
    // SAFETY: `info` is valid for writes for the length of the call.
    if unsafe { libc::sysinfo(&mut info) } != 0 {
        return 0;
    }
    info.totalram * u64::from(info.mem_unit)
}

/// Returns the system's name, release and hardware: `Linux 6.1.0 x86_64`.
pub fn system_name() -> String {
    // SAFETY: a utsname is arrays of bytes, for which zero is valid.
    let mut name: libc::utsname = unsafe { zeroed() };
    // SAFETY: `name` is valid for writes for the length of the call.
    if unsafe { libc::uname(&mut name) } != 0 {
        return "Linux".to_string();
    }
    let text = |bytes: &[libc::c_char]| {
        // SAFETY: the kernel ends each field with a zero byte, and zeros were there before.
        unsafe { CStr::from_ptr(bytes.as_ptr()) }.to_string_lossy().into_owned()
    };
    format!("{} {} {}", text(&name.sysname), text(&name.release), text(&name.machine))
}

/// Returns the number of a user group.
///
/// # Errors
/// There is no group of this name, or the lookup fails.
pub fn group_number(name: &str) -> io::Result<u32> {
    /// Bytes for the names of a group's members; the lookup of a larger group fails.
    const TEXT_BYTES: usize = 1 << 16;
    let name = CString::new(name)?;
    let mut text: Vec<libc::c_char> = vec![0; TEXT_BYTES];
    // SAFETY: a group is numbers and pointers, for which zero is valid.
    let mut group: libc::group = unsafe { zeroed() };
    let mut found: *mut libc::group = ptr::null_mut();
    // SAFETY: the name ends with a zero. The others are valid for writes, `text` for its length.
    // All of them outlive the call.
    let status = unsafe {
        libc::getgrnam_r(name.as_ptr(), &mut group, text.as_mut_ptr(), TEXT_BYTES, &mut found)
    };
    match status {
        0 if found.is_null() => Err(io::Error::new(io::ErrorKind::NotFound, "no such group")),
        0 => Ok(group.gr_gid),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers() {
        let (own, _) = cpu_times();
        assert!(own.user_us + own.system_us > 0);
        assert!(memory_bytes() > 1 << 20);
        let name = system_name();
        assert!(name.starts_with("Linux ") && name.split(' ').count() == 3, "{name}");
    }

    #[test]
    fn groups_have_numbers() {
        assert_eq!(group_number("root").expect("the group root exists"), 0);
        assert!(group_number("no-such-group-here").is_err());
    }
}
