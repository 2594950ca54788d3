//! The tokens of a Lua 5.1 script.

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'s> {
    /// A name or a keyword.
    Name(&'s [u8]),
    /// A string in quotes without escapes, or in long brackets.
    Text(&'s [u8]),
    /// A string with escapes, or a number: an expression whose value is not looked at.
    Other,
    /// `==`, `~=`, `<=`, `>=`: told apart from an assignment.
    Compare,
    /// `..` or `...`
    Dots(usize),
    /// Any other byte.
    Mark(u8),
}

/// Returns the tokens of a script; none if it is not complete.
pub(super) fn tokens(script: &[u8]) -> Option<Vec<Token<'_>>> {
    let mut lexer = Lexer { script, at: 0 };
    if script.starts_with(b"#") {
        lexer.skip_line();
    }
    let mut tokens = Vec::new();
    while lexer.skip_blanks()? {
        tokens.push(lexer.next()?);
    }
    Some(tokens)
}

struct Lexer<'s> {
    script: &'s [u8],
    at: usize,
}

impl<'s> Lexer<'s> {
    fn peek(&self, ahead: usize) -> u8 {
        self.script.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_line(&mut self) {
        while self.at < self.script.len() && !matches!(self.script[self.at], b'\n' | b'\r') {
            self.at += 1;
        }
    }

    /// Skips blanks and comments. Returns whether there is another token; none if a comment does
    /// not end.
    fn skip_blanks(&mut self) -> Option<bool> {
        loop {
            while self.at < self.script.len() && self.script[self.at].is_ascii_whitespace()
                || self.peek(0) == 0x0b
            {
                self.at += 1;
            }
            if self.peek(0) != b'-' || self.peek(1) != b'-' {
                return Some(self.at < self.script.len());
            }
            self.at += 2;
            match self.long_level() {
                Some(level) => drop(self.long_text(level)?),
                None => self.skip_line(),
            }
        }
    }

    /// Returns the number of `=` in a long bracket that begins here; none if there is none.
    fn long_level(&self) -> Option<usize> {
        if self.peek(0) != b'[' {
            return None;
        }
        let level = (1..).take_while(|ahead| self.peek(*ahead) == b'=').count();
        (self.peek(level + 1) == b'[').then_some(level)
    }

    /// Returns the text in a long bracket with this number of `=`; none if it does not end.
    fn long_text(&mut self, level: usize) -> Option<&'s [u8]> {
        let begin = self.at + level + 2;
        let close = [b"]", &vec![b'='; level][..], b"]"].concat();
        let rest = self.script.get(begin..)?;
        let len = rest.windows(close.len()).position(|bytes| bytes == close)?;
        self.at = begin + len + close.len();
        Some(&rest[..len])
    }

    fn next(&mut self) -> Option<Token<'s>> {
        let first = self.peek(0);
        match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => Some(Token::Name(self.run(is_name))),
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_ascii_digit() => self.number(),
            b'.' => Some(match self.run(|byte| byte == b'.').len() {
                1 => Token::Mark(b'.'),
                dots => Token::Dots(dots),
            }),
            b'"' | b'\'' => self.quoted(first),
            b'[' => match self.long_level() {
                Some(level) => self.long_text(level).map(Token::Text),
                None => Some(self.mark()),
            },
            b'=' | b'~' | b'<' | b'>' if self.peek(1) == b'=' => {
                self.at += 2;
                Some(Token::Compare)
            }
            _ => Some(self.mark()),
        }
    }

    fn mark(&mut self) -> Token<'s> {
        self.at += 1;
        Token::Mark(self.script[self.at - 1])
    }

    fn run(&mut self, is_part: impl Fn(u8) -> bool) -> &'s [u8] {
        let begin = self.at;
        while self.at < self.script.len() && is_part(self.script[self.at]) {
            self.at += 1;
        }
        &self.script[begin..self.at]
    }

    /// Skips a number. Returns none if it is written in a way that not every Lua reads alike.
    fn number(&mut self) -> Option<Token<'s>> {
        self.run(|byte| byte.is_ascii_digit() || byte == b'.');
        if matches!(self.peek(0), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(0), b'+' | b'-') {
                self.at += 1;
            }
        }
        let rest = self.run(is_name);
        let is_odd = self.peek(0) == b'.' && self.peek(1) != b'.';
        let ends_with_exponent = matches!(rest.last(), Some(b'e' | b'E' | b'p' | b'P'));
        let is_signed = ends_with_exponent && matches!(self.peek(0), b'+' | b'-');
        (!is_odd && !is_signed).then_some(Token::Other)
    }

    fn quoted(&mut self, quote: u8) -> Option<Token<'s>> {
        self.at += 1;
        let begin = self.at;
        let mut is_plain = true;
        loop {
            match *self.script.get(self.at)? {
                b'\\' => {
                    is_plain = false;
                    self.at += 2;
                }
                b'\n' | b'\r' => return None,
                byte => {
                    self.at += 1;
                    if byte == quote {
                        let text = &self.script[begin..self.at - 1];
                        return Some(if is_plain { Token::Text(text) } else { Token::Other });
                    }
                }
            }
        }
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_comments_hide_their_text() {
        let script = b"-- KEYS\nlocal a = [==[ ]] ]==] --[[ KEYS\n]] .. 'b\\'c' .. \"d\" 1e-3 0x1f";
        let expected = [
            Token::Name(b"local"),
            Token::Name(b"a"),
            Token::Mark(b'='),
            Token::Text(b" ]] "),
            Token::Dots(2),
            Token::Other,
            Token::Dots(2),
            Token::Text(b"d"),
            Token::Other,
            Token::Other,
        ];
        assert_eq!(tokens(script).as_deref(), Some(&expected[..]));
    }

    #[test]
    fn an_incomplete_script_has_no_tokens() {
        for script in [&b"'a"[..], b"[[a", b"--[[a", b"'a\nb'", b"'a\\", b"0xE-1"] {
            assert_eq!(tokens(script), None);
        }
    }
}
