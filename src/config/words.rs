//! Splits a line of a config file into arguments, and quotes arguments.

/// Splits a line at blanks. Double quotes support `\n \r \t \b \a \xHH` and take any other
/// character after a backslash literally; single quotes support only `\'`. Returns `None` for an
/// unclosed quote.
pub fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        let mut word = Vec::new();
        rest = take_word(rest, &mut word)?.trim_ascii_start();
        words.push(word);
    }
    Some(words)
}

/// Moves one argument into `word`; returns the text that follows it.
fn take_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b' ' | b'\n' | b'\r' | b'\t' | 0 => return Some(after),
            b'"' => take_double_quoted(after, word)?,
            b'\'' => take_single_quoted(after, word)?,
            _ => {
                word.push(byte);
                after
            }
        };
    }
    Some(rest)
}

fn take_double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] => return None,
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digit = |byte: u8| (byte as char).to_digit(16).expect("checked above") as u8;
                word.push(digit(*high) * 16 + digit(*low));
                after
            }
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                after
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        };
    }
}

fn take_single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] => return None,
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                after
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        };
    }
}

/// Appends `word` in double quotes, in a form that [`split_words`] reverts.
pub fn quote(word: &[u8], line: &mut Vec<u8>) {
    line.push(b'"');
    for &byte in word {
        match byte {
            b'\\' | b'"' => line.extend([b'\\', byte]),
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            b'\t' => line.extend(b"\\t"),
            7 => line.extend(b"\\a"),
            8 => line.extend(b"\\b"),
            b' '..=b'~' => line.push(byte),
            _ => line.extend(format!("\\x{byte:02x}").bytes()),
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quotes() {
        let split = |line: &str| split_words(line.as_bytes());
        let words = |list: &[&str]| Some(list.iter().map(|w| w.as_bytes().to_vec()).collect());
        assert_eq!(split("  a\tb  c "), words(&["a", "b", "c"]));
        assert_eq!(split(""), words(&[]));
        assert_eq!(split(r#"save """#), words(&["save", ""]));
        assert_eq!(split("logfile ''"), words(&["logfile", ""]));
        assert_eq!(split(r#""a b"c 'd\'e'"#), words(&["a bc", "d'e"]));
        assert_eq!(split(r#""\x41\n\q""#), words(&["A\nq"]));
        assert_eq!(split(r#"a "b"#), None);
        assert_eq!(split("a 'b"), None);
    }

    #[test]
    fn quoting_survives_splitting() {
        let word: Vec<u8> = (0..=255).collect();
        let mut line = b"name ".to_vec();
        quote(&word, &mut line);
        assert_eq!(split_words(&line), Some(vec![b"name".to_vec(), word]));
    }
}
