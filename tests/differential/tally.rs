//! Counts each sent command and each of its options.

use super::generate::Made;
use super::grammar::Command;
use std::collections::BTreeMap;
use std::fmt::Write;

#[derive(Default)]
struct Counts {
    commands: u64,
    options: BTreeMap<&'static str, u64>,
}

#[derive(Default)]
pub struct Tally {
    by_name: BTreeMap<&'static str, Counts>,
}

impl Tally {
    /// Adds a compared command, so that it counts as missing if it is never sent.
    pub fn expect(&mut self, command: &Command) {
        let counts = self.by_name.entry(command.name).or_default();
        // Some literals are names or numbers that belong to a family's values.
        let is_option = |arg: &&str| arg.starts_with(|letter: char| letter.is_ascii_uppercase());
        for option in command.options().into_iter().filter(is_option) {
            counts.options.entry(option).or_default();
        }
    }

    /// Adds a form of scripts, so that it counts as missing if it is never sent.
    pub fn expect_form(&mut self, name: &'static str) {
        self.by_name.entry(name).or_default();
    }

    /// Counts a sent command.
    pub fn count(&mut self, made: &Made) {
        if let Some(wrapped) = &made.wrapped {
            self.by_name.entry(wrapped.form).or_default().commands += 1;
        }
        let counts = self.by_name.entry(made.command.name).or_default();
        counts.commands += 1;
        for option in &made.options {
            if let Some(count) = counts.options.get_mut(option) {
                *count += 1;
            }
        }
    }

    /// Returns all counts, one line per command.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for (name, counts) in &self.by_name {
            write!(text, "{name:16} {:7}", counts.commands)
                .expect("writing to a string does not fail");
            for (option, count) in &counts.options {
                write!(text, "  {option} {count}").expect("writing to a string does not fail");
            }
            text.push('\n');
        }
        text
    }

    /// Returns the commands and options with fewer than these numbers.
    pub fn scarce(&self, command_min: u64, option_min: u64) -> Vec<String> {
        let mut scarce = Vec::new();
        for (name, counts) in &self.by_name {
            if counts.commands < command_min {
                scarce.push(format!("{name}: {} of {command_min}", counts.commands));
            }
            for (option, &count) in &counts.options {
                if count < option_min {
                    scarce.push(format!("{name} {option}: {count} of {option_min}"));
                }
            }
        }
        scarce
    }
}
