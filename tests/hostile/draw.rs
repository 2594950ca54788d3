//! Draws commands: from the grammar of the differential test, from the cards, and from the forms.

use super::forms;
use super::generate::Generator;
use super::grammar;
use super::script::{LIBRARY, Scripts};
use super::shared::Shared;
use super::vocabulary::{self, Dice};
use annulet::base::clock::Clock;
use annulet::base::number::parse_i64;
use annulet::base::slot::SLOT_COUNT;
use annulet::commands;
use annulet::exec::{CommandTable, Entry};
use annulet::spec::{Begin, Flag};
use std::sync::OnceLock;

/// Expiries that the grammar moves beyond the end of a run are at least this many milliseconds.
const FAR_MS: i64 = 200_000;

/// Databases that the clients use, besides rare others.
pub const DATABASES: u64 = 4;

/// Members of a large collection: enough to be offloaded, few enough that collections overlap.
const MEMBERS: u64 = 40_000;

/// Hash slots of the server.
const SLOTS: u64 = SLOT_COUNT as u64;

/// Bytes of the largest value.
const BIG_BYTES_MAX: u64 = 1 << 20;

/// The arguments of a command.
pub type Args = Vec<Vec<u8>>;

/// Draws commands for one client.
pub struct Draw<'a> {
    /// The source of all its decisions.
    pub dice: Dice,
    generator: Generator,
    shared: &'a Shared,
}

/// Returns the server's commands, subcommands included, without containers and spared ones.
fn cards() -> &'static [&'static Entry] {
    static CARDS: OnceLock<Vec<&'static Entry>> = OnceLock::new();
    CARDS.get_or_init(|| {
        static TABLE: OnceLock<CommandTable> = OnceLock::new();
        let table = TABLE.get_or_init(|| CommandTable::new(commands::FAMILIES));
        let is_spared = |name: &str| forms::SPARED.contains(&name);
        table.walk().filter(|entry| !is_spared(&entry.name)).collect()
    })
}

/// Whether the connection may not answer as usual after this command: it waits, it replies with
/// something else, or with nothing.
pub fn is_odd(args: &Args) -> bool {
    const ODD: &[&str] = &["MONITOR", "SYNC", "PSYNC", "QUIT", "REPLCONF", "WAIT", "WAITAOF"];
    let name = String::from_utf8_lossy(&args[0]).to_ascii_uppercase();
    let is_reply = || args.get(1).is_some_and(|arg| arg.eq_ignore_ascii_case(b"REPLY"));
    let blocks = |entry: &&&Entry| {
        entry.name.eq_ignore_ascii_case(&name) && entry.command.card.flags.has(Flag::BLOCKING)
    };
    ODD.contains(&&*name) || (name == "CLIENT" && is_reply()) || cards().iter().any(|e| blocks(&e))
}

impl<'a> Draw<'a> {
    /// Creates the draws of one client.
    pub fn new(shared: &'a Shared, seed: u64) -> Draw<'a> {
        let scripts = Scripts::unloaded(2);
        let generator = Generator::new(grammar::all().collect(), scripts, 2, !seed);
        Draw { dice: Dice::new(seed), generator, shared }
    }

    /// Keeps a payload of `DUMP` for `RESTORE`.
    pub fn keep_payload(&mut self, payload: &[u8]) {
        self.generator.keep_payload(payload);
    }

    /// Draws any command.
    pub fn any(&mut self) -> Args {
        match self.dice.below(20) {
            0..=11 => self.of_grammar(),
            12..=14 => self.of_card(),
            15 | 16 => self.form(forms::VOLATILE),
            17 => self.form(forms::FEEDING),
            18 => self.form(forms::MESSAGES),
            19 if self.dice.one_in(4) => self.script(),
            _ => self.form(forms::HEAVY),
        }
    }

    /// Draws a command that disturbs others.
    pub fn disturbing(&mut self) -> Args {
        match self.dice.below(12) {
            0..=2 => self.setting(),
            3 if self.shared.may_pause() => self.form(forms::PAUSES),
            _ => self.form(forms::ADMIN),
        }
    }

    /// Draws a script that runs for long, or a change of what scripts there are.
    fn script(&mut self) -> Args {
        let key = vocabulary::key(&mut self.dice);
        let words: &[&[u8]] = match self.dice.below(6) {
            0 => &[b"FUNCTION", b"FLUSH"],
            1 => &[b"SCRIPT", b"FLUSH"],
            2 => &[b"SCRIPT", b"KILL"],
            _ => {
                let code = *self.dice.pick(forms::SCRIPTS);
                let count = [b"0", b"1"][self.dice.below(2) as usize];
                &[b"EVAL", code.as_bytes(), count, &key]
            }
        };
        let library = [b"FUNCTION", &b"LOAD"[..], b"REPLACE", LIBRARY.as_bytes()];
        let words = if self.dice.one_in(3) { &library } else { words };
        words.iter().map(|word| word.to_vec()).collect()
    }

    fn setting(&mut self) -> Args {
        let (name, values) = self.dice.pick(forms::SETTINGS);
        let value = match &self.shared.maxmemory {
            Some(limit) if *name == "maxmemory" => limit,
            _ => *self.dice.pick(values),
        };
        [b"CONFIG", &b"SET"[..], name.as_bytes(), value.as_bytes()].map(<[u8]>::to_vec).into()
    }

    /// Draws by the grammar; expiries are near and timeouts of any length.
    pub fn of_grammar(&mut self) -> Args {
        let mut args = self.generator.any().args;
        let name = args[0].to_ascii_uppercase();
        match name.as_slice() {
            b"EXPIRE" | b"SETEX" | b"HEXPIRE" => self.bring_near(args.get_mut(2), FAR_MS, 2),
            b"PEXPIRE" | b"PSETEX" | b"RESTORE" | b"HPEXPIRE" => {
                self.bring_near(args.get_mut(2), FAR_MS * 1_000, 60);
            }
            b"BLPOP" | b"BRPOP" | b"BLMOVE" | b"BRPOPLPUSH" | b"BZPOPMIN" | b"BZPOPMAX" => {
                let last = args.len() - 1;
                self.set_timeout(args.get_mut(last.max(1)));
            }
            b"BLMPOP" | b"BZMPOP" => self.set_timeout(args.get_mut(1)),
            b"SPOP" if args.len() == 3 => args[2] = self.filled("$n"),
            _ => {
                for at in 1..args.len() {
                    match args[at - 1].to_ascii_uppercase().as_slice() {
                        b"EX" => self.bring_near(args.get_mut(at), FAR_MS, 2),
                        b"PX" => self.bring_near(args.get_mut(at), FAR_MS * 1_000, 60),
                        b"PXAT" if self.dice.one_in(2) => args[at] = self.filled("$soon"),
                        _ => {}
                    }
                }
            }
        }
        args
    }

    fn bring_near(&mut self, arg: Option<&mut Vec<u8>>, far: i64, near: u64) {
        let Some(arg) = arg else { return };
        if parse_i64(arg).is_some_and(|number| number >= far) && !self.dice.one_in(4) {
            *arg = self.dice.between(1, near).to_string().into_bytes();
        }
    }

    fn set_timeout(&mut self, arg: Option<&mut Vec<u8>>) {
        if let Some(arg) = arg.filter(|arg| arg.as_slice() == b"0.002") {
            *arg = self.filled("$s");
        }
    }

    /// Draws a command with random arguments, as many as its card allows and sometimes others.
    pub fn of_card(&mut self) -> Args {
        let entry = *self.dice.pick(cards());
        let mut args: Args = entry.name.split('|').map(|arg| arg.as_bytes().to_vec()).collect();
        let card = &entry.command.card;
        let min = card.arity.unsigned_abs() as u64;
        let surplus = if card.arity < 0 { self.dice.below(7) } else { 0 };
        let count = match self.dice.below(12) {
            0 => min.saturating_sub(1),
            1 => min + surplus + 1,
            _ => min + surplus,
        };
        let first = match card.keys.first().map(|keys| keys.begin) {
            Some(Begin::Index(first)) => u64::from(first),
            _ => u64::MAX,
        };
        while (args.len() as u64) < count {
            let at = args.len() as u64;
            let is_key = at == first || (at > first && self.dice.one_in(2));
            let arg = match self.dice.below(40) {
                _ if is_key => vocabulary::key(&mut self.dice),
                0 => self.filled("$big"),
                _ => vocabulary::any(&mut self.dice),
            };
            args.push(arg);
        }
        args
    }

    /// Draws one of these forms and fills it.
    pub fn form(&mut self, forms: &[&str]) -> Args {
        let form = *self.dice.pick(forms);
        let mut args = Args::new();
        for part in form.split(' ') {
            match part {
                "$many" => self.put_many(&mut args, false, false),
                "$scored" => self.put_many(&mut args, true, false),
                "$pairs" => self.put_many(&mut args, false, true),
                "$slots" => {
                    let first = self.dice.below(SLOTS);
                    let count = *self.dice.pick(&[1, 200, 4_000, SLOTS]);
                    let last = (first + count).min(SLOTS) - 1;
                    args.extend([first, last].map(|slot| slot.to_string().into_bytes()));
                }
                "$some" => {
                    let start = self.dice.below(MEMBERS);
                    (start..start + 300).for_each(|number| args.push(member(number)));
                }
                _ => args.push(self.filled(part)),
            }
        }
        args
    }

    fn put_many(&mut self, args: &mut Args, has_scores: bool, has_values: bool) {
        let count = *self.dice.pick(&[500, 9_990, 12_000, 20_000]);
        let start = self.dice.below(MEMBERS - count);
        for number in start..start + count {
            if has_scores {
                args.push((number * 7 % 1_000).to_string().into_bytes());
            }
            args.push(member(number));
            if has_values {
                args.push(number.to_string().into_bytes());
            }
        }
    }

    fn filled(&mut self, part: &str) -> Vec<u8> {
        let dice = &mut self.dice;
        let number = match part {
            "$key" => return vocabulary::key(dice),
            "$huge" => return dice.pick(&[b"huge1", b"huge2", b"huge3"]).to_vec(),
            "$val" => return vocabulary::value(dice),
            "$int" => return vocabulary::integer(dice),
            "$s" => return dice.pick(&["0", "0", "0.01", "0.2", "3"]).as_bytes().to_vec(),
            "$big" => {
                let shift = 4 * dice.below(4);
                let bytes = dice.below(BIG_BYTES_MAX >> shift);
                return vec![b'B'; bytes as usize];
            }
            "$addr" => return self.shared.address(dice).into_bytes(),
            "$id" => self.shared.id(dice),
            "$db" => dice.below(DATABASES),
            "$ms" => dice.between(1, 60),
            "$n" => dice.below(8),
            "$soon" => Clock::System.unix_ms() + dice.below(100),
            "h$n" => return format!("h{}", dice.below(8)).into_bytes(),
            literal => return literal.as_bytes().to_vec(),
        };
        number.to_string().into_bytes()
    }
}

fn member(number: u64) -> Vec<u8> {
    format!("m{number}").into_bytes()
}
