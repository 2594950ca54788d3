//! The commands as rules name them: a number, a full name and categories each.

use crate::spec::{CATEGORY_NAMES, Card};
use std::collections::HashMap;
use std::ops::Range;

/// Commands of Valkey 9.1 that this server lacks. Rules may name them, because they stand in users'
/// files. `|` separates the subcommands of one command.
const ABSENT: &[&str] = &[
    "cluster|addslots|addslotsrange|bumpepoch|cancelslotmigrations|count-failure-reports|\
     countkeysinslot|delslots|delslotsrange|failover|flushslot|flushslots|forget|getkeysinslot|\
     getslotmigrations|help|info|keyslot|links|meet|migrateslots|myid|myshardid|nodes|replicas|\
     replicate|reset|saveconfig|set-config-epoch|setslot|shards|slaves|slot-stats|slots|syncslots",
    "clusterscan",
    "failover",
    "migrate",
    "module|help|list|load|loadex|unload",
    "replicaof",
    "restore-asking",
    "slaveof",
];

/// One command or subcommand.
#[derive(Clone, Debug)]
pub struct Known {
    /// Full name: `get`, `client|list`.
    pub name: String,
    /// Number of the command that it is a subcommand of.
    pub parent: Option<u16>,
    /// Numbers of its subcommands.
    pub subcommands: Range<u16>,
    /// A bit per category, in the order of [`CATEGORY_NAMES`].
    pub categories: u32,
}

/// All commands that rules may name.
#[derive(Debug)]
pub struct Catalogue {
    commands: Vec<Known>,
    names: HashMap<String, u16>,
}

impl Catalogue {
    /// Creates a catalogue of commands: full names and cards, in the order of their numbers. The
    /// subcommands of a command follow it.
    pub fn new<'a>(commands: impl Iterator<Item = (&'a str, &'a Card)>) -> Catalogue {
        let mut catalogue = Catalogue { commands: Vec::new(), names: HashMap::new() };
        for (name, card) in commands {
            let bits = CATEGORY_NAMES.iter().enumerate();
            let bits = bits.filter(|(_, category)| card.is_in(category));
            catalogue.add(name, bits.fold(0, |all, (bit, _)| all | 1 << bit));
        }
        for names in ABSENT {
            let mut names = names.split('|');
            let parent = names.next().expect("a split has at least one part");
            if catalogue.find(parent.as_bytes()).is_none() {
                catalogue.add(parent, 0);
                names.for_each(|name| catalogue.add(&format!("{parent}|{name}"), 0));
            }
        }
        catalogue
    }

    fn add(&mut self, name: &str, categories: u32) {
        let number = u16::try_from(self.commands.len()).expect("there are few commands");
        let parent = name.split_once('|').map(|(parent, _)| self.names[parent]);
        if let Some(parent) = parent {
            let subcommands = &mut self.commands[usize::from(parent)].subcommands;
            let is_first = subcommands.start == subcommands.end;
            assert!(is_first || subcommands.end == number, "{name} follows another command");
            let first = if is_first { number } else { subcommands.start };
            *subcommands = first..number + 1;
        }
        self.commands.push(Known { name: name.to_string(), parent, subcommands: 0..0, categories });
        self.names.insert(name.to_string(), number);
    }

    /// Returns the number of a command or subcommand (`config|get`), ignoring case.
    pub fn find(&self, name: &[u8]) -> Option<u16> {
        let name = std::str::from_utf8(name).ok()?;
        self.names.get(&name.to_ascii_lowercase()).copied()
    }

    /// Returns the command with a number.
    pub fn at(&self, number: u16) -> &Known {
        &self.commands[usize::from(number)]
    }

    /// Returns all commands, in the order of their numbers.
    pub fn commands(&self) -> &[Known] {
        &self.commands
    }

    /// Returns the bit of a category, ignoring case.
    pub fn category(name: &[u8]) -> Option<u32> {
        let is_it = |category: &&str| name.eq_ignore_ascii_case(category.as_bytes());
        CATEGORY_NAMES.iter().position(is_it).map(|bit| 1 << bit)
    }
}
