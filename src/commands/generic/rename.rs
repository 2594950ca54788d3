//! RENAME and RENAMENX: moves a value to another key.

use crate::exec::{Command, Context};
use crate::keyspace::Event;
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Category, Flag, Group, KeySpec};

/// Moves the value and the expiry of the key at argument 1 to the key at argument 2. Returns false
/// without a change if both keys are equal, or if `only_new` is set and the second key exists.
fn rename_key(cx: &mut Context<'_>, args: &Args<'_>, only_new: bool) -> Result<bool, Error> {
    let (from, to) = (cx.key(args, 1), cx.key(args, 2));
    if cx.slice.peek(cx.db, &from).is_none() {
        return Err(Error::NoSuchKey);
    }
    if from.bytes == to.bytes || (only_new && cx.slice.peek(cx.db, &to).is_some()) {
        return Ok(false);
    }
    let detached = cx.slice.take(cx.db, &from).expect("it has just been found");
    // Removed first, because the events of the renamed key are those of a new key.
    cx.slice.remove(cx.db, &to);
    cx.slice.import(cx.db, &to, detached);
    cx.raise(&from, Event::RenameFrom, 0);
    cx.raise(&to, Event::RenameTo, 1);
    Ok(true)
}

pub(super) static RENAME: Command = Command::gather(
    rename,
    Card::new("rename", Group::Generic, "1.0.0")
        .summary("Renames a key and overwrites the destination.")
        .constant_time()
        .arity(3)
        .flags(Flag::WRITE)
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::deletes().using_data(), KeySpec::overwrites().at(2)])
        .args(&[Arg::key("key"), Arg::key("newkey").key_spec(1)]),
);

fn rename(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    rename_key(cx, args, false)?;
    cx.reply.ok();
    Ok(())
}

pub(super) static RENAMENX: Command = Command::gather(
    renamenx,
    Card::new("renamenx", Group::Generic, "1.0.0")
        .summary("Renames a key only when the target key name doesn't exist.")
        .constant_time()
        .arity(3)
        .flags(Flag::WRITE.and(Flag::FAST))
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::deletes().using_data(), KeySpec::creates().at(2)])
        .history(&[(
            "3.2.0",
            "The command no longer returns an error when source and destination names are the \
             same.",
        )])
        .args(&[Arg::key("key"), Arg::key("newkey").key_spec(1)]),
);

fn renamenx(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let is_renamed = rename_key(cx, args, true)?;
    cx.reply.integer(i64::from(is_renamed));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Bench, check_feed, check_script, show};

    #[test]
    fn renaming() {
        check_script(
            r#"
            RENAME none x => -ERR no such key
            RENAME none none => -ERR no such key
            RENAMENX none none => -ERR no such key
            RENAMENX none x => -ERR no such key
            RENAME a => -ERR wrong number of arguments for 'rename' command
            RENAMENX a b c => -ERR wrong number of arguments for 'renamenx' command
            MSET a 1 b 2 c hello => OK +3
            RENAME a a => OK
            RENAMENX a a => :0
            RENAME a d => OK +1
            GET a => nil
            GET d => "1"
            RENAMENX b d => :0
            RENAMENX b e => :1 +1
            RENAME d e => OK +1
            GET e => "1"
            PEXPIRE e 100000 => :1 +1
            RENAME e f => OK +1
            TTL f => :100
            RENAME c f => OK +1
            TTL f => :-1
            GET f => "hello"
            DBSIZE => :1
            SET '' x => OK +1
            RENAME '' g => OK +1
            RENAME g '' => OK +1
            GET '' => "x"
            "#,
        );
    }

    #[test]
    fn expired_keys_do_not_exist() {
        check_script(
            r#"
            SET e v PX 20 => OK +1
            SET k w => OK +1
            ADVANCE 40
            RENAME e x => -ERR no such key
            SET e v PX 20 => OK +1
            ADVANCE 40
            RENAMENX k e => :1 +1
            TTL e => :-1
            SET k v PX 20 => OK +1
            ADVANCE 40
            RENAME e k => OK +1
            TTL k => :-1
            DBSIZE => :1
            "#,
        );
    }

    #[test]
    fn propagated_commands() {
        check_feed(
            r#"
            RENAME none x =>
            MSET a 1 b 2 => MSET a 1 b 2
            RENAME a a =>
            RENAMENX a b =>
            RENAME a c => RENAME a c
            RENAMENX b d => RENAMENX b d
            SET e v => SET e v
            PEXPIREAT e {now+20} => PEXPIREAT e {now+20}
            ADVANCE 40
            RENAME c e => UNLINK e | RENAME c e
            PEXPIREAT e {now+60} => PEXPIREAT e {now+60}
            ADVANCE 40
            RENAMENX d e => UNLINK e | RENAMENX d e
            PEXPIREAT e {now+100} => PEXPIREAT e {now+100}
            ADVANCE 40
            RENAME e x => UNLINK e
            "#,
        );
    }

    #[test]
    fn a_renamed_value_keeps_its_encoding() {
        let mut bench = Bench::new();
        let large = "x".repeat(100_000);
        for value in ["12", "text", &large] {
            bench.run(&["SET", "from", value]);
            bench.run(&["APPEND", "from", ""]);
            let encoding = show(&bench.run(&["OBJECT", "ENCODING", "from"]));
            bench.run(&["RENAME", "from", "to"]);
            assert_eq!(show(&bench.run(&["OBJECT", "ENCODING", "to"])), encoding);
            assert_eq!(show(&bench.run(&["GET", "to"])), format!("\"{value}\""));
            bench.run(&["APPEND", "to", "y"]);
            bench.run(&["RENAME", "to", "from"]);
            assert_eq!(show(&bench.run(&["OBJECT", "ENCODING", "from"])), "\"raw\"");
            bench.slice.check();
        }
    }
}
