//! Numbers as text: integers, floats and memory sizes, in exactly the forms that clients send and
//! expect.

use super::grisu;
use std::io::Write;

/// The longest text of an `i64` or a `u64`.
pub const INTEGER_TEXT_BYTES_MAX: usize = 20;

/// Parses an `i64` in canonical form: no plus sign, no leading zero, no blanks, no `-0`.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() < INTEGER_TEXT_BYTES_MAX => {}
        _ => return None,
    }
    let mut value: u64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // 19 digits are below 10^19, which is below 2^64.
        value = value * 10 + u64::from(digit);
    }
    match negative {
        false => i64::try_from(value).ok(),
        true if value <= i64::MIN.unsigned_abs() => Some((value as i64).wrapping_neg()),
        true => None,
    }
}

/// Returns the number of bytes that a number takes in decimal.
pub fn i64_text_len(number: i64) -> usize {
    let digits = number.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1;
    digits + usize::from(number < 0)
}

/// Parses a `u64`; accepts leading zeros and a plus sign.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        let value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
        (digit <= 9).then_some(value)
    })
}

/// Parses a cursor of SCAN as the reference does: a `u64` after optional blanks, zeros and a plus
/// sign. A negative number in canonical form is refused; other negative numbers wrap around. A zero
/// byte ends the text.
pub fn parse_cursor(text: &[u8]) -> Option<u64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if parse_i64(text).is_some_and(|number| number < 0) {
        return None;
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len());
    match &text[start..] {
        [b'-', b'+', ..] => None,
        [b'-', digits @ ..] => parse_u64(digits).map(u64::wrapping_neg),
        digits => parse_u64(digits),
    }
}

/// Parses a double: decimal, with or without exponent, or an infinity. Refuses NaN, surrounding
/// blanks, and a value that over- or underflows.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let spelled = text.iter().any(|byte| matches!(byte, b'n' | b'N'));
    let underflown = value == 0.0 && has_digit_but_zero(text);
    let refused = value.is_nan() || (value.is_infinite() && !spelled) || underflown;
    (!refused).then_some(value)
}

/// Whether a digit before the exponent is not zero.
fn has_digit_but_zero(text: &[u8]) -> bool {
    text.iter()
        .take_while(|byte| !matches!(byte, b'e' | b'E'))
        .any(|byte| (b'1'..=b'9').contains(byte))
}

/// Parses a memory size in bytes: digits, then `b`, `k`, `kb`, `m`, `mb`, `g` or `gb` in any case.
/// `k` is 1,000 and `kb` is 1,024. Without digits the size is 0, as in the reference.
pub fn parse_memory(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, unit) = text.split_at(digits);
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
    let number = if digits.is_empty() { 0 } else { parse_u64(digits)? };
    number.checked_mul(factor)
}

/// Returns the digits of a number below 10^8, as the bytes of a word in the order of the text, and
/// how many there are. Bytes behind them are zero. Nothing passes through memory, where a text of
/// bytes that is read as words makes the processor wait.
///
/// ```text
///   12345  ->  1|2|3|4|5|0|0|0, 5
/// ```
#[inline]
pub fn short_digits(number: u32) -> (u64, usize) {
    debug_assert!(number < SHORT_MAX);
    // Each step halves the lanes: two of four digits, four of two, eight of one.
    let fours = u64::from(number / 10_000) | u64::from(number % 10_000) << 32;
    let top = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = top | (fours - 100 * top) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    let ones = tens | (twos - 10 * tens) << 8;
    let zeros = (ones.trailing_zeros() as usize / 8).min(7);
    ((ones | 0x3030_3030_3030_3030) >> (8 * zeros), 8 - zeros)
}

/// The numbers that [`short_digits`] takes are below this one.
pub const SHORT_MAX: u32 = 100_000_000;

/// Returns the integer that a double is; none for zero and for other doubles.
#[inline]
pub fn whole_number(value: f64) -> Option<i64> {
    let whole = value as i64;
    let is_whole = value.abs() <= (i64::MAX / 2) as f64 && whole as f64 == value;
    (is_whole && whole != 0).then_some(whole)
}

/// The decimal text of a double.
#[derive(Clone, Copy, Debug)]
pub struct FloatText {
    bytes: [u8; FloatText::BYTES_MAX],
    len: u8,
}

impl FloatText {
    /// Length of the longest text, for example `-0.00000012345678901234567`.
    pub const BYTES_MAX: usize = 40;

    /// Formats digits that read back as `value`, mostly the shortest, as the reference does.
    /// Integers have no exponent; `inf`, `-inf` and `nan` are spelled so; other numbers get an
    /// exponent when the point is far from the digits.
    pub fn new(value: f64) -> FloatText {
        let mut text = FloatText { bytes: [0; FloatText::BYTES_MAX], len: 0 };
        if let Some(whole) = whole_number(value) {
            text.push(itoa::Buffer::new().format(whole).as_bytes());
            return text;
        }
        FloatText::of_digits(value)
    }

    /// Formats like [`FloatText::new`], but integers may get an exponent too.
    pub fn of_digits(value: f64) -> FloatText {
        let mut text = FloatText { bytes: [0; FloatText::BYTES_MAX], len: 0 };
        if value.is_nan() {
            text.push(b"nan");
        } else if value.is_infinite() {
            text.push(if value > 0.0 { b"inf" } else { b"-inf" });
        } else if value == 0.0 {
            text.push(if value.is_sign_negative() { b"-0" } else { b"0" });
        } else {
            text.digits(value);
        }
        text
    }

    /// Formats like `%.17g` of C: 17 significant digits without the zeros at their end.
    pub fn with_17_digits(value: f64) -> FloatText {
        const DIGITS: i32 = 17;
        if value == 0.0 || !value.is_finite() {
            return FloatText::of_digits(value);
        }
        let mut text = FloatText { bytes: [0; FloatText::BYTES_MAX], len: 0 };
        if value.abs() < 1e17 && value.trunc() == value {
            text.push(itoa::Buffer::new().format(value as i64).as_bytes());
            return text;
        }
        // A digit, the point, 16 digits, and the exponent.
        let mut buffer = [0; FloatText::BYTES_MAX];
        let mut rest = &mut buffer[..];
        write!(rest, "{:.16e}", value.abs()).expect("the buffer is long enough");
        let (digits, exponent) = buffer[2..].split_at(DIGITS as usize - 1);
        let exponent: i32 = std::str::from_utf8(&exponent[1..])
            .ok()
            .and_then(|exponent| exponent.trim_end_matches('\0').parse().ok())
            .expect("a number in scientific form has an exponent");
        let count = 1 + digits.iter().rposition(|digit| *digit != b'0').map_or(0, |at| at + 1);
        let mut all = [buffer[0]; DIGITS as usize];
        all[1..].copy_from_slice(digits);
        text.general(value < 0.0, &all[..count], exponent);
        text
    }

    /// Writes digits as `%.17g` does. The first digit is worth 10^`exponent`.
    fn general(&mut self, is_negative: bool, digits: &[u8], exponent: i32) {
        if is_negative {
            self.push(b"-");
        }
        if (-4..17).contains(&exponent) {
            self.plain(digits, exponent + 1);
        } else {
            self.push(&digits[..1]);
            if digits.len() > 1 {
                self.push(b".");
                self.push(&digits[1..]);
            }
            self.push(if exponent < 0 { b"e-" } else { b"e+" });
            if exponent.abs() < 10 {
                self.push(b"0");
            }
            self.push(itoa::Buffer::new().format(exponent.abs()).as_bytes());
        }
    }

    /// Writes digits without an exponent. `before` is the number of places before the point; below
    /// 0, the number of zeros behind it.
    fn plain(&mut self, digits: &[u8], before: i32) {
        let places = before.unsigned_abs() as usize;
        if before <= 0 {
            self.push(b"0.");
            self.push_zeros(places);
            self.push(digits);
        } else if places >= digits.len() {
            self.push(digits);
            self.push_zeros(places - digits.len());
        } else {
            self.push(&digits[..places]);
            self.push(b".");
            self.push(&digits[places..]);
        }
    }

    /// Returns the text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }

    fn push(&mut self, bytes: &[u8]) {
        let len = self.len as usize;
        self.bytes[len..len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }

    fn push_zeros(&mut self, count: usize) {
        for _ in 0..count {
            self.push(b"0");
        }
    }

    /// ```text
    ///   digits d, first one worth 10^exponent; scale is the power of ten of the last one
    ///   scale >= 0, few zeros:   ddd000          -7 < scale < 0 or near 1:  d.dd  0.00dd
    ///   else:                    d.dde+XX
    /// ```
    fn digits(&mut self, value: f64) {
        let mut buffer = [0; grisu::DIGITS_MAX];
        let (count, scale) = grisu::digits(value.abs(), &mut buffer);
        let exponent = scale + count as i32 - 1;
        let digits = &buffer[..count];
        let count = count as i32;
        if value < 0.0 {
            self.push(b"-");
        }
        let has_few_zeros = scale >= 0 && exponent.abs() < count + 7;
        if has_few_zeros || scale < 0 && (scale > -7 || exponent.abs() < 4) {
            self.plain(digits, count + scale);
        } else {
            self.push(&digits[..1]);
            if count > 1 {
                // The reference has room for this number of digits.
                let shown = digits.len().min(18 - usize::from(value < 0.0));
                self.push(b".");
                self.push(&digits[1..shown]);
            }
            self.push(if exponent < 0 { b"e-" } else { b"e+" });
            self.push(itoa::Buffer::new().format(exponent.abs()).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_digits_are_the_text() {
        let edges = (0..8).flat_map(|power| {
            let edge = 10_u32.pow(power);
            [edge - 1, edge, edge + 1, 5 * edge]
        });
        for number in (0..100_000).chain((0..SHORT_MAX).step_by(997)).chain(edges) {
            let (digits, count) = short_digits(number);
            let bytes = digits.to_le_bytes();
            assert_eq!(&bytes[..count], number.to_string().as_bytes());
            assert!(bytes[count..].iter().all(|byte| *byte == 0), "{number}");
        }
    }

    #[test]
    fn whole_numbers_are_told_from_others() {
        for (value, whole) in [(1.0, Some(1)), (-3.0, Some(-3)), (1e15, Some(10_i64.pow(15)))] {
            assert_eq!(whole_number(value), whole);
        }
        for value in [0.0, -0.0, 0.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e19, 9.2e18] {
            assert_eq!(whole_number(value), None, "{value}");
        }
    }

    #[test]
    fn seventeen_digits_are_those_of_c() {
        for (value, expected) in [
            (4.5233, "4.5232999999999999"),
            (-0.1, "-0.10000000000000001"),
            (0.5, "0.5"),
            (-0.0, "-0"),
            (0.0, "0"),
            (100.0, "100"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (-1.5e300, "-1.5000000000000001e+300"),
            (123_456.75, "123456.75"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            let text = FloatText::with_17_digits(value);
            assert_eq!(std::str::from_utf8(text.as_bytes()), Ok(expected));
        }
    }

    #[test]
    fn lengths_match_the_texts() {
        for number in [0, 1, -1, 9, 10, -10, 123_456_789, i64::MAX, i64::MIN, i64::MAX - 1] {
            assert_eq!(i64_text_len(number), number.to_string().len());
            assert_eq!(parse_i64(number.to_string().as_bytes()), Some(number));
        }
    }

    #[test]
    fn integers_are_strict() {
        for value in [0, 1, -1, 9, 10, -10, 1 << 40, i64::MAX, i64::MIN] {
            assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
        }
        let bad: &[&str] =
            &["", "-", "-0", "00", "01", "+1", " 1", "1 ", "1x", "9223372036854775808"];
        for text in bad.iter().chain(&["-9223372036854775809", "99999999999999999999", "1.0"]) {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"-1"), None);
        for text in ["0", "-0", " 0", "+0", "\t\n00"] {
            assert_eq!(parse_cursor(text.as_bytes()), Some(0), "{text:?}");
        }
        assert_eq!(parse_cursor(b"-01"), Some(u64::MAX));
        assert_eq!((parse_cursor(b"12\0x"), parse_cursor(b"\0")), (Some(12), None));
        for text in ["", " ", "-1", "-", "-+1", "+-1", "0 ", "1x", "18446744073709551616"] {
            assert_eq!(parse_cursor(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn floats_parse() {
        let good: &[(&str, f64)] = &[
            ("1.5", 1.5),
            ("+1.5", 1.5),
            ("-.5", -0.5),
            ("5.", 5.0),
            ("3e3", 3000.0),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("0e999", 0.0),
            ("1e-320", 1e-320),
        ];
        for (text, value) in good {
            assert_eq!(parse_f64(text.as_bytes()), Some(*value), "{text}");
        }
        for text in ["", " 1", "1 ", "nan", "1e400", "1e-400", "e1", ".", "1x", "0x10", "in"] {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn floats_print_as_the_reference() {
        let cases: &[(f64, &str)] = &[
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (0.001, "0.001"),
            (0.0001, "0.0001"),
            (0.00001, "0.00001"),
            (0.0000001, "1e-7"),
            (0.00123456789, "0.00123456789"),
            (0.000123456789, "1.23456789e-4"),
            (1e17, "100000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (4611686018427387904.0, "4611686018427387904"),
            (1e19, "1e+19"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ];
        for (value, text) in cases {
            assert_eq!(FloatText::new(*value).as_bytes(), text.as_bytes(), "{text}");
        }
    }

    #[test]
    fn memory_sizes() {
        let cases = [("1gb", 1 << 30), ("512MB", 512 << 20), ("1k", 1_000), ("7", 7), ("7b", 7)];
        let without_digits = [("", 0), ("gb", 0)];
        for (text, bytes) in cases.into_iter().chain(without_digits) {
            assert_eq!(parse_memory(text.as_bytes()), Some(bytes));
        }
        for text in ["-1", "1 gb", "1tb", "99999999999gb"] {
            assert_eq!(parse_memory(text.as_bytes()), None, "{text}");
        }
    }
}
