//! The HTTP port of a running server: metrics, health, the page, and access control.

use super::server::{Server, Setup, free_port};

use super::wire::Wire;
use super::{logs, setups};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

const EPOLL: Setup = Setup { shards: 2, driver: "epoll" };

/// Returns head and body of the answer to a GET.
fn get(port: u16, path: &str, headers: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the port is open");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
        .expect("the server takes a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the server answers and closes");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_owned(), body.to_owned())
}

/// Starts a server with an HTTP port.
fn start(setup: Setup, arguments: &[&str]) -> (Server, u16) {
    let port = free_port();
    let text = port.to_string();
    (Server::start(setup, &[&["--http-port", &text], arguments].concat()), port)
}

#[test]
fn metrics_count_the_work_of_clients() {
    for setup in setups() {
        let (server, port) = start(setup, &[]);
        let mut wire = Wire::connect(server.port);
        for key in 0..30 {
            assert_eq!(wire.ask(&["SET", &format!("key:{key}"), "value"]), "+OK");
        }
        assert_eq!(wire.ask(&["DBSIZE"]), ":30");
        let (head, text) = get(port, "/metrics", "");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
        for line in
            ["redis_up 1", "redis_commands_total{cmd=\"set\"} 30", "redis_connected_clients 1"]
        {
            assert!(text.contains(&format!("\n{line}\n")), "{line} {setup:?}\n{text}");
        }
        let tcp_port = format!("tcp_port=\"{}\"", server.port);
        assert!(text.contains(&tcp_port), "{tcp_port}");
        let (_, status) = get(port, "/status.json", "");
        let status: serde_json::Value = serde_json::from_str(&status).expect(&status);
        assert_eq!(status["state"], "serving");
        assert_eq!(status["shards"].as_array().expect("a list").len(), setup.shards);
        let keys = status["shards"].as_array().expect("a list").iter();
        assert_eq!(keys.map(|shard| shard["keys"].as_u64().expect("a number")).sum::<u64>(), 30);
        assert_eq!(get(port, "/healthz", "").1, "ok\n");
        assert!(get(port, "/", "").1.starts_with("<!doctype html>"));
    }
}

#[test]
fn the_http_port_requires_the_password() {
    let (server, port) = start(EPOLL, &["--requirepass", "secret"]);
    for path in ["/", "/metrics", "/status.json", "/healthz", "/nothing"] {
        let (head, body) = get(port, path, "");
        assert!(head.starts_with("HTTP/1.1 401 "), "{path}: {head}");
        assert!(head.contains("\r\nWWW-Authenticate: Basic realm="), "{head}");
        assert_eq!(body, "401 Unauthorized\n");
    }
    let known = "Authorization: Basic ZGVmYXVsdDpzZWNyZXQ=\r\n";
    assert!(get(port, "/metrics", known).0.starts_with("HTTP/1.1 200 "));
    let mut wire = Wire::connect(server.port);
    assert_eq!(wire.ask(&["AUTH", "secret"]), "+OK");
    assert_eq!(wire.ask(&["CONFIG", "SET", "requirepass", ""]), "+OK");
    assert!(get(port, "/metrics", "").0.starts_with("HTTP/1.1 200 "));
}

#[test]
fn the_http_port_is_off_by_default_and_bound_to_loopback() {
    let server = Server::start(EPOLL, &[]);
    let mut wire = Wire::connect(server.port);
    assert_eq!(wire.ask(&["CONFIG", "GET", "http-port"]), "[http-port, 0]");
    assert_eq!(wire.ask(&["CONFIG", "GET", "http-bind"]), "[http-bind, 127.0.0.1 -::1]");
    let refused = wire.ask(&["CONFIG", "SET", "http-port", "1"]);
    assert!(refused.contains("can't set immutable config"), "{refused}");
    assert!(!server.logged("http port"));
}

#[test]
fn a_port_in_use_is_an_error() {
    let (first, port) = start(EPOLL, &[]);
    let text = port.to_string();
    let arguments = ["--http-port", &text[..]];
    let mut second = Server::launch(EPOLL, free_port(), &arguments, Stdio::null());
    assert!(super::server::wait_for(|| second.is_over()));
    assert!(logs(&second, "Failed listening on http port"), "{}", second.log());
    assert_eq!(Wire::connect(first.port).ask(&["PING"]), "+PONG");
}

#[test]
fn connections_beyond_the_limit_get_503() {
    let (_server, port) = start(EPOLL, &[]);
    let max = annulet::http::limits::CONNECTIONS_MAX;
    let mut idle: Vec<TcpStream> = Vec::new();
    for _ in 0..max {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the port is open");
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .expect("the server reads");
        // The answer shows that the connection counts among the open ones.
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the server answers");
        idle.push(stream);
    }
    let mut late = TcpStream::connect(("127.0.0.1", port)).expect("the port is open");
    let mut text = String::new();
    late.read_to_string(&mut text).expect("the refusal is sent and the connection closed");
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    drop(idle);
    assert!(super::server::wait_for(|| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the port is open");
        let _ = stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n");
        let mut text = String::new();
        // A connection that is closed at once may end in a reset.
        let _ = stream.read_to_string(&mut text);
        text.starts_with("HTTP/1.1 200 ")
    }));
}
