//! Which scripts use only the keys among their arguments, as their text proves.
//!
//! The proof looks at the tokens of a script. It succeeds if the script uses everything that leads
//! to a command only in the forms below, whatever the rest of the script does:
//!
//! ```text
//!   redis.call("name", ...)     the arguments that are keys are key expressions
//!   local NAME = redis.call     then NAME(...) alike
//!   key expressions             KEYS[...], and names that hold nothing else:
//!                               local NAME, NAME = KEYS[...], KEYS[...]
//!                               for NAME, NAME in ipairs(KEYS) do
//!   KEYS                        KEYS[...] is read, #KEYS, unpack(KEYS),
//!                               in ipairs(KEYS) do, in pairs(KEYS) do
//! ```
//! Names that lead to other globals or to compiled text (`_G`, `loadstring`) end the proof, and so
//! does every form that is not listed. A script without a proof may be as harmless.

use super::lex::{Token, tokens};
use super::library_proof::Takers;
use crate::exec::{CommandTable, KeyRouting, Process};
use crate::resp::Error;
use crate::script::{Origin, Script};
use crate::spec::{Begin, Find, KeySpec};
use std::sync::Arc;

/// Names that lead to globals by other names, or to text that is compiled later.
const OPAQUE: [&[u8]; 11] = [
    b"_G",
    b"getfenv",
    b"setfenv",
    b"load",
    b"loadstring",
    b"loadfile",
    b"dofile",
    b"require",
    b"module",
    b"debug",
    b"newproxy",
];

/// Functions that read a table which is their argument.
const READERS: [&[u8]; 3] = [b"unpack", b"ipairs", b"pairs"];

/// Keywords that can follow a complete expression.
const AFTER_EXPRESSION: [&[u8]; 14] = [
    b"local",
    b"if",
    b"for",
    b"while",
    b"repeat",
    b"until",
    b"return",
    b"break",
    b"function",
    b"do",
    b"end",
    b"else",
    b"elseif",
    b"then",
];

/// Adds a script to the process's scripts.
pub(super) fn add(process: &Process, body: &[u8], origin: Origin) -> Result<Arc<Script>, Error> {
    let table = process.commands;
    process.scripts.add(body, origin, &|body| is_confined(body, table))
}

/// Returns whether the text of a script proves that it uses only the keys among its arguments.
fn is_confined(body: &[u8], table: &'static CommandTable) -> bool {
    let Some(tokens) = tokens(body) else { return false };
    let mut proof = Proof::new(&tokens, table, b"KEYS");
    proof.collect_names();
    proof.holds()
}

/// A proof about the tokens of a text.
pub(super) struct Proof<'s> {
    pub(super) tokens: &'s [Token<'s>],
    table: &'static CommandTable,
    /// Names that hold `redis.call` or `redis.pcall`.
    calls: Vec<&'s [u8]>,
    /// Names that hold keys.
    keys: Vec<&'s [u8]>,
    /// Name of the list of keys.
    pub(super) list: &'s [u8],
    /// The functions that take the list of keys, if the text is a library.
    pub(super) takers: Option<Takers<'s>>,
}

impl<'s> Proof<'s> {
    pub(super) fn new(
        tokens: &'s [Token<'s>],
        table: &'static CommandTable,
        list: &'s [u8],
    ) -> Proof<'s> {
        Proof { tokens, table, calls: Vec::new(), keys: Vec::new(), list, takers: None }
    }

    pub(super) fn at(&self, at: usize) -> Option<Token<'s>> {
        self.tokens.get(at).copied()
    }

    pub(super) fn is_mark(&self, at: usize, mark: u8) -> bool {
        self.at(at) == Some(Token::Mark(mark))
    }

    pub(super) fn is_name(&self, at: usize, name: &[u8]) -> bool {
        matches!(self.at(at), Some(Token::Name(found)) if found == name)
    }

    /// Returns whether the name at `at` is a variable, and not a field or a method.
    pub(super) fn is_variable(&self, at: usize) -> bool {
        at == 0 || !(self.is_mark(at - 1, b'.') || self.is_mark(at - 1, b':'))
    }

    /// Returns the index behind the bracket that closes the one at `open`.
    fn behind(&self, open: usize) -> Option<usize> {
        let mut depth = 0usize;
        for (at, token) in self.tokens.iter().enumerate().skip(open) {
            match token {
                Token::Mark(b'(' | b'[' | b'{') => depth += 1,
                Token::Mark(b')' | b']' | b'}') => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Returns the index behind `KEYS[...]` at `at`; none if there is something else.
    fn behind_key(&self, at: usize) -> Option<usize> {
        let is_key = self.is_name(at, self.list) && self.is_mark(at + 1, b'[');
        if is_key { self.behind(at + 1) } else { None }
    }

    /// Returns the index behind `redis.call` or `redis.pcall` at `at`.
    fn behind_call(&self, at: usize) -> Option<usize> {
        let is_library = self.is_name(at, b"redis") || self.is_name(at, b"server");
        let is_call = self.is_name(at + 2, b"call") || self.is_name(at + 2, b"pcall");
        (is_library && self.is_mark(at + 1, b'.') && is_call).then_some(at + 3)
    }

    /// Returns whether an expression is complete before the token at `at`.
    fn ends_expression(&self, at: usize) -> bool {
        match self.at(at) {
            None | Some(Token::Mark(b';')) => true,
            Some(Token::Name(name)) => {
                AFTER_EXPRESSION.contains(&name) || !matches!(name, b"and" | b"or" | b"not")
            }
            _ => false,
        }
    }

    /// Collects the names that hold `redis.call`, or keys. Whether they hold nothing else is looked
    /// at afterwards.
    pub(super) fn collect_names(&mut self) {
        for at in 0..self.tokens.len() {
            if self.is_name(at, b"local") {
                self.collect_local(at);
            } else if let Some(Token::Name(name)) = self.key_of_loop(at) {
                self.keys.push(name);
            }
        }
    }

    /// Returns the name for the keys in `for NAME, NAME in ipairs(KEYS) do` at `at`.
    fn key_of_loop(&self, at: usize) -> Option<Token<'s>> {
        let is_loop = self.is_name(at, b"for")
            && self.is_mark(at + 2, b',')
            && self.is_name(at + 4, b"in")
            && self.is_name(at + 5, b"ipairs")
            && self.is_mark(at + 6, b'(')
            && self.is_name(at + 7, self.list)
            && self.is_mark(at + 8, b')')
            && self.is_name(at + 9, b"do");
        if is_loop { self.at(at + 3) } else { None }
    }

    fn collect_local(&mut self, local: usize) {
        let (names, value) = self.names_from(local + 1);
        let Some(mut value) = value else { return };
        if let ([name], Some(end)) = (&names[..], self.behind_call(value)) {
            if self.ends_expression(end) {
                self.calls.push(name);
            }
            return;
        }
        for name in names {
            let Some(end) = self.behind_key(value) else {
                // A simple expression has one value.
                let is_simple = matches!(self.at(value), Some(Token::Text(_) | Token::Other));
                if !is_simple || !self.is_mark(value + 1, b',') {
                    return;
                }
                value += 2;
                continue;
            };
            if !self.is_mark(end, b',') && !self.ends_expression(end) {
                return;
            }
            self.keys.push(name);
            value = end + 1;
        }
    }

    /// Returns the names in the list at `at`, and the index behind a `=` that follows them.
    fn names_from(&self, mut at: usize) -> (Vec<&'s [u8]>, Option<usize>) {
        let mut names = Vec::new();
        while let Some(Token::Name(name)) = self.at(at) {
            names.push(name);
            if !self.is_mark(at + 1, b',') {
                let value = self.is_mark(at + 1, b'=').then_some(at + 2);
                return (names, value);
            }
            at += 2;
        }
        (names, None)
    }

    pub(super) fn holds(&self) -> bool {
        (0..self.tokens.len()).all(|at| match self.tokens[at] {
            Token::Name(name) if self.is_variable(at) => self.is_proper(at, name),
            _ => true,
        })
    }

    /// Returns whether the variable at `at` is used in one of the forms.
    fn is_proper(&self, at: usize, name: &'s [u8]) -> bool {
        if OPAQUE.contains(&name) {
            return false;
        }
        let is_defined = at > 0 && self.is_name(at - 1, b"function");
        if READERS.contains(&name) {
            return self.is_mark(at + 1, b'(') && !is_defined;
        }
        match name {
            b"redis" | b"server" => self.is_proper_library(at),
            _ if name == self.list => self.is_proper_keys(at),
            _ if self.is_taker(name) => self.is_proper_taker(at),
            _ if self.calls.contains(&name) => {
                if self.is_local_of(at, |end| self.behind_call(end).is_some()) {
                    return true;
                }
                !is_defined && !self.keys.contains(&name) && self.is_proper_call(at + 1)
            }
            _ if self.keys.contains(&name) => !is_defined && self.is_proper_key_name(at),
            _ => true,
        }
    }

    /// Returns whether `local NAME =` is around the name at `at`, with a value that `is_value`.
    fn is_local_of(&self, at: usize, is_value: impl Fn(usize) -> bool) -> bool {
        at > 0 && self.is_name(at - 1, b"local") && self.is_mark(at + 1, b'=') && is_value(at + 2)
    }

    fn is_proper_library(&self, at: usize) -> bool {
        match self.behind_call(at) {
            None => self.is_mark(at + 1, b'.') && matches!(self.at(at + 2), Some(Token::Name(_))),
            Some(end) if self.is_mark(end, b'(') => self.is_proper_call(end),
            // The value of a name that is looked at wherever it is used.
            Some(end) => {
                let is_known = |token| match token {
                    Some(Token::Name(name)) => self.calls.contains(&name),
                    _ => false,
                };
                let is_named = at > 2
                    && self.is_name(at - 3, b"local")
                    && self.is_mark(at - 1, b'=')
                    && is_known(self.at(at - 2));
                is_named && self.ends_expression(end)
            }
        }
    }

    fn is_proper_keys(&self, at: usize) -> bool {
        if self.takers.is_some() {
            if self.is_taken(at) {
                return true;
            }
            if !self.is_in_taker(at) {
                return false;
            }
        }
        if let Some(end) = self.behind_key(at) {
            return !self.is_assigned(end) && !self.begins_statement(at);
        }
        let is_counted = at > 0 && self.is_mark(at - 1, b'#');
        let is_arg = at > 2 && self.is_mark(at - 1, b'(') && self.is_mark(at + 1, b')');
        if !is_arg || !self.is_variable(at - 2) {
            return is_counted && !self.is_mark(at + 1, b'[') && !self.is_assigned(at + 1);
        }
        // The iterators give the table away, except to a loop.
        let is_loop = self.is_name(at - 3, b"in") && self.is_name(at + 2, b"do");
        self.is_name(at - 2, b"unpack")
            || is_loop && (self.is_name(at - 2, b"ipairs") || self.is_name(at - 2, b"pairs"))
    }

    /// Returns whether the variable that ends before `end` is assigned to, perhaps with others.
    fn is_assigned(&self, mut end: usize) -> bool {
        while self.is_mark(end, b',') {
            end += 1;
            match self.at(end) {
                Some(Token::Name(_)) => end += 1,
                Some(Token::Mark(b'(')) => {}
                _ => return false,
            }
            loop {
                match self.at(end) {
                    Some(Token::Mark(b'.' | b':')) => end += 2,
                    Some(Token::Mark(b'[' | b'(' | b'{')) => match self.behind(end) {
                        Some(behind) => end = behind,
                        None => return true,
                    },
                    Some(Token::Text(_)) => end += 1,
                    _ => break,
                }
            }
        }
        self.is_mark(end, b'=')
    }

    /// Returns whether a statement may begin at `at`: the token before can end one.
    fn begins_statement(&self, at: usize) -> bool {
        match at.checked_sub(1).and_then(|before| self.at(before)) {
            None | Some(Token::Mark(b';' | b')' | b']' | b'}')) => true,
            Some(Token::Text(_) | Token::Other | Token::Dots(3)) => true,
            Some(Token::Name(name)) => !matches!(
                name,
                b"and"
                    | b"or"
                    | b"not"
                    | b"return"
                    | b"if"
                    | b"elseif"
                    | b"while"
                    | b"until"
                    | b"in"
            ),
            _ => false,
        }
    }

    /// Returns whether a name that holds keys is defined with one, or read.
    fn is_proper_key_name(&self, at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|before| self.at(before));
        if at >= 3 && self.key_of_loop(at - 3) == self.at(at) {
            return true;
        }
        if self.is_in_local(at) {
            return true;
        }
        let is_declared = matches!(before, Some(Token::Name(b"local" | b"for" | b"function")));
        !is_declared && !self.is_assigned(at + 1) && !self.is_parameter(at)
    }

    /// Returns whether the name at `at` is one of a `local` statement's names that get keys there.
    fn is_in_local(&self, at: usize) -> bool {
        let mut first = at;
        while first >= 2 && self.is_mark(first - 1, b',') && self.is_list_name(first - 2) {
            first -= 2;
        }
        if first == 0 || !self.is_name(first - 1, b"local") {
            return false;
        }
        let (names, Some(value)) = self.names_from(first) else { return false };
        let mut again = Proof::new(self.tokens, self.table, self.list);
        again.collect_local(first - 1);
        let Some(Token::Name(name)) = self.at(at) else { return false };
        let count = |all: &[&[u8]]| all.iter().filter(|it| **it == name).count();
        value > at && count(&again.keys) == count(&names)
    }

    fn is_list_name(&self, at: usize) -> bool {
        matches!(self.at(at), Some(Token::Name(_)))
    }

    /// Returns whether the name at `at` is among the parameters of a function or the variables of a
    /// loop.
    fn is_parameter(&self, at: usize) -> bool {
        let mut first = at;
        while first >= 2 && self.is_mark(first - 1, b',') && self.is_list_name(first - 2) {
            first -= 2;
        }
        if first == 0 {
            return false;
        }
        if self.is_name(first - 1, b"for") || self.is_name(first - 1, b"local") {
            return true;
        }
        if !self.is_mark(first - 1, b'(') {
            return false;
        }
        // `function (`, `function a.b:c (`
        let mut before = first - 1;
        while before > 0 {
            before -= 1;
            match self.tokens[before] {
                Token::Name(b"function") => return true,
                Token::Name(_) | Token::Mark(b'.' | b':') => {}
                _ => return false,
            }
        }
        false
    }

    /// Returns whether the call whose arguments begin with the bracket at `open` uses only keys
    /// that are key expressions.
    fn is_proper_call(&self, open: usize) -> bool {
        if !self.is_mark(open, b'(') {
            return false;
        }
        let Some(args) = self.args(open) else { return false };
        let name = |at: usize| match args.get(at).map(|arg| &self.tokens[arg.0..arg.1]) {
            Some([Token::Text(text)]) => Some(*text),
            _ => None,
        };
        let Some(entry) = name(0).and_then(|name| self.table.find(name)) else { return false };
        let entry = match entry.subcommands.is_empty() {
            true => entry,
            false => match name(1).and_then(|name| entry.subcommand(name)) {
                Some(sub) => sub,
                None => return false,
            },
        };
        if entry.is_session() {
            return !entry.selects_database();
        }
        let is_plain = match entry.command.routing {
            KeyRouting::Single | KeyRouting::PerKey(_) | KeyRouting::Gather => true,
            KeyRouting::Home => false,
            KeyRouting::Discovers(_) | KeyRouting::AllShards(_) | KeyRouting::Cursor(_) => false,
            KeyRouting::Slot { .. } => false,
        };
        is_plain
            && entry.command.key_database.is_none()
            && entry.command.card.keys.iter().all(|spec| self.are_proper(spec, &args))
    }

    /// Returns the arguments in the bracket at `open`, as ranges of tokens.
    fn args(&self, open: usize) -> Option<Vec<(usize, usize)>> {
        let close = self.behind(open)? - 1;
        let (mut args, mut begin, mut at) = (Vec::new(), open + 1, open + 1);
        let mut blocks = 0usize;
        while at < close {
            match self.tokens[at] {
                Token::Mark(b'(' | b'[' | b'{') => {
                    at = self.behind(at)?;
                    continue;
                }
                // The body of a function has commas of its own.
                Token::Name(b"function") => blocks += 1,
                Token::Mark(b',') if blocks == 0 => {
                    args.push((begin, at));
                    begin = at + 1;
                }
                _ => {}
            }
            at += 1;
        }
        args.push((begin, close));
        (blocks == 0).then_some(args)
    }

    /// Returns whether the arguments of one key spec are key expressions.
    fn are_proper(&self, spec: &KeySpec, args: &[(usize, usize)]) -> bool {
        let (Begin::Index(first), Find::Range { last, step }) = (spec.begin, spec.find) else {
            return false;
        };
        let (first, step) = (usize::from(first), usize::from(step));
        let is_open = args.last().is_some_and(|arg| self.is_open(*arg));
        let known = if is_open { args.len() - 1 } else { args.len() };
        let last = match last {
            0.. => first + last as usize,
            // Everything up to the end, or nearly.
            _ if is_open => return self.are_open_keys(first, step, args),
            _ => match (args.len() as isize).checked_add(isize::from(last)) {
                Some(last) if last >= first as isize => last as usize,
                _ => return false,
            },
        };
        (first..=last).step_by(step).all(|at| match args.get(at) {
            Some(arg) if at < known => self.is_key(*arg),
            // With too few arguments the command fails.
            Some(_) => false,
            None => !is_open,
        })
    }

    /// Returns whether all arguments from `first` on are key expressions, and the last one is
    /// `unpack(KEYS)`.
    fn are_open_keys(&self, first: usize, step: usize, args: &[(usize, usize)]) -> bool {
        let (last, others) = args.split_last().expect("there is an open argument");
        let is_all = last.1 - last.0 == 4
            && self.is_name(last.0, b"unpack")
            && self.is_mark(last.0 + 1, b'(')
            && self.is_name(last.0 + 2, self.list);
        step == 1
            && is_all
            && others.len() >= first
            && others[first..].iter().all(|arg| self.is_key(*arg))
    }

    /// Returns whether an argument may have several values.
    fn is_open(&self, (begin, end): (usize, usize)) -> bool {
        begin == end
            || matches!(self.tokens[end - 1], Token::Mark(b')' | b'}') | Token::Dots(3))
            || (end - begin > 1 && matches!(self.tokens[end - 1], Token::Text(_)))
    }

    fn is_key(&self, (begin, end): (usize, usize)) -> bool {
        match &self.tokens[begin..end] {
            [Token::Name(name)] => self.keys.contains(name),
            _ => self.behind_key(begin) == Some(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_confined;
    use crate::commands::FAMILIES;
    use crate::exec::CommandTable;
    use std::sync::LazyLock;

    static TABLE: LazyLock<CommandTable> = LazyLock::new(|| CommandTable::new(FAMILIES));

    fn check(script: &str) -> bool {
        is_confined(script.as_bytes(), &TABLE)
    }

    #[test]
    fn scripts_with_a_proof() {
        for script in [
            "return 1",
            "return redis.call('get', KEYS[1])",
            "return server.pcall(\"incrby\", KEYS[1], ARGV[1])",
            "if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else \
             return 0 end",
            "local key = KEYS[1]\nlocal n = redis.call('INCR', key)\nif n == 1 then \
             redis.call('PEXPIRE', key, ARGV[1]) end return {n, redis.call('PTTL', key)}",
            "local a, b = KEYS[1], KEYS[2] return redis.call('rename', a, b)",
            "local now, key = '5', KEYS[1]; return redis.call('zadd', key, unpack(ARGV))",
            "local call = redis.call local t = call('time') return call('get', KEYS[1])",
            "for _, key in ipairs(KEYS) do redis.call('del', key) end return #KEYS",
            "return redis.call('del', unpack(KEYS))",
            "return redis.call('mset', KEYS[1], ARGV[1], KEYS[2], ARGV[2])",
            "-- redis.call('get', x)\nreturn redis.sha1hex(KEYS[1] .. '[[')",
            "return redis.call('object', 'encoding', KEYS[1])",
            "local function f(x) return x * 2 end return redis.call('set', KEYS[1], f(3))",
        ] {
            assert!(check(script), "{script}");
        }
    }

    #[test]
    fn scripts_that_may_use_other_keys() {
        for script in [
            "return redis.call('get', 'a')",
            "return redis.call('get', ARGV[1])",
            "return redis.call('get', KEYS[1] .. ':x')",
            "return redis.call(ARGV[1], KEYS[1])",
            "local key = KEYS[1] .. 'x' return redis.call('get', key)",
            "local key = KEYS[1] key = 'x' return redis.call('get', key)",
            "local key, x = KEYS[1] x, key = 1, 'x' return redis.call('get', key)",
            "local key = KEYS[1] key, (t).x = 1, 2 return redis.call('get', key)",
            "local key = KEYS[1] local function f(key) return redis.call('get', key) end f('x')",
            "local key = KEYS[1] for key in pairs(t) do redis.call('get', key) end",
            "local key, key = KEYS[1], 'x' return redis.call('get', key)",
            "KEYS[1] = 'x' return redis.call('get', KEYS[1])",
            "a, KEYS[1] = 1, 'x' return redis.call('get', KEYS[1])",
            "local k = KEYS k[1] = 'x' return redis.call('get', KEYS[1])",
            "local _, k = ipairs(KEYS) k[1] = 'x' return redis.call('get', KEYS[1])",
            "table.insert(KEYS, 'x') return redis.call('get', KEYS[1])",
            "local r = redis return r.call('get', 'x')",
            "return redis['call']('get', 'x')",
            "return pcall(redis.call, 'get', 'x')",
            "return _G['redis'].call('get', 'x')",
            "return loadstring('return redis.call(\"get\", \"x\")')()",
            "local call = redis.call call = f return call('get', KEYS[1])",
            "local call = redis.call return pcall(call, 'get', 'x')",
            "-- \rreturn redis.call('get', 'x')",
            "return 0xE-redis.call('get', 'x')",
            "return redis.call('keys', '*')",
            "return redis.call('dbsize')",
            "return redis.call('sort', KEYS[1], 'by', 'w*')",
            "redis.call('select', 1) return redis.call('get', KEYS[1])",
            "return redis.call('copy', KEYS[1], KEYS[2], 'db', 1)",
            "return redis.call('zunionstore', KEYS[1], 2, KEYS[2], 'x')",
            "return redis.call('get', unpack(ARGV))",
            "return redis.call('del', KEYS[1], unpack(ARGV))",
            "return redis.call('del', KEYS[1], f())",
            "return redis.call('mset', KEYS[1], ARGV[1], unpack(KEYS))",
            "local unpack = function() return 'x' end return redis.call('del', unpack(KEYS))",
            "redis.call('get', KEYS[1] or 'x')",
            "return redis.call('get', (KEYS[1]))",
            "return redis.call 'dbsize'",
        ] {
            assert!(!check(script), "{script}");
        }
    }
}
