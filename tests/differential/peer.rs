//! The Valkey server that Annulet is compared with.

use super::server::{free_port, wait_for};
use std::fs::File;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

/// The version of the reference behaviour.
const VERSION: &str = "v=9.1";

/// Returns the path of the peer's program. Without a program of the right version it returns
/// nothing and prints that the test is skipped.
pub fn program() -> Option<String> {
    let program = std::env::var("ANNULET_PEER").unwrap_or_else(|_| "valkey-server".to_string());
    let output = Command::new(&program).arg("--version").output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    match said {
        Ok(said) if said.contains(VERSION) => Some(program),
        Ok(said) => {
            println!("skipped: {program} is not {VERSION} but {}", said.trim());
            None
        }
        Err(error) => {
            println!("skipped: {program}, named by ANNULET_PEER, does not run: {error}");
            None
        }
    }
}

/// The log file in the server's folder.
const LOG: &str = "log";

/// A running server, killed on drop.
pub struct Peer {
    child: Child,
    pub port: u16,
    pub folder: PathBuf,
}

impl Peer {
    pub fn start(program: &str) -> Peer {
        Peer::start_with(program, &[])
    }

    /// Starts it with further arguments and waits until it listens.
    pub fn start_with(program: &str, arguments: &[&str]) -> Peer {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("annulet-peer-{port}"));
        std::fs::create_dir_all(&folder).expect("a folder for the server");
        let log = File::create(folder.join(LOG)).expect("the folder was just made");
        let child = Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--enable-debug-command", "yes", "--dir"])
            .arg(&folder)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .spawn()
            .expect("the program has printed its version");
        let mut peer = Peer { child, port, folder };
        let answers = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(wait_for(answers), "the peer does not listen");
        let state = peer.child.try_wait().expect("the child can be waited for");
        assert!(state.is_none(), "another process listens on port {port}");
        peer
    }

    /// Returns the log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join(LOG))
            .expect("the log exists as long as the folder")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail if the process has ended, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the log of the peer on port {}:\n{}", self.port, self.log());
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
