//! A server process for one test: started on a free port, killed on drop.

use annulet::base::clock::Clock;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Longest time that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Number of starts that may fail because another process took the free port first.
const STARTS_MAX: usize = 5;

/// The setup of a server: number of shards, and driver.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub shards: usize,
    pub driver: &'static str,
}

/// A running server.
pub struct Server {
    pub child: Child,
    pub port: u16,
    pub folder: PathBuf,
    /// Whether a failed test shows the log itself and needs the folder.
    pub keeps_folder: bool,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts the server of this package and waits until it accepts connections.
    pub fn start(setup: Setup, arguments: &[&str]) -> Server {
        let has_shard_ports = arguments.contains(&"--cluster-shard-ports");
        for _ in 0..STARTS_MAX {
            let port = if has_shard_ports { free_ports(setup.shards) } else { free_port() };
            let mut server = Server::launch(setup, port, arguments, Stdio::null());
            if wait_for(|| server.logged("Ready to accept connections") || server.is_over()) {
                if !server.is_over() {
                    return server;
                }
                let log = server.log();
                assert!(log.contains("Failed listening on port"), "{setup:?} {arguments:?}: {log}");
            }
        }
        panic!("no server came up: {setup:?} {arguments:?}");
    }

    /// Starts the server without waiting for it.
    pub fn launch(setup: Setup, port: u16, arguments: &[&str], input: Stdio) -> Server {
        Server::launch_on(None, setup, port, arguments, input)
    }

    /// Starts the server on a snapshot file, without waiting for it.
    pub fn launch_on(
        file: Option<&[u8]>,
        setup: Setup,
        port: u16,
        arguments: &[&str],
        input: Stdio,
    ) -> Server {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("annulet-test-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder for the server");
        if let Some(file) = file {
            std::fs::write(folder.join("dump.rdb"), file).expect("a file for the server");
        }
        Server::launch_in(folder, setup, port, arguments, input)
    }

    /// Starts the server in a folder that exists, without waiting for it.
    pub fn launch_in(
        folder: PathBuf,
        setup: Setup,
        port: u16,
        arguments: &[&str],
        input: Stdio,
    ) -> Server {
        let mut child = Command::new(binary())
            .args(arguments)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--shards", &setup.shards.to_string(), "--io-driver", setup.driver])
            .arg("--dir")
            .arg(&folder)
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server's binary runs");
        let log = Arc::new(Mutex::new(String::new()));
        let output = child.stdout.take().expect("the stream is piped");
        let errors = child.stderr.take().expect("the stream is piped");
        let both = Arc::clone(&log);
        let reader = thread::spawn(move || {
            let inside = Arc::clone(&both);
            let other = thread::spawn(move || keep(errors, &inside));
            keep(output, &both);
            other.join().expect("a reader of lines does not panic");
        });
        Server { child, port, folder, keeps_folder: false, log, reader: Some(reader) }
    }

    /// Returns the standard output and error of the server so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("no reader panics").clone()
    }

    /// Whether the log contains this text.
    pub fn logged(&self, text: &str) -> bool {
        self.log.lock().expect("no reader panics").contains(text)
    }

    /// Whether the process has ended; then its log is complete.
    pub fn is_over(&mut self) -> bool {
        let is_over = self.child.try_wait().expect("the child can be waited for").is_some();
        if is_over && let Some(reader) = self.reader.take() {
            reader.join().expect("a reader of lines does not panic");
        }
        is_over
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the server's end so far: {:?}", self.child.try_wait());
        }
        if self.folder.as_os_str().is_empty() {
            // Another process has taken over the folder.
            return;
        }
        // Both fail if the process has ended, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() && self.keeps_folder {
            return;
        }
        if thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Returns the path of the server's binary: `ANNULET_BINARY`, or the one of this package.
fn binary() -> String {
    std::env::var("ANNULET_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_annulet").to_string())
}

fn keep(from: impl Read, log: &Mutex<String>) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        let mut log = log.lock().expect("no reader panics");
        log.push_str(&line);
        log.push('\n');
    }
}

/// Returns a port that is free at this moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    listener.local_addr().expect("the socket is bound").port()
}

/// Returns a free port with as many free ones behind it. They are below the ports that the kernel
/// gives to connections.
fn free_ports(more: usize) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: u32| TcpListener::bind(("127.0.0.1", port as u16)).is_ok();
    let count = more as u32 + 1;
    loop {
        let offset = std::process::id() * 64 + NEXT.fetch_add(count, Ordering::Relaxed);
        let first = 10_000 + offset % 20_000;
        if (first..first + count).all(is_free) {
            return first as u16;
        }
    }
}

/// Waits until `holds` returns true; returns false if it does not within [`PATIENCE`].
pub fn wait_for(mut holds: impl FnMut() -> bool) -> bool {
    let end_ns = Clock::System.monotonic_ns() + PATIENCE.as_nanos() as u64;
    while Clock::System.monotonic_ns() < end_ns {
        if holds() {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Returns the drivers that this machine allows: epoll always, io_uring if a server can start on
/// it.
pub fn drivers() -> Vec<&'static str> {
    let setup = Setup { shards: 1, driver: "uring" };
    let mut server = Server::launch(setup, free_port(), &[], Stdio::null());
    let has_come_up = wait_for(|| server.logged("Ready to accept") || server.is_over());
    if has_come_up && !server.is_over() {
        return vec!["uring", "epoll"];
    }
    assert!(server.logged("cannot open its I/O driver"), "{}", server.log());
    println!("skipped: this machine does not allow io_uring");
    vec!["epoll"]
}
