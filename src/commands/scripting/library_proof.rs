//! Which libraries use only the keys among the arguments of their functions, as their text proves.
//!
//! A function of a library gets its keys as its first parameter, whose name takes the place of
//! `KEYS` in the proof of a script (`confined`). The proof is one for the whole library, so its
//! functions must call the parameter alike:
//!
//! ```text
//!   takes the keys   function(KEYS, ...)              as the second argument of
//!                                                     redis.register_function, or as callback =
//!                                                     in its table
//!                    local function NAME(KEYS, ...)   then NAME is used in these places, or as
//!                                                     NAME(KEYS, ...) in such a function, alone
//! ```
//! A function that takes the keys has no functions in it: such a function could outlive the call,
//! and with it the keys of the call.

use super::confined::Proof;
use super::lex::{Token, tokens};
use crate::exec::CommandTable;

/// The functions of a library that take the list of keys as their first parameter.
#[derive(Debug, Default)]
pub(super) struct Takers<'s> {
    /// The names of the local functions among them.
    names: Vec<&'s [u8]>,
    /// All of them, as ranges of tokens.
    bodies: Vec<(usize, usize)>,
}

/// The most names that are tried as the name of the list of keys.
const NAMES_MAX: usize = 8;

/// Returns whether the text of a library proves that its functions use only the keys among their
/// arguments.
pub(super) fn is_confined_library(text: &[u8], table: &'static CommandTable) -> bool {
    let Some(tokens) = tokens(text) else { return false };
    first_parameters(&tokens).into_iter().any(|list| {
        let mut proof = Proof::new(&tokens, table, list);
        proof.collect_names();
        proof.collect_takers() && proof.holds()
    })
}

/// Returns the first parameters of all functions, each once.
fn first_parameters<'s>(tokens: &[Token<'s>]) -> Vec<&'s [u8]> {
    let mut names = Vec::new();
    for at in 0..tokens.len() {
        if tokens[at] != Token::Name(b"function") {
            continue;
        }
        let open = at + 1 + usize::from(matches!(tokens.get(at + 1), Some(Token::Name(_))));
        if let (Some(Token::Mark(b'(')), Some(Token::Name(name))) =
            (tokens.get(open), tokens.get(open + 1))
            && !names.contains(name)
            && names.len() < NAMES_MAX
        {
            names.push(*name);
        }
    }
    names
}

impl<'s> Proof<'s> {
    fn bodies(&self) -> &[(usize, usize)] {
        self.takers.as_ref().map_or(&[], |takers| &takers.bodies)
    }

    /// Returns whether a local function with this name takes the list of keys.
    pub(super) fn is_taker(&self, name: &[u8]) -> bool {
        self.takers.as_ref().is_some_and(|takers| takers.names.contains(&name))
    }

    /// Collects the functions whose first parameter is the list of keys. Returns false if the list
    /// of keys is another parameter of a function, or such a function has functions in it.
    pub(super) fn collect_takers(&mut self) -> bool {
        let mut takers = Takers::default();
        let mut at = 0;
        while at < self.tokens.len() {
            if !self.is_name(at, b"function") {
                at += 1;
                continue;
            }
            let Token::Name(name) = self.tokens.get(at + 1).copied().unwrap_or(Token::Other) else {
                // A function without a name.
                if !self.is_name(at + 2, self.list) {
                    at += 1;
                    continue;
                }
                let Some(end) = self.end_of_function(at) else { return false };
                if !self.is_registered(at) {
                    return false;
                }
                takers.bodies.push((at, end));
                at = end;
                continue;
            };
            if !self.is_name(at + 3, self.list) {
                at += 1;
                continue;
            }
            let is_local = at > 0 && self.is_name(at - 1, b"local");
            let Some(end) = self.end_of_function(at) else { return false };
            if !is_local || !self.is_mark(at + 2, b'(') {
                return false;
            }
            takers.names.push(name);
            takers.bodies.push((at, end));
            at = end;
        }
        let is_apart = !takers.names.contains(&self.list);
        self.takers = Some(takers);
        is_apart
    }

    /// Returns the index behind the `end` of the function at `at`, if no other function is in it.
    fn end_of_function(&self, at: usize) -> Option<usize> {
        let mut depth = 1usize;
        // `while` and `for` end with the block of their `do`.
        for (next, token) in self.tokens.iter().enumerate().skip(at + 1) {
            match token {
                Token::Name(b"function") => return None,
                Token::Name(b"if" | b"do") if self.is_variable(next) => depth += 1,
                Token::Name(b"repeat") if self.is_variable(next) => depth += 1,
                Token::Name(b"end" | b"until") if self.is_variable(next) => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(next + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Returns whether the expression at `at` is the function in a call of register_function.
    fn is_registered(&self, at: usize) -> bool {
        let begins_call = |open: usize, bracket: u8| {
            open >= 3
                && self.is_mark(open, bracket)
                && self.is_name(open - 1, b"register_function")
                && self.is_mark(open - 2, b'.')
                && (self.is_name(open - 3, b"redis") || self.is_name(open - 3, b"server"))
        };
        // redis.register_function('name', HERE
        let is_second = at >= 6
            && self.is_mark(at - 1, b',')
            && matches!(self.at(at - 2), Some(Token::Text(_)))
            && begins_call(at - 3, b'(');
        if is_second {
            return true;
        }
        // redis.register_function{function_name = 'name', callback = HERE
        if at < 2 || !self.is_mark(at - 1, b'=') || !self.is_name(at - 2, b"callback") {
            return false;
        }
        let mut depth = 0usize;
        for before in (0..at - 2).rev() {
            match self.tokens[before] {
                Token::Mark(b'}') => depth += 1,
                Token::Mark(b'{') if depth > 0 => depth -= 1,
                Token::Mark(b'{') => {
                    let is_call = before >= 1 && begins_call(before - 1, b'(');
                    return is_call || begins_call(before, b'{');
                }
                Token::Mark(b'(' | b')') => return false,
                _ => {}
            }
        }
        false
    }

    /// Returns whether a function that takes the list of keys is defined, registered, or called
    /// with the list.
    pub(super) fn is_proper_taker(&self, at: usize) -> bool {
        let is_defined = at > 1
            && self.is_name(at - 1, b"function")
            && self.bodies().iter().any(|(begin, _)| *begin == at - 1);
        let is_behind = |end: usize| {
            self.is_mark(end, b')') || self.is_mark(end, b',') || self.is_mark(end, b'}')
        };
        let is_called = self.is_mark(at + 1, b'(')
            && self.is_name(at + 2, self.list)
            && (self.is_mark(at + 3, b')') || self.is_mark(at + 3, b','))
            && self.is_in_taker(at);
        is_defined || is_called || (self.is_registered(at) && is_behind(at + 1))
    }

    /// Returns whether the token at `at` is in a function that takes the list of keys.
    pub(super) fn is_in_taker(&self, at: usize) -> bool {
        self.bodies().iter().any(|(begin, end)| (*begin..*end).contains(&at))
    }

    /// Returns whether the list of keys at `at` is a parameter of a function that takes it, or is
    /// passed to one.
    pub(super) fn is_taken(&self, at: usize) -> bool {
        let is_parameter = self.bodies().iter().any(|(begin, _)| {
            let named = usize::from(matches!(self.at(begin + 1), Some(Token::Name(_))));
            begin + 2 + named == at
        });
        let is_passed = at > 2
            && self.is_mark(at - 1, b'(')
            && matches!(self.at(at - 2), Some(Token::Name(name)) if self.is_taker(name))
            && (self.is_mark(at + 1, b')') || self.is_mark(at + 1, b','));
        is_parameter || is_passed && self.is_in_taker(at)
    }
}

#[cfg(test)]
mod tests {
    use super::is_confined_library;
    use crate::commands::FAMILIES;
    use crate::exec::CommandTable;
    use std::sync::LazyLock;

    static TABLE: LazyLock<CommandTable> = LazyLock::new(|| CommandTable::new(FAMILIES));

    fn check(code: &str) -> bool {
        is_confined_library(format!("#!lua name=test\n{code}").as_bytes(), &TABLE)
    }

    #[test]
    fn libraries_with_a_proof() {
        for code in [
            "redis.register_function('f', function(keys) return redis.call('incr', keys[1]) end)",
            "local function get(keys, args) return redis.call('get', keys[1]) end \
             redis.register_function('get', get)",
            "local function take(KEYS, ARGV) local key = KEYS[1] if ARGV[1] then for i = 1, 2 do \
             redis.call('set', key, i) end end return #KEYS end \
             server.register_function{function_name = 'take', flags = {'no-writes'}, \
             callback = take}",
            "redis.register_function({function_name = 'f', callback = function(k, a) \
             return redis.call('mget', unpack(k)) end})",
            "local function one(keys) return redis.call('get', keys[1]) end \
             redis.register_function('two', function(keys, args) return one(keys) end)",
            "local limit = 5 local function plus(a, b) return a + b end \
             redis.register_function('f', function(keys) \
             return redis.call('incrby', keys[1], plus(limit, 1)) end)",
        ] {
            assert!(check(code), "{code}");
        }
    }

    #[test]
    fn libraries_that_may_use_other_keys() {
        for code in [
            "redis.register_function('f', function(keys, args) return redis.call('get', args[1]) \
             end)",
            "redis.register_function('f', function(keys) return redis.call('get', 'x') end)",
            "local function get(keys) return redis.call('get', keys[1]) end \
             redis.register_function('f', function(keys) return get({'x'}) end)",
            "local function get(keys) return redis.call('get', keys[1]) end \
             redis.register_function('f', function(keys) local g = get return g({'x'}) end)",
            "local saved redis.register_function('f', function(keys) \
             saved = function() return redis.call('get', keys[1]) end end) \
             redis.register_function('g', function(keys) return saved() end)",
            "local saved redis.register_function('f', function(keys) saved = keys[1] end) \
             redis.register_function('g', function(keys) return redis.call('get', saved) end)",
            "local saved redis.register_function('f', function(keys) saved = keys end) \
             redis.register_function('g', function(keys) return redis.call('get', saved[1]) end)",
            "local get = function(keys) return redis.call('get', keys[1]) end \
             redis.register_function('f', function(keys) return get({'x'}) end)",
            "redis.register_function('f', function(args, keys) return redis.call('get', keys[1]) \
             end)",
            "redis.register_function('f', function(keys) keys[1] = 'x' \
             return redis.call('get', keys[1]) end)",
            "local keys = {'x'} redis.register_function('f', function(k) \
             return redis.call('get', keys[1]) end)",
            "local t = {callback = function(keys) return redis.call('get', keys[1]) end} \
             redis.register_function('f', function(keys) return t.callback({'x'}) end)",
            "local function get(keys) return redis.call('get', keys[1]) end \
             redis.register_function('f', function(keys) return pcall(get, {'x'}) end)",
            "local function get(keys) return redis.call('get', keys[1]) end \
             local function other(get) return get({'x'}) end redis.register_function('f', get)",
            "local register = redis.register_function register('f', function(keys) \
             return redis.call('get', keys[1]) end)",
            "redis.register_function('f', function() return 1 end)",
            "redis.register_function('f', function(keys) return redis.call('get', keys[1]) end) \
             redis.register_function('g', function(k) return redis.call('get', k[1]) end)",
        ] {
            assert!(!check(code), "{code}");
        }
    }
}
