//! Numbers as text: the strict form that lets a string be kept as an integer.

/// The most bytes that an `i64` takes in decimal: 19 digits and a sign.
pub const I64_TEXT_MAX: usize = 20;

/// Reads an `i64` in its canonical decimal form: no sign but a leading `-`, no leading zeros, no
/// blanks, not `-0`. So the text can be had back from the number.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > I64_TEXT_MAX {
        return None;
    }
    let negative = text[0] == b'-';
    let digits = if negative { &text[1..] } else { text };
    let first = *digits.first()?;
    if first == b'0' {
        return (text.len() == 1).then_some(0);
    }
    if digits.len() < 19 {
        let mut sum = 0i64;
        for &byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            sum = sum * 10 + i64::from(digit);
        }
        return Some(if negative { -sum } else { sum });
    }
    parse_long(digits, negative)
}

/// The same for so many digits that the sum may overflow.
#[cold]
fn parse_long(digits: &[u8], negative: bool) -> Option<i64> {
    let mut sum = 0i64;
    for &byte in digits {
        let digit = i64::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        // Summed below zero, where there is one number more.
        sum = sum.checked_mul(10)?.checked_sub(digit)?;
    }
    if negative { Some(sum) } else { sum.checked_neg() }
}

/// How many bytes a number takes in decimal.
pub fn i64_text_len(number: i64) -> usize {
    let digits = number.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1;
    digits + usize::from(number < 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_numbers_only() {
        for number in [0, 1, -1, 9, 10, -10, 123_456_789, i64::MAX, i64::MIN, i64::MAX - 1] {
            let text = number.to_string();
            assert_eq!(parse_i64(text.as_bytes()), Some(number));
            assert_eq!(i64_text_len(number), text.len());
        }
        for text in [
            "",
            "-",
            "-0",
            "00",
            "01",
            "+1",
            " 1",
            "1 ",
            "1a",
            "-01",
            "0x1",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "123456789012345678901",
            "922337203685477580:",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
    }
}
