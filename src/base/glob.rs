//! Glob patterns as KEYS, SCAN, PSUBSCRIBE and ACL rules use them.
//!
//! ```text
//!   *  any bytes    ?  one byte    [abc] [a-z] [^x]  one byte of (not of) a class    \  literally
//! ```
//!
//! Every token except `*` takes exactly one byte. So a match only ever returns to the last star
//! seen, and its cost is at most the pattern's length times the text's length.

/// Runs of stars, not at the end, that a match may pass. The reference gives up after that number.
const STARS_MAX: usize = 1_000;

/// Whether `pattern` matches the whole of `text`; `nocase` folds ASCII letters.
///
/// As in the reference, only the empty pattern matches an empty text; not even `*` does.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    let mut retry = None;
    let mut passed = 0;
    while t < text.len() {
        if p < pattern.len() {
            if pattern[p] == b'*' {
                p += stars(&pattern[p..]);
                if p == pattern.len() {
                    return true;
                }
                passed += 1;
                if passed > STARS_MAX {
                    return false;
                }
                retry = Some((p, t));
                continue;
            }
            let (matched, next) = token(pattern, p, text[t], nocase);
            if matched {
                (p, t) = (next, t + 1);
                continue;
            }
        }
        let Some((after_star, from)) = retry else { return false };
        (p, t) = (after_star, from + 1);
        retry = Some((p, t));
    }
    p + stars(&pattern[p..]) == pattern.len()
}

/// Whether the pattern has no special byte, and so matches one text only.
pub fn is_literal(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

/// Returns the number of stars at the start of `pattern`.
fn stars(pattern: &[u8]) -> usize {
    pattern.iter().take_while(|&&byte| byte == b'*').count()
}

/// Returns whether the token at `p` matches `byte`, and where the next token begins.
fn token(pattern: &[u8], p: usize, byte: u8, nocase: bool) -> (bool, usize) {
    match pattern[p] {
        b'?' => (true, p + 1),
        b'[' => class(pattern, p + 1, byte, nocase),
        b'\\' if p + 1 < pattern.len() => (same(pattern[p + 1], byte, nocase), p + 2),
        literal => (same(literal, byte, nocase), p + 1),
    }
}

/// Matches the class whose first byte is at `p`. An unclosed class ends with the pattern.
fn class(pattern: &[u8], mut p: usize, byte: u8, nocase: bool) -> (bool, usize) {
    let negated = pattern.get(p) == Some(&b'^');
    p += usize::from(negated);
    let mut found = false;
    while p < pattern.len() {
        match pattern[p..] {
            [b'\\', literal, ..] => {
                found |= literal == byte;
                p += 2;
            }
            [b']', ..] => return (found != negated, p + 1),
            [from, b'-', to, ..] => {
                found |= in_range(from, to, byte, nocase);
                p += 3;
            }
            [literal, ..] => {
                found |= same(literal, byte, nocase);
                p += 1;
            }
            [] => unreachable!("p is inside the pattern"),
        }
    }
    (found != negated, p)
}

/// Whether `byte` lies between `from` and `to` in either order. Bytes compare as signed ones.
fn in_range(from: u8, to: u8, byte: u8, nocase: bool) -> bool {
    let (mut low, mut high) = (from as i8, to as i8);
    if low > high {
        std::mem::swap(&mut low, &mut high);
    }
    let fold = |byte: i8| if nocase { (byte as u8).to_ascii_lowercase() as i8 } else { byte };
    let byte = fold(byte as i8);
    fold(low) <= byte && byte <= fold(high)
}

/// Whether two bytes are the same, or the same letter if `nocase`.
fn same(a: u8, b: u8, nocase: bool) -> bool {
    a == b || (nocase && a.eq_ignore_ascii_case(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_passes_at_most_a_thousand_stars() {
        let text = vec![b'a'; 2_000];
        assert!(matches(&b"*?".repeat(1_000), &text, false));
        assert!(!matches(&b"*?".repeat(1_001), &text, false));
    }

    #[test]
    fn matches_as_the_reference() {
        let yes: &[(&str, &str)] = &[
            ("", ""),
            ("*", "a"),
            ("**", "abc"),
            ("a*", "a"),
            ("a*c", "abbc"),
            ("*a*b*c*", "xxaxxbxxcxx"),
            ("h?llo", "hello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-c]llo", "hbllo"),
            ("h[c-a]llo", "hbllo"),
            ("[a", "a"),
            ("[a-]", "a"),
            ("[a-]b", "b"),
            ("[\\]]", "]"),
            ("[^", "x"),
            ("\\*", "*"),
            ("a\\", "a\\"),
            ("*\\", "a\\"),
        ];
        let no: &[(&str, &str)] = &[
            ("*", ""),
            ("?", ""),
            ("a", "b"),
            ("a*c", "abcd"),
            ("[a-z]", "A"),
            ("h[^e]llo", "hello"),
            ("\\*", "a"),
            ("[", "["),
            ("[]", "]"),
            ("", "a"),
        ];
        for (pattern, text) in yes {
            assert!(matches(pattern.as_bytes(), text.as_bytes(), false), "{pattern} {text}");
        }
        for (pattern, text) in no {
            assert!(!matches(pattern.as_bytes(), text.as_bytes(), false), "{pattern} {text}");
        }
        assert!(matches(b"HEL[K-M]O", b"hello", true));
        assert!(!matches(b"[\\A]", b"a", true), "an escape in a class keeps its case");
    }

    #[test]
    fn hostile_patterns_cost_at_most_pattern_times_text() {
        let pattern = b"*a".repeat(1_000);
        let text = b"a".repeat(20_000);
        assert!(!matches(&[&pattern[..], b"b"].concat(), &text, false));
        assert!(matches(&pattern, &text, false));
    }

    #[test]
    fn literals() {
        assert!(is_literal(b"news.art]"));
        assert!(!is_literal(b"news.*"));
    }
}
