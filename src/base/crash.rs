//! The crash report: what each thread was doing when the process crashed.
//!
//! A signal handler may do very little. So it only records numbers, wakes the reporter thread and
//! waits for it. The reporter makes the report, finds the functions' names, and reads the stacks of
//! the other threads by sending them another signal.
//!
//! ```text
//!   a thread: SIGSEGV ... --> note: signal, address, registers, frames --> event --> reporter
//!                 |  <------------------- done, or WAIT_MS_MAX ------------------------ |
//!                 '--> the signal's own effect: the process ends, with a core if wanted
//!   a thread: panic --------> report_panic(): likewise, without a signal
//!   SIGALRM ----------------> likewise, and the process continues
//! ```
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

/// Return addresses kept of one stack; the outermost ones are dropped.
const FRAMES_MAX: usize = 96;

/// Milliseconds that a crashing thread waits for the report.
const WAIT_MS_MAX: u32 = 10_000;

/// Milliseconds that the reporter waits for another thread's stack.
const STACK_MS_MAX: u32 = 100;

/// Bytes of a thread's alternate signal stack, on which a stack overflow is handled.
const STACK_BYTES: usize = 64 << 10;

/// The signals after which the process cannot continue.
const FATAL: [c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT];

/// Makes another thread record its stack. The process uses it for nothing else, and its default
/// effect is none.
const STACK_SIGNAL: c_int = libc::SIGURG;

#[cfg(target_arch = "x86_64")]
const REGISTERS: [(&str, c_int); 17] = [
    ("RIP", libc::REG_RIP),
    ("RSP", libc::REG_RSP),
    ("RBP", libc::REG_RBP),
    ("RAX", libc::REG_RAX),
    ("RBX", libc::REG_RBX),
    ("RCX", libc::REG_RCX),
    ("RDX", libc::REG_RDX),
    ("RSI", libc::REG_RSI),
    ("RDI", libc::REG_RDI),
    ("R8", libc::REG_R8),
    ("R9", libc::REG_R9),
    ("R10", libc::REG_R10),
    ("R11", libc::REG_R11),
    ("R12", libc::REG_R12),
    ("R13", libc::REG_R13),
    ("R14", libc::REG_R14),
    ("R15", libc::REG_R15),
];
#[cfg(not(target_arch = "x86_64"))]
const REGISTERS: [(&str, c_int); 0] = [];

/// Why a report is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A signal that ends the process.
    Signal {
        /// The signal's number.
        number: i32,
        /// The signal's `si_code`.
        code: i32,
        /// The address that was accessed, for signals about memory.
        address: usize,
        /// The sending process, if the signal was sent.
        sender: Option<i32>,
    },
    /// A panic.
    Panic,
    /// SIGALRM: a user wants to see what the process does.
    Alarm,
    /// A thread has not finished its turn for too long; the process continues.
    Stuck,
}

/// The stack of one thread.
#[derive(Clone, Debug)]
pub struct Stack {
    /// The thread's number in the kernel.
    pub thread: i32,
    /// The thread's name.
    pub name: String,
    /// The stack frames, innermost first: `function (file:line)`.
    pub frames: Vec<String>,
}

/// A crash report.
#[derive(Clone, Debug)]
pub struct Report {
    /// Why the report is made.
    pub cause: Cause,
    /// The stacks; the stack of the thread that caused the report comes first, if there is one.
    pub stacks: Vec<Stack>,
    /// Registers by name, after a signal on a known architecture.
    pub registers: Vec<(&'static str, usize)>,
}

/// Looks for threads whose turn takes longer than the given milliseconds; returns whether there is
/// one.
pub type Watch = Box<dyn FnMut(u32) -> bool + Send>;

/// The numbers that a signal handler leaves for the reporter.
struct Note {
    thread: AtomicI32,
    signal: AtomicI32,
    code: AtomicI32,
    address: AtomicUsize,
    sender: AtomicI32,
    registers: [AtomicUsize; REGISTERS.len()],
    frames: Frames,
}

struct Frames {
    addresses: [AtomicUsize; FRAMES_MAX],
    len: AtomicUsize,
}

impl Frames {
    const fn new() -> Frames {
        Frames { addresses: [const { AtomicUsize::new(0) }; FRAMES_MAX], len: AtomicUsize::new(0) }
    }

    /// Records the stack of the calling thread.
    fn take(&self) {
        let mut len = 0;
        // SAFETY: the call is not synchronized with other users of the symbolizer. It only walks
        // the stack, which uses none of their shared state.
        unsafe {
            backtrace::trace_unsynchronized(|frame| {
                self.addresses[len].store(frame.ip() as usize, Ordering::Relaxed);
                len += 1;
                len < FRAMES_MAX
            });
        }
        self.len.store(len, Ordering::Release);
    }

    /// Returns the recorded frames with their functions' names.
    fn read(&self) -> Vec<String> {
        let len = self.len.load(Ordering::Acquire);
        let addresses = self.addresses[..len].iter().map(|at| at.load(Ordering::Relaxed));
        addresses.flat_map(name_frame).collect()
    }
}

/// Returns the functions at an address: several where some were inlined.
fn name_frame(address: usize) -> Vec<String> {
    let mut names = Vec::new();
    // A return address lies behind its call.
    let call = ptr::without_provenance_mut::<c_void>(address.saturating_sub(1));
    backtrace::resolve(call, |symbol| {
        let name = symbol.name().map_or("?".to_string(), |name| format!("{name:#}"));
        names.push(match (symbol.filename(), symbol.lineno()) {
            (Some(file), Some(line)) => format!("{name} ({}:{line})", file.display()),
            _ => name,
        });
    });
    if names.is_empty() {
        names.push(format!("{address:#x}"));
    }
    names
}

static NOTE: Note = Note {
    thread: AtomicI32::new(0),
    signal: AtomicI32::new(0),
    code: AtomicI32::new(0),
    address: AtomicUsize::new(0),
    sender: AtomicI32::new(0),
    registers: [const { AtomicUsize::new(0) }; REGISTERS.len()],
    frames: Frames::new(),
};

/// The stack of the thread that was asked for it, and that thread's number.
static OTHER: Frames = Frames::new();
static OTHER_THREAD: AtomicI32 = AtomicI32::new(0);

/// Whether a report is being made; it stays true after a fatal one.
static IS_BUSY: AtomicBool = AtomicBool::new(false);
static IS_DONE: AtomicBool = AtomicBool::new(false);
/// Whether a panic has been reported; the abort that follows it is not reported again.
static HAS_PANICKED: AtomicBool = AtomicBool::new(false);
static EVENT: AtomicI32 = AtomicI32::new(-1);
static REPORTER: AtomicI32 = AtomicI32::new(0);
/// Milliseconds that a thread's turn may take; 0: not watched.
static WATCH_MS: AtomicI32 = AtomicI32::new(0);

/// Stands for a panic where a signal's number is expected.
const PANIC: c_int = 0;

fn thread_number() -> i32 {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

fn sleep_ms(ms: u32) {
    let time = libc::timespec { tv_sec: 0, tv_nsec: i64::from(ms) * 1_000_000 };
    // SAFETY: `time` is valid for reads, and the remaining time is not requested. A signal handler
    // may make the call.
    unsafe { libc::nanosleep(&time, ptr::null_mut()) };
}

fn wake_reporter() {
    let one = 1u64;
    // SAFETY: `one` is valid for reads of 8 bytes. A signal handler may write to a descriptor.
    unsafe { libc::write(EVENT.load(Ordering::Relaxed), (&raw const one).cast(), 8) };
}

/// Waits until the reporter is done, at most `WAIT_MS_MAX` milliseconds.
fn wait_for_report() {
    for _ in 0..WAIT_MS_MAX / 2 {
        if IS_DONE.load(Ordering::Acquire) {
            return;
        }
        sleep_ms(2);
    }
}

/// Installs `handler` for a signal, or restores the signal's default effect.
fn set_handler(
    signal: c_int,
    handler: Option<extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void)>,
) {
    // SAFETY: a sigaction is plain data, for which zeros are valid: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = match handler {
        Some(handler) => handler as usize,
        None => libc::SIG_DFL,
    };
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    if signal == libc::SIGSEGV {
        // Run it on the thread's alternate stack: the normal stack may have overflowed.
        action.sa_flags |= libc::SA_ONSTACK;
    }
    // SAFETY: `action` is valid for reads. Its handler has the signature that its flags require,
    // and does only what a signal handler may.
    unsafe { libc::sigaction(signal, &action, ptr::null_mut()) };
}

extern "C" fn on_fatal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let is_reporter = thread_number() == REPORTER.load(Ordering::Relaxed);
    let is_told = signal == libc::SIGABRT && HAS_PANICKED.load(Ordering::Relaxed);
    if !is_reporter && !is_told {
        if IS_BUSY.swap(true, Ordering::SeqCst) {
            // Another thread was first, and ends the process.
            sleep_ms(999);
        } else {
            take_note(signal, info, context);
            wake_reporter();
            wait_for_report();
        }
    }
    set_handler(signal, None);
    // The signal is delivered when this handler returns, and then has its default effect. SAFETY:
    // no memory is passed.
    unsafe { libc::raise(signal) };
}

/// Runs `does` and restores the error number of the interrupted code afterwards.
fn keep_error_number(does: impl FnOnce()) {
    // SAFETY: the C library returns the address of the calling thread's error number.
    let number = unsafe { *libc::__errno_location() };
    does();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = number };
}

extern "C" fn on_alarm(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    keep_error_number(|| {
        if !IS_BUSY.swap(true, Ordering::SeqCst) {
            take_note(signal, info, context);
            wake_reporter();
        }
    });
}

extern "C" fn on_stack_signal(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    keep_error_number(|| {
        if OTHER_THREAD.load(Ordering::Acquire) == thread_number() {
            OTHER.take();
            OTHER_THREAD.store(0, Ordering::Release);
        }
    });
}

fn take_note(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let kept = Ordering::Relaxed;
    NOTE.thread.store(thread_number(), kept);
    NOTE.signal.store(signal, kept);
    // SAFETY: the kernel passes a valid record to a handler that was installed with SA_SIGINFO. The
    // reporter decides which of its fields are meaningful.
    unsafe {
        NOTE.code.store((*info).si_code, kept);
        NOTE.address.store((*info).si_addr() as usize, kept);
        NOTE.sender.store((*info).si_pid(), kept);
    }
    #[cfg(target_arch = "x86_64")]
    for (place, (_, number)) in NOTE.registers.iter().zip(REGISTERS) {
        // SAFETY: as above; the context belongs to this architecture and has all these registers.
        let value =
            unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[number as usize] };
        place.store(value as usize, kept);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = context;
    NOTE.frames.take();
}

/// Starts the reporter. It calls `report` for each report. While [`watch_for`] is on it also calls
/// `watch`, which returns whether a thread is stuck. Only SIGALRM is handled until [`set_enabled`].
///
/// # Errors
/// The process is out of descriptors or threads.
pub fn start(report: Box<dyn Fn(&Report) + Send>, watch: Watch) -> io::Result<()> {
    static STARTED: OnceLock<()> = OnceLock::new();
    if STARTED.set(()).is_err() {
        return Ok(());
    }
    // SAFETY: no memory is passed.
    let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if event < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and has no other owner.
    let event = unsafe { OwnedFd::from_raw_fd(event) };
    EVENT.store(event.as_raw_fd(), Ordering::Release);
    let life = move || live(event, &report, watch);
    std::thread::Builder::new().name("crash".to_string()).spawn(life)?;
    set_handler(STACK_SIGNAL, Some(on_stack_signal));
    set_handler(libc::SIGALRM, Some(on_alarm));
    Ok(())
}

/// Gives the calling thread an alternate stack for signal handlers, so that a stack overflow can be
/// reported. The standard library's alternate stack is too small to walk a stack on. Call it once
/// per thread.
pub fn add_stack() {
    let memory = Box::leak(vec![0u8; STACK_BYTES].into_boxed_slice());
    let stack =
        libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK_BYTES };
    // SAFETY: the memory belongs to this thread and is never freed. If the kernel refuses it, the
    // earlier alternate stack stays.
    unsafe { libc::sigaltstack(&stack, ptr::null_mut()) };
}

/// Sets whether the signals that end the process are reported first.
pub fn set_enabled(is_on: bool) {
    for signal in FATAL {
        set_handler(signal, is_on.then_some(on_fatal));
    }
}

/// Watches for threads whose turn takes longer than `ms` milliseconds; 0 stops watching.
pub fn watch_for(ms: u32) {
    WATCH_MS.store(ms.min(i32::MAX as u32) as i32, Ordering::Relaxed);
    if EVENT.load(Ordering::Acquire) >= 0 {
        wake_reporter();
    }
}

/// Reports the panic of the calling thread, and returns when that is done. Only the first panic is
/// reported.
pub fn report_panic() {
    let is_first = !IS_BUSY.swap(true, Ordering::SeqCst);
    HAS_PANICKED.store(true, Ordering::SeqCst);
    if is_first && EVENT.load(Ordering::Acquire) >= 0 {
        NOTE.thread.store(thread_number(), Ordering::Relaxed);
        NOTE.signal.store(PANIC, Ordering::Relaxed);
        NOTE.frames.take();
        wake_reporter();
        wait_for_report();
    }
}

fn live(event: OwnedFd, report: &dyn Fn(&Report), mut watch: Watch) {
    REPORTER.store(thread_number(), Ordering::Relaxed);
    loop {
        let watch_ms = WATCH_MS.load(Ordering::Relaxed);
        let timeout_ms = if watch_ms > 0 { (watch_ms / 2).max(1) } else { -1 };
        let mut entry = libc::pollfd { fd: event.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: `entry` is one entry, valid for reads and writes for the length of the call.
        let found = unsafe { libc::poll(&mut entry, 1, timeout_ms) };
        if found > 0 {
            let mut count = 0u64;
            // SAFETY: `count` is valid for writes of 8 bytes.
            unsafe { libc::read(event.as_raw_fd(), (&raw mut count).cast(), 8) };
            if IS_BUSY.load(Ordering::SeqCst) && !IS_DONE.load(Ordering::SeqCst) {
                tell(report);
            }
        } else if watch_ms > 0 && watch(watch_ms as u32) && !IS_BUSY.load(Ordering::SeqCst) {
            let stacks = other_stacks(0);
            report(&Report { cause: Cause::Stuck, stacks, registers: Vec::new() });
        }
    }
}

/// Reports what the handler has recorded.
fn tell(report: &dyn Fn(&Report)) {
    let number = NOTE.signal.load(Ordering::Relaxed);
    let is_about_memory = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL];
    let code = NOTE.code.load(Ordering::Relaxed);
    // The kernel's codes are positive, codes of sent signals are not.
    let address = if code > 0 && is_about_memory.contains(&number) {
        NOTE.address.load(Ordering::Relaxed)
    } else {
        0
    };
    let sender = (code <= 0).then(|| NOTE.sender.load(Ordering::Relaxed));
    let cause = match number {
        PANIC => Cause::Panic,
        libc::SIGALRM => Cause::Alarm,
        _ => Cause::Signal { number, code, address, sender },
    };
    let thread = NOTE.thread.load(Ordering::Relaxed);
    let frames = NOTE.frames.read();
    let mut stacks = vec![Stack { thread, name: thread_name(thread), frames }];
    stacks.extend(other_stacks(thread));
    let values = NOTE.registers.iter().map(|register| register.load(Ordering::Relaxed));
    let registers = match cause {
        Cause::Signal { .. } => REGISTERS.iter().map(|(name, _)| *name).zip(values).collect(),
        _ => Vec::new(),
    };
    report(&Report { cause, stacks, registers });
    match cause {
        Cause::Alarm => IS_BUSY.store(false, Ordering::SeqCst),
        _ => IS_DONE.store(true, Ordering::Release),
    }
}

fn thread_name(thread: i32) -> String {
    let name = fs::read_to_string(format!("/proc/self/task/{thread}/comm")).unwrap_or_default();
    name.trim_end().to_string()
}

/// Returns the stacks of all threads except one and the reporter.
fn other_stacks(except: i32) -> Vec<Stack> {
    let Ok(folder) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let names = folder.flatten().map(|entry| entry.file_name());
    let mut threads: Vec<i32> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
    threads.retain(|thread| *thread != except && *thread != REPORTER.load(Ordering::Relaxed));
    threads.sort_unstable();
    threads.into_iter().map(stack_of).collect()
}

fn stack_of(thread: i32) -> Stack {
    OTHER.len.store(0, Ordering::Relaxed);
    OTHER_THREAD.store(thread, Ordering::Release);
    // SAFETY: no memory is passed. A thread that has ended meanwhile gets no signal.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, STACK_SIGNAL) };
    for _ in 0..STACK_MS_MAX {
        if OTHER_THREAD.load(Ordering::Acquire) == 0 {
            break;
        }
        sleep_ms(1);
    }
    let has_come = OTHER_THREAD.swap(0, Ordering::AcqRel) == 0;
    let frames = if has_come { OTHER.read() } else { Vec::new() };
    Stack { thread, name: thread_name(thread), frames }
}

/// Crashes with SIGSEGV by writing to read-only memory, for tests and for users who want to see a
/// report.
pub fn fault() {
    let (bytes, flags) = (4096, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let page = unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ, flags, -1, 0) };
    // SAFETY: the write cannot succeed, which is its purpose. The page is read-only, so the kernel
    // sends SIGSEGV and no memory changes.
    unsafe { page.cast::<u8>().write_volatile(b'x') };
}
