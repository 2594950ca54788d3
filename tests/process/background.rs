//! The process in its environment: in the background, under an init system, with its title and its
//! log.

use super::server::{Server, Setup, free_port, wait_for};
use super::wire::Wire;
use std::fs;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const EPOLL: Setup = Setup { shards: 2, driver: "epoll" };

/// A temporary folder, removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("annulet-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the folder for temporary files can be written");
        Folder(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("the name is text").to_string()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_server_in_the_background_keeps_its_id_in_a_file() {
    let folder = Folder::new("background");
    let port = free_port();
    let status = Command::new(env!("CARGO_BIN_EXE_annulet"))
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--shards", "1", "--save", ""])
        .args(["--daemonize", "yes", "--pidfile", "annulet.pid", "--logfile", "annulet.log"])
        .args(["--dir", &folder.file("")])
        .stdout(Stdio::null())
        .status()
        .expect("the program starts");
    assert!(status.success());
    let is_up = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert!(wait_for(is_up), "{}", folder.text("annulet.log"));
    let mut wire = Wire::connect(port);
    let pid = folder.text("annulet.pid").trim().to_string();
    assert!(wire.ask(&["INFO", "server"]).contains(&format!("process_id:{pid}\r\n")));
    assert!(folder.text("annulet.log").contains(&format!("{pid}:M ")));
    wire.send(&["SHUTDOWN", "NOSAVE"]);
    assert!(
        wait_for(|| !folder.0.join("annulet.pid").exists()),
        "the pid file is removed at the end"
    );
    assert!(wait_for(|| folder.text("annulet.log").contains("bye bye")));
}

#[test]
fn the_log_file_may_be_moved() {
    let folder = Folder::new("log");
    let log = folder.file("annulet.log");
    let server = Server::launch(EPOLL, free_port(), &["--logfile", &log], Stdio::null());
    assert!(wait_for(|| folder.text("annulet.log").contains("Ready to accept")));
    fs::rename(&log, folder.file("old.log")).expect("it is there");
    let mut wire = Wire::connect(server.port);
    for (form, head) in [("logfmt", "pid="), ("json", "{\"pid\":")] {
        assert_eq!(wire.ask(&["CONFIG", "SET", "log-format", form]), "+OK");
        wire.ask(&["CONFIG", "SET", "port", "1", "bind", "192.0.2.1"]);
        let text = folder.text("annulet.log");
        let last = text.lines().last().expect("the log has a line");
        assert!(last.starts_with(head), "{last}");
    }
}

#[test]
fn systemd_is_notified_when_the_server_is_ready() {
    let folder = Folder::new("systemd");
    let path = folder.file("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let port = free_port();
    let mut child = Command::new(env!("CARGO_BIN_EXE_annulet"))
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--shards", "1", "--save", ""])
        .args(["--supervised", "auto", "--daemonize", "yes", "--dir", &folder.file("")])
        .env("NOTIFY_SOCKET", &path)
        .env_remove("UPSTART_JOB")
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut told = Vec::new();
    while told.last().is_none_or(|state| state != "READY=1\n") {
        let mut text = [0; 128];
        let len = socket.recv(&mut text).expect("a notification arrives");
        told.push(String::from_utf8_lossy(&text[..len]).into_owned());
    }
    let states = ["STATUS=Annulet is loading...\n", "STATUS=Ready to accept connections\n"];
    assert_eq!(told[..2], states);
    let mut wire = Wire::connect(port);
    // The server has not gone to the background, because its supervisor would lose it.
    assert!(wire.ask(&["INFO", "server"]).contains("process_supervised:systemd\r\n"));
    assert!(wire.ask(&["INFO", "server"]).contains(&format!("process_id:{}\r\n", child.id())));
    wire.send(&["SHUTDOWN", "NOSAVE"]);
    assert!(child.wait().expect("the child can be waited for").success());
}

#[test]
fn the_title_follows_the_template() {
    let server = Server::start(EPOLL, &["--proc-title-template", "{title} on {port}"]);
    let title = || {
        let args = fs::read(format!("/proc/{}/cmdline", server.child.id())).expect("/proc exists");
        String::from_utf8_lossy(&args).trim_end_matches('\0').to_string()
    };
    assert!(title().ends_with(&format!("annulet on {}", server.port)), "{}", title());
    let mut wire = Wire::connect(server.port);
    let long = format!("{}{{port}}", "x".repeat(100));
    assert_eq!(wire.ask(&["CONFIG", "SET", "proc-title-template", &long]), "+OK");
    assert!(title().starts_with(&"x".repeat(100)), "{}", title());
}

#[test]
fn the_oom_score_follows_the_settings() {
    let server = Server::start(EPOLL, &[]);
    let score = || -> i32 {
        let path = format!("/proc/{}/oom_score_adj", server.child.id());
        fs::read_to_string(path).expect("/proc exists").trim().parse().expect("a number")
    };
    let base = score();
    let mut wire = Wire::connect(server.port);
    let mut set = |args: &[&str]| wire.ask(&[&["CONFIG", "SET"], args].concat());
    assert_eq!(set(&["oom-score-adj-values", "10 20 30", "oom-score-adj", "yes"]), "+OK");
    assert_eq!(score(), (base + 10).min(1000));
    assert_eq!(set(&["oom-score-adj-values", "900 20 30", "oom-score-adj", "absolute"]), "+OK");
    assert_eq!(score(), 900);
    assert_eq!(set(&["oom-score-adj", "no"]), "+OK");
    assert_eq!(score(), base);
}

#[test]
fn sentinels_and_tools_are_other_programs() {
    let folder = Folder::new("names");
    for (name, serves) in
        [("redis-server", true), ("valkey-server", true), ("redis-sentinel", false)]
    {
        let link = folder.file(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_annulet"), &link).expect("a link");
        let output = Command::new(&link).arg("--version").output().expect("the program starts");
        assert_eq!(output.status.success(), serves, "{name}");
    }
}
