//! The append-only file under hostile clients: a server that loads it has the same keys.

use super::lasting_differences;
use super::server::{Server, Setup, free_port, wait_for};
use super::state::Observers;
use super::wire::Wire;
use std::io;
use std::path::Path;
use std::process::Stdio;

/// When a run has an append-only file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// Clients may turn it on and off.
    Drawn,
    /// It is on, with this policy for fsync.
    On(&'static str),
}

impl File {
    /// Returns what `ANNULET_HOSTILE_FSYNC` names; otherwise it differs from seed to seed.
    pub fn of(seed: u64) -> File {
        let policies = ["always", "everysec", "no"];
        match std::env::var("ANNULET_HOSTILE_FSYNC").as_deref() {
            Ok("off") => File::Drawn,
            Ok(name) => {
                let known = policies.into_iter().find(|policy| *policy == name);
                File::On(known.expect("ANNULET_HOSTILE_FSYNC: off, always, everysec or no"))
            }
            Err(_) if seed % 2 == 1 => File::Drawn,
            Err(_) => File::On(policies[seed as usize / 2 % 3]),
        }
    }

    /// Returns the arguments of the server.
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            File::Drawn => &[],
            File::On("always") => &["--appendonly", "yes", "--appendfsync", "always"],
            File::On("no") => &["--appendonly", "yes", "--appendfsync", "no"],
            File::On(_) => &["--appendonly", "yes"],
        }
    }
}

/// Loads a copy of the server's append-only file with another number of shards, and compares the
/// keys.
pub fn compare_with_file(server: &Server, shards: usize) {
    let mut wire = Wire::connect(server.port, 2);
    assert_eq!(wire.ask(&["CONFIG", "SET", "appendfsync", "everysec"]), b"+OK\r\n");
    let is_durable = wait_for(|| wire.ask(&["WAITAOF", "1", "0", "1000"]).starts_with(b"*2\r\n:1"));
    assert!(is_durable, "the append-only file becomes durable");
    let from = server.folder.join("appendonlydir");
    let folder = std::env::temp_dir().join(format!("annulet-copy-{}", server.port));
    // A rewrite that ends meanwhile deletes files.
    let is_copied = wait_for(|| copy(&from, &folder.join("appendonlydir")).is_ok());
    assert!(is_copied, "the files can be copied");
    let setup = Setup { shards: shards % 4 + 1, driver: "auto" };
    let arguments = ["--appendonly", "yes", "--enable-debug-command", "yes"];
    let mut other = Server::launch_in(folder, setup, free_port(), &arguments, Stdio::null());
    let is_up = wait_for(|| other.logged("Ready to accept connections") || other.is_over());
    assert!(is_up && !other.is_over(), "the append-only file loads: {}", other.log());
    let mut observers = Observers::new(Wire::connect(other.port, 2), wire);
    let differences = lasting_differences(&mut observers);
    if differences.is_empty() {
        return;
    }
    let texts: Vec<String> = differences.into_iter().map(|difference| difference.text).collect();
    other.keeps_folder = true;
    panic!("a server that loads the file (\"Annulet\") differs:\n{}", texts.join("\n"));
}

/// Copies the files of a folder to a new folder.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    // It does not exist at the first attempt.
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
