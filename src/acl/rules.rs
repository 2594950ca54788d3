//! Rule texts: what `+get`, `~key*` or `>password` change in a user or a selector.

use super::catalogue::Catalogue;
use super::password::Hash;
use super::pattern::{KeyPattern, Pattern, READ, WRITE};
use super::selector::Selector;
use super::user::{NewUsers, User};
use crate::config::split_words;

/// Why a rule is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// No command or category has this name.
    UnknownCommand,
    /// It is no rule.
    Syntax,
    /// A pattern of keys follows one for all keys.
    AfterAllKeys,
    /// A pattern of channels follows one for all channels.
    AfterAllChannels,
    /// The password to be removed is not there.
    NoSuchPassword,
    /// The hash of a password has another form.
    Hash,
    /// A first argument of a subcommand cannot be allowed.
    FirstArg,
    /// There can be no database of this number.
    DatabaseRange,
}

impl RuleError {
    /// Returns the text of the reference.
    pub fn text(self) -> &'static str {
        match self {
            RuleError::UnknownCommand => "Unknown command or category name in ACL",
            RuleError::Syntax => "Syntax error",
            RuleError::AfterAllKeys => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and \
                 does not have any effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::AfterAllChannels => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and \
                 does not have any effect. Try 'resetchannels' to start with an empty list of \
                 channels"
            }
            RuleError::NoSuchPassword => {
                "The password you are trying to remove from the user does not exist"
            }
            RuleError::Hash => {
                "The password hash must be exactly 64 characters and contain only lowercase \
                 hexadecimal characters"
            }
            RuleError::FirstArg => "Allowing first-arg of a subcommand is not supported",
            RuleError::DatabaseRange => "The provided database ID is out of range",
        }
    }
}

/// Returns whether a name has blanks or NUL bytes, so that it could not be written to a file.
pub fn has_blanks(name: &[u8]) -> bool {
    name.iter().any(|byte| is_blank(*byte) || *byte == 0)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Returns the bytes before the first NUL: the reference reads most rules as C strings.
pub(super) fn until_nul(rule: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, rule).unwrap_or(rule.len());
    &rule[..end]
}

/// Changes a user by one rule.
pub(super) fn apply(
    user: &mut User,
    rule: &[u8],
    catalogue: &Catalogue,
    new: NewUsers,
) -> Result<(), RuleError> {
    match &until_nul(rule).to_ascii_lowercase()[..] {
        _ if rule.is_empty() => {}
        b"on" => user.is_on = true,
        b"off" => user.is_on = false,
        // Kept for old files, without effect.
        b"skip-sanitize-payload" | b"sanitize-payload" => {}
        b"nopass" | b"resetpass" => {
            user.no_password = rule[0].eq_ignore_ascii_case(&b'n');
            user.passwords.clear();
        }
        b"clearselectors" => user.selectors.truncate(1),
        b"reset" => {
            user.is_on = false;
            user.no_password = false;
            user.passwords.clear();
            user.selectors.truncate(1);
            user.selectors[0] = Selector::new(new.all_channels);
            user.selectors[0].set_all_commands(false, catalogue);
        }
        [b'>' | b'#' | b'<' | b'!', ..] => return apply_password(user, rule),
        [b'(', ..] if rule.ends_with(b")") => {
            user.selectors.push(read_selector(rule, catalogue, new)?);
        }
        _ => return apply_to_selector(&mut user.selectors[0], rule, catalogue),
    }
    Ok(())
}

fn apply_password(user: &mut User, rule: &[u8]) -> Result<(), RuleError> {
    let (head, text) = (rule[0], &rule[1..]);
    let hash = match head {
        b'>' | b'<' => Hash::of(text),
        _ => Hash::from_digits(text).ok_or(RuleError::Hash)?,
    };
    let at = user.passwords.iter().position(|known| *known == hash);
    match (head, at) {
        (b'>' | b'#', None) => user.passwords.push(hash),
        (b'>' | b'#', Some(_)) => {}
        (_, None) => return Err(RuleError::NoSuchPassword),
        (_, Some(at)) => _ = user.passwords.remove(at),
    }
    if matches!(head, b'>' | b'#') {
        user.no_password = false;
    }
    Ok(())
}

/// Reads a selector in parentheses.
fn read_selector(rule: &[u8], catalogue: &Catalogue, new: NewUsers) -> Result<Selector, RuleError> {
    let mut selector = Selector::new(new.all_channels);
    let inner = rule.get(1..rule.len() - 1).unwrap_or_default();
    // As in the reference, an unclosed quote makes the selector empty.
    for rule in split_words(inner).unwrap_or_default() {
        apply_to_selector(&mut selector, &rule, catalogue)?;
    }
    Ok(selector)
}

/// Changes a selector by one rule.
fn apply_to_selector(
    selector: &mut Selector,
    rule: &[u8],
    catalogue: &Catalogue,
) -> Result<(), RuleError> {
    let text = until_nul(rule);
    match &text.to_ascii_lowercase()[..] {
        b"allkeys" | b"~*" => selector.set_all_keys(true),
        b"resetkeys" => selector.set_all_keys(false),
        b"allchannels" | b"&*" => selector.set_all_channels(true),
        b"resetchannels" => selector.set_all_channels(false),
        name @ (b"alldbs" | b"resetdbs") => {
            selector.all_databases = name == b"alldbs";
            selector.databases.clear();
        }
        [b'd', b'b', b'=', ..] => {
            selector.all_databases = false;
            selector.databases = read_databases(&text[3..])?;
        }
        b"allcommands" | b"+@all" => selector.set_all_commands(true, catalogue),
        b"nocommands" | b"-@all" => selector.set_all_commands(false, catalogue),
        [b'~' | b'%', ..] => return add_key_pattern(selector, rule),
        [b'&', ..] => return add_channel_pattern(selector, &rule[1..]),
        [sign @ (b'+' | b'-'), b'@', ..] => {
            let category = Catalogue::category(&text[2..]).ok_or(RuleError::UnknownCommand)?;
            selector.note_rule(&text[1..], *sign == b'+');
            selector.set_category(category, *sign == b'+', catalogue);
        }
        [b'+', ..] => return allow_command(selector, &text[1..], catalogue),
        [b'-', ..] => {
            let number = catalogue.find(&text[1..]).ok_or(RuleError::UnknownCommand)?;
            selector.set_command(number, false, catalogue);
            selector.note_rule(catalogue.at(number).name.as_bytes(), false);
        }
        _ => return Err(RuleError::Syntax),
    }
    Ok(())
}

fn add_key_pattern(selector: &mut Selector, rule: &[u8]) -> Result<(), RuleError> {
    if selector.all_keys {
        return Err(RuleError::AfterAllKeys);
    }
    let (mut access, mut at) = (READ | WRITE, 1);
    if rule[0] == b'%' {
        access = 0;
        while let Some(letter) = rule.get(at) {
            at += 1;
            match letter.to_ascii_uppercase() {
                b'R' if access & READ == 0 => access |= READ,
                b'W' if access & WRITE == 0 => access |= WRITE,
                b'~' => break,
                _ => return Err(RuleError::Syntax),
            }
        }
        if access == 0 {
            return Err(RuleError::Syntax);
        }
    }
    let text = &rule[at..];
    if has_blanks(text) {
        return Err(RuleError::Syntax);
    }
    let Selector { keys, key_places, .. } = selector;
    match key_places.find(text, keys.iter().map(|known| &*known.pattern.text)) {
        Some(at) => selector.keys[at].access |= access,
        None => selector.keys.push(KeyPattern { pattern: Pattern::new(text), access }),
    }
    Ok(())
}

fn add_channel_pattern(selector: &mut Selector, text: &[u8]) -> Result<(), RuleError> {
    if selector.all_channels {
        return Err(RuleError::AfterAllChannels);
    }
    if has_blanks(text) {
        return Err(RuleError::Syntax);
    }
    let Selector { channels, channel_places, .. } = selector;
    if channel_places.find(text, channels.iter().map(|known| &*known.text)).is_none() {
        selector.channels.push(Pattern::new(text));
    }
    Ok(())
}

/// Allows a command, a subcommand, or a first argument of a command without subcommands.
fn allow_command(
    selector: &mut Selector,
    name: &[u8],
    catalogue: &Catalogue,
) -> Result<(), RuleError> {
    let known = |name: &[u8]| catalogue.find(name).ok_or(RuleError::UnknownCommand);
    let Some(bar) = memchr::memrchr(b'|', name) else {
        let number = known(name)?;
        selector.set_command(number, true, catalogue);
        selector.note_rule(name, true);
        return Ok(());
    };
    let (command, arg) = (known(&name[..bar])?, &name[bar + 1..]);
    if catalogue.at(command).parent.is_some() {
        return Err(RuleError::FirstArg);
    }
    // A rule with blanks or quotes could not be read again.
    if arg.is_empty() || has_blanks(arg) || arg.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
        return Err(RuleError::Syntax);
    }
    if catalogue.at(command).subcommands.is_empty() {
        selector.allow_first_arg(command, arg);
    } else {
        selector.set_command(known(name)?, true, catalogue);
    }
    selector.note_rule(name, true);
    Ok(())
}

/// Reads numbers of databases, separated by commas. Returns them sorted.
fn read_databases(list: &[u8]) -> Result<Vec<i32>, RuleError> {
    let mut databases = Vec::new();
    for number in list.split(|byte| *byte == b',') {
        if number.is_empty() {
            return Err(RuleError::Syntax);
        }
        databases.push(read_database(number)?);
    }
    databases.sort_unstable();
    databases.dedup();
    Ok(databases)
}

/// Reads a number as the C library does: blanks and a sign may precede it.
fn read_database(text: &[u8]) -> Result<i32, RuleError> {
    let blanks = text.iter().take_while(|byte| is_blank(**byte)).count();
    let (is_negative, digits) = match &text[blanks..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(RuleError::Syntax);
    }
    let add =
        |number: i32, digit: &u8| number.checked_mul(10)?.checked_add(i32::from(digit - b'0'));
    let number = digits.iter().try_fold(0, add).ok_or(RuleError::DatabaseRange)?;
    if is_negative && number > 0 { Err(RuleError::DatabaseRange) } else { Ok(number) }
}
