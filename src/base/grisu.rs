//! The digits of a double, by Grisu2 (Florian Loitsch, "Printing floating-point numbers quickly and
//! accurately with integers", 2010). The digits read back as the same double. In about one of a
//! hundred cases they are not the shortest that do. The algorithm is the reference's, because
//! clients compare replies byte by byte.
//!
//! ```text
//!   value = fraction * 2^exponent, and its neighbours' midpoints low and high, each of 64 bits
//!   times a power of ten, so that     -60 <= exponent <= -32:
//!
//!            63        -exponent               0
//!   high     | whole part      | fraction part |       digits are made of high, from the top,
//!                                                      until the rest is below high - low
//! ```

use super::extended::Extended;
use std::sync::OnceLock;

/// The largest number of digits that [`digits`] writes.
pub const DIGITS_MAX: usize = 18;

/// The powers of ten are 10^-348, 10^-340, ... 10^340.
const POWER_FIRST: i32 = -348;
const POWER_STEP: i32 = 8;
const POWERS: usize = 87;

/// The implicit highest bit of a double's fraction.
const HIDDEN: u64 = 1 << 52;

/// The powers of ten below 2^32.
const TENS: [u32; 10] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// `fraction * 2^exponent`.
#[derive(Clone, Copy, Debug)]
struct Float {
    fraction: u64,
    exponent: i32,
}

impl Float {
    /// Returns the same value with the highest bit set.
    fn normal(self) -> Float {
        let shift = self.fraction.leading_zeros();
        Float { fraction: self.fraction << shift, exponent: self.exponent - shift as i32 }
    }

    /// Returns the upper half of the product, rounded.
    fn times(self, other: Float) -> Float {
        let product = u128::from(self.fraction) * u128::from(other.fraction) + (1 << 63);
        Float { fraction: (product >> 64) as u64, exponent: self.exponent + other.exponent + 64 }
    }
}

/// Writes the decimal digits of a positive finite value, without leading zeros. Returns their
/// number and the power of ten of the last digit.
pub fn digits(value: f64, out: &mut [u8; DIGITS_MAX]) -> (usize, i32) {
    assert!(value > 0.0 && value.is_finite());
    let bits = value.to_bits();
    let (stored, biased) = (bits & (HIDDEN - 1), (bits >> 52) as i32);
    let exact = match biased {
        0 => Float { fraction: stored, exponent: -1_074 },
        _ => Float { fraction: stored | HIDDEN, exponent: biased - 1_075 },
    };
    let high = Float { fraction: (exact.fraction << 1) + 1, exponent: exact.exponent - 1 }.normal();
    // Below a power of two the neighbour is half as far away.
    let shift = if exact.fraction == HIDDEN { 2 } else { 1 };
    let low_exponent = exact.exponent - shift;
    let low = Float {
        fraction: ((exact.fraction << shift) - 1) << (low_exponent - high.exponent),
        exponent: high.exponent,
    };
    let (power, decimal) = power_for(high.exponent);
    let value = exact.normal().times(power);
    let mut high = high.times(power);
    let mut low = low.times(power);
    // Products are off by less than one.
    low.fraction += 1;
    high.fraction -= 1;
    let (count, kappa) = generate(value, high, low, out);
    (count, kappa - decimal)
}

/// Returns a power of ten that brings a float of this exponent into range, and its exponent.
fn power_for(exponent: i32) -> (Float, i32) {
    static TABLE: OnceLock<Vec<Float>> = OnceLock::new();
    let table = TABLE.get_or_init(|| (0..POWERS).map(power_of_ten).collect());
    let guess = (-(exponent + POWERS as i32) as f64 * std::f64::consts::LOG10_2) as i32;
    let mut index = ((guess - POWER_FIRST) / POWER_STEP) as usize;
    loop {
        match exponent + table[index].exponent + 64 {
            ..-60 => index += 1,
            -31.. => index -= 1,
            _ => return (table[index], POWER_FIRST + index as i32 * POWER_STEP),
        }
    }
}

/// Computes entry `index` of the table of powers.
fn power_of_ten(index: usize) -> Float {
    let text = format!("1e{}", POWER_FIRST + index as i32 * POWER_STEP);
    let power = Extended::parse(text.as_bytes()).expect("the power is in range");
    let (fraction, exponent) = power.parts();
    Float { fraction, exponent }
}

/// Writes digits of `high` until they lie between `low` and `high`. Returns their number and the
/// power of ten of the last digit.
fn generate(value: Float, high: Float, low: Float, out: &mut [u8; DIGITS_MAX]) -> (usize, i32) {
    let point = -high.exponent as u32;
    assert!((32..=60).contains(&point));
    let distance = high.fraction - value.fraction;
    let mut delta = high.fraction - low.fraction;
    let mut whole = (high.fraction >> point) as u32;
    let mut part = high.fraction & ((1 << point) - 1);
    let mut count = 0;
    for (kappa, unit) in TENS.into_iter().enumerate().rev() {
        let digit = whole / unit;
        whole -= digit * unit;
        if digit > 0 || count > 0 {
            out[count] = b'0' + digit as u8;
            count += 1;
        }
        let rest = (u64::from(whole) << point) + part;
        if rest <= delta {
            round(&mut out[..count], delta, rest, u64::from(unit) << point, distance);
            return (count, kappa as i32);
        }
    }
    let mut kappa = 0;
    let mut scale = 1u64;
    loop {
        part *= 10;
        delta *= 10;
        scale = scale.wrapping_mul(10);
        kappa -= 1;
        let digit = part >> point;
        part &= (1 << point) - 1;
        if digit > 0 || count > 0 {
            out[count] = b'0' + digit as u8;
            count += 1;
        }
        if part < delta {
            let distance = distance.wrapping_mul(scale);
            round(&mut out[..count], delta, part, 1 << point, distance);
            return (count, kappa);
        }
    }
}

/// Lowers the last digit while that brings the digits closer to the value.
fn round(digits: &mut [u8], delta: u64, mut rest: u64, unit: u64, distance: u64) {
    let Some(last) = digits.last_mut() else { return };
    while rest < distance
        && delta - rest >= unit
        && (rest + unit < distance || distance - rest > rest + unit - distance)
    {
        *last -= 1;
        rest += unit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_read_back() {
        let mut seed = 99u64;
        for round in 0..20_000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let bits = if round < 64 { 1 << round } else { seed >> 1 };
            let value = f64::from_bits(bits);
            if !value.is_finite() || value <= 0.0 {
                continue;
            }
            let mut out = [0; DIGITS_MAX];
            let (count, power) = digits(value, &mut out);
            let text = format!("{}e{power}", std::str::from_utf8(&out[..count]).unwrap());
            assert_eq!(text.parse::<f64>(), Ok(value), "{text}");
        }
    }

    #[test]
    fn known_digits() {
        let known = [(0.1, "1", -1), (5e-324, "5", -324), (4e23, "39999999999999997", 7)];
        for (value, expected, expected_power) in known {
            let mut out = [0; DIGITS_MAX];
            let (count, power) = digits(value, &mut out);
            assert_eq!((&out[..count], power), (expected.as_bytes(), expected_power));
        }
    }
}
