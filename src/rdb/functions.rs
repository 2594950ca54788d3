//! The payload of FUNCTION DUMP: the texts of function libraries.
//!
//! ```text
//!   (245 text)* | u16 version | u64 checksum of all before it
//! ```

use super::opcode;
use super::{Decoder, Encoder, Part, open_payload, seal_payload};
use crate::resp::Error;

/// Returns the payload for libraries with these texts.
pub fn dump_functions<'a>(texts: impl Iterator<Item = &'a [u8]>, is_packing: bool) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut encoder = Encoder::new(&mut payload, is_packing);
    texts.for_each(|text| encoder.function(text));
    let version = encoder.version();
    seal_payload(&mut payload, version);
    payload
}

/// Returns the texts of the libraries in a payload, or the error of FUNCTION RESTORE.
pub fn read_functions(payload: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let Some((dialect, body)) = open_payload(payload, false, true) else {
        return Err(Error::other("ERR DUMP payload version or checksum are wrong"));
    };
    let mut texts = Vec::new();
    let mut decoder = Decoder::new(body, dialect);
    while let Some(&kind) = decoder.rest().first() {
        match (kind, decoder.part()) {
            (opcode::FUNCTION_OLD, _) => {
                return Err(Error::other("ERR Pre-GA function format not supported"));
            }
            (opcode::FUNCTION, Ok(Part::Function(text))) => {
                texts.push(text.into_bytes().into_owned());
            }
            (opcode::FUNCTION, _) => {
                return Err(Error::other("ERR failed loading the given functions payload"));
            }
            _ => return Err(Error::other("ERR given type is not a function")),
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_read_back() {
        let texts: [&[u8]; 2] = [b"#!lua name=a\n", b"#!lua name=b\nredis.log(1, 'aaaaaaaaaaaaa')"];
        let payload = dump_functions(texts.into_iter(), true);
        assert_eq!(read_functions(&payload).unwrap(), texts);
        assert_eq!(read_functions(&dump_functions([].into_iter(), true)).unwrap().len(), 0);
    }

    #[test]
    fn wrong_payloads_are_refused() {
        let error = |body: &[u8]| {
            let mut payload = body.to_vec();
            seal_payload(&mut payload, 10);
            read_functions(&payload).unwrap_err().text().into_owned()
        };
        assert_eq!(error(b"\xf6\x01a"), "ERR Pre-GA function format not supported");
        assert_eq!(error(b"\xf5\x05a"), "ERR failed loading the given functions payload");
        assert_eq!(error(b"\x00\x01a\x01b"), "ERR given type is not a function");
        let cut = read_functions(b"bad_payload").unwrap_err();
        assert_eq!(cut.text(), "ERR DUMP payload version or checksum are wrong");
    }
}
