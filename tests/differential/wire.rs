//! A connection that sends pipelines and keeps each reply's bytes as they came.

use super::server::PATIENCE;
use annulet::resp::reply_end;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;

/// Bytes asked of the socket at once.
const READ_BYTES: usize = 64 << 10;

pub struct Wire {
    stream: TcpStream,
}

impl Wire {
    /// Connects, and speaks this version of the protocol.
    pub fn connect(port: u16, protocol: u8) -> Wire {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server accepts");
        stream.set_nodelay(true).expect("it is a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
        let mut wire = Wire { stream };
        wire.ask(&["HELLO", &protocol.to_string()]);
        wire
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next `count` replies, of which none may have been begun before.
    pub fn replies(&mut self, count: usize) -> Result<Vec<Vec<u8>>> {
        let mut replies = Vec::with_capacity(count);
        let (mut bytes, mut at) = (Vec::new(), 0);
        while replies.len() < count {
            if let Some(len) = reply_end(&bytes[at..]) {
                replies.push(bytes[at..at + len].to_vec());
                at += len;
                continue;
            }
            bytes.drain(..at);
            at = 0;
            let end = bytes.len();
            bytes.resize(end + READ_BYTES, 0);
            let taken = self.stream.read(&mut bytes[end..])?;
            bytes.truncate(end + taken);
            if taken == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the server hung up"));
            }
        }
        if at != bytes.len() {
            return Err(Error::other("the server said more than it was asked"));
        }
        Ok(replies)
    }

    /// One command and its reply. The server must be there.
    pub fn ask<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Vec<u8> {
        self.ask_all(&[words]).remove(0)
    }

    /// Several commands and their replies. The server must be there.
    pub fn ask_all<W: AsRef<[u8]>>(&mut self, commands: &[&[W]]) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        for words in commands {
            put_request(&mut bytes, words);
        }
        self.send(&bytes).expect("the server takes bytes");
        self.replies(commands.len()).expect("the server answers")
    }
}

/// Appends the bytes of one command.
pub fn put_request<W: AsRef<[u8]>>(bytes: &mut Vec<u8>, words: &[W]) {
    bytes.extend(format!("*{}\r\n", words.len()).into_bytes());
    for word in words {
        let word = word.as_ref();
        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
        bytes.extend(word);
        bytes.extend(b"\r\n");
    }
}

/// The replies inside an aggregate, none if it is no aggregate.
pub fn children(reply: &[u8]) -> Option<Vec<&[u8]>> {
    if !matches!(reply.first()?, b'*' | b'~' | b'>' | b'%') || reply.starts_with(b"*-1") {
        return None;
    }
    let mut rest = &reply[reply.iter().position(|&byte| byte == b'\n')? + 1..];
    let mut children = Vec::new();
    while !rest.is_empty() {
        let (child, others) = rest.split_at(reply_end(rest)?);
        children.push(child);
        rest = others;
    }
    Some(children)
}

/// The bytes of a bulk string, none if it is none.
pub fn text(reply: &[u8]) -> Option<&[u8]> {
    if !reply.starts_with(b"$") || reply.starts_with(b"$-1") {
        return None;
    }
    let start = reply.iter().position(|&byte| byte == b'\n')? + 1;
    reply[start..].strip_suffix(b"\r\n")
}
