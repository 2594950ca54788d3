//! The files in `tuning/`: presets start the server and have an effect, every line has its reason,
//! and `scripts/tune-check` finds unsuitable settings.

use super::server::{Server, Setup, free_port};
use super::wire::Wire;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn presets() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("tuning/presets")).expect("there are presets");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the file is readable").path()).collect();
    paths.sort();
    paths
}

#[test]
fn presets_start_the_server_and_have_an_effect() {
    for path in presets() {
        let setup = Setup { shards: 2, driver: "epoll" };
        let (path, port) = (path.to_str().expect("names are text"), free_port().to_string());
        let arguments = [path, "--http-port", &port, "--loglevel", "verbose"];
        let server = Server::start(setup, &arguments);
        let log = server.log();
        let is_idle =
            |line: &&str| line.contains("without effect") || line.contains("has no effect");
        // The presets use `save` only to decide whether the shutdown saves, which does have an
        // effect.
        let idle = log.lines().filter(is_idle).find(|line| !line.contains("'save'"));
        assert_eq!(idle, None, "{path}");
        let mut wire = Wire::connect(server.port);
        let policy = if path.ends_with("cache.conf") { "allkeys-lru" } else { "noeviction" };
        assert_eq!(
            wire.ask(&["CONFIG", "GET", "maxmemory-policy"]),
            format!("[maxmemory-policy, {policy}]"),
            "{path}"
        );
    }
}

/// Checks for a comment above each line, or above the block of lines that it belongs to.
#[test]
fn every_line_has_its_reason() {
    let others = ["sysctl.conf", "annulet.service", "Dockerfile", "Dockerfile.dockerignore"];
    let others = others.map(|name| root().join("tuning").join(name));
    for path in presets().into_iter().chain(others) {
        let text = std::fs::read_to_string(&path).expect("the file is readable");
        let mut has_reason = false;
        for (number, line) in text.lines().enumerate() {
            // Lines that need no reason: the unit's name, user and installation.
            let plain = ["[", "Description=", "User=", "Group=", "WantedBy="];
            let is_blank = line.trim().is_empty();
            if is_blank || line.starts_with('[') {
                has_reason = false;
            } else if line.starts_with('#') {
                has_reason = true;
            }
            let needs_none = is_blank || plain.iter().any(|plain| line.starts_with(plain));
            assert!(has_reason || needs_none, "{}:{}: {line}", path.display(), number + 1);
        }
    }
    let profile =
        std::fs::read_to_string(root().join("tuning/seccomp.json")).expect("the file is readable");
    let profile: serde_json::Value = serde_json::from_str(&profile).expect("the file is JSON");
    for rule in profile["syscalls"].as_array().expect("a list") {
        assert!(rule["comment"].as_str().is_some_and(|args| !args.is_empty()), "{rule}");
    }
}

/// Runs tune-check on a machine made of files: a good one with some changes.
fn tune_check(changes: &[(&str, &str)]) -> Option<(i32, String)> {
    let good = [
        ("proc/sys/kernel/osrelease", "6.18.0"),
        ("proc/sys/kernel/io_uring_disabled", "0"),
        ("proc/sys/net/core/somaxconn", "8192"),
        ("proc/sys/vm/swappiness", "1"),
        (
            "proc/self/limits",
            "Max open files  1024  1048576 files\nMax locked memory 8388608 8388608",
        ),
        ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never"),
        ("sys/fs/cgroup/cpu.max", "max 100000"),
    ];
    let folder = std::env::temp_dir().join(format!("annulet-machine-{}", std::process::id()));
    for (path, text) in good.iter().chain(changes) {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("the path has a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    let script = root().join("scripts/tune-check");
    let output = Command::new("python3").arg(script).arg("--root").arg(&folder).output();
    std::fs::remove_dir_all(&folder).expect("the folder exists");
    let Ok(output) = output else {
        println!("skipped: python3 is not installed");
        return None;
    };
    let text = String::from_utf8(output.stdout).expect("the output is text");
    Some((output.status.code().expect("the process exits"), text))
}

#[test]
fn tune_check_finds_unsuitable_settings() {
    let Some((status, text)) = tune_check(&[]) else { return };
    assert_eq!(status, 0, "{text}");
    for (path, now, said) in [
        ("proc/sys/kernel/osrelease", "5.15.0-91-generic", "came with 6.0"),
        ("proc/sys/kernel/io_uring_disabled", "2", "io_uring is forbidden"),
        ("proc/sys/net/core/somaxconn", "128", "net.core.somaxconn is 128"),
        ("proc/self/limits", "Max open files  1024  4096 files", "maxclients would be 4032"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never", "always used"),
        ("sys/fs/cgroup/cpu.max", "150000 100000", "a quota of 1.5 cores"),
    ] {
        let (status, text) = tune_check(&[(path, now)]).expect("python3 was there");
        assert_eq!(status, 1, "{path}\n{text}");
        let off: Vec<&str> = text.lines().filter(|line| line.starts_with("OFF ")).collect();
        assert_eq!(off.len(), 1, "{text}");
        assert!(off[0].contains(said), "{text}");
    }
}
