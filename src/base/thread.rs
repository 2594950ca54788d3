//! Threads and cores: which cores the process may use, and pinning threads to cores.
#![allow(unsafe_code)]

use std::io;

/// Returns the cores on which this thread may run, ascending.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    cores_of(0)
}

/// Returns the cores of a thread; 0 is the calling one.
fn cores_of(thread: libc::pid_t) -> io::Result<Vec<usize>> {
    // SAFETY: a cpu_set_t is plain bits, for which all zeros is a valid (empty) set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let bytes = size_of::<libc::cpu_set_t>();
    // SAFETY: `set` is valid for writes of `bytes` bytes for the length of the call.
    let status = unsafe { libc::sched_getaffinity(thread, bytes, &mut set) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the index is below CPU_SETSIZE, the number of bits in the set.
    let has = |core: usize| unsafe { libc::CPU_ISSET(core, &set) };
    Ok((0..libc::CPU_SETSIZE as usize).filter(|core| has(*core)).collect())
}

/// Returns the cores on which the process may run, ascending: those of its first thread.
pub fn process_cores() -> io::Result<Vec<usize>> {
    cores_of(std::process::id() as libc::pid_t)
}

/// Pins the calling thread to one core.
pub fn pin_to(core: usize) -> io::Result<()> {
    keep_to(&[core])
}

/// Pins the calling thread, and the threads that it starts later, to some cores.
pub fn keep_to(cores: &[usize]) -> io::Result<()> {
    assert!(!cores.is_empty() && cores.iter().all(|core| *core < libc::CPU_SETSIZE as usize));
    // SAFETY: as above: all zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for core in cores {
        // SAFETY: the index was checked against the number of bits in the set.
        unsafe { libc::CPU_SET(*core, &mut set) };
    }
    // SAFETY: `set` is valid for reads of its size for the length of the call.
    let status = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the calling thread nicer than it is by this number: the higher, the smaller its share of a
/// busy core. A kernel that refuses leaves the thread as it is.
pub fn lower_priority(niceness: i32) {
    // SAFETY: the call takes plain numbers. On Linux 0 is the calling thread.
    let present = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    // SAFETY: as above. The kernel takes a number that is too high as the highest.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, present + niceness) };
}

/// Parses a list of cores, ascending: `0-7:2,9` is 0, 2, 4, 6 and 9. Returns `None` if the list is
/// invalid.
pub fn parse_cores(list: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for range in list.split(',') {
        let (range, step) = range.split_once(':').unwrap_or((range, "1"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |word: &str| word.trim().parse::<usize>().ok();
        let (first, last, step) = (number(first)?, number(last)?, number(step)?);
        if first > last || last >= libc::CPU_SETSIZE as usize || step == 0 {
            return None;
        }
        cores.extend((first..=last).step_by(step));
    }
    cores.sort_unstable();
    cores.dedup();
    Some(cores)
}

/// Raises the limit of open descriptors as far as allowed, at most to `wanted`; returns the limit.
pub fn raise_descriptor_limit(wanted: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for writes for the length of the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return 1024;
    }
    if limit.rlim_cur >= wanted {
        return limit.rlim_cur;
    }
    let raised = libc::rlimit { rlim_cur: wanted, rlim_max: limit.rlim_max.max(wanted) };
    // SAFETY: `raised` is valid for reads for the length of the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 {
        return wanted;
    }
    let capped = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
    // SAFETY: as above.
    let status = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &capped) };
    if status == 0 { limit.rlim_max } else { limit.rlim_cur }
}

/// Grows the kernel's table of this process's descriptors to `count` entries, 8 bytes each. Call
/// it before there is a second thread: with several threads each growth waits until all cores have
/// left the kernel, which stops the thread that opens a descriptor for 5 to 30 ms.
pub fn reserve_descriptors(count: u64) {
    let Some(last) = count.checked_sub(1).and_then(|last| libc::c_int::try_from(last).ok()) else {
        return;
    };
    // The lowest free descriptor from `last` on. If there is none, the table grows when it must.
    // SAFETY: no memory is passed.
    let highest = unsafe { libc::fcntl(libc::STDERR_FILENO, libc::F_DUPFD_CLOEXEC, last) };
    if highest >= 0 {
        // SAFETY: the descriptor was opened above, and nothing else owns it.
        unsafe { libc::close(highest) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_have_ranges_and_steps() {
        assert_eq!(parse_cores("3"), Some(vec![3]));
        assert_eq!(parse_cores("9,0-6:3,1"), Some(vec![0, 1, 3, 6, 9]));
        for wrong in ["", "a", "3-1", "1:0", "0-99999", "1,,2", "-1"] {
            assert_eq!(parse_cores(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_table_of_descriptors_has_room_for_all() {
        let limit = raise_descriptor_limit(700);
        let size = || {
            let status = std::fs::read_to_string("/proc/self/status").expect("a status");
            let line = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
            line.and_then(|size| size.trim().parse::<u64>().ok()).expect("a size")
        };
        reserve_descriptors(limit.min(700));
        assert!(size() >= limit.min(700), "{}", size());
        // Counts that the process may not open change nothing.
        reserve_descriptors(0);
        reserve_descriptors(u64::MAX);
    }

    #[test]
    fn a_thread_can_be_pinned_to_a_core_that_it_may_use() {
        let cores = allowed_cores().expect("the kernel answers");
        assert!(!cores.is_empty());
        let last = *cores.last().expect("not empty");
        let pinned = std::thread::spawn(move || {
            pin_to(last).expect("an allowed core");
            assert!(process_cores().expect("the kernel answers").contains(&last));
            allowed_cores().expect("the kernel answers")
        });
        assert_eq!(pinned.join().expect("the thread ends"), [last]);
    }
}
