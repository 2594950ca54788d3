//! Reads the commands of an append-only file, one by one.
//!
//! ```text
//!   *3 CRLF  $3 CRLF SET CRLF  $1 CRLF k CRLF  $1 CRLF v CRLF     a command
//!   #TS:1700000000 CRLF                                           an annotation, skipped
//! ```

use std::io::{self, BufRead};
use std::ops::Range;

/// The most bytes of a line that the reader looks at.
const LINE_BYTES_MAX: usize = 1024;

/// Bytes of an argument that are read at once, so that a wrong length allocates no memory.
const STEP_BYTES: usize = 1 << 20;

/// What the reader has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A command.
    Command,
    /// An annotation with a time, in Unix seconds.
    Time(i64),
    /// Another annotation.
    Annotation,
    /// The end of the file, behind a complete command.
    End,
}

/// Why no command can be read.
#[derive(Debug)]
pub enum ReadFault {
    /// The file ends within a command.
    Short,
    /// The bytes are not a command.
    Format,
    /// The file cannot be read.
    File(io::Error),
}

impl From<io::Error> for ReadFault {
    fn from(error: io::Error) -> ReadFault {
        ReadFault::File(error)
    }
}

/// Reads commands.
#[derive(Debug)]
pub struct AofReader<R> {
    from: R,
    offset: u64,
    line: Vec<u8>,
    /// The last command, as a client would send it.
    text: Vec<u8>,
    args: Vec<Range<usize>>,
}

impl<R: BufRead> AofReader<R> {
    /// Creates a reader. `offset` is the position of `from` in the file.
    pub fn new(from: R, offset: u64) -> AofReader<R> {
        AofReader { from, offset, line: Vec::new(), text: Vec::new(), args: Vec::new() }
    }

    /// Returns the number of bytes of the file that were read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the last command, as a client would send it.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns the number of arguments of the last command, its name included.
    pub fn argc(&self) -> usize {
        self.args.len()
    }

    /// Returns an argument of the last command.
    pub fn arg(&self, at: usize) -> &[u8] {
        &self.text[self.args[at].clone()]
    }

    /// Reads the next command or annotation.
    pub fn read(&mut self) -> Result<Found, ReadFault> {
        self.text.clear();
        self.args.clear();
        self.read_line()?;
        let argc = match self.line[..] {
            [] => return Ok(Found::End),
            [b'#', ..] if self.is_line_cut() => return Err(ReadFault::Short),
            [b'#', ..] => return Ok(self.annotation()),
            [b'*'] => return Err(ReadFault::Short),
            [b'*', ref digits @ ..] => number(digits),
            _ => return Err(ReadFault::Format),
        };
        if argc < 1 || argc > i64::from(i32::MAX) {
            return Err(ReadFault::Format);
        }
        write_number(&mut self.text, b'*', argc);
        for _ in 0..argc {
            self.read_arg()?;
        }
        Ok(Found::Command)
    }

    /// Returns whether the file ends within the line. What is appended would become part of it.
    fn is_line_cut(&self) -> bool {
        !self.line.ends_with(b"\n") && self.line.len() < LINE_BYTES_MAX
    }

    fn annotation(&self) -> Found {
        match self.line.strip_prefix(b"#TS:") {
            Some(digits) => Found::Time(number(digits)),
            None => Found::Annotation,
        }
    }

    fn read_arg(&mut self) -> Result<(), ReadFault> {
        self.read_line()?;
        let len = match self.line[..] {
            [] => return Err(ReadFault::Short),
            [b'$', ref digits @ ..] => number(digits),
            _ => return Err(ReadFault::Format),
        };
        let len = usize::try_from(len).map_err(|_| ReadFault::Format)?;
        write_number(&mut self.text, b'$', len as i64);
        let start = self.text.len();
        self.read_exactly(len)?;
        self.args.push(start..self.text.len());
        let before = self.text.len();
        self.read_exactly(2)?;
        self.text.truncate(before);
        self.text.extend(b"\r\n");
        Ok(())
    }

    /// Reads a line up to its end, or up to the end of the file. An empty line is the end of the
    /// file.
    fn read_line(&mut self) -> Result<(), ReadFault> {
        self.line.clear();
        while self.line.len() < LINE_BYTES_MAX {
            let buffer = self.from.fill_buf()?;
            let room = buffer.len().min(LINE_BYTES_MAX - self.line.len());
            let end = buffer[..room].iter().position(|byte| *byte == b'\n');
            let used = end.map_or(room, |end| end + 1);
            self.line.extend_from_slice(&buffer[..used]);
            self.from.consume(used);
            self.offset += used as u64;
            if end.is_some() || used == 0 {
                break;
            }
        }
        Ok(())
    }

    fn read_exactly(&mut self, len: usize) -> Result<(), ReadFault> {
        let mut left = len;
        while left > 0 {
            let buffer = self.from.fill_buf()?;
            if buffer.is_empty() {
                return Err(ReadFault::Short);
            }
            let used = buffer.len().min(left).min(STEP_BYTES);
            self.text.extend_from_slice(&buffer[..used]);
            self.from.consume(used);
            self.offset += used as u64;
            left -= used;
        }
        Ok(())
    }
}

/// Returns the number at the beginning of a text; 0 if there is none.
fn number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let sign = if digits.len() < text.len() { -1 } else { 1 };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0i64, |number, digit| {
        number.saturating_mul(10).saturating_add(sign * i64::from(digit - b'0'))
    })
}

fn write_number(text: &mut Vec<u8>, mark: u8, number: i64) {
    text.push(mark);
    text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    text.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the commands, and how the file ends.
    fn read(file: &[u8]) -> (Vec<Vec<u8>>, &'static str, u64) {
        let mut reader = AofReader::new(io::BufReader::with_capacity(7, file), 0);
        let (mut all, mut valid) = (Vec::new(), 0);
        loop {
            let end = match reader.read() {
                Ok(Found::Command) => {
                    let args = (0..reader.argc()).map(|at| reader.arg(at).to_vec());
                    all.push(args.collect::<Vec<_>>().join(&b' '));
                    valid = reader.offset();
                    continue;
                }
                Ok(Found::End) => "end",
                Ok(_) => continue,
                Err(ReadFault::Short) => "short",
                Err(ReadFault::Format) => "format",
                Err(ReadFault::File(_)) => "error",
            };
            return (all, end, valid);
        }
    }

    const TWO: &[u8] = b"#TS:12\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*1\r\n$4\r\nPING\r\n";

    #[test]
    fn commands_are_read_up_to_the_end() {
        let all = vec![b"SELECT 0".to_vec(), b"PING".to_vec()];
        assert_eq!(read(TWO), (all, "end", TWO.len() as u64));
        assert_eq!(read(b""), (vec![], "end", 0));
        let mut reader = AofReader::new(TWO, 0);
        assert_eq!(reader.read().expect("valid"), Found::Time(12));
        assert_eq!(reader.read().expect("valid"), Found::Command);
        assert_eq!(reader.text(), b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n");
    }

    #[test]
    fn every_cut_keeps_the_commands_before_it() {
        let ends = [0u64, 31, TWO.len() as u64];
        for len in 0..TWO.len() {
            let (all, end, valid) = read(&TWO[..len]);
            assert!(end == "short" || end == "end", "{len}: {end}");
            assert!(ends.contains(&valid) && valid <= len as u64, "{len}: {valid}");
            assert_eq!(all.len(), usize::from(valid > 0), "{len}");
            assert_eq!(end == "end", [0, 8, 31].contains(&len), "{len}: {end}");
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        for file in ["x", "*0\r\n", "*-1\r\n", "*a\r\n", "*1\r\n#\r\n", "*1\r\n$-1\r\n", "\r\n"] {
            assert_eq!(read(file.as_bytes()).1, "format", "{file:?}");
        }
        for file in ["*", "*1", "*1\r\n", "*1\r\n$9999999999\r\nab", "*1\r\n$1\r\na\r"] {
            assert_eq!(read(file.as_bytes()).1, "short", "{file:?}");
        }
    }
}
