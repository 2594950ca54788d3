//! Inline commands: splits a line into arguments, with quotes and escapes.
//!
//! ```text
//!   set key "two words\n" 'it\'s' "\x41"    ->    set | key | two words<LF> | it's | A
//! ```

use super::Span;
use std::ops::Range;

/// Splits the line at `range` of `text`, and appends its arguments to `spans` with absolute
/// positions. Resolves escapes in place, which never makes an argument longer. Returns false if a
/// quote is not closed.
pub fn split(text: &mut [u8], range: Range<usize>, spans: &mut Vec<Span>) -> bool {
    let mut at = range.start;
    while at < range.end {
        if is_space(text[at]) {
            at += 1;
            continue;
        }
        let Some((len, next)) = word(text, at, range.end) else { return false };
        spans.push(Span::text(at, len));
        debug_assert!(next > at && next <= range.end);
        at = next;
    }
    true
}

/// Returns whether a byte may precede an argument. Vertical tab and form feed may, but they do not
/// end an argument.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Reads the argument at `start` and moves its bytes to `start`. Returns its length and the
/// position after it; none if a quote is not closed.
fn word(text: &mut [u8], start: usize, end: usize) -> Option<(usize, usize)> {
    let mut read = start;
    let mut write = start;
    let mut quote = None;
    while read < end {
        let byte = text[read];
        let mut out = Some(byte);
        let mut taken = 1;
        match (quote, byte) {
            (None, b' ' | b'\n' | b'\r' | b'\t') => return Some((write - start, read + 1)),
            (None, b'"' | b'\'') => {
                quote = Some(byte);
                out = None;
            }
            (Some(open), _) if open == byte => {
                quote = None;
                out = None;
            }
            (Some(open), b'\\') => (out, taken) = escape(&text[read..end], open),
            _ => {}
        }
        if let Some(byte) = out {
            text[write] = byte;
            write += 1;
        }
        read += taken;
    }
    quote.is_none().then_some((write - start, end))
}

/// Decodes the backslash at the start of `rest`, inside quotes. Returns its byte and the number of
/// bytes it takes. A backslash too close to the end for a closing quote to follow stands for
/// itself.
fn escape(rest: &[u8], open: u8) -> (Option<u8>, usize) {
    if rest.len() <= 2 {
        return (Some(b'\\'), 1);
    }
    if open == b'\'' {
        return if rest[1] == b'\'' { (Some(b'\''), 2) } else { (Some(b'\\'), 1) };
    }
    if rest.len() > 4
        && rest[1] == b'x'
        && let (Some(high), Some(low)) = (hex(rest[2]), hex(rest[3]))
    {
        return (Some(high * 16 + low), 4);
    }
    let byte = match rest[1] {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    };
    (Some(byte), 2)
}

/// Returns the value of a hexadecimal digit.
fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        let mut text = line.as_bytes().to_vec();
        let mut spans = Vec::new();
        let len = text.len();
        split(&mut text, 0..len, &mut spans).then(|| {
            let word = |span: &Span| &text[span.start()..span.start() + span.len()];
            spans.iter().map(|span| String::from_utf8_lossy(word(span)).into_owned()).collect()
        })
    }

    #[test]
    fn splits_quotes_and_escapes() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (" \t ", &[]),
            ("ping", &["ping"]),
            (" set  key\tvalue ", &["set", "key", "value"]),
            (r#"echo "two words\n""#, &["echo", "two words\n"]),
            (r#"echo "\x41\x4g\q\"""#, &["echo", "Ax4gq\""]),
            (r#"echo 'it\'s "so"' x"#, &["echo", "it's \"so\"", "x"]),
            (r#"echo """#, &["echo", ""]),
            (r#"a"b"c'd'"#, &["abcd"]),
            (r#"echo "abc\""#, &["echo", "abc\\"]),
            ("a\u{b}b \u{b}c", &["a\u{b}b", "c"]),
        ];
        for (line, expected) in cases {
            assert_eq!(words(line).as_deref(), Some(&expected.map_owned()[..]), "{line:?}");
        }
        for line in ["\"", "echo \"abc", "echo 'abc", "a '"] {
            assert_eq!(words(line), None, "{line:?}");
        }
    }

    trait MapOwned {
        fn map_owned(&self) -> Vec<String>;
    }
    impl MapOwned for &[&str] {
        fn map_owned(&self) -> Vec<String> {
            self.iter().map(|word| word.to_string()).collect()
        }
    }
}
