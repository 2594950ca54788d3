//! A replica's link driven by the test: attaches, keeps the snapshot, then reads command by
//! command.

use super::server::PATIENCE;
use super::wire::{children, put_request, text};
use annulet::resp::reply_end;
use std::io::{Read, Write};
use std::net::TcpStream;

/// One command of the stream.
pub type Args = Vec<Vec<u8>>;

pub struct Link {
    stream: TcpStream,
    bytes: Vec<u8>,
    at: usize,
    /// The line of `+FULLRESYNC` or `+CONTINUE`, empty after SYNC.
    pub greeting: String,
    pub snapshot: Vec<u8>,
    /// Offset in the stream of the end of the last command read.
    pub offset: u64,
}

impl Link {
    /// Sends the arguments that attach the link, and takes the snapshot if one follows.
    pub fn attach(port: u16, args: &[&str]) -> Link {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
        let mut link = Link {
            stream,
            bytes: Vec::new(),
            at: 0,
            greeting: String::new(),
            snapshot: Vec::new(),
            offset: 0,
        };
        link.say(args);
        let mut line = link.line();
        if line.starts_with('+') {
            link.greeting = line;
            if link.greeting.starts_with("+CONTINUE") {
                return link;
            }
            let offset = link.greeting.rsplit(' ').next().and_then(|arg| arg.parse().ok());
            link.offset = offset.unwrap_or_else(|| panic!("{:?} has no offset", link.greeting));
            line = link.line();
        }
        let len = line.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        let len = len.unwrap_or_else(|| panic!("the length of a snapshot, not {line:?}"));
        while link.bytes.len() < link.at + len {
            link.read();
        }
        link.snapshot = link.bytes[link.at..link.at + len].to_vec();
        link.at += len;
        link
    }

    /// Sends a command.
    pub fn say(&mut self, args: &[&str]) {
        let mut bytes = Vec::new();
        put_request(&mut bytes, args);
        self.stream.write_all(&bytes).expect("the server takes bytes");
    }

    /// Acknowledges everything read so far.
    pub fn acknowledge(&mut self) {
        self.say(&["REPLCONF", "ACK", &self.offset.to_string()]);
    }

    fn read(&mut self) {
        self.bytes.drain(..self.at);
        self.at = 0;
        let end = self.bytes.len();
        self.bytes.resize(end + (64 << 10), 0);
        let taken = self.stream.read(&mut self.bytes[end..]).expect("something comes in time");
        assert!(taken > 0, "the server hung up");
        self.bytes.truncate(end + taken);
    }

    /// Returns the next line that is not empty, without its end.
    fn line(&mut self) -> String {
        loop {
            match self.bytes[self.at..].iter().position(|&byte| byte == b'\n') {
                None => self.read(),
                Some(len) => {
                    let line = String::from_utf8_lossy(&self.bytes[self.at..self.at + len]);
                    let line = line.trim_end().to_string();
                    self.at += len + 1;
                    if !line.is_empty() {
                        return line;
                    }
                }
            }
        }
    }

    /// Returns the next command of the stream.
    pub fn command(&mut self) -> Args {
        loop {
            if let Some(len) = reply_end(&self.bytes[self.at..]) {
                let command = &self.bytes[self.at..self.at + len];
                let args = children(command);
                let args = args.unwrap_or_else(|| panic!("no command: {}", shown(command)));
                let arg = |arg: &&[u8]| text(arg).expect("a bulk string").to_vec();
                let args = args.iter().map(arg).collect();
                self.at += len;
                self.offset += len as u64;
                return args;
            }
            self.read();
        }
    }

    /// Reads until a command of this name, in any case.
    pub fn until(&mut self, name: &str) -> Args {
        loop {
            let args = self.command();
            if args[0].eq_ignore_ascii_case(name.as_bytes()) {
                return args;
            }
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).into_owned()
}
