//! Written bytes are frozen and can be read again; malformed bytes are rejected.

use super::*;
use crate::base::rng::Rng;
use crate::value::string::Str;
use bytes::Bytes;

fn written(is_packing: bool, write: impl FnOnce(&mut Encoder<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut Encoder::new(&mut out, is_packing));
    out
}

fn string(is_packing: bool, text: &[u8]) -> Vec<u8> {
    written(is_packing, |encoder| encoder.string(text))
}

/// Decodes the one string in `bytes`.
fn text(bytes: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::new(bytes, Dialect::Common);
    let text = decoder.text().expect("a string").into_bytes().into_owned();
    assert!(decoder.rest().is_empty());
    text
}

#[test]
fn lengths_are_frozen() {
    for (len, expected) in [
        (0, &b"\x00"[..]),
        (63, b"\x3f"),
        (64, b"\x40\x40"),
        (16_383, b"\x7f\xff"),
        (16_384, b"\x80\x00\x00\x40\x00"),
        (u32::MAX.into(), b"\x80\xff\xff\xff\xff"),
        (1 << 32, b"\x81\x00\x00\x00\x01\x00\x00\x00\x00"),
    ] {
        let bytes = written(true, |encoder| encoder.length(len));
        assert_eq!(bytes, expected, "{len}");
        assert_eq!(Decoder::new(&bytes, Dialect::Common).length(), Ok(len));
    }
    assert_eq!(Decoder::new(b"\x82", Dialect::Common).length(), Err(Fault::Length(0x82)));
    assert_eq!(Decoder::new(b"\xc0", Dialect::Common).length(), Err(Fault::Length(0xc0)));
    assert_eq!(Decoder::new(b"\x40", Dialect::Common).length(), Err(Fault::Ended));
}

#[test]
fn strings_are_frozen() {
    for (text, expected) in [
        ("", &b"\x00"[..]),
        ("k", b"\x01k"),
        ("0", b"\xc0\x00"),
        ("-128", b"\xc0\x80"),
        ("128", b"\xc1\x80\x00"),
        ("-32769", b"\xc2\xff\x7f\xff\xff"),
        ("-2147483648", b"\xc2\x00\x00\x00\x80"),
        ("2147483648", b"\x0a2147483648"),
        ("012", b"\x03012"),
        ("aaaaaaaaaaaaaaaaaaaa", b"\x14aaaaaaaaaaaaaaaaaaaa"),
        ("aaaaaaaaaaaaaaaaaaaaa", b"\xc3\x05\x15\x00a\xe0\x0b\x00"),
    ] {
        let bytes = string(true, text.as_bytes());
        assert_eq!(bytes, expected, "{text}");
        assert_eq!(self::text(&bytes), text.as_bytes());
    }
    let plain = string(false, &[b'a'; 21]);
    assert_eq!((plain.len(), plain[0]), (22, 21));
    let bytes = written(true, |encoder| encoder.integer(i64::MIN));
    assert_eq!(bytes, b"\x14-9223372036854775808");
}

#[test]
fn an_entry_is_frozen() {
    let bytes = written(true, |encoder| encoder.string_entry(b"k", Some(1_000), &Str::Int(12)));
    assert_eq!(bytes, b"\xfc\xe8\x03\0\0\0\0\0\0\x00\x01k\xc0\x0c");
    let bytes = written(true, |encoder| encoder.database(3, 100, 7));
    assert_eq!(bytes, b"\xfe\x03\xfb\x40\x64\x07");
}

/// Returns a file with two bodies, as two shards would write it.
fn file() -> Vec<u8> {
    let origin = Origin { replid: &"f".repeat(40), offset: 1 << 40, db: 2 };
    let preamble = Preamble {
        valkey_version: "9.1.0",
        written_s: 1_800_000_000,
        used_memory_bytes: 1 << 33,
        origin: Some(origin),
        is_aof_base: false,
        kept: &Kept::default(),
    };
    let large = Bytes::from(vec![b'x'; 70_000]);
    let mut file = written(true, |encoder| {
        encoder.magic(VERSION);
        encoder.preamble(&preamble);
        encoder.database(0, 2, 1);
        encoder.string_entry(b"1", Some(5_000), &Str::Bytes(b"value"));
        encoder.string_entry(b"two", None, &Str::Int(-7_000_000_000));
        encoder.database(0, 1, 0);
        encoder.string_entry(&b"a long key ".repeat(5), None, &Str::Large(&large));
    });
    file.push(END);
    let sum = Checksum::of(&file);
    file.extend_from_slice(&sum.to_le_bytes());
    file
}

#[test]
fn a_written_file_is_read_again() {
    let file = file();
    assert_eq!(&file[..MAGIC_BYTES], b"REDIS0010");
    assert!(file.len() < 1_500, "repetitions are compressed");
    let (version, mut decoder) = Decoder::open(&file, false).expect("a file");
    assert_eq!(version, VERSION);
    let mut shown = Vec::new();
    loop {
        let text = |text: Text<'_>| String::from_utf8(text.into_bytes().into_owned()).unwrap();
        match decoder.part().expect("a part") {
            Part::Aux(name, value) => shown.push(format!("{}={}", text(name), text(value))),
            Part::Database(db) => shown.push(format!("db {db}")),
            Part::Sizes(keys, volatile) => shown.push(format!("sizes {keys} {volatile}")),
            Part::Function(code) => shown.push(format!("function {}", text(code))),
            Part::Entry(Entry { key, expiry, form, value }) => {
                assert_eq!(form, Form::String);
                let value = text(Decoder::new(value, Dialect::Common).text().expect("a string"));
                let end = &value[..value.len().min(11)];
                shown.push(format!("{} {expiry:?} {end} {}", text(key), value.len()));
            }
            Part::End(sum) => {
                assert_eq!(sum, Checksum::of(&file[..file.len() - 8]));
                break;
            }
        }
    }
    assert!(decoder.rest().is_empty());
    let expected = [
        "valkey-ver=9.1.0",
        "redis-bits=64",
        "ctime=1800000000",
        "used-mem=8589934592",
        "repl-stream-db=2",
        &format!("repl-id={}", "f".repeat(40)),
        "repl-offset=1099511627776",
        "aof-base=0",
        "db 0",
        "sizes 2 1",
        "1 Some(5000) value 5",
        "two None -7000000000 11",
        "db 0",
        "sizes 1 0",
        &format!("{} None xxxxxxxxxxx 70000", "a long key ".repeat(5)),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn a_truncated_file_is_detected_at_every_byte() {
    let file = file();
    for len in 0..file.len() {
        let fault = match Decoder::open(&file[..len], false) {
            Err(fault) => fault,
            Ok((_, mut decoder)) => loop {
                let before = decoder.rest();
                if let Err(fault) = decoder.part() {
                    assert_eq!(decoder.rest(), before, "nothing is consumed");
                    break fault;
                }
            },
        };
        assert_eq!(fault, Fault::Ended, "{len}");
    }
}

#[test]
fn invalid_files_are_rejected() {
    let open = |bytes: &[u8]| Decoder::open(bytes, false).map(|(version, _)| version);
    assert_eq!(open(b"REDIS0011"), Ok(11));
    assert_eq!(open(b"REDIS0012"), Ok(12));
    assert_eq!(open(b"REDIS0013"), Err(Fault::Version(13)));
    assert_eq!(open(b"REDIS0000"), Err(Fault::Version(0)));
    assert_eq!(open(b"REDIS00x1"), Err(Fault::Magic));
    assert_eq!(open(b"VALKEY080"), Ok(80));
    assert_eq!(open(b"VALKEY011"), Err(Fault::Version(11)));
    assert_eq!(open(b"VALKEY08x"), Err(Fault::Magic));
    assert_eq!(open(b"RODIS0010"), Err(Fault::Magic));
    let part = |bytes: &'static [u8]| Decoder::new(bytes, Dialect::Common).part();
    assert_eq!(part(b"\x07\x01k\x02"), Err(Fault::Module(2)));
    assert_eq!(part(b"\xf7\x03"), Err(Fault::Module(3)));
    assert_eq!(part(b"\x16\x01k"), Err(Fault::Kind(22)));
    assert_eq!(part(b"\x00\xc4"), Err(Fault::Length(0xc4)));
    assert_eq!(part(b"\x00\xc3\x02\x40\xff\x00a"), Err(Fault::Packing));
    assert_eq!(part(b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xffx"), Err(Fault::Ended));
    assert_eq!(part(b"\x00\xc3\x02\x81\xff\xff\xff\xff\xff\xff\xff\xff\0a"), Err(Fault::Packing));
    let entry = |expiry| {
        let (form, value) = (Form::String, &b"\xc0\x01"[..]);
        Ok(Part::Entry(Entry { key: Text::Bytes(b"k"), expiry: Some(expiry), form, value }))
    };
    assert_eq!(part(b"\xfd\x02\0\0\0\xf8\x40\x40\xf9\x07\0\x01k\xc0\x01"), entry(2_000));
    assert_eq!(part(b"\xfc\xff\xff\xff\xff\xff\xff\xff\xff\0\x01k\xc0\x01"), entry(0));
}

#[test]
fn malformed_bytes_end_in_a_fault_or_the_end() {
    let file = file();
    let mut rng = Rng::new(3);
    for _ in 0..5_000 {
        let mut bytes = file.clone();
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.below(256) as u8;
        }
        let Ok((_, mut decoder)) = Decoder::open(&bytes, false) else { continue };
        while let Ok(part) = decoder.part() {
            if matches!(part, Part::End(_)) {
                break;
            }
        }
    }
}
