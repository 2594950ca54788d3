//! Floats with a mantissa of 64 bits, like the x87's. INCRBYFLOAT and similar commands add in them
//! and print 17 decimals, so that 0.1 + 0.2 is 0.3.
//!
//! ```text
//!   value = (-1)^negative * mantissa * 2^exponent        zero: mantissa 0
//!   else: 2^63 <= mantissa < 2^64                        infinity: exponent i32::MAX
//! ```
//!
//! All results are rounded once, half to even. Values below the smallest normal number keep all
//! their bits, which no text of 17 decimals can show.

use super::number::parse_i64;

/// Longer texts are not read as numbers.
pub const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// The exponent of the largest finite value, which is below 2^16384.
const EXPONENT_MAX: i32 = 16_384 - 64;

/// The exponent below which a value is rejected as too small.
const EXPONENT_MIN: i32 = -16_445 - 63;

/// Largest number of decimals printed.
const DECIMALS: usize = 17;

/// A float of 64 significant bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

impl Extended {
    /// Zero.
    pub const ZERO: Extended = Extended { negative: false, mantissa: 0, exponent: 0 };

    /// Parses what C's `strtold` accepts in full: decimal, hexadecimal or infinite. Returns `None`
    /// for NaN, for surrounding blanks, and for a value that over- or underflows.
    pub fn parse(text: &[u8]) -> Option<Extended> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (negative, body) = match text {
            [b'-', body @ ..] => (true, body),
            [b'+', body @ ..] => (false, body),
            body => (false, body),
        };
        let magnitude =
            if body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity") {
                Extended { negative: false, mantissa: u64::MAX, exponent: i32::MAX }
            } else if let [b'0', b'x' | b'X', digits @ ..] = body {
                Digits::split(digits, 16)?.hexadecimal()?
            } else {
                Digits::split(body, 10)?.decimal()?
            };
        Some(Extended { negative, ..magnitude })
    }

    /// Converts an integer without loss.
    pub fn from_i64(value: i64) -> Extended {
        let magnitude = round(u128::from(value.unsigned_abs()), 0, false);
        Extended { negative: value < 0, ..magnitude }
    }

    /// Converts a double without loss; `None` for NaN.
    pub fn from_f64(value: f64) -> Option<Extended> {
        if value.is_nan() {
            return None;
        }
        let negative = value.is_sign_negative();
        if value.is_infinite() {
            return Some(Extended { negative, mantissa: u64::MAX, exponent: i32::MAX });
        }
        let (bits, biased) = (value.to_bits() & ((1 << 52) - 1), (value.to_bits() >> 52) & 0x7ff);
        let (bits, power) =
            if biased == 0 { (bits, -1_074) } else { (bits | 1 << 52, biased as i32 - 1_075) };
        Some(Extended { negative, ..round(u128::from(bits), power, false) })
    }

    /// Whether the value is finite.
    pub fn is_finite(self) -> bool {
        self.exponent != i32::MAX
    }

    /// Returns the mantissa and the exponent of its lowest bit.
    pub fn parts(self) -> (u64, i32) {
        (self.mantissa, self.exponent)
    }

    /// Returns the sum, or `None` if it is not finite.
    pub fn checked_add(self, other: Extended) -> Option<Extended> {
        if !self.is_finite() || !other.is_finite() {
            return None;
        }
        let (high, low) = match (self.mantissa, other.mantissa) {
            (_, 0) => return Some(self),
            (0, _) => return Some(other),
            _ if self.magnitude() >= other.magnitude() => (self, other),
            _ => (other, self),
        };
        // Bit 126 is the highest of `high`; bit 127 takes the carry. Bits shifted out of `low` are
        // kept as one sticky bit below.
        let distance = (high.exponent - low.exponent) as u32;
        let wide = u128::from(high.mantissa) << 63;
        let low_wide = u128::from(low.mantissa) << 63;
        let shifted = low_wide.checked_shr(distance).unwrap_or(0);
        let sticky = shifted.checked_shl(distance).unwrap_or(0) != low_wide;
        let sum = if high.negative == low.negative {
            wide + shifted
        } else {
            wide - shifted - u128::from(sticky)
        };
        let magnitude = round(sum, high.exponent - 63, sticky);
        let negative = high.negative && magnitude.mantissa != 0;
        magnitude.in_range().map(|value| Extended { negative, ..value })
    }

    /// Formats with at most 17 decimals, without trailing zeros and without an exponent.
    pub fn text(self) -> Vec<u8> {
        if !self.is_finite() {
            return if self.negative { b"-inf".to_vec() } else { b"inf".to_vec() };
        }
        let mut text = Vec::with_capacity(24);
        if self.exponent >= 0 {
            Big::from(u128::from(self.mantissa)).shifted(self.exponent as usize).write(&mut text);
        } else {
            self.write_fraction(&mut text);
        }
        if self.negative && text != b"0" {
            text.insert(0, b'-');
        }
        text
    }

    /// Writes the text of a value whose lowest bit is behind the decimal point.
    fn write_fraction(self, text: &mut Vec<u8>) {
        let places = self.exponent.unsigned_abs();
        let mut whole = self.mantissa.checked_shr(places).unwrap_or(0);
        let fraction = self.mantissa - whole.checked_shl(places).unwrap_or(0);
        // Below 2^64 times 10^17, which is below 2^121.
        let scaled = u128::from(fraction) * 10u128.pow(DECIMALS as u32);
        let mut decimals = scaled.checked_shr(places).unwrap_or(0) as u64;
        let rest = scaled - u128::from(decimals).checked_shl(places).unwrap_or(0);
        let half = if places > 127 { u128::MAX } else { 1 << (places - 1) };
        decimals += u64::from(rest > half || (rest == half && decimals % 2 == 1));
        if decimals == 10u64.pow(DECIMALS as u32) {
            decimals = 0;
            whole += 1;
        }
        text.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
        if decimals == 0 {
            return;
        }
        text.push(b'.');
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(decimals).as_bytes();
        text.resize(text.len() + DECIMALS - digits.len(), b'0');
        let last =
            digits.iter().rposition(|&digit| digit != b'0').expect("the timeout is not zero");
        text.extend_from_slice(&digits[..=last]);
    }

    /// Returns a key that orders finite values other than zero by size.
    fn magnitude(self) -> (i32, u64) {
        (self.exponent, self.mantissa)
    }

    /// Returns the value, or `None` if it is out of the range of exponents.
    fn in_range(self) -> Option<Extended> {
        let inside = (EXPONENT_MIN..=EXPONENT_MAX).contains(&self.exponent);
        (self.mantissa == 0 || inside).then_some(self)
    }
}

/// Rounds `bits * 2^exponent` to 64 bits. `sticky` says that further bits below the lowest one are
/// set; then `bits` must have more than 64 bits.
fn round(bits: u128, exponent: i32, sticky: bool) -> Extended {
    if bits == 0 {
        return Extended::ZERO;
    }
    let width = 128 - bits.leading_zeros() as i32;
    debug_assert!(!sticky || width > 64);
    let shift = width - 64;
    if shift <= 0 {
        let mantissa = (bits as u64) << -shift;
        return Extended { negative: false, mantissa, exponent: exponent + shift };
    }
    let mantissa = (bits >> shift) as u64;
    let (rest, half) = (bits & ((1 << shift) - 1), 1 << (shift - 1));
    let up = rest > half || (rest == half && (sticky || mantissa % 2 == 1));
    let (mantissa, carried) = mantissa.overflowing_add(u64::from(up));
    let exponent = exponent + shift + i32::from(carried);
    Extended { negative: false, mantissa: if carried { 1 << 63 } else { mantissa }, exponent }
}

/// The parts of a number's text: `digits * base^-after_point`, then its exponent.
struct Digits {
    digits: Vec<u8>,
    after_point: usize,
    exponent: i64,
}

impl Digits {
    /// Splits `12.5e3`, or in base 16 `1.8p1`; `None` if the text has another form.
    fn split(text: &[u8], base: u32) -> Option<Digits> {
        let marker = if base == 10 { b'e' } else { b'p' };
        let end = text.iter().position(|byte| byte.to_ascii_lowercase() == marker);
        let (mantissa, exponent) = match end {
            None => (text, 0),
            Some(at) => (&text[..at], exponent_parse(&text[at + 1..])?),
        };
        let mut parts = Digits { digits: Vec::new(), after_point: 0, exponent };
        let mut point = false;
        let mut any = false;
        for &byte in mantissa {
            if byte == b'.' && !point {
                point = true;
                continue;
            }
            let digit = (byte as char).to_digit(base)? as u8;
            any = true;
            parts.after_point += usize::from(point);
            if digit != 0 || !parts.digits.is_empty() {
                parts.digits.push(digit);
            }
        }
        any.then_some(parts)
    }

    /// Returns the value in base 16, with an exponent of base 2.
    fn hexadecimal(self) -> Option<Extended> {
        let (mut bits, mut sticky) = (0u128, false);
        let mut power = self.exponent - 4 * self.after_point as i64;
        for &digit in &self.digits {
            if bits >> 100 == 0 {
                bits = bits << 4 | u128::from(digit);
            } else {
                sticky |= digit != 0;
                power += 4;
            }
        }
        round(bits, power.clamp(-40_000, 40_000) as i32, sticky).in_range()
    }

    /// Returns the value in base 10.
    fn decimal(mut self) -> Option<Extended> {
        while self.digits.last() == Some(&0) {
            self.digits.pop();
            self.exponent += 1;
        }
        if self.digits.is_empty() {
            return Some(Extended::ZERO);
        }
        let power = self.exponent - self.after_point as i64;
        let first = power + self.digits.len() as i64;
        if !(-4_970..=4_934).contains(&first) {
            return None;
        }
        let power = power as i32;
        let value = match self.digits.len() {
            0..=19 if (0..=19).contains(&power) => {
                round(u128::from(self.small()) * 10u128.pow(power as u32), 0, false)
            }
            0..=19 if (-19..0).contains(&power) => divided(self.small(), 10u64.pow(-power as u32)),
            _ => self.decimal_big(power),
        };
        value.in_range()
    }

    /// Returns the digits as a number; there are at most 19.
    fn small(&self) -> u64 {
        self.digits.iter().fold(0, |value, &digit| value * 10 + u64::from(digit))
    }

    /// Returns the value with integers of any length, where the quick ways do not apply.
    fn decimal_big(&self, power: i32) -> Extended {
        let mut dividend = Big::default();
        for &digit in &self.digits {
            dividend.multiply_add(10, u32::from(digit));
        }
        if power >= 0 {
            (0..power).for_each(|_| dividend.multiply_add(10, 0));
            return dividend.round();
        }
        let mut divisor = Big::from(1);
        (0..-power).for_each(|_| divisor.multiply_add(10, 0));
        // The quotient gets 66 or 67 bits: the dividend is shifted until it is that much longer.
        let shift = 66 - (dividend.width() as i32 - divisor.width() as i32);
        let mut rest = dividend.shifted(shift.max(0) as usize);
        let divisor = divisor.shifted((-shift).max(0) as usize + 67);
        let mut quotient = 0u128;
        for _ in 0..=67 {
            quotient <<= 1;
            if rest.at_least(&divisor) {
                rest.subtract(&divisor);
                quotient |= 1;
            }
            rest = rest.shifted(1);
        }
        round(quotient, -shift, !rest.is_zero())
    }
}

/// Returns `dividend / divisor`, rounded.
fn divided(dividend: u64, divisor: u64) -> Extended {
    // With its highest bit at 127 the dividend gives a quotient of at least 64 bits. The remainder
    // becomes two more bits, and the lower one is sticky.
    let shift = 64 + dividend.leading_zeros();
    let wide = u128::from(dividend) << shift;
    let divisor = u128::from(divisor);
    let (quotient, rest) = (wide / divisor, wide % divisor);
    if quotient >> 125 != 0 {
        return round(quotient, -(shift as i32), rest != 0);
    }
    let tail = match (2 * rest).cmp(&divisor) {
        std::cmp::Ordering::Less => u128::from(rest != 0),
        std::cmp::Ordering::Equal => 2,
        std::cmp::Ordering::Greater => 3,
    };
    round(quotient << 2 | tail, -(shift as i32) - 2, false)
}

/// Parses the number after `e` or `p`; a huge one is clamped.
fn exponent_parse(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    let digits = if zeros == digits.len() { b"0" } else { &digits[zeros..] };
    let value = parse_i64(digits).unwrap_or(i64::MAX).min(1_000_000);
    Some(if negative { -value } else { value })
}

/// An unsigned integer of any length, lowest 32 bits first.
#[derive(Clone, Debug, Default)]
struct Big(Vec<u32>);

impl Big {
    fn from(value: u128) -> Big {
        let mut big = Big((0..4).map(|index| (value >> (32 * index)) as u32).collect());
        big.trim();
        big
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of bits up to the highest bit that is set.
    fn width(&self) -> usize {
        self.0.last().map_or(0, |top| 32 * self.0.len() - top.leading_zeros() as usize)
    }

    fn multiply_add(&mut self, factor: u32, add: u32) {
        let mut carry = u64::from(add);
        for word in &mut self.0 {
            carry += u64::from(*word) * u64::from(factor);
            *word = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn shifted(&self, bits: usize) -> Big {
        let mut words = vec![0; bits / 32];
        let mut carry = 0u64;
        for &word in &self.0 {
            carry |= u64::from(word) << (bits % 32);
            words.push(carry as u32);
            carry >>= 32;
        }
        words.push(carry as u32);
        let mut big = Big(words);
        big.trim();
        big
    }

    fn at_least(&self, other: &Big) -> bool {
        match self.0.len().cmp(&other.0.len()) {
            std::cmp::Ordering::Equal => self.0.iter().rev().ge(other.0.iter().rev()),
            unequal => unequal.is_gt(),
        }
    }

    fn subtract(&mut self, other: &Big) {
        let mut borrow = false;
        for (index, word) in self.0.iter_mut().enumerate() {
            let (less, first) = word.overflowing_sub(other.0.get(index).copied().unwrap_or(0));
            let (less, second) = less.overflowing_sub(u32::from(borrow));
            *word = less;
            borrow = first || second;
        }
        assert!(!borrow, "only a smaller number is subtracted");
        self.trim();
    }

    /// Divides by `divisor` in place and returns the remainder.
    fn divide_small(&mut self, divisor: u32) -> u32 {
        let mut rest = 0u64;
        for word in self.0.iter_mut().rev() {
            rest = rest << 32 | u64::from(*word);
            *word = (rest / u64::from(divisor)) as u32;
            rest %= u64::from(divisor);
        }
        self.trim();
        rest as u32
    }

    /// Rounds to 64 bits.
    fn round(&self) -> Extended {
        let drop = self.width().saturating_sub(128);
        let mut bits = 0u128;
        for (index, &word) in self.0.iter().enumerate().rev() {
            let place = 32 * index as i64 - drop as i64;
            if place >= 0 {
                bits |= u128::from(word) << place;
            } else if place > -32 {
                bits |= u128::from(word >> -place);
            }
        }
        let sticky = (0..drop).any(|bit| self.0[bit / 32] >> (bit % 32) & 1 == 1);
        round(bits, drop as i32, sticky)
    }

    /// Appends the decimal digits.
    fn write(mut self, text: &mut Vec<u8>) {
        let mut groups = Vec::new();
        while !self.is_zero() {
            groups.push(self.divide_small(1_000_000_000));
        }
        let first = groups.pop().unwrap_or(0);
        text.extend_from_slice(itoa::Buffer::new().format(first).as_bytes());
        for group in groups.into_iter().rev() {
            let mut buffer = itoa::Buffer::new();
            let digits = buffer.format(group).as_bytes();
            text.resize(text.len() + 9 - digits.len(), b'0');
            text.extend_from_slice(digits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let parse = |text: &str| Extended::parse(text.as_bytes()).expect("a number");
        parse(a).checked_add(parse(b)).map(|sum| String::from_utf8(sum.text()).unwrap())
    }

    #[test]
    fn sums_print_as_the_reference() {
        let cases = [
            ("10.5", "0.1", "10.6"),
            ("3.0e3", "0", "3000"),
            ("0.1", "0.2", "0.3"),
            ("5.0e3", "2.0e2", "5200"),
            ("1", "-1", "0"),
            ("-0", "-0", "0"),
            ("0.1", "-0.1", "0"),
            ("1e-20", "0", "0"),
            ("3", "1.000000000000000005", "4.00000000000000001"),
            ("3", "1.000000000000000004", "4"),
            ("0x10", "0x1.8p1", "19"),
            ("1e25", "1", "10000000000000000000000000"),
        ];
        for (a, b, expected) in cases {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("1.1e4932", "1.1e4932"), None);
    }

    #[test]
    fn refuses_texts_that_are_no_numbers() {
        for text in ["", "-", ".", "1e", "nan", " 1", "1 ", "1e5000", "1e-5000", "0x", "1.2.3"] {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn quick_and_long_ways_agree() {
        let mut seed = 1u64;
        for _ in 0..2_000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let digits = (seed >> 40).to_string();
            let power = (seed % 39) as i32 - 19;
            let split = || Digits::split(digits.as_bytes(), 10).expect("digits");
            let text = format!("{digits}e{power}");
            let quick = Extended::parse(text.as_bytes()).expect("in range");
            assert_eq!(quick, split().decimal_big(power), "{text}");
        }
    }

    #[test]
    fn doubles_are_exact() {
        for value in [0.0, 1.0, -2.5, 0.1, 1e300, 5e-324] {
            let exact = Extended::from_f64(value).expect("a number");
            assert_eq!(exact.is_finite(), value.is_finite());
            let text = String::from_utf8(exact.text()).unwrap();
            assert!((text.parse::<f64>().unwrap() - value).abs() < 1e-17, "{text}");
        }
        assert_eq!(Extended::from_i64(i64::MIN).text(), i64::MIN.to_string().as_bytes());
    }
}
