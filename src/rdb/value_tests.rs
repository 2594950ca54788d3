//! Written values of all types and values of other servers are read; malformed bytes are rejected.

use super::*;
use crate::base::rng::Rng;
use crate::config::Config;
use crate::value::hash::Hash;
use crate::value::list::{End, List};
use crate::value::set::Set;
use crate::value::sorted_set::SortedSet;
use crate::value::stream::{Id, Stream};
use crate::value::string::{IntText, Str};
use crate::value::{Container, Object, stream};

/// Returns a value's elements as text, for comparing.
fn shown(object: &Object) -> Vec<String> {
    let text = |bytes: Vec<u8>| bytes.escape_ascii().to_string();
    let mut all: Vec<String> = match object {
        Object::List(list) => list.iter_from(0).map(|item| text(item.to_vec())).collect(),
        Object::Set(set) => set.iter().map(|item| text(item.to_vec())).collect(),
        Object::SortedSet(set) => {
            let members = set.iter_from(0);
            members.map(|(item, score)| format!("{}={score}", text(item.to_vec()))).collect()
        }
        Object::Hash(hash) => hash
            .iter()
            .map(|field| {
                let (name, value) = (text(field.name.to_vec()), text(field.value.to_vec()));
                format!("{name}={value} {:?}", field.expiry)
            })
            .collect(),
        Object::Stream(stream) => shown_stream(stream),
    };
    if !matches!(object, Object::List(_) | Object::Stream(_)) {
        all.sort();
    }
    all
}

fn shown_stream(stream: &Stream) -> Vec<String> {
    let log = stream.log();
    let counters = [log.first_id(), log.last_id(), log.max_deleted_id()];
    let mut all = vec![format!("{counters:?} {} {}", log.len(), log.entries_added())];
    for entry in log.iter() {
        let fields = entry.fields.map(|(name, value)| (name.to_vec(), value.to_vec()));
        all.push(format!("{:?} {:?}", entry.id, fields.collect::<Vec<_>>()));
    }
    for (name, group) in stream.groups() {
        all.push(format!("{name:?} {:?} {:?}", group.last_id, group.entries_read));
        for (id, pending) in group.pending_from(Id::MIN) {
            let consumer = group.consumer(pending.consumer);
            let (ms, times) = (pending.delivered_ms, pending.deliveries);
            all.push(format!("{id:?} {ms} {times} {:?}", consumer.name));
        }
        let consumers = group.consumers();
        all.extend(
            consumers.map(|one| format!("{:?} {} {}", one.name, one.seen_ms, one.active_ms)),
        );
    }
    all
}

fn payload(object: &Object, is_packing: bool) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(&mut out, is_packing).object_payload(object.by_ref());
    out
}

/// Decodes a payload as RESTORE does.
fn read(payload: &[u8], config: &Config, has_checksum: bool) -> Result<Object, Fault> {
    let limits = Limits::of(config);
    let reading = Reading { limits: &limits, due_before_ms: None };
    let (dialect, body) = open_payload(payload, false, has_checksum).ok_or(Fault::Magic)?;
    match reading.payload(dialect, body)? {
        Value::Object(object) => Ok(object),
        Value::String(_) => Err(Fault::Kind(0)),
    }
}

fn text(rng: &mut Rng) -> Vec<u8> {
    match rng.below(8) {
        0 => vec![b'x'; rng.below(200) as usize],
        1..4 => (rng.next_u64() as i64 >> rng.below(64)).to_string().into_bytes(),
        _ => (0..rng.below(12)).map(|_| rng.below(256) as u8).collect(),
    }
}

/// Creates a value of random elements; sometimes many.
fn object(rng: &mut Rng, config: &Config) -> Object {
    let limits = Limits::of(config);
    let count = 1 + if rng.below(4) == 0 { rng.below(900) } else { rng.below(20) };
    match rng.below(5) {
        0 => {
            let mut list = List::default();
            (0..count).for_each(|_| list.push(End::Right, &text(rng), &limits.list));
            Box::new(list).into_object()
        }
        1 => {
            let mut set = Set::default();
            let is_ints = rng.below(2) == 0;
            for number in 0..count {
                let member =
                    if is_ints { (number << rng.below(40)).to_string().into() } else { text(rng) };
                set.insert(&member, &limits.set);
            }
            Box::new(set).into_object()
        }
        2 => {
            let mut set = SortedSet::default();
            for _ in 0..count {
                let score = f64::from_bits(rng.next_u64());
                set.put(&text(rng), if score.is_nan() { 1.5 } else { score }, &limits.sorted_set);
            }
            Box::new(set).into_object()
        }
        3 => {
            let mut hash = Hash::default();
            let expires = rng.below(2) == 0;
            for _ in 0..count {
                let expiry = (expires && rng.below(2) == 0).then(|| rng.below(1 << 41));
                hash.set(&text(rng), &text(rng), expiry, &limits.hash);
            }
            Box::new(hash).into_object()
        }
        _ => Box::new(stream(rng, count)).into_object(),
    }
}

fn stream(rng: &mut Rng, count: u64) -> Stream {
    let mut stream = Stream::default();
    let limits = stream::Limits { node_bytes: 4096, node_entries: 10 };
    let log = stream.log_mut();
    for at in 1..=count {
        let fields = [(text(rng), text(rng)), (b"f".to_vec(), text(rng))];
        let fields = &fields[..1 + rng.below(2) as usize];
        let fields = fields.iter().map(|(name, value)| (&name[..], &value[..]));
        assert!(log.append(Id::new(at, rng.below(5)), fields, &limits));
    }
    let ids: Vec<Id> = log.iter().map(|entry| entry.id).collect();
    log.delete(ids.iter().copied().filter(|_| rng.below(5) == 0));
    let group =
        stream.add_group(b"group", Id::new(count / 2, 0), Some(3)).expect("the group is new");
    let consumers =
        [b"one", b"two"].map(|name| group.add_consumer(name, 5, -1).expect("the consumer is new"));
    for id in ids.iter().copied().filter(|id| id.ms % 3 == 0) {
        assert!(group.load_pending(id, 70, rng.below(9)));
        assert!(group.load_owner(id, consumers[rng.below(2) as usize]));
    }
    stream.add_group(b"other", Id::MIN, None);
    stream
}

#[test]
fn written_values_of_all_types_are_read_again() {
    let (mut rng, config) = (Rng::new(11), Config::default());
    let mut small = config.clone();
    small.list_max_listpack_size = 3;
    small.hash_max_listpack_entries = 2;
    for number in 0..400 {
        let object = object(&mut rng, if number % 3 == 0 { &small } else { &config });
        let payload = payload(&object, number % 2 == 0);
        for config in [&config, &small] {
            let back = read(&payload, config, true).expect("a value");
            assert_eq!(shown(&back), shown(&object), "{}", object.by_ref().encoding());
        }
        // Truncated, with a valid footer.
        let (body, _) = payload.split_at(payload.len() - 10);
        let cut = rng.below(body.len() as u64) as usize;
        let mut short = body[..cut].to_vec();
        seal_payload(&mut short, VERSION_80);
        assert!(read(&short, &config, true).is_err(), "{cut} of {}", body.len());
    }
}

#[test]
fn a_large_sorted_set_keeps_the_sign_of_zero() {
    let config = Config::default();
    let limits = &Limits::of(&config).sorted_set;
    let mut set = SortedSet::default();
    let long = [b'x'; 65];
    // It is written last, because its score is the lowest.
    set.put(&long, -1.0, limits);
    set.put(b"a", -0.0, limits);
    set.put(b"b", 0.0, limits);
    for with_long in [true, false] {
        if !with_long {
            set.remove(&long);
        }
        let object = Box::new(std::mem::take(&mut set)).into_object();
        let back = read(&payload(&object, false), &config, true).expect("a value");
        let Object::SortedSet(read) = back else { panic!("a sorted set") };
        let is_negative = |member: &[u8]| read.score(member).is_some_and(f64::is_sign_negative);
        assert_eq!((is_negative(b"a"), is_negative(b"b")), (with_long, false));
        assert_eq!(read.is_packed(), !with_long);
        let Object::SortedSet(back) = object else { panic!("a sorted set") };
        set = *back;
    }
}

#[test]
fn malformed_values_are_rejected_or_read() {
    let (mut rng, config) = (Rng::new(12), Config::default());
    for _ in 0..1_500 {
        let mut payload = payload(&object(&mut rng, &config), rng.below(2) == 0);
        let body_len = payload.len() as u64 - 10;
        for _ in 0..1 + rng.below(6) {
            let end = 1 + rng.below(body_len);
            let at = rng.below(end) as usize;
            payload[at] = match rng.below(3) {
                0 => rng.below(30) as u8,
                1 => payload[at].wrapping_add(1),
                _ => rng.below(256) as u8,
            };
        }
        if let Ok(mut object) = read(&payload, &config, false) {
            shown(&object);
            while !object.free_step() {}
        }
    }
}

/// Payloads that Valkey 9.1 wrote, with their elements.
const VALKEY: &[(&[u8], &[&str])] = &[
    (
        b"\x0b\x14\x04\x00\x00\x00\x03\x00\x00\x00\xfd\xff\xff\xff\x01\x00\x00\x00p\x11\x01\x00P\
        \x00\xb4\xa7\x84L1p\xe1#",
        &["-3", "1", "70000"],
    ),
    (
        b"\x10\x12\x12\x00\x00\x00\x04\x00\x81f\x02\x81v\x02\x81n\x02\x0c\x01\xffP\x00\xce\x1c]\
        \x10M\x09\xee\x80",
        &["f=v None", "n=12 None"],
    ),
    (
        b"\x05\x02\x01a\x00\x00\x00\x00\x00\x00\xf8?\x01b\x00\x00\x00\x00\x00\x00\xf0\xbfP\x002\
        \xe76\x84\xb9q\x01\x02",
        &["a=1.5", "b=-1"],
    ),
    (b"\x04\x01\x01f\x01vP\x00b\xd8\x8a\xc7/\xd4i\x08", &["f=v None"]),
    (
        b"\x12\x02\x02\x0a\x0a\x00\x00\x00\x01\x00\x81a\x02\xff\x02\x0e\x0e\x00\x00\x00\x01\x00\
        \x85bbbbb\x06\xffP\x00\xf2\x07g&\xcf\xd8\xb2p",
        &["a", "bbbbb"],
    ),
    (b"\x02\x02\x01a\x01bP\x001N\xe8\xb4uQZ\xf9", &["a", "b"]),
    (
        b"\x14\x0c\x0c\x00\x00\x00\x02\x00\x81a\x02\x0c\x01\xffP\x00\xbbg\x08\xa1\x9e\xaf_W",
        &["12", "a"],
    ),
    (
        b"\x11\x1d\x1d\x00\x00\x00\x06\x00\x81b\x02\xdf\xff\x02\x81a\x02\x831.5\x04\x81c\x02\x83\
        inf\x04\xffP\x008;\xf5\xb5z\x95\xd4\xeb",
        &["a=1.5", "b=-1", "c=inf"],
    ),
    (
        b"\x16\x02\x01f\x01v\x00\xd8\xc3,\xbb\x03\x00\x00\x01g\x01w\xff\xff\xff\xff\xff\xff\xff\
        \xffP\x00\xe6\x0a/u\xe1\xb4ZY",
        &["f=v Some(4102444800000)", "g=w None"],
    ),
];

#[test]
fn payloads_of_the_reference_server_are_read_and_written() {
    let config = Config::default();
    for (payload, expected) in VALKEY {
        let object = read(payload, &config, true).expect("a value");
        assert_eq!(shown(&object), *expected);
        // Writes the value again. If the type is the same, all but version and checksum must be
        // equal.
        let again = self::payload(&object, true);
        if again[0] == payload[0] && !matches!(again[0], kind::HASH | kind::VALKEY_HASH_EXPIRY) {
            assert_eq!(again[..again.len() - 10], payload[..payload.len() - 10]);
        }
    }
}

/// Payload bodies of older servers and of Redis, by dialect.
#[test]
fn older_and_foreign_forms_are_read() {
    let config = Config::default();
    let limits = Limits::of(&config);
    let read = |dialect: Dialect, body: &[u8], expired_before_ms: Option<u64>| {
        let reading = Reading { limits: &limits, due_before_ms: expired_before_ms };
        match reading.payload(dialect, body)? {
            Value::Object(object) => Ok(shown(&object)),
            Value::String(text) => Ok(vec![format!("{text:?}")]),
        }
    };
    let common: &[(&[u8], &[&str])] = &[
        (b"\x01\x02\x01a\xc0\x07", &["a", "7"]),
        (b"\x03\x03\x01a\x031.5\x01b\xff\x01c\xfe", &["a=1.5", "b=-inf", "c=inf"]),
        (b"\x09\x07\x01\x01a\x01\x00b\xff", &["a=b None"]),
        (b"\x0a\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf3\x02\xf6\xff", &["2", "5"]),
        (b"\x0c\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf3\x02\xf6\xff", &["2=5"]),
        (b"\x0d\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf3\x02\xf6\xff", &["2=5 None"]),
        (b"\x0e\x01\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf3\x02\xf6\xff", &["2", "5"]),
    ];
    for (body, expected) in common {
        for dialect in [Dialect::Common, Dialect::Redis, Dialect::Valkey] {
            assert_eq!(read(dialect, body, None), Ok(expected.map_to()));
        }
    }
    let base = 1_000u64.to_le_bytes();
    let first = [&b"\x18"[..], &base, b"\x02\x00\x01a\x01b\x06\x01c\x01d"].concat();
    let expected = ["a=b None".to_string(), "c=d Some(1005)".to_string()];
    assert_eq!(read(Dialect::Redis, &first, None).as_deref(), Ok(&expected[..]));
    assert_eq!(read(Dialect::Redis, &first, Some(1_006)).as_deref(), Ok(&expected[..1]));
    let old = b"\x16\x01\x40\x64\x01c\x01d";
    assert_eq!(read(Dialect::Redis, old, None), Ok(vec!["c=d Some(100)".to_string()]));
    assert_eq!(read(Dialect::Redis, old, Some(101)), Err(Fault::Expired));
    let packed = b"\x0f\x0f\0\0\0\x03\0\x81a\x02\x81b\x02\x05\x01\xff";
    let expected = vec!["a=b Some(5)".to_string()];
    let listpack = [&b"\x19"[..], &base, packed].concat();
    assert_eq!(read(Dialect::Redis, &listpack, None), Ok(expected.clone()));
    let old = [&b"\x17"[..], packed].concat();
    assert_eq!(read(Dialect::Redis, &old, None), Ok(expected));
    assert_eq!(read(Dialect::Common, &old, None), Err(Fault::Kind(0x17)));
    assert_eq!(read(Dialect::Valkey, &old, None), Err(Fault::Kind(0x17)));
}

/// Converts texts for comparing.
trait MapTo {
    fn map_to(&self) -> Vec<String>;
}

impl MapTo for &[&str] {
    fn map_to(&self) -> Vec<String> {
        self.iter().map(|text| text.to_string()).collect()
    }
}

#[test]
fn inconsistent_values_are_rejected() {
    let config = Config::default();
    let limits = Limits::of(&config);
    let reading = Reading { limits: &limits, due_before_ms: None };
    let fault = |body: &'static [u8]| {
        reading.payload(Dialect::Valkey, body).map(drop).expect_err("the value is rejected")
    };
    let twice = Fault::Corrupt("Duplicate elements detected");
    assert_eq!(fault(b"\x02\x02\x01a\x01a"), twice);
    assert_eq!(fault(b"\x04\x02\x01a\x01b\x01a\x01c"), twice);
    assert_eq!(fault(b"\x05\x01\x01a\0\0\0\0\0\0\xf8\x7f").to_string_short(), "NAN");
    assert_eq!(fault(b"\x03\x01\x01a\xfd").to_string_short(), "NAN");
    for empty in [&b"\x01\x00"[..], b"\x02\x00", b"\x04\x00", b"\x05\x00", b"\x12\x00"] {
        assert_eq!(fault(empty), Fault::Empty);
    }
    assert_eq!(fault(b"\x10\x0a\x0a\0\0\0\x01\0\x81a\x02\xff").to_string_short(), "Hash listpack");
    assert_eq!(fault(b"\x12\x01\x03\x01a").to_string_short(), "Quicklist");
    assert_eq!(fault(b"\x07\x01"), Fault::Module(1));
    assert_eq!(fault(b"\x02\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a"), Fault::Ended);
}

impl Fault {
    /// Returns a word that identifies the kind of error.
    fn to_string_short(self) -> &'static str {
        let Fault::Corrupt(what) = self else { return "another" };
        let words = ["NAN", "Hash listpack", "Quicklist"];
        words.into_iter().find(|word| what.contains(word)).unwrap_or(what)
    }
}

#[test]
fn strings_have_payloads() {
    let mut out = Vec::new();
    Encoder::new(&mut out, true).string_payload(&Str::Int(12));
    let (dialect, body) = open_payload(&out, false, true).expect("a payload");
    let config = Config::default();
    let limits = Limits::of(&config);
    let reading = Reading { limits: &limits, due_before_ms: None };
    match reading.payload(dialect, body) {
        Ok(Value::String(text)) => assert_eq!(text.bytes(&mut IntText::new()), b"12"),
        other => panic!("{other:?}"),
    }
    out[1] ^= 1;
    assert_eq!(open_payload(&out, false, true), None);
    assert!(open_payload(&out, false, false).is_some());
    assert_eq!(open_payload(&out[..9], true, false), None);
}
