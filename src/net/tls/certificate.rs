//! What the server shows and compares of a certificate, read from its DER bytes.
//!
//! ```text
//!   Certificate    SEQUENCE { tbs, algorithm, signature }
//!   tbs            SEQUENCE { [0] version?, serial, algorithm, issuer,
//!                             SEQUENCE { not before, not after }, subject, public key,
//!                             [1]? [2]? [3] { SEQUENCE { extension ... } }? }
//!   issuer, subject  SEQUENCE { SET { SEQUENCE { OID, value } ... } ... }
//!   extension      SEQUENCE { OID, BOOLEAN?, OCTET STRING { value } }
//! ```
//! An element is a tag, a length and its content. Example: `02 01 05` is the INTEGER 5.
//!
//! It checks no signature. Bytes that are no certificate give nothing.

use rustls::pki_types::{CertificateDer, UnixTime};

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version of a certificate.
const VERSION: u8 = 0xa0;
/// The extensions of a certificate.
const EXTENSIONS: u8 = 0xa3;
/// A URI among the alternative names.
const URI: u8 = 0x86;

/// `2.5.4.3`, the common name.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// `2.5.29.17`, the alternative names of the subject.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

/// An element: its tag, its content, and all of its bytes.
#[derive(Clone, Copy)]
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

/// Elements one after another.
#[derive(Clone)]
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// Returns the next element, if it has this tag.
    fn expect_tag(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut rest = self.clone();
        let element = rest.next().filter(|element| element.tag == tag)?;
        *self = rest;
        Some(element)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // Longer lengths than 4 bytes have no place in a file.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(len)?;
        let whole = &self.0[..self.0.len() - after.len()];
        self.0 = after;
        Some(Element { tag, content, whole })
    }
}

/// What is of interest of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The serial number in hexadecimal digits.
    pub serial: String,
    /// Unix seconds from which it is valid.
    pub begins_s: i64,
    /// Unix seconds until which it is valid.
    pub ends_s: i64,
    /// The first common name of its subject, as bytes.
    pub common_name: Option<Vec<u8>>,
    /// The URIs among its alternative names that are neither empty nor have a NUL.
    pub uris: Vec<Vec<u8>>,
    /// The public key with its algorithm, as DER.
    pub public_key: Vec<u8>,
    /// Whether it is issued by its own subject.
    pub is_self_issued: bool,
}

impl Certificate {
    /// Reads the DER bytes of a certificate. Returns none if they are none.
    pub fn read(der: &[u8]) -> Option<Certificate> {
        let whole = Elements(der).expect_tag(SEQUENCE)?;
        let mut fields = Elements(Elements(whole.content).expect_tag(SEQUENCE)?.content);
        // Version 1 is not written.
        let _ = fields.expect_tag(VERSION);
        let serial = fields.expect_tag(INTEGER)?;
        fields.expect_tag(SEQUENCE)?;
        let issuer = fields.expect_tag(SEQUENCE)?;
        let mut validity = Elements(fields.expect_tag(SEQUENCE)?.content);
        let subject = fields.expect_tag(SEQUENCE)?;
        let public_key = fields.expect_tag(SEQUENCE)?;
        let extensions = fields.find(|field| field.tag == EXTENSIONS);
        Some(Certificate {
            serial: serial_text(serial.content),
            begins_s: unix_seconds(validity.next()?)?,
            ends_s: unix_seconds(validity.next()?)?,
            common_name: common_name(subject.content),
            uris: extensions.map_or(Vec::new(), |extensions| uris(extensions.content)),
            public_key: public_key.whole.to_vec(),
            is_self_issued: issuer.whole == subject.whole,
        })
    }

    /// Whether it is valid at this time, in Unix seconds.
    pub fn is_valid_at(&self, now_s: i64) -> bool {
        (self.begins_s..=self.ends_s).contains(&now_s)
    }

    /// Returns whether a certificate is a trusted one that has issued itself, and is valid now.
    /// WebPKI refuses such certificates; OpenSSL, and so the reference, does not.
    pub(super) fn is_trusted_itself(
        trusted: &[CertificateDer<'_>],
        certificate: &CertificateDer<'_>,
        now: UnixTime,
    ) -> bool {
        trusted.contains(certificate)
            && Certificate::read(certificate).is_some_and(|certificate| {
                certificate.is_self_issued && certificate.is_valid_at(now.as_secs() as i64)
            })
    }
}

/// Returns the hexadecimal digits of a number, with an even count.
fn serial_text(number: &[u8]) -> String {
    let zeroes = number.iter().take_while(|byte| **byte == 0).count();
    match &number[zeroes..] {
        [] => "0".to_owned(),
        digits => digits.iter().map(|byte| format!("{byte:02X}")).collect(),
    }
}

/// Returns the value of the first common name in a subject, unless it is empty.
fn common_name(subject: &[u8]) -> Option<Vec<u8>> {
    let sets = Elements(subject).filter(|element| element.tag == SET);
    let pairs = sets.flat_map(|set| Elements(set.content));
    let mut values = pairs.filter_map(|pair| {
        let mut parts = Elements(pair.content);
        let is_it = parts.expect_tag(OBJECT_ID)?.content == COMMON_NAME;
        if is_it { parts.next() } else { None }
    });
    let value = values.next()?.content;
    (!value.is_empty()).then(|| value.to_vec())
}

/// Returns the URIs among the alternative names.
fn uris(extensions: &[u8]) -> Vec<Vec<u8>> {
    let Some(list) = Elements(extensions).expect_tag(SEQUENCE) else { return Vec::new() };
    let names = Elements(list.content).find_map(|extension| {
        let mut parts = Elements(extension.content);
        let is_it = parts.expect_tag(OBJECT_ID)?.content == ALTERNATIVE_NAMES;
        let value = parts.find(|part| part.tag == OCTET_STRING)?;
        if is_it { Elements(value.content).expect_tag(SEQUENCE) } else { None }
    });
    let Some(names) = names else { return Vec::new() };
    let uris = Elements(names.content).filter(|name| name.tag == URI);
    let uris = uris.filter(|uri| !uri.content.is_empty() && !uri.content.contains(&0));
    uris.map(|uri| uri.content.to_vec()).collect()
}

/// Returns the Unix seconds of a time: `YYMMDDHHMMSSZ`, or `YYYYMMDDHHMMSSZ`.
fn unix_seconds(time: Element<'_>) -> Option<i64> {
    let digits = time.content.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number =
        |digits: &[u8]| digits.iter().fold(0, |n: i64, digit| n * 10 + i64::from(digit - b'0'));
    let (year, rest) = match (time.tag, digits.len()) {
        // Two digits mean the years from 1950 to 2049.
        (UTC_TIME, 12) => match number(&digits[..2]) {
            year @ 0..50 => (2_000 + year, &digits[2..]),
            year => (1_900 + year, &digits[2..]),
        },
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let part = |at: usize| number(&rest[at..at + 2]);
    let (month, day) = (part(0), part(2));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(days(year, month, day) * 86_400 + part(4) * 3_600 + part(6) * 60 + part(8))
}

/// Returns the days from 1970 to a day. A year begins in March here, so that leap days are last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        match content.len() {
            len @ 0..0x80 => bytes.push(len as u8),
            len => bytes.extend([0x82, (len >> 8) as u8, len as u8]),
        }
        bytes.extend_from_slice(content);
        bytes
    }

    fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
        element(SEQUENCE, &parts.concat())
    }

    fn name(common_name: &[u8]) -> Vec<u8> {
        let pair = |oid: &[u8], value: &[u8]| {
            element(SET, &sequence(&[element(OBJECT_ID, oid), element(0x0c, value)]))
        };
        sequence(&[pair(&[0x55, 0x04, 0x0a], b"Org"), pair(COMMON_NAME, common_name)])
    }

    fn certificate(common_name: &[u8], uris: &[&[u8]]) -> Vec<u8> {
        let times = [element(UTC_TIME, b"240229120000Z"), element(0x18, b"20500101000000Z")];
        let uris: Vec<Vec<u8>> = uris.iter().map(|uri| element(URI, uri)).collect();
        let other = element(0x82, b"localhost");
        let names = sequence(&[vec![other], uris].concat());
        let extension = [element(OBJECT_ID, ALTERNATIVE_NAMES), element(OCTET_STRING, &names)];
        let fields = [
            element(VERSION, &element(INTEGER, &[2])),
            element(INTEGER, &[0, 0xab, 0x01]),
            sequence(&[]),
            name(b"issuer"),
            sequence(&times),
            name(common_name),
            sequence(&[element(0x03, b"key")]),
            element(EXTENSIONS, &sequence(&[sequence(&extension)])),
        ];
        sequence(&[sequence(&fields), sequence(&[]), element(0x03, b"signature")])
    }

    #[test]
    fn fields_are_found() {
        let uris: [&[u8]; 4] = [b"urn:a", b"", b"urn:\0", b"urn:b"];
        let read = Certificate::read(&certificate(b"Client\0x", &uris)).expect("it is valid");
        assert_eq!(read.serial, "AB01");
        assert_eq!(read.begins_s, 1_709_208_000);
        assert_eq!(read.ends_s, 2_524_608_000);
        assert_eq!(read.common_name.as_deref(), Some(&b"Client\0x"[..]));
        assert_eq!(read.uris, [b"urn:a", b"urn:b"]);
        assert!(!read.is_self_issued && read.is_valid_at(1_709_208_000));
        assert!(!read.is_valid_at(1_709_207_999) && !read.is_valid_at(2_524_608_001));
        assert!(Certificate::read(&certificate(b"issuer", &[])).expect("valid").is_self_issued);
        assert_eq!(Certificate::read(&certificate(b"", &[])).expect("valid").common_name, None);
        assert_eq!((serial_text(&[0]), serial_text(&[5])), ("0".into(), "05".into()));
    }

    #[test]
    fn other_bytes_give_nothing_and_do_no_harm() {
        let whole = certificate(b"name", &[b"urn:a"]);
        for len in 0..whole.len() {
            assert_eq!(Certificate::read(&whole[..len]), None);
        }
        for at in 0..whole.len() {
            for byte in [0, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                let _ = Certificate::read(&bytes);
            }
        }
    }

    #[test]
    fn days_are_counted_from_1970() {
        assert_eq!((days(1970, 1, 1), days(2000, 3, 1), days(2024, 2, 29)), (0, 11_017, 19_782));
    }
}
