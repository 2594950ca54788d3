//! The payload of DUMP: one value without its key.
//!
//! ```text
//!   type | value | u16 version | u64 checksum of all before it
//! ```
//! The payload of the value `12` is `00 c0 0c  0a 00  3c 2a f8 51 5c 04 bc d5`.

use super::form::Dialect;
use super::{Checksum, REDIS_VERSIONS, VALKEY_VERSIONS, VERSIONS};

/// Bytes of version and checksum.
const FOOTER_BYTES: usize = 10;

/// Appends version and checksum to a type and its value.
pub fn seal_payload(out: &mut Vec<u8>, version: u32) {
    let version = u16::try_from(version).expect("a version has 16 bits");
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&Checksum::of(out).to_le_bytes());
}

/// Returns the dialect of a payload, and its type and value. Returns `None` if the version is not
/// supported or the checksum is wrong.
pub fn open_payload(
    payload: &[u8],
    accepts_any_version: bool,
    has_checksum: bool,
) -> Option<(Dialect, &[u8])> {
    let (body, footer) = payload.split_at_checked(payload.len().checked_sub(FOOTER_BYTES)?)?;
    let version = u32::from(u16::from_le_bytes([footer[0], footer[1]]));
    let is_read = if accepts_any_version {
        version > 0
    } else {
        VERSIONS.contains(&version) || VALKEY_VERSIONS.contains(&version)
    };
    let sum = Checksum::of(&payload[..body.len() + 2]);
    if !is_read || (has_checksum && footer[2..] != sum.to_le_bytes()) {
        return None;
    }
    let is_foreign = REDIS_VERSIONS.contains(&version);
    Some((if is_foreign { Dialect::of(version) } else { Dialect::Valkey }, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_frozen() {
        let mut payload = b"\x00\xc0\x0c".to_vec();
        seal_payload(&mut payload, 10);
        assert_eq!(payload[3..], *b"\x0a\x00\x3c\x2a\xf8\x51\x5c\x04\xbc\xd5");
        assert_eq!(
            open_payload(&payload, false, true),
            Some((Dialect::Common, &b"\x00\xc0\x0c"[..]))
        );
    }
}
