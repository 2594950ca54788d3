//! Numbers as C writes and reads them: `%.14g` and `strtod`.

use std::io::Write;

/// Appends a finite number like `%.*g` of C with `precision` significant digits.
pub fn push_general(out: &mut Vec<u8>, value: f64, precision: i32) {
    if value == value.trunc() && value.abs() < 10f64.powi(precision) && (value != 0.0) {
        return out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    }
    if value == 0.0 {
        return out.extend_from_slice(if value.is_sign_negative() { b"-0" } else { b"0" });
    }
    let mut text = Vec::with_capacity(32);
    let decimals = precision as usize - 1;
    write!(text, "{:.decimals$e}", value.abs()).expect("writing to memory does not fail");
    let mark = text.iter().position(|&byte| byte == b'e').expect("the form has an exponent");
    let (digits, exponent) = (&text[..mark], &text[mark + 1..]);
    let exponent: i32 =
        std::str::from_utf8(exponent).ok().and_then(|e| e.parse().ok()).unwrap_or(0);
    let mut digits: Vec<u8> = digits.iter().copied().filter(|byte| *byte != b'.').collect();
    while digits.len() > 1 && digits.last() == Some(&b'0') {
        digits.pop();
    }
    if value < 0.0 {
        out.push(b'-');
    }
    if (-4..precision).contains(&exponent) {
        push_plain(out, &digits, exponent + 1);
    } else {
        push_scientific(out, &digits, exponent);
    }
}

/// Appends digits with the point behind `before` places.
fn push_plain(out: &mut Vec<u8>, digits: &[u8], before: i32) {
    let places = before.unsigned_abs() as usize;
    if before <= 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', places));
        out.extend_from_slice(digits);
    } else if places >= digits.len() {
        out.extend_from_slice(digits);
        out.extend(std::iter::repeat_n(b'0', places - digits.len()));
    } else {
        out.extend_from_slice(&digits[..places]);
        out.push(b'.');
        out.extend_from_slice(&digits[places..]);
    }
}

fn push_scientific(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    out.push(digits[0]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    write!(out, "e{sign}{:02}", exponent.abs()).expect("writing to memory does not fail");
}

/// Reads a number at the start of `text` like `strtod` of C. Returns it with the number of bytes
/// that belong to it; 0 bytes if there is no number.
pub fn read_number(text: &[u8]) -> (f64, usize) {
    let sign_len = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let body = &text[sign_len..];
    let (value, len) = if starts(body, b"infinity") {
        (f64::INFINITY, 8)
    } else if starts(body, b"inf") {
        (f64::INFINITY, 3)
    } else if starts(body, b"nan") {
        (f64::NAN, 3 + nan_tail(&body[3..]))
    } else if starts(body, b"0x") && hex_len(&body[2..]) > 0 {
        let (value, len) = read_hex(&body[2..]);
        (value, len + 2)
    } else {
        read_decimal(body)
    };
    if len == 0 {
        return (0.0, 0);
    }
    (if text[0] == b'-' { -value } else { value }, sign_len + len)
}

fn starts(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// Returns the bytes of `(...)` after `nan`.
fn nan_tail(text: &[u8]) -> usize {
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let Some(inner) = text.strip_prefix(b"(") else { return 0 };
    let len = inner.iter().take_while(|byte| is_inner(byte)).count();
    if inner.get(len) == Some(&b')') { len + 2 } else { 0 }
}

fn digits_len(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Returns the bytes of an exponent with its letter; 0 if it has no digits.
fn exponent_len(text: &[u8], letter: u8) -> usize {
    let Some((first, rest)) = text.split_first() else { return 0 };
    if first.to_ascii_lowercase() != letter {
        return 0;
    }
    let sign = usize::from(matches!(rest.first(), Some(b'+' | b'-')));
    let digits = digits_len(&rest[sign..]);
    if digits == 0 { 0 } else { 1 + sign + digits }
}

fn read_decimal(text: &[u8]) -> (f64, usize) {
    let whole = digits_len(text);
    let mut len = whole;
    if text.get(len) == Some(&b'.') {
        let fraction = digits_len(&text[len + 1..]);
        if whole + fraction > 0 {
            len += 1 + fraction;
        }
    }
    if len == 0 {
        return (0.0, 0);
    }
    len += exponent_len(&text[len..], b'e');
    let number = std::str::from_utf8(&text[..len]).ok().and_then(|text| text.parse().ok());
    (number.unwrap_or(0.0), len)
}

/// Returns the number of hexadecimal digits before and after a point.
fn hex_len(text: &[u8]) -> usize {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let whole = digits(text);
    let fraction = text.get(whole) == Some(&b'.');
    whole + if fraction { digits(&text[whole + 1..]) } else { 0 }
}

fn read_hex(text: &[u8]) -> (f64, usize) {
    let (mut value, mut scale, mut len, mut has_point) = (0f64, 0i32, 0, false);
    for &byte in text {
        match (byte as char).to_digit(16) {
            Some(digit) => {
                value = value * 16.0 + f64::from(digit);
                scale -= if has_point { 4 } else { 0 };
            }
            None if byte == b'.' && !has_point => has_point = true,
            None => break,
        }
        len += 1;
    }
    let exponent_bytes = exponent_len(&text[len..], b'p');
    let exponent = text.get(len + 1..len + exponent_bytes).unwrap_or_default();
    let exponent: i32 =
        std::str::from_utf8(exponent).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    (value * 2f64.powi(exponent.saturating_add(scale)), len + exponent_bytes)
}
