//! COMMAND: information about the commands, all of it derived from their cards.

mod describe;
mod docs;

use super::help::{help_card, help_command};
use crate::base::glob;
use crate::exec::{Command, CommandTable, Entry, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Arg, CATEGORY_NAMES, Card, Category, Flag, Group, KeySpec};
use describe::write_info;
use docs::write_docs;

pub(super) static COMMAND: Command = Command::session(
    command,
    Card::new("command", Group::Server, "2.8.13")
        .summary("Returns detailed information about all commands.")
        .complexity("O(N) where N is the total number of commands")
        .arity(-1)
        .flags(Flag::LOADING.and(Flag::STALE))
        .categories(&[Category::Connection])
        .tips(&["nondeterministic_output_order"]),
)
.subcommands(&[&COUNT, &INFO, &DOCS, &LIST, &GETKEYS, &GETKEYSANDFLAGS, &HELP]);

fn command(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    let entries = cx.process.commands.entries();
    cx.reply.array(entries.len());
    entries.iter().for_each(|entry| write_info(&mut cx.reply, entry));
    Ok(())
}

/// Finds a command by its full name: `get`, `client|list`.
fn find_by_name<'t>(table: &'t CommandTable, name: &[u8]) -> Option<&'t Entry> {
    match name.iter().position(|byte| *byte == b'|') {
        None => table.find(name),
        Some(at) => table.find(&name[..at])?.subcommand(&name[at + 1..]),
    }
}

/// Finds the command that the arguments from `first` on call.
pub(super) fn find_called<'t>(
    table: &'t CommandTable,
    args: &Args<'_>,
    first: usize,
) -> Option<&'t Entry> {
    let entry = table.find(args.get(first)?)?;
    match args.get(first + 1) {
        Some(arg) if !entry.subcommands.is_empty() => entry.subcommand(arg),
        _ => Some(entry),
    }
}

static COUNT: Command = Command::session(
    count,
    Card::new("count", Group::Server, "2.8.13")
        .summary("Returns a count of commands.")
        .constant_time()
        .arity(2)
        .flags(Flag::LOADING.and(Flag::STALE))
        .categories(&[Category::Connection]),
);

fn count(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cx.reply.integer(cx.process.commands.entries().len() as i64);
    Ok(())
}

static INFO: Command = Command::session(
    info,
    Card::new("info", Group::Server, "2.8.13")
        .summary("Returns information about one, multiple or all commands.")
        .complexity("O(N) where N is the number of commands to look up")
        .arity(-2)
        .flags(Flag::LOADING.and(Flag::STALE))
        .categories(&[Category::Connection])
        .tips(&["nondeterministic_output_order"])
        .history(&[("7.0.0", "Allowed to be called with no argument to get info on all commands.")])
        .args(&[Arg::string("command-name").optional().repeated()]),
);

fn info(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.len() == 2 {
        return command(cx, args);
    }
    cx.reply.array(args.len() - 2);
    for name in args.iter_from(2) {
        match find_by_name(cx.process.commands, name) {
            Some(entry) => write_info(&mut cx.reply, entry),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

static DOCS: Command = Command::session(
    docs,
    Card::new("docs", Group::Server, "7.0.0")
        .summary("Returns documentary information about one, multiple or all commands.")
        .complexity("O(N) where N is the number of commands to look up")
        .arity(-2)
        .flags(Flag::LOADING.and(Flag::STALE))
        .categories(&[Category::Connection])
        .tips(&["nondeterministic_output_order"])
        .args(&[Arg::string("command-name").optional().repeated()]),
);

fn docs(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let table = cx.process.commands;
    let entries: Vec<&Entry> = match args.len() {
        2 => table.entries().iter().collect(),
        _ => args.iter_from(2).filter_map(|name| find_by_name(table, name)).collect(),
    };
    cx.reply.map(entries.len());
    entries.into_iter().for_each(|entry| write_docs(&mut cx.reply, entry));
    Ok(())
}

static LIST: Command = Command::session(
    list,
    Card::new("list", Group::Server, "7.0.0")
        .summary("Returns a list of command names.")
        .complexity("O(N) where N is the total number of commands")
        .arity(-2)
        .flags(Flag::LOADING.and(Flag::STALE))
        .categories(&[Category::Connection])
        .tips(&["nondeterministic_output_order"])
        .args(&[Arg::one_of(
            "filterby",
            &[
                Arg::string("module-name").after("MODULE"),
                Arg::string("category").after("ACLCAT"),
                Arg::pattern("pattern").after("PATTERN"),
            ],
        )
        .after("FILTERBY")
        .optional()]),
);

fn list(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let keeps = Filter::read(args)?;
    let names: Vec<&str> = cx
        .process
        .commands
        .walk()
        .filter(|entry| keeps.passes(entry))
        .map(|entry| entry.name.as_str())
        .collect();
    cx.reply.array(names.len());
    names.into_iter().for_each(|name| cx.reply.bulk(name.as_bytes()));
    Ok(())
}

/// Selects the commands that COMMAND LIST shows.
enum Filter<'a> {
    All,
    /// No commands: there are no modules, and an unknown category is empty.
    Nothing,
    Category(&'static str),
    Pattern(&'a [u8]),
}

impl<'a> Filter<'a> {
    fn read(args: &'a Args<'_>) -> Result<Filter<'a>, Error> {
        if args.len() == 2 {
            return Ok(Filter::All);
        }
        if args.len() != 5 || !args[2].eq_ignore_ascii_case(b"filterby") {
            return Err(Error::Syntax);
        }
        let value = &args[4];
        match &args[3].to_ascii_lowercase()[..] {
            b"module" => Ok(Filter::Nothing),
            b"aclcat" => {
                let is_it = |name: &&str| value.eq_ignore_ascii_case(name.as_bytes());
                let category = CATEGORY_NAMES.into_iter().find(is_it);
                Ok(category.map_or(Filter::Nothing, Filter::Category))
            }
            b"pattern" => Ok(Filter::Pattern(value)),
            _ => Err(Error::Syntax),
        }
    }

    fn passes(&self, entry: &Entry) -> bool {
        match self {
            Filter::All => true,
            Filter::Nothing => false,
            Filter::Category(name) => entry.command.card.is_in(name),
            Filter::Pattern(pattern) => glob::matches(pattern, entry.name.as_bytes(), true),
        }
    }
}

static GETKEYS: Command = Command::session(
    getkeys,
    Card::new("getkeys", Group::Server, "2.8.13")
        .summary("Extracts the key names from an arbitrary command.")
        .complexity("O(N) where N is the number of arguments to the command")
        .arity(-3)
        .flags(Flag::LOADING.and(Flag::STALE))
        .categories(&[Category::Connection])
        .args(&[Arg::string("command"), Arg::string("arg").optional().repeated()]),
);

fn getkeys(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let (_, keys) = find_keys(cx, args)?;
    cx.reply.array(keys.len());
    keys.iter().for_each(|(at, _)| cx.reply.bulk(&args[*at]));
    Ok(())
}

static GETKEYSANDFLAGS: Command = Command::session(
    getkeysandflags,
    Card::new("getkeysandflags", Group::Server, "7.0.0")
        .summary("Extracts the key names and access flags for an arbitrary command.")
        .complexity("O(N) where N is the number of arguments to the command")
        .arity(-3)
        .flags(Flag::LOADING.and(Flag::STALE))
        .categories(&[Category::Connection])
        .args(&[Arg::string("command"), Arg::string("arg").optional().repeated()]),
);

fn getkeysandflags(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let (entry, keys) = find_keys(cx, args)?;
    cx.reply.array(keys.len());
    for (at, spec) in keys {
        cx.reply.array(2);
        cx.reply.bulk(&args[at]);
        let argc = args.len() - CALLED;
        let key_use = entry.command.key_use.filter(|_| spec.varies);
        let used = key_use.map_or(*spec, |used| used(argc, &|at| &args[CALLED + at]));
        let names: Vec<&str> = used.flag_names().collect();
        cx.reply.set(names.len());
        names.into_iter().for_each(|name| cx.reply.simple(name));
    }
    Ok(())
}

/// Indices of arguments that are keys, each with its key spec.
type Keys = Vec<(usize, &'static KeySpec)>;

/// Returns the command that the arguments from the third on call, and which of its arguments are
/// keys.
fn find_keys(cx: &SessionContext<'_>, args: &Args<'_>) -> Result<(&'static Entry, Keys), Error> {
    let entry = find_called(cx.process.commands, args, CALLED);
    let entry = entry.ok_or_else(|| Error::other("ERR Invalid command specified"))?;
    let card = &entry.command.card;
    if !card.has_keys() {
        return Err(Error::other("ERR The command has no key arguments"));
    }
    let argc = args.len() - CALLED;
    if !card.takes(argc) {
        return Err(Error::other("ERR Invalid number of arguments specified for command"));
    }
    let found = card.key_args(argc, |at| &args[CALLED + at]);
    let is_optional = card.flags.has(Flag::NO_MANDATORY_KEYS);
    let Some(mut keys) = found.or(is_optional.then(Keys::new)) else {
        return Err(Error::other("ERR Invalid arguments specified for command"));
    };
    keys.iter_mut().for_each(|(at, _)| *at += CALLED);
    Ok((entry, keys))
}

/// Index of the argument of COMMAND GETKEYS at which the inspected command begins.
const CALLED: usize = 2;

static HELP: Command =
    help_command(help_card(Group::Server, "5.0.0").categories(&[Category::Connection]));

#[cfg(test)]
mod tests {
    use crate::commands::session_testing::{SessionBench, show};
    use crate::resp::Protocol;

    #[test]
    fn one_command_is_described() {
        let mut bench = SessionBench::new();
        bench.session.protocol = Protocol::Three;
        bench.check_script(
            r#"
            COMMAND INFO get nothing => [["get" :2 <readonly fast> :1 :1 :1 <@read @string @fast>
                | <> <{"flags" <RO access> "begin_search" {"type" "index" "spec" {"index" :1}}
                | "find_keys" {"type" "range" "spec" {"lastkey" :0 "keystep" :1 "limit" :0}}}> []]
                | nil]
            COMMAND INFO client|id client| client|id| => [["client|id" :2 <noscript loading stale
                | allow_busy> :0 :0 :0 <@slow @connection> <> <> []] nil nil]
            COMMAND DOCS nothing ping => {"ping" {"summary" "Returns the server's liveliness
                | response." "since" "1.0.0" "group" "connection" "complexity" "O(1)" "arguments"
                | [{"name" "message" "type" "string" "display_text" "message" "flags" <optional>}]}}
            "#,
        );
        let shown = show(&bench.run(&["COMMAND", "DOCS", "config"]).expect("a reply"));
        assert!(shown.contains(r#""subcommands" {"config|get" {"summary""#), "{shown}");
    }

    #[test]
    fn histories_and_groups_of_arguments_are_described() {
        let mut bench = SessionBench::new();
        bench.check_script(
            r#"
            COMMAND DOCS client|pause => ["client|pause" ["summary" "Suspends commands processing."
                | "since" "3.0.0" "group" "connection" "complexity" "O(1)" "history" [["6.2.0"
                | "`CLIENT PAUSE WRITE` mode added along with the `mode` option."]] "arguments"
                | [["name" "timeout" "type" "integer" "display_text" "timeout"]
                | ["name" "mode" "type" "oneof" "since" "6.2.0" "flags" [optional] "arguments"
                | [["name" "write" "type" "pure-token" "display_text" "write" "token" "WRITE"]
                | ["name" "all" "type" "pure-token" "display_text" "all" "token" "ALL"]]]]]]
            "#,
        );
        bench.session.protocol = Protocol::Three;
        bench.check_script(
            r#"
            COMMAND DOCS replconf hdel => {"replconf" {"summary" "An internal command for
                | configuring the replication stream." "since" "3.0.0" "group" "server"
                | "complexity" "O(1)" "doc_flags" <syscmd>}
                | "hdel" {"summary" "Deletes one or more fields and their values from a hash.
                | Deletes the hash if no fields remain." "since" "2.0.0" "group" "hash"
                | "complexity" "O(N) where N is the number of fields to be removed." "history"
                | <["2.4.0" "Accepts multiple `field` arguments."]> "arguments"
                | [{"name" "key" "type" "key" "display_text" "key" "key_spec_index" :0}
                | {"name" "field" "type" "string" "display_text" "field" "flags" <multiple>}]}}
            "#,
        );
    }

    #[test]
    fn all_commands_are_counted_listed_and_described() {
        let mut bench = SessionBench::new();
        let count = bench.process.commands.entries().len();
        let mut len = |args: &[&str]| match bench.run(args) {
            Some(crate::resp::Value::Array(values)) => values.len(),
            other => panic!("{args:?}: {other:?}"),
        };
        assert_eq!(len(&["COMMAND"]), count);
        assert_eq!(len(&["COMMAND", "INFO"]), count);
        assert_eq!(len(&["COMMAND", "DOCS"]), 2 * count);
        assert!(len(&["COMMAND", "LIST"]) > count, "the list includes subcommands");
        bench.check_script(&format!("COMMAND COUNT => :{count}"));
    }

    #[test]
    fn lists_are_filtered() {
        SessionBench::new().check_script(
            r#"
            COMMAND LIST x => -ERR syntax error
            COMMAND LIST FILTERBY x y => -ERR syntax error
            COMMAND LIST FILTERBY MODULE x => []
            COMMAND LIST FILTERBY ACLCAT x => []
            COMMAND LIST filterby pattern CONFIG|*set => ["config|set"]
            COMMAND LIST filterby pattern config|*s?t* => ["config|set" "config|resetstat"]
            "#,
        );
        let mut bench = SessionBench::new();
        let shown =
            show(&bench.run(&["COMMAND", "LIST", "FILTERBY", "ACLCAT", "ADMIN"]).expect("a reply"));
        assert!(shown.contains("\"config|get\"") && !shown.contains("\"ping\""), "{shown}");
    }

    #[test]
    fn keys_are_found() {
        let mut bench = SessionBench::new();
        bench.check_script(
            r#"
            COMMAND GETKEYS foo => -ERR Invalid command specified
            COMMAND GETKEYS client foo => -ERR Invalid command specified
            COMMAND GETKEYS ping => -ERR The command has no key arguments
            COMMAND GETKEYS get => -ERR Invalid number of arguments specified for command
            COMMAND GETKEYS get a => ["a"]
            COMMAND GETKEYS mset a 1 b 2 => ["a" "b"]
            COMMAND GETKEYS del a b c => ["a" "b" "c"]
            COMMAND GETKEYSANDFLAGS set a 1 => [["a" [OW update]]]
            COMMAND GETKEYSANDFLAGS set a 1 GET => [["a" [RW access update]]]
            COMMAND GETKEYSANDFLAGS mget a b => [["a" [RO access]] ["b" [RO access]]]
            "#,
        );
        bench.session.protocol = Protocol::Three;
        bench.check_script(r#"COMMAND GETKEYSANDFLAGS get a => [["a" <RO access>]]"#);
    }
}
