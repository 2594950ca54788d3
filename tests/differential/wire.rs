//! A connection that sends pipelines and keeps the exact bytes of each reply, and of each push
//! between the replies.

use super::server::PATIENCE;
use annulet::resp::reply_end;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;

/// Bytes of one read from the socket.
const READ_BYTES: usize = 64 << 10;

pub struct Wire {
    stream: TcpStream,
    /// Bytes that were read and belong to no whole reply yet.
    unread: Vec<u8>,
    /// Number of replies so far.
    replies: usize,
    /// The pushes since they were last taken, each with the number of replies before it.
    pushes: Vec<(usize, Vec<u8>)>,
}

impl Wire {
    /// Connects with this version of the protocol.
    pub fn connect(port: u16, protocol: u8) -> Wire {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server accepts");
        stream.set_nodelay(true).expect("it is a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
        let mut wire = Wire { stream, unread: Vec::new(), replies: 0, pushes: Vec::new() };
        wire.ask(&["HELLO", &protocol.to_string()]);
        wire
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)
    }

    /// Returns the next `count` replies. Keeps the pushes that come between and behind them.
    pub fn replies(&mut self, count: usize) -> Result<Vec<Vec<u8>>> {
        let mut replies = Vec::with_capacity(count);
        loop {
            let mut at = 0;
            while let Some(len) = reply_end(&self.unread[at..]) {
                let frame = self.unread[at..at + len].to_vec();
                at += len;
                if frame.starts_with(b">") {
                    self.pushes.push((self.replies, frame));
                } else if replies.len() < count {
                    self.replies += 1;
                    replies.push(frame);
                } else {
                    return Err(Error::other("the server sent more replies than requests"));
                }
            }
            self.unread.drain(..at);
            if replies.len() == count {
                return Ok(replies);
            }
            self.read()?;
        }
    }

    /// Returns the next reply, push or message.
    pub fn frame(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(len) = reply_end(&self.unread) {
                return Ok(self.unread.drain(..len).collect());
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> Result<()> {
        let end = self.unread.len();
        self.unread.resize(end + READ_BYTES, 0);
        let taken = loop {
            // A process that was stopped for a while finds its read interrupted.
            match self.stream.read(&mut self.unread[end..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.unread.truncate(end + taken);
        match taken {
            0 => Err(Error::new(ErrorKind::UnexpectedEof, "the server hung up")),
            _ => Ok(()),
        }
    }

    /// Takes the pushes so far, each with the number of replies before it.
    pub fn take_pushes(&mut self) -> Vec<(usize, Vec<u8>)> {
        std::mem::take(&mut self.pushes)
    }

    /// Sends one command and returns its reply. The server must be alive.
    pub fn ask<W: AsRef<[u8]>>(&mut self, args: &[W]) -> Vec<u8> {
        self.ask_all(&[args]).remove(0)
    }

    /// Sends several commands and returns their replies. The server must be alive.
    pub fn ask_all<W: AsRef<[u8]>>(&mut self, commands: &[&[W]]) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        for args in commands {
            put_request(&mut bytes, args);
        }
        self.send(&bytes).expect("the server takes bytes");
        self.replies(commands.len()).expect("the server answers")
    }
}

/// Appends the bytes of one command.
pub fn put_request<W: AsRef<[u8]>>(bytes: &mut Vec<u8>, args: &[W]) {
    bytes.extend(format!("*{}\r\n", args.len()).into_bytes());
    for arg in args {
        let arg = arg.as_ref();
        bytes.extend(format!("${}\r\n", arg.len()).into_bytes());
        bytes.extend(arg);
        bytes.extend(b"\r\n");
    }
}

/// Returns the replies inside an aggregate, or `None` for other replies.
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

/// Returns the bytes of a bulk string, or `None` for other replies.
pub fn text(reply: &[u8]) -> Option<&[u8]> {
    if !reply.starts_with(b"$") || reply.starts_with(b"$-1") {
        return None;
    }
    let start = reply.iter().position(|&byte| byte == b'\n')? + 1;
    reply[start..].strip_suffix(b"\r\n")
}
