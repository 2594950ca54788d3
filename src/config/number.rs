//! Numbers as settings spell them: strict decimals, octals, bytes with a unit.

/// A decimal 64-bit integer without sign `+`, leading zeros or blanks.
pub(super) fn parse_integer(word: &[u8]) -> Option<i64> {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    let negative = digits.len() != word.len();
    if !digits.first()?.is_ascii_digit() || (digits[0] == b'0' && (digits.len() > 1 || negative)) {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// An integer as C's strtol reads it in full: blanks and a sign may lead; empty reads as 0.
pub(super) fn parse_loose(word: &[u8], radix: u32) -> Option<i64> {
    let text = std::str::from_utf8(word).ok()?.trim_start();
    if text.is_empty() {
        return word.is_empty().then_some(0);
    }
    i64::from_str_radix(text, radix).ok()
}

/// An octal number.
pub(super) fn parse_octal(word: &[u8]) -> Option<i128> {
    parse_loose(word, 8).map(i128::from)
}

/// Bytes: digits and a unit of `b`, `k`, `kb`, `m`, `mb`, `g`, `gb` or none. Units without a `b`
/// count in thousands. What does not fit 64 bits is no number.
pub(super) fn parse_memory(word: &[u8]) -> Option<u64> {
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = word.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1_000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let number = if number.is_empty() { "0" } else { std::str::from_utf8(number).ok()? };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_strict() {
        assert_eq!(parse_integer(b"0"), Some(0));
        assert_eq!(parse_integer(b"-17"), Some(-17));
        assert_eq!(parse_integer(b"9223372036854775807"), Some(i64::MAX));
        for wrong in [&b""[..], b"-", b"+1", b"01", b"-0", b" 1", b"1 ", b"9223372036854775808"] {
            assert_eq!(parse_integer(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn memory_knows_its_units() {
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
