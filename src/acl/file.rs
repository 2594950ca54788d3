//! Users as lines of text: in a config file and in an ACL file.

use super::catalogue::Catalogue;
use super::rules::{RuleError, has_blanks};
use super::user::{NewUsers, User};
use std::collections::HashSet;

/// Merges selectors that are spread over several rules, as `(+get` and `~key)`.
///
/// # Errors
/// A parenthesis is not closed: the index of the rule that opens it.
pub fn merge_selectors(rules: &[&[u8]]) -> Result<Vec<Vec<u8>>, usize> {
    let mut merged: Vec<Vec<u8>> = Vec::with_capacity(rules.len());
    let mut open: Option<(usize, Vec<u8>)> = None;
    for (at, rule) in rules.iter().enumerate() {
        let closes = rule.ends_with(b")");
        match open.take() {
            None if rule.starts_with(b"(") && !closes => open = Some((at, rule.to_vec())),
            None => merged.push(rule.to_vec()),
            Some((begin, mut selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(rule);
                if closes {
                    merged.push(selector);
                } else {
                    open = Some((begin, selector));
                }
            }
        }
    }
    match open {
        None => Ok(merged),
        Some((at, _)) => Err(at),
    }
}

/// Checks the arguments of a `user` line of a config file, without its first. Unknown commands are
/// refused only at the start, when all config files have been read.
///
/// # Errors
/// A rule is refused: its index, and the reference's text.
pub fn check_line(args: &[&[u8]], catalogue: &Catalogue) -> Result<(), (usize, &'static str)> {
    let rules = args.get(1..).unwrap_or_default();
    let rules = merge_selectors(rules).map_err(|at| (at, "Wrong format"))?;
    let new = NewUsers::default();
    let mut user = User::new(0, b"", new);
    for (at, rule) in rules.iter().enumerate() {
        match user.apply(rule, catalogue, new) {
            Ok(()) | Err(RuleError::UnknownCommand) => {}
            Err(error) => return Err((at, error.text())),
        }
    }
    Ok(())
}

/// Creates the users of a config file from their lines: the name and the rules of each.
///
/// # Errors
/// A line is refused. The text is the reference's.
pub fn read_lines(
    lines: &[Vec<Vec<u8>>],
    catalogue: &Catalogue,
    new: NewUsers,
) -> Result<Vec<User>, String> {
    let mut users = Vec::new();
    for line in lines {
        let (name, rules) = line.split_first().expect("a line has a name");
        if has_blanks(name) {
            return Err("Spaces not allowed in ACL usernames".to_string());
        }
        let mut user = User::new(0, name, new);
        let rules: Vec<&[u8]> = rules.iter().map(Vec::as_slice).collect();
        let rules = merge_selectors(&rules).map_err(|_| "Unmatched parenthesis".to_string())?;
        for rule in rules {
            user.apply(&rule, catalogue, new).map_err(|error| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                format!(
                    "Error loading ACL rule '{}' for the user named '{}': {}",
                    text(&rule),
                    text(name),
                    error.text()
                )
            })?;
        }
        users.push(user);
    }
    Ok(users)
}

/// Reads the text of an ACL file, which `path` names in errors.
///
/// # Errors
/// Some lines are refused. The text names all of them, as the reference does.
pub fn read_file(
    text: &[u8],
    path: &str,
    catalogue: &Catalogue,
    new: NewUsers,
) -> Result<Vec<User>, Vec<u8>> {
    let mut reader = Reader { path, catalogue, new, names: HashSet::new(), errors: Vec::new() };
    let mut users = Vec::new();
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = trimmed(line, b" \t\r\n");
        if !line.is_empty() {
            users.extend(reader.read(line, at + 1));
        }
    }
    let mut errors = reader.errors;
    if errors.is_empty() {
        return Ok(users);
    }
    errors.extend_from_slice(
        b"WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
    );
    Err(errors)
}

struct Reader<'a> {
    path: &'a str,
    catalogue: &'a Catalogue,
    new: NewUsers,
    names: HashSet<Vec<u8>>,
    errors: Vec<u8>,
}

impl Reader<'_> {
    /// Reads one line. Its errors are added to the others.
    fn read(&mut self, line: &[u8], number: usize) -> Option<User> {
        let place = format!("{}:{number}", self.path);
        let args: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let (name, rules) = match &args[..] {
            [b"user", name, rules @ ..] => (*name, rules),
            _ => {
                let what = " should start with user keyword followed by the username. ";
                return self.fail(&[place.as_bytes(), what.as_bytes()]);
            }
        };
        if has_blanks(name) {
            let what: &[u8] = b" contains invalid characters. ";
            return self.fail(&[b"'", place.as_bytes(), b": username '", name, b"'", what]);
        }
        if !self.names.insert(name.to_vec()) {
            let at = format!("' found on line {number}. ");
            return self.fail(&[b"WARNING: Duplicate user '", name, at.as_bytes()]);
        }
        let Ok(rules) = merge_selectors(rules) else {
            let what: &[u8] = b": Unmatched parenthesis in selector definition.";
            return self.fail(&[place.as_bytes(), what]);
        };
        let mut user = User::new(0, name, self.new);
        let mut is_wrong = false;
        for rule in &rules {
            let rule = trimmed(rule, b"\t\r\n");
            match user.apply(rule, self.catalogue, self.new) {
                Ok(()) => {}
                // An unknown command is no secret, in contrast to other rules.
                Err(error @ RuleError::UnknownCommand) => {
                    let what = [place.as_bytes(), b": Error in applying operation '", rule, b"': "];
                    self.fail(&[&what.concat(), error.text().as_bytes(), b". "]);
                }
                Err(error) if !is_wrong => {
                    is_wrong = true;
                    self.fail(&[place.as_bytes(), b": ", error.text().as_bytes(), b". "]);
                }
                // A wrong rule may be the reason of later errors.
                Err(_) => {}
            }
        }
        Some(user)
    }

    fn fail(&mut self, parts: &[&[u8]]) -> Option<User> {
        parts.iter().for_each(|part| self.errors.extend_from_slice(part));
        None
    }
}

/// Returns a text without these bytes at its ends.
fn trimmed<'t>(text: &'t [u8], blanks: &[u8]) -> &'t [u8] {
    let is_text = |byte: &u8| !blanks.contains(byte);
    let Some(begin) = text.iter().position(is_text) else { return &[] };
    let end = text.iter().rposition(is_text).expect("found above");
    &text[begin..=end]
}
