//! A replica's link by hand: attaches, keeps the snapshot, and then reads command by command.

use super::server::PATIENCE;
use super::wire::{children, put_request, text};
use annulet::resp::reply_end;
use std::io::{Read, Write};
use std::net::TcpStream;

/// One command of the stream.
pub type Words = Vec<Vec<u8>>;

pub struct Link {
    stream: TcpStream,
    bytes: Vec<u8>,
    at: usize,
    /// The line of `+FULLRESYNC` or `+CONTINUE`, empty after SYNC.
    pub greeting: String,
    pub snapshot: Vec<u8>,
    /// Bytes of the stream up to the end of the command read last.
    pub offset: u64,
}

impl Link {
    /// Sends the words that attach it, and takes the snapshot if one comes.
    pub fn attach(port: u16, words: &[&str]) -> Link {
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
        link.say(words);
        let mut line = link.line();
        if line.starts_with('+') {
            link.greeting = line;
            if link.greeting.starts_with("+CONTINUE") {
                return link;
            }
            let offset = link.greeting.rsplit(' ').next().and_then(|word| word.parse().ok());
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
    pub fn say(&mut self, words: &[&str]) {
        let mut bytes = Vec::new();
        put_request(&mut bytes, words);
        self.stream.write_all(&bytes).expect("the server takes bytes");
    }

    /// Acknowledges all that was read.
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

    /// The next line that is not empty, without its end.
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

    /// The next command of the stream.
    pub fn command(&mut self) -> Words {
        loop {
            if let Some(len) = reply_end(&self.bytes[self.at..]) {
                let command = &self.bytes[self.at..self.at + len];
                let words = children(command);
                let words = words.unwrap_or_else(|| panic!("no command: {}", shown(command)));
                let word = |word: &&[u8]| text(word).expect("a bulk string").to_vec();
                let words = words.iter().map(word).collect();
                self.at += len;
                self.offset += len as u64;
                return words;
            }
            self.read();
        }
    }

    /// Reads on until a command of this name, in whichever case.
    pub fn until(&mut self, name: &str) -> Words {
        loop {
            let words = self.command();
            if words[0].eq_ignore_ascii_case(name.as_bytes()) {
                return words;
            }
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).into_owned()
}
