//! A look at the head of received bytes, before they are parsed. Hot.

/// The most digits of a length that is read ahead.
const DIGITS_MAX: usize = 3;

/// Returns the second argument of the command that begins with `bytes`. Most commands have their
/// first key there. Returns none if the argument is incomplete, or longer than 999 bytes, or if the
/// bytes are not a command in the form of an array. Does not check what [`super::Parser`] checks.
#[inline]
pub fn second_arg(bytes: &[u8]) -> Option<&[u8]> {
    let (_, rest) = header(bytes, b'*')?;
    let (name_len, rest) = header(rest, b'$')?;
    let (len, rest) = header(rest.get(name_len + 2..)?, b'$')?;
    rest.get(..len)
}

/// Cuts a line with a type byte and a small number off. Returns the number and the rest.
#[inline]
fn header(bytes: &[u8], kind: u8) -> Option<(usize, &[u8])> {
    if *bytes.first()? != kind {
        return None;
    }
    let mut number = 0;
    for (at, byte) in bytes[1..].iter().take(DIGITS_MAX + 1).enumerate() {
        match byte {
            b'0'..=b'9' => number = number * 10 + usize::from(byte - b'0'),
            b'\r' => return Some((number, bytes.get(at + 3..)?)),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::second_arg;

    #[test]
    fn finds_the_second_argument_of_a_complete_or_longer_input() {
        assert_eq!(second_arg(b"*2\r\n$3\r\nGET\r\n$5\r\nhello\r\n"), Some(&b"hello"[..]));
        assert_eq!(second_arg(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$900\r\nvv"), Some(&b"k"[..]));
        assert_eq!(second_arg(b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n"), Some(&b""[..]));
    }

    #[test]
    fn finds_nothing_in_other_input() {
        let whole = b"*2\r\n$3\r\nGET\r\n$5\r\nhello";
        for len in 0..whole.len() {
            assert_eq!(second_arg(&whole[..len]), None, "{len} bytes");
        }
        for bytes in [
            &b"GET hello\r\n"[..],
            b"*2\r\n$3\r\nGET\r\n$1000\r\n",
            b"*2\r\n$-1\r\nGET\r\n$1\r\na\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"*x\r\n$4\r\nPING\r\n",
            b"*2\r\n$999\r\nGET\r\n$1\r\na\r\n",
        ] {
            assert_eq!(second_arg(bytes), None);
        }
    }
}
