//! Numbers that settings accept in C's loose forms, besides strict decimals and bytes.

/// Parses an integer as C's strtol does: leading blanks and a sign are allowed, empty text is 0.
pub(super) fn parse_loose(word: &[u8], radix: u32) -> Option<i64> {
    let text = std::str::from_utf8(word).ok()?.trim_start();
    if text.is_empty() {
        return word.is_empty().then_some(0);
    }
    i64::from_str_radix(text, radix).ok()
}

/// Parses an octal number.
pub(super) fn parse_octal(word: &[u8]) -> Option<i128> {
    parse_loose(word, 8).map(i128::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::number::{parse_i64, parse_memory};

    #[test]
    fn integers_are_strict() {
        assert_eq!(parse_i64(b"0"), Some(0));
        assert_eq!(parse_i64(b"-17"), Some(-17));
        assert_eq!(parse_i64(b"9223372036854775807"), Some(i64::MAX));
        for wrong in [&b""[..], b"-", b"+1", b"01", b"-0", b" 1", b"1 ", b"9223372036854775808"] {
            assert_eq!(parse_i64(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn memory_sizes_have_units() {
        assert_eq!(parse_memory(b"100"), Some(100));
        assert_eq!(parse_memory(b"100B"), Some(100));
        assert_eq!(parse_memory(b"2k"), Some(2_000));
        assert_eq!(parse_memory(b"2kb"), Some(2_048));
        assert_eq!(parse_memory(b"3Mb"), Some(3 << 20));
        assert_eq!(parse_memory(b"1G"), Some(1_000_000_000));
        assert_eq!(parse_memory(b"18446744073709551615"), Some(u64::MAX));
        for wrong in [&b"-1"[..], b"1x", b"1kbb", b"x", b"18446744073709551616", b"20000000000gb"] {
            assert_eq!(parse_memory(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn octals_may_lead_with_zero() {
        assert_eq!(parse_octal(b"0755"), Some(0o755));
        assert_eq!(parse_octal(b"8"), None);
    }
}
