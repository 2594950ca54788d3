//! A last word before the process dies: what the thread that crashed was doing.
//!
//! A signal handler may do next to nothing, so it only notes numbers and wakes a thread that is
//! there for this, and waits for it. That thread makes the report, names the functions, and reads
//! the stacks of the other threads by another signal.
//!
//! ```text
//!   a thread: SIGSEGV ... --> note: signal, address, registers, frames --> event --> reporter
//!                 |  <------------------- done, or WAIT_MS_MAX ------------------------ |
//!                 '--> the signal's own effect: the process ends, with a core if wanted
//!   a thread: panic --------> report_panic(): the same, without a signal
//!   SIGALRM ----------------> the same, and the process goes on
//! ```
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

/// Return addresses that are kept of one stack; the outermost ones are left out.
const FRAMES_MAX: usize = 96;

/// Milliseconds that a dying thread waits for the report.
const WAIT_MS_MAX: u32 = 10_000;

/// Milliseconds that the reporter waits for another thread's stack.
const STACK_MS_MAX: u32 = 100;

/// Bytes of the stack on which a thread finds out that its own has run out.
const STACK_BYTES: usize = 64 << 10;

/// The signals after which nothing goes on.
const FATAL: [c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT];

/// Has other threads note their stacks. Nobody else uses it, and who does not expect it ignores it.
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
        /// Its number.
        number: i32,
        /// Its `si_code`.
        code: i32,
        /// The address that was accessed, where the signal is about one.
        address: usize,
        /// Who has sent it, if it was sent.
        sender: Option<i32>,
    },
    /// A panic.
    Panic,
    /// SIGALRM: somebody wants to see what the process does.
    Alarm,
    /// A thread has not come by for too long; the process goes on.
    Stuck,
}

/// What is known of one thread.
#[derive(Clone, Debug)]
pub struct Stack {
    /// The thread's number in the kernel.
    pub thread: i32,
    /// Its name.
    pub name: String,
    /// Where it was, innermost first: `function (file:line)`.
    pub frames: Vec<String>,
}

/// A crash, as it is reported.
#[derive(Clone, Debug)]
pub struct Report {
    /// Why.
    pub cause: Cause,
    /// The stacks; that of the thread that it is about comes first, if there is one.
    pub stacks: Vec<Stack>,
    /// Registers by name, where a signal has come and the machine is known.
    pub registers: Vec<(&'static str, usize)>,
}

/// Looks for threads that have not come by; told the milliseconds that they may take.
pub type Watch = Box<dyn FnMut(u32) -> bool + Send>;

/// Numbers that a signal handler leaves behind.
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

    /// Notes the stack of the calling thread.
    fn take(&self) {
        let mut len = 0;
        // SAFETY: it is not synchronized with other users of the symbolizer, and only walks the
        // stack, which uses none of what they share.
        unsafe {
            backtrace::trace_unsynchronized(|frame| {
                self.addresses[len].store(frame.ip() as usize, Ordering::Relaxed);
                len += 1;
                len < FRAMES_MAX
            });
        }
        self.len.store(len, Ordering::Release);
    }

    /// Names the functions.
    fn read(&self) -> Vec<String> {
        let len = self.len.load(Ordering::Acquire);
        let addresses = self.addresses[..len].iter().map(|at| at.load(Ordering::Relaxed));
        addresses.flat_map(name_frame).collect()
    }
}

/// The functions at an address: several where some were inlined.
fn name_frame(address: usize) -> Vec<String> {
    let mut names = Vec::new();
    // A return address lies behind the call.
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

/// The stack of a thread that was asked for it, and who it is to be.
static OTHER: Frames = Frames::new();
static OTHER_THREAD: AtomicI32 = AtomicI32::new(0);

/// A report is being made. Fatal ones stay so.
static IS_BUSY: AtomicBool = AtomicBool::new(false);
static IS_DONE: AtomicBool = AtomicBool::new(false);
/// A panic has been reported; the abort that follows it need not be.
static HAS_PANICKED: AtomicBool = AtomicBool::new(false);
static EVENT: AtomicI32 = AtomicI32::new(-1);
static REPORTER: AtomicI32 = AtomicI32::new(0);
/// Milliseconds that threads may take; 0: nobody looks.
static WATCH_MS: AtomicI32 = AtomicI32::new(0);

/// In the place of a signal's number: a panic.
const PANIC: c_int = 0;

fn thread_number() -> i32 {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

fn sleep_ms(ms: u32) {
    let time = libc::timespec { tv_sec: 0, tv_nsec: i64::from(ms) * 1_000_000 };
    // SAFETY: `time` is valid for reads, and what is left of it is not asked for. A signal handler
    // may call it.
    unsafe { libc::nanosleep(&time, ptr::null_mut()) };
}

fn wake_reporter() {
    let one = 1u64;
    // SAFETY: `one` is valid for reads of 8 bytes. A signal handler may write to a descriptor.
    unsafe { libc::write(EVENT.load(Ordering::Relaxed), (&raw const one).cast(), 8) };
}

/// Waits until the reporter is done, or for too long.
fn wait_for_report() {
    for _ in 0..WAIT_MS_MAX / 2 {
        if IS_DONE.load(Ordering::Acquire) {
            return;
        }
        sleep_ms(2);
    }
}

/// Installs `handler`, or gives a signal its own effect back.
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
        // On the thread's other stack: the first may be what has run out.
        action.sa_flags |= libc::SA_ONSTACK;
    }
    // SAFETY: `action` is valid for reads, its handler has the signature that its flags ask for,
    // and does only what a handler may.
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
    // It comes when this handler returns, and has its own effect then.
    // SAFETY: no memory is passed.
    unsafe { libc::raise(signal) };
}

/// Does something without a trace in the error number of the interrupted code.
fn keep_error_number(does: impl FnOnce()) {
    // SAFETY: the C library gives the address of the calling thread's own number.
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
    // SAFETY: the kernel hands a valid record to a handler that was installed with SA_SIGINFO;
    // which of its fields mean something is for the reader to say.
    unsafe {
        NOTE.code.store((*info).si_code, kept);
        NOTE.address.store((*info).si_addr() as usize, kept);
        NOTE.sender.store((*info).si_pid(), kept);
    }
    #[cfg(target_arch = "x86_64")]
    for (place, (_, number)) in NOTE.registers.iter().zip(REGISTERS) {
        // SAFETY: as above; the context is that of this machine, and has all these registers.
        let value =
            unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[number as usize] };
        place.store(value as usize, kept);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = context;
    NOTE.frames.take();
}

/// Starts the reporter, which calls `report` for each report, and `watch` while [`watch_for`] says
/// so: it tells whether a thread is stuck. Handles nothing yet but SIGALRM.
///
/// # Errors
/// No descriptor or no thread is left.
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
    // SAFETY: the descriptor is new and nobody else owns it.
    let event = unsafe { OwnedFd::from_raw_fd(event) };
    EVENT.store(event.as_raw_fd(), Ordering::Release);
    let life = move || live(event, &report, watch);
    std::thread::Builder::new().name("crash".to_string()).spawn(life)?;
    set_handler(STACK_SIGNAL, Some(on_stack_signal));
    set_handler(libc::SIGALRM, Some(on_alarm));
    Ok(())
}

/// Gives the calling thread another stack, to find out on it that its own has run out. That which
/// the library gives its threads is too small to walk a stack on. To be called once per thread.
pub fn add_stack() {
    let memory = Box::leak(vec![0u8; STACK_BYTES].into_boxed_slice());
    let stack =
        libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK_BYTES };
    // SAFETY: the memory is this thread's alone, and stays as long as the process lives. Where the
    // kernel refuses it, the stack that was there before stays.
    unsafe { libc::sigaltstack(&stack, ptr::null_mut()) };
}

/// Whether the signals that end the process are reported first.
pub fn set_enabled(is_on: bool) {
    for signal in FATAL {
        set_handler(signal, is_on.then_some(on_fatal));
    }
}

/// Has threads watched that take longer than so many milliseconds; 0 ends that.
pub fn watch_for(ms: u32) {
    WATCH_MS.store(ms.min(i32::MAX as u32) as i32, Ordering::Relaxed);
    if EVENT.load(Ordering::Acquire) >= 0 {
        wake_reporter();
    }
}

/// Reports the panic of the calling thread, and returns when that is done. Only the first is
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

/// Reports what was noted.
fn tell(report: &dyn Fn(&Report)) {
    let number = NOTE.signal.load(Ordering::Relaxed);
    let is_about_memory = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL];
    let code = NOTE.code.load(Ordering::Relaxed);
    // Codes of the kernel are positive, those of senders are not.
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

/// The stacks of all threads but one and the reporter's.
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

/// Writes where nobody may: for those who want to see a report.
pub fn fault() {
    let (bytes, flags) = (4096, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping of its own, wherever there is room.
    let page = unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ, flags, -1, 0) };
    // SAFETY: the write cannot succeed, which is its purpose: the page is for reading only, so the
    // kernel sends SIGSEGV and no memory of anybody changes.
    unsafe { page.cast::<u8>().write_volatile(b'x') };
}
