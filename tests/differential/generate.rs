//! Generates random commands by the grammar: mostly valid ones, some with a mistake.

use super::compare::Check;
use super::grammar::{Command, Part};
use super::guard;
use super::script::{Scripts, Wrapped};
use super::vocabulary::{self, Dice};

/// Largest number of payloads of `DUMP` that are kept for `RESTORE`.
const PAYLOADS_MAX: usize = 32;

/// One of this number of commands runs in a script.
const SCRIPT_PERIOD: u64 = 8;

/// One generated command.
pub struct Made {
    pub command: &'static Command,
    pub args: Vec<Vec<u8>>,
    /// The literal arguments of the command; empty if it was made with a mistake.
    pub options: Vec<&'static str>,
    /// The script that runs the command, if one does.
    pub wrapped: Option<Wrapped>,
}

impl Made {
    /// Returns how the replies to this command are compared.
    pub fn check(&self) -> Check {
        match &self.wrapped {
            Some(wrapped) => wrapped.check,
            None => guard::check_of(&self.args).unwrap_or(self.command.check),
        }
    }

    /// Returns a command that is not drawn.
    pub fn fixed(command: &'static Command, args: Vec<Vec<u8>>) -> Made {
        Made { command, args, options: Vec::new(), wrapped: None }
    }

    /// Returns the place of the command's name among the arguments.
    pub fn name_at(&self) -> usize {
        self.wrapped.as_ref().map_or(0, |wrapped| wrapped.at)
    }
}

/// Generates commands.
pub struct Generator {
    pub dice: Dice,
    commands: Vec<&'static Command>,
    weight: u64,
    protocol: u8,
    payloads: Vec<Vec<u8>>,
    scripts: Scripts,
}

impl Generator {
    /// Creates a generator of these commands, for connections with this version of the protocol.
    pub fn new(
        commands: Vec<&'static Command>,
        scripts: Scripts,
        protocol: u8,
        seed: u64,
    ) -> Generator {
        let weight = commands.iter().map(|command| u64::from(command.weight)).sum();
        let payloads = vec![b"no payload".to_vec()];
        Generator { dice: Dice::new(seed), commands, weight, protocol, payloads, scripts }
    }

    /// Keeps a payload of `DUMP`.
    pub fn keep_payload(&mut self, payload: &[u8]) {
        if self.payloads.len() < PAYLOADS_MAX {
            self.payloads.push(payload.to_vec());
        } else {
            let place = self.dice.below(PAYLOADS_MAX as u64) as usize;
            self.payloads[place] = payload.to_vec();
        }
    }

    /// Returns one of the commands, by their weights.
    pub fn any(&mut self) -> Made {
        let mut drawn = self.dice.below(self.weight);
        let mut commands = self.commands.iter();
        let command = loop {
            let command = commands.next().expect("the weights add up");
            match drawn.checked_sub(u64::from(command.weight)) {
                Some(rest) => drawn = rest,
                None => break *command,
            }
        };
        self.made(command)
    }

    /// Returns the command of this name, if it is among the generated ones.
    pub fn named(&mut self, name: &str) -> Option<Made> {
        let command = *self.commands.iter().find(|command| command.name == name)?;
        Some(self.made(command))
    }

    fn made(&mut self, command: &'static Command) -> Made {
        let args = command.name.split(' ').map(|arg| arg.as_bytes().to_vec()).collect();
        let mut made = Made::fixed(command, args);
        self.put_all(command.parts, &mut made);
        if self.dice.one_in(14) {
            self.slip(&mut made.args);
            made.options.clear();
        }
        guard::keep_harmless(&mut made.args, self.protocol);
        if self.dice.one_in(SCRIPT_PERIOD) {
            self.scripts.wrap(&mut made, &mut self.dice);
        }
        made
    }

    fn put_all(&mut self, parts: &'static [Part], made: &mut Made) {
        parts.iter().for_each(|part| self.put(part, made));
    }

    fn put(&mut self, part: &'static Part, made: &mut Made) {
        let dice = &mut self.dice;
        let arg = match part {
            Part::Maybe(inner) => {
                if dice.one_in(2) {
                    self.put_all(inner, made);
                }
                return;
            }
            Part::Either(all) => {
                let inner = *dice.pick(all);
                return self.put_all(inner, made);
            }
            Part::Some(all) => return self.put_some(all, made),
            Part::Repeat(from, to, inner) => {
                let count = dice.between(*from, *to);
                return (0..count).for_each(|_| self.put_all(inner, made));
            }
            Part::Counted(from, to, inner) => {
                let count = dice.between(*from, *to);
                made.args.push(count.to_string().into_bytes());
                return (0..count).for_each(|_| self.put_all(inner, made));
            }
            Part::Word(arg) => {
                made.options.push(arg);
                arg.as_bytes().to_vec()
            }
            Part::Payload => self.payload(),
            Part::Protocol => self.protocol.to_string().into_bytes(),
            Part::Key => vocabulary::key(dice),
            Part::Value => vocabulary::value(dice),
            Part::Member => vocabulary::member(dice),
            Part::Integer => vocabulary::integer(dice),
            Part::Index => vocabulary::index(dice),
            Part::Float => vocabulary::float(dice),
            Part::Longitude => vocabulary::longitude(dice),
            Part::Latitude => vocabulary::latitude(dice),
            Part::Length => vocabulary::length(dice),
            Part::Bit => vocabulary::bit(dice),
            Part::BitOffset => vocabulary::bit_offset(dice),
            Part::ByteOffset => vocabulary::byte_offset(dice),
            Part::Encoding => vocabulary::encoding(dice),
            Part::FieldOffset => vocabulary::field_offset(dice),
            Part::Seconds => vocabulary::seconds(dice),
            Part::Milliseconds => vocabulary::milliseconds(dice),
            Part::UnixSeconds => vocabulary::unix_seconds(dice),
            Part::UnixMilliseconds => vocabulary::unix_milliseconds(dice),
            Part::Database => vocabulary::database(dice),
            Part::Pattern => vocabulary::pattern(dice),
            Part::Cursor => vocabulary::cursor(dice),
            Part::Count => vocabulary::count(dice),
            Part::NewId => vocabulary::new_id(dice),
            Part::Id => vocabulary::id(dice),
            Part::IdBound => vocabulary::id_bound(dice),
            Part::Name => vocabulary::name(dice),
            Part::MinIdle => vocabulary::min_idle(dice),
            Part::TypeName => vocabulary::type_name(dice),
        };
        made.args.push(arg);
    }

    fn put_some(&mut self, all: &'static [&'static [Part]], made: &mut Made) {
        let mut left: Vec<&'static [Part]> = all.to_vec();
        while !left.is_empty() {
            let place = self.dice.below(left.len() as u64) as usize;
            let inner = left.swap_remove(place);
            if self.dice.below(5) < 2 {
                self.put_all(inner, made);
            }
        }
    }

    fn payload(&mut self) -> Vec<u8> {
        let mut payload = self.dice.pick(&self.payloads).clone();
        if self.dice.one_in(6) {
            let place = self.dice.below(payload.len() as u64) as usize;
            payload[place] ^= 1 << self.dice.below(8);
        }
        payload
    }

    /// Makes a typical mistake: an argument too few or too many, or in a wrong place.
    fn slip(&mut self, args: &mut Vec<Vec<u8>>) {
        let dice = &mut self.dice;
        let place = dice.below(args.len() as u64) as usize;
        match dice.below(6) {
            0 if args.len() > 1 => drop(args.remove(place.max(1))),
            1 => args.push(vocabulary::any(dice)),
            2 if args.len() > 1 => args[place.max(1)] = vocabulary::any(dice),
            3 if args.len() > 2 => {
                let other = dice.between(1, args.len() as u64 - 1) as usize;
                args.swap(place.max(1), other);
            }
            4 if args.len() > 1 => {
                let twice = args[place.max(1)].clone();
                args.push(twice);
            }
            _ => {
                for letter in args.iter_mut().flatten() {
                    if dice.one_in(2) {
                        *letter ^= u8::from(letter.is_ascii_uppercase()) << 5;
                    }
                }
            }
        }
    }
}
