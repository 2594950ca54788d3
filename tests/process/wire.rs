//! A client that sends exact bytes.

use super::server::PATIENCE;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A connection, with input that was read but not parsed.
pub struct Wire<S: Read + Write = TcpStream> {
    pub stream: BufReader<S>,
}

impl Wire {
    /// Connects by TCP.
    pub fn connect(port: u16) -> Wire {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server accepts");
        stream.set_nodelay(true).expect("it is a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
        Wire { stream: BufReader::new(stream) }
    }
}

impl<S: Read + Write> Wire<S> {
    /// Writes bytes unchanged.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).expect("the server takes bytes");
    }

    /// Sends one command.
    pub fn send(&mut self, args: &[&str]) {
        self.write(request(args));
    }

    /// Sends one command and returns its reply in short form, see [`Wire::reply`].
    pub fn ask(&mut self, args: &[&str]) -> String {
        self.send(args);
        self.reply()
    }

    /// Returns one line without its end; empty at the end of the stream.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).expect("a line comes in time");
        String::from_utf8_lossy(&line).trim_end_matches("\r\n").to_string()
    }

    /// Returns the next reply: the line of a simple one, the text of a bulk string, `(nil)` for
    /// null, and `[a, b]` for an array.
    pub fn reply(&mut self) -> String {
        let line = self.line();
        let Some((head, rest)) = line.split_at_checked(1) else { return line };
        let len = || rest.parse::<i64>().expect("a length");
        match head {
            "$" | "=" if len() >= 0 => {
                let mut bytes = vec![0; len() as usize + 2];
                self.stream.read_exact(&mut bytes).expect("the whole text comes");
                assert!(bytes.ends_with(b"\r\n"), "a text ends with CRLF");
                bytes.truncate(bytes.len() - 2);
                String::from_utf8_lossy(&bytes).into_owned()
            }
            "*" | "~" | ">" if len() >= 0 => {
                let items: Vec<String> = (0..len()).map(|_| self.reply()).collect();
                format!("[{}]", items.join(", "))
            }
            "%" => {
                let pair = |_| format!("{}: {}", self.reply(), self.reply());
                format!("{{{}}}", (0..len()).map(pair).collect::<Vec<_>>().join(", "))
            }
            "$" | "*" | "_" => "(nil)".to_string(),
            _ => line,
        }
    }
}

/// Returns the bytes of one command.
pub fn request(args: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend(format!("${}\r\n{arg}\r\n", arg.len()).into_bytes());
    }
    bytes
}

/// Returns the value of a field of INFO.
pub fn info_field(info: &str, name: &str) -> Option<u64> {
    let lines = info.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(field, _)| *field == name).find_map(|(_, value)| value.trim().parse().ok())
}
