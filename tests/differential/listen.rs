//! Connections to both servers that only listen: to all messages and notifications, to channels
//! that change, and to the invalidations of all keys.
//!
//! A PING on each connection follows every pipeline. What comes before its reply was caused by the
//! pipeline, as on one Redis, and must be equal on both servers.

use super::findings::shown;
use super::vocabulary::{self, Dice};
use super::wire::{self, Wire, put_request};
use std::io::Result;

/// Commands that change what the second connection listens to. Their names, and whether an
/// argument is a pattern.
const CHANGES: &[(&str, bool)] = &[
    ("SUBSCRIBE", false),
    ("SSUBSCRIBE", false),
    ("PSUBSCRIBE", true),
    ("UNSUBSCRIBE", false),
    ("SUNSUBSCRIBE", false),
    ("PUNSUBSCRIBE", true),
];

/// Number of messages that are shown of a difference.
const SHOWN_MAX: usize = 8;

/// The kinds of listening connections.
const KINDS: [&str; 3] = ["all messages", "messages of channels", "invalidations"];

/// Place of the connection that listens to channels, and of the one that gets invalidations.
const CHANNELS: usize = 1;
const INVALIDATIONS: usize = 2;

/// The listening connections to both servers.
pub struct Listeners {
    /// For each kind, the connection to Annulet and the one to the peer.
    pairs: Vec<[Wire; 2]>,
    marks: u64,
}

/// A difference of what a connection has heard.
pub struct Misheard {
    pub kind: String,
    pub text: String,
    /// The key of the first message that differs.
    pub key: Vec<u8>,
}

impl Listeners {
    /// Connects to both servers. `connect` opens a connection to the server at an index.
    pub fn new(mut connect: impl FnMut(usize, u8) -> Wire, protocol: u8) -> Listeners {
        let mut pair = |protocol| [0, 1].map(|server| connect(server, protocol));
        let mut pairs = vec![pair(protocol), pair(protocol), pair(3)];
        for wire in &mut pairs[0] {
            let mut bytes = Vec::new();
            put_request(&mut bytes, &["PSUBSCRIBE", "*"]);
            wire.send(&bytes).expect("the server takes bytes");
            wire.frame().expect("the server confirms");
        }
        for wire in &mut pairs[INVALIDATIONS] {
            assert_eq!(wire.ask(&["CLIENT", "TRACKING", "ON", "BCAST"]), b"+OK\r\n");
        }
        Listeners { pairs, marks: 0 }
    }

    /// Drops what the connections have heard since the last call.
    pub fn forget(&mut self) -> Result<()> {
        for wire in self.pairs.iter_mut().flatten() {
            self.marks += 1;
            let mark = format!("mark {}", self.marks);
            let mut bytes = Vec::new();
            put_request(&mut bytes, &["PING", &mark]);
            wire.send(&bytes)?;
            until_mark(wire, &mark)?;
        }
        Ok(())
    }

    /// Compares what the connections have heard since the last call, and changes what one listens
    /// to. `in_any_order`: messages may come in any order. `with_expired`: expired keys are noticed
    /// by the same commands on both servers. Returns the differences.
    pub fn compare(
        &mut self,
        dice: &mut Dice,
        (in_any_order, with_expired): (bool, bool),
    ) -> Result<Vec<Misheard>> {
        let mut found = Vec::new();
        for (kind, pair) in self.pairs.iter_mut().enumerate() {
            self.marks += 1;
            let mark = format!("mark {}", self.marks);
            let mut bytes = Vec::new();
            if kind == CHANNELS && dice.one_in(4) {
                put_request(&mut bytes, &change(dice));
            }
            put_request(&mut bytes, &["PING", &mark]);
            let mut heard = [Vec::new(), Vec::new()];
            for (wire, heard) in pair.iter_mut().zip(&mut heard) {
                wire.send(&bytes)?;
                *heard = until_mark(wire, &mark)?;
                if kind == INVALIDATIONS {
                    // The peer sends them at the end of a turn, which may follow the reply.
                    wire.send(&bytes)?;
                    heard.extend(until_mark(wire, &mark)?);
                }
            }
            if !with_expired {
                heard.iter_mut().for_each(|frames| frames.retain(|frame| !is_expired(frame)));
            }
            match kind {
                // A message that several patterns match comes once for each, in any order.
                CHANNELS => heard.iter_mut().for_each(|frames| frames.sort_unstable()),
                INVALIDATIONS => heard = heard.map(|frames| keys_of(&frames)),
                _ if in_any_order => heard.iter_mut().for_each(|frames| frames.sort_unstable()),
                _ => {}
            }
            found.extend(difference(KINDS[kind], &heard));
        }
        Ok(found)
    }
}

/// Returns a command that changes what a connection listens to.
fn change(dice: &mut Dice) -> Vec<Vec<u8>> {
    let (name, is_pattern) = *dice.pick(CHANGES);
    let mut args = vec![name.as_bytes().to_vec()];
    for _ in 0..dice.between(1, 3) {
        args.push(if is_pattern { vocabulary::pattern(dice) } else { vocabulary::key(dice) });
    }
    args
}

/// Returns what a connection has heard before the reply to the PING with this text.
fn until_mark(wire: &mut Wire, mark: &str) -> Result<Vec<Vec<u8>>> {
    let plain = format!("${}\r\n{mark}\r\n", mark.len()).into_bytes();
    let subscribed = [&b"*2\r\n$4\r\npong\r\n"[..], &plain].concat();
    let mut heard = Vec::new();
    loop {
        let frame = wire.frame()?;
        if frame == plain || frame == subscribed {
            return Ok(heard);
        }
        heard.push(frame);
    }
}

/// Returns whether a message notifies of an expired key.
fn is_expired(frame: &[u8]) -> bool {
    name_of(frame).ends_with("expired")
}

/// Returns the keys of invalidations, sorted, each once. Null stands for all keys.
pub fn keys_of(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let lists = frames.iter().filter_map(|frame| wire::children(frame)?.get(1).copied());
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for list in lists {
        match wire::children(list) {
            Some(names) => keys.extend(names.into_iter().map(<[u8]>::to_vec)),
            None => keys.push(list.to_vec()),
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Returns the first difference of two lists, if there is any.
pub fn difference(what: &str, [ours, theirs]: &[Vec<Vec<u8>>; 2]) -> Option<Misheard> {
    if ours == theirs {
        return None;
    }
    let same = ours.iter().zip(theirs).take_while(|(one, other)| one == other).count();
    let shown_from = |frames: &[Vec<u8>]| {
        let from = same.saturating_sub(1);
        let lines = frames.iter().skip(from).take(SHOWN_MAX).map(|frame| shown(frame));
        lines.collect::<Vec<_>>().join("\n            ")
    };
    let name =
        |frames: &[Vec<u8>]| frames.get(same).map_or("nothing".to_string(), |it| name_of(it));
    let kind = format!("{what}: {} against {}", name(ours), name(theirs));
    let frame = [ours, theirs].into_iter().filter_map(|frames| frames.get(same)).min();
    let key = frame.map_or(Vec::new(), |frame| key_of(frame));
    let (ours, theirs) = (shown_from(ours), shown_from(theirs));
    Some(Misheard { kind, key, text: format!("  Annulet: {ours}\n  Valkey:  {theirs}") })
}

/// Returns the last text of a message, or its bytes.
fn key_of(frame: &[u8]) -> Vec<u8> {
    let start = frame.iter().position(|byte| b">*$".contains(byte)).unwrap_or(0);
    let mut rest = &frame[start..];
    while let Some(last) = wire::children(rest).and_then(|parts| parts.last().copied()) {
        rest = last;
    }
    wire::text(rest).unwrap_or(rest).to_vec()
}

/// Returns the event of a notification without its key, or the kind of another message.
fn name_of(frame: &[u8]) -> String {
    let parts = wire::children(frame).unwrap_or_default();
    let texts: Vec<_> = parts.iter().filter_map(|part| wire::text(part)).collect();
    let channel = texts.iter().find(|text| text.starts_with(b"__key"));
    match (channel, texts.last()) {
        (Some(channel), _) if channel.starts_with(b"__keyevent") => {
            channel.escape_ascii().to_string()
        }
        (Some(_), Some(event)) => format!("keyspace {}", event.escape_ascii()),
        _ => texts.first().map_or(String::new(), |kind| kind.escape_ascii().to_string()),
    }
}
