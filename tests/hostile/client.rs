//! A hostile client: one connection after the other, each with a mood, each gone at any moment.

use super::draw::{Args, DATABASES, Draw, is_odd};
use super::forms;
use super::link::{End, Link};
use super::shared::Shared;
use super::wire::{put_request, text};

/// Milliseconds that a client waits for the server to take its bytes.
const TAKING_MS: u64 = 400;

/// Milliseconds without any reply after which the next counts as lost. Commands of other clients
/// may take long, but not so long.
const LOST_MS: u64 = 60_000;

/// Times that a client waits [`LOST_MS`] again because replies have come meanwhile.
const LOST_ROUNDS_MAX: usize = 5;

/// Milliseconds that a client waits for the list of clients.
const LIST_MS: u64 = 5_000;

/// Milliseconds that a client waits for its id.
const ID_MS: u64 = 200;

/// Bytes of one pipeline.
const PIPELINE_BYTES_MAX: usize = 4 << 20;

/// How a connection spends its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// Pipelines of any commands.
    Pipelines,
    /// Transactions of hundreds of commands, also behind WATCH.
    Transactions,
    /// Hundreds of long replies in one transaction.
    LongReplies,
    /// Large collections, and commands that take long on them.
    Large,
    /// Waits for others, and feeds them.
    Blocks,
    /// Disturbs others.
    Disturbs,
    /// MONITOR, read slowly or not.
    Monitors,
    /// Sends what is no command.
    Garbage,
}

/// By weight.
const MOODS: &[Mood] = &[
    Mood::Pipelines,
    Mood::Pipelines,
    Mood::Pipelines,
    Mood::Transactions,
    Mood::Transactions,
    Mood::LongReplies,
    Mood::Large,
    Mood::Large,
    Mood::Large,
    Mood::Blocks,
    Mood::Blocks,
    Mood::Disturbs,
    Mood::Disturbs,
    Mood::Monitors,
    Mood::Garbage,
];

pub struct Client<'a> {
    number: usize,
    shared: &'a Shared,
    draw: Draw<'a>,
    moods: Vec<Mood>,
}

/// One pipeline.
#[derive(Default)]
struct Pipeline {
    bytes: Vec<u8>,
    commands: u64,
    /// Whether its replies are as many as its commands.
    is_regular: bool,
}

/// Returns the moods that `ANNULET_HOSTILE_MOODS` names, or all.
fn moods() -> Vec<Mood> {
    let names = std::env::var("ANNULET_HOSTILE_MOODS").unwrap_or_default();
    let is_named = |mood: &Mood| names.is_empty() || names.contains(&format!("{mood:?}"));
    let moods: Vec<Mood> = MOODS.iter().copied().filter(is_named).collect();
    assert!(!moods.is_empty(), "ANNULET_HOSTILE_MOODS names no mood: {names}");
    moods
}

impl<'a> Client<'a> {
    pub fn new(number: usize, shared: &'a Shared, seed: u64) -> Client<'a> {
        Client { number, shared, draw: Draw::new(shared, seed), moods: moods() }
    }

    /// Runs until the run is over.
    pub fn run(&mut self) {
        while !self.shared.is_over() {
            // Every other client uses TLS.
            let link = match self.number % 2 {
                0 => Link::connect(self.shared.port),
                _ => Link::connect_secured(&self.shared.secured),
            };
            let Some(mut link) = link else {
                std::thread::sleep(std::time::Duration::from_millis(5));
                continue;
            };
            let end = self.live(&mut link);
            self.shared.answered.fetch_add(link.replies, super::RELAXED);
            if end == End::Closed {
                self.shared.closed.fetch_add(1, super::RELAXED);
            }
            if let Some(bytes) = &link.malformed {
                let found = bytes.escape_ascii();
                self.shared.fail(format!("client {}: no reply begins: {found}", self.number));
            }
            self.shared.trace(self.number, format!("is gone: {end:?}"));
        }
    }

    fn live(&mut self, link: &mut Link) -> End {
        let mood = *self.draw.dice.pick(&self.moods);
        let id = link.ask(&["CLIENT", "ID"], ID_MS).ok();
        let id = id.and_then(|reply| String::from_utf8(reply).ok()?[1..].trim().parse().ok());
        self.shared.publish(self.number, id, link.port);
        self.shared.trace(self.number, format!("{mood:?} on port {}, id {id:?}", link.port));
        if self.draw.dice.one_in(2) {
            let db = self.draw.dice.below(DATABASES).to_string();
            let version = self.draw.dice.between(2, 3).to_string();
            if link.ask(&["HELLO", &version], ID_MS).is_err() {
                return End::Late;
            }
            if link.ask(&["SELECT", &db], ID_MS).is_err() {
                return End::Late;
            }
        }
        let rounds = self.draw.dice.between(1, 12);
        let mut is_regular = true;
        for _ in 0..rounds {
            if self.shared.is_over() {
                return End::Done;
            }
            let pipeline = self.pipeline(mood);
            is_regular &= pipeline.is_regular;
            link.is_raw |= !pipeline.is_regular && mood == Mood::Garbage;
            let end = self.round(link, &pipeline, is_regular);
            if end != End::Done {
                return end;
            }
        }
        self.part(link, is_regular)
    }

    /// Sends a pipeline, in whole or in part, and reads some of the replies.
    fn round(&mut self, link: &mut Link, pipeline: &Pipeline, is_regular: bool) -> End {
        let dice = &mut self.draw.dice;
        let len = pipeline.bytes.len();
        let cut = if dice.one_in(25) { dice.below(len as u64 + 1) as usize } else { len };
        let reads = !dice.one_in(6);
        let until = link.replies + pipeline.commands;
        let end = link.push(&pipeline.bytes[..cut], reads, TAKING_MS);
        self.shared.sent.fetch_add(pipeline.commands, super::RELAXED);
        if end != End::Done || cut < len {
            self.shared.trace(self.number, format!("sent at most {cut} of {len} bytes: {end:?}"));
            return if end == End::Done { End::Late } else { end };
        }
        match dice.below(4) {
            // Reads nothing, or a little.
            0 => End::Done,
            1 => match link.read_until(|link| link.replies >= until, dice.below(20)) {
                End::Closed => End::Closed,
                _ => End::Done,
            },
            _ if !is_regular => match link.read_until(|link| link.replies >= until, 30) {
                End::Closed => End::Closed,
                _ => End::Done,
            },
            _ => {
                let end = link.read_until(|link| link.replies >= until, 2_000);
                if let Some(payload) =
                    text(&link.last).filter(|text| (1..10_000).contains(&text.len()))
                {
                    self.draw.keep_payload(payload);
                }
                if end == End::Late { End::Done } else { end }
            }
        }
    }

    /// Leaves: at once, in order, or after a last reply that must come.
    fn part(&mut self, link: &mut Link, is_regular: bool) -> End {
        match self.draw.dice.below(4) {
            0 => End::Done,
            1 => {
                link.finish_sending();
                match link.read_until(|_| false, 50) {
                    End::Late => End::Done,
                    end => end,
                }
            }
            _ if !is_regular => End::Done,
            _ => self.last_reply(link),
        }
    }

    /// Returns what the server says about all its clients.
    fn clients_of_server(&self) -> String {
        let link = Link::connect(self.shared.port);
        let reply = link.and_then(|mut link| link.ask(&["CLIENT", "LIST"], LIST_MS).ok());
        reply.map_or("no reply".to_string(), |reply| String::from_utf8_lossy(&reply).into_owned())
    }

    fn last_reply(&mut self, link: &mut Link) -> End {
        let mark = format!("mark {} {}", self.number, self.draw.dice.below(1 << 40));
        let mut bytes = Vec::new();
        put_request(&mut bytes, &["DISCARD"]);
        // A subscriber with RESP2 may not send ECHO.
        for unsubscribe in ["UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"] {
            put_request(&mut bytes, &[unsubscribe]);
        }
        put_request(&mut bytes, &["ECHO", &mark]);
        self.shared.trace(self.number, format!("DISCARD, UNSUBSCRIBE, ECHO {mark}"));
        let expected = format!("${}\r\n{mark}\r\n", mark.len()).into_bytes();
        let mut end = link.push(&bytes, true, LOST_MS);
        for _ in 0..LOST_ROUNDS_MAX {
            let progress = link.progress();
            if end == End::Done {
                end = link.read_until(|link| link.last == expected, LOST_MS);
            }
            if end != End::Late || link.progress() == progress {
                break;
            }
            // Replies are slow and not lost.
            end = End::Done;
        }
        if end == End::Late {
            let (client, port) = (self.number, link.port);
            let last = link.last[..link.last.len().min(200)].escape_ascii();
            let (replies, unread) = link.progress();
            self.shared.fail(format!(
                "client {client}, port {port}: no reply to {mark}; {replies} replies, {unread} \
                 bytes of the next, the last {last}; the server's clients:\n{}",
                self.clients_of_server()
            ));
        }
        end
    }

    fn pipeline(&mut self, mood: Mood) -> Pipeline {
        let mut pipeline = Pipeline { is_regular: true, ..Pipeline::default() };
        let dice = &mut self.draw.dice;
        match mood {
            Mood::Pipelines => {
                let most = *dice.pick(&[1, 1, 3, 20, 64, 65, 200, 1_000]);
                let count = dice.between(1, most);
                self.put_any(&mut pipeline, count);
            }
            Mood::Transactions => self.put_transaction(&mut pipeline),
            Mood::LongReplies => self.put_long_replies(&mut pipeline),
            Mood::Large => {
                for _ in 0..dice.between(1, 4) {
                    let args = self.draw.form(forms::LOADS);
                    self.put(&mut pipeline, args);
                    if self.draw.dice.one_in(2) {
                        let args = self.draw.form(forms::VOLATILE);
                        self.put(&mut pipeline, args);
                    }
                    for _ in 0..self.draw.dice.below(8) {
                        let args = self.draw.form(forms::HEAVY);
                        self.put(&mut pipeline, args);
                    }
                }
            }
            Mood::Blocks => {
                for _ in 0..dice.between(1, 6) {
                    let of = self.draw.dice.one_in(2);
                    let args = self.draw.form(if of { forms::BLOCKING } else { forms::FEEDING });
                    self.put(&mut pipeline, args);
                }
                let count = self.draw.dice.below(20);
                self.put_any(&mut pipeline, count);
            }
            Mood::Disturbs => {
                for _ in 0..dice.between(1, 6) {
                    let args = self.draw.disturbing();
                    self.put(&mut pipeline, args);
                }
            }
            Mood::Monitors => {
                pipeline.is_regular = false;
                self.put(&mut pipeline, vec![b"MONITOR".to_vec()]);
            }
            Mood::Garbage => {
                pipeline.is_regular = false;
                let count = dice.below(4);
                self.put_any(&mut pipeline, count);
                let bytes = *self.draw.dice.pick(forms::GARBAGE);
                self.shared.trace(self.number, format!("bytes {}", bytes.escape_ascii()));
                pipeline.bytes.extend_from_slice(bytes);
            }
        }
        pipeline
    }

    fn put(&mut self, pipeline: &mut Pipeline, args: Args) {
        self.shared.trace_command(self.number, &args);
        pipeline.is_regular &= !is_odd(&args);
        put_request(&mut pipeline.bytes, &args);
        pipeline.commands += 1;
    }

    fn put_any(&mut self, pipeline: &mut Pipeline, count: u64) {
        for _ in 0..count {
            if pipeline.bytes.len() > PIPELINE_BYTES_MAX {
                return;
            }
            let args = self.draw.any();
            self.put(pipeline, args);
        }
    }

    fn put_words(&mut self, pipeline: &mut Pipeline, words: &str) {
        let args = words.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        self.put(pipeline, args);
    }

    fn put_transaction(&mut self, pipeline: &mut Pipeline) {
        let dice = &mut self.draw.dice;
        let most = *dice.pick(&[3, 20, 100, 300, 600]);
        let count = dice.between(1, most);
        if dice.one_in(2) {
            let args = self.draw.form(&["WATCH $key", "WATCH $key $key $key"]);
            self.put(pipeline, args);
        }
        self.put_words(pipeline, "MULTI");
        self.put_any(pipeline, count);
        match self.draw.dice.below(12) {
            0 => {}
            1 => self.put_words(pipeline, "DISCARD"),
            _ => self.put_words(pipeline, "EXEC"),
        }
    }

    fn put_long_replies(&mut self, pipeline: &mut Pipeline) {
        const FORMS: &[&str] = &["CLIENT LIST", "CLIENT LIST", "INFO", "KEYS *", "COMMAND LIST"];
        let form = [*self.draw.dice.pick(FORMS)];
        let count = *self.draw.dice.pick(&[3, 255, 256, 257, 300, 600]);
        if self.draw.dice.one_in(2) {
            let args = self.draw.form(&["WATCH $key $key"]);
            self.put(pipeline, args);
        }
        let is_multi = !self.draw.dice.one_in(4);
        if is_multi {
            self.put_words(pipeline, "MULTI");
        }
        for _ in 0..count {
            let args = self.draw.form(&form);
            self.put(pipeline, args);
        }
        if is_multi {
            self.put_words(pipeline, "EXEC");
        }
    }
}
