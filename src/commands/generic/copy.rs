//! COPY and MOVE: copies a value, or moves it to another database.

use crate::commands::args::database_at;
use crate::exec::{Command, Context};
use crate::keyspace::Event;
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Category, Databases, Flag, Group, KeySpec};

/// The options of COPY.
struct Copy {
    /// The database of the destination.
    db: usize,
    /// Whether an existing value of the destination is replaced.
    replace: bool,
}

impl Copy {
    /// Parses the options for a session that has selected `db`.
    fn of(args: &Args<'_>, db: usize, databases: usize) -> Result<Copy, Error> {
        let mut copy = Copy { db, replace: false };
        let mut index = 3;
        while index < args.len() {
            let option = &args[index];
            if option.eq_ignore_ascii_case(b"REPLACE") {
                copy.replace = true;
            } else if option.eq_ignore_ascii_case(b"DB") && index + 1 < args.len() {
                index += 1;
                copy.db = database_at(&args[index], databases)?;
            } else {
                return Err(Error::Syntax);
            }
            index += 1;
        }
        Ok(copy)
    }
}

pub(super) static COPY: Command = Command::gather(
    copy,
    Card::new("copy", Group::Generic, "6.2.0")
        .summary("Copies the value of a key to a new key.")
        .complexity(
            "O(N) worst case for collections, where N is the number of nested items. O(1) for \
             string values.",
        )
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .databases(Databases::Option { name: "DB", from: 3, others: &["REPLACE"] })
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::reads(), KeySpec::overwrites().at(2)])
        .args(&[
            Arg::key("source"),
            Arg::key("destination").key_spec(1),
            Arg::integer("destination-db").after("DB").optional(),
            Arg::keyword("REPLACE").optional(),
        ]),
)
.offload()
.key_database(copy_database);

/// Returns the database of the key at argument `arg`: the option DB gives the destination's, the
/// source is in the selected database.
fn copy_database(args: &Args<'_>, arg: usize, db: usize) -> usize {
    if arg == 1 {
        return db;
    }
    match Copy::of(args, db, usize::MAX) {
        Ok(copy) => copy.db,
        Err(Error::Syntax) => db,
        Err(_) => usize::MAX,
    }
}

fn copy(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let Copy { db, replace } = Copy::of(args, cx.db, cx.slice.databases())?;
    let (from, to) = (cx.key(args, 1), cx.key(args, 2));
    if db == cx.db && from.bytes == to.bytes {
        return Err(Error::SameObject);
    }
    let is_there = cx.slice.lookup(cx.db, &from).is_some();
    if !is_there || (cx.slice.peek(db, &to).is_some() && !replace) {
        cx.reply.integer(0);
        return Ok(());
    }
    let mut detached = cx.slice.export(cx.db, &from).expect("it has just been found");
    let hidden = detached.remove_expired(cx.slice.horizon_ms());
    // Removed first, because the events of the copy are those of a new key.
    cx.slice.remove(db, &to);
    if !detached.is_void() {
        cx.slice.import(db, &to, detached);
    }
    cx.slice.raise(db, &to, Event::CopyTo, 1);
    if !hidden.is_empty() && cx.is_recorded() {
        // Elsewhere these fields may still be visible, and are copied.
        let copy: Vec<&[u8]> = args.iter_from(0).collect();
        cx.propagate(&copy);
        let head = [&b"HDEL"[..], to.bytes];
        let removal: Vec<&[u8]> = head.into_iter().chain(hidden.iter().map(|it| &it[..])).collect();
        cx.propagate_in(db, &removal);
    }
    cx.effects.other_databases |= db != cx.db;
    cx.reply.integer(1);
    Ok(())
}

pub(super) static MOVE: Command = Command::single(
    move_key,
    Card::new("move", Group::Generic, "1.0.0")
        .summary("Moves a key to another database.")
        .constant_time()
        .arity(3)
        .flags(Flag::WRITE.and(Flag::FAST))
        .databases(Databases::At(&[2]))
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::updates().using_data()])
        .args(&[Arg::key("key"), Arg::integer("db")]),
);

fn move_key(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let db = database_at(&args[2], cx.slice.databases())?;
    if db == cx.db {
        return Err(Error::SameObject);
    }
    let key = cx.key(args, 1);
    let is_free = cx.slice.peek(cx.db, &key).is_some() && cx.slice.peek(db, &key).is_none();
    if is_free {
        let detached = cx.slice.take(cx.db, &key).expect("it has just been found");
        cx.slice.import(db, &key, detached);
        cx.raise(&key, Event::MoveFrom, 0);
        cx.slice.raise(db, &key, Event::MoveTo, 1);
        cx.effects.other_databases = true;
    }
    cx.reply.integer(i64::from(is_free));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::copy_database;
    use crate::commands::testing::{Bench, check_feed, check_script, show};
    use crate::resp::{Args, Span};

    #[test]
    fn copying() {
        check_script(
            r#"
            COPY none x => :0
            COPY none none => -ERR source and destination objects are the same
            SET f v EX 100 => OK +1
            COPY f f => -ERR source and destination objects are the same
            COPY f f DB 0 => -ERR source and destination objects are the same
            COPY f g => :1 +1
            TTL g => :100
            COPY f g => :0
            SET f w => OK +1
            COPY f g replace REPLACE => :1 +1
            TTL g => :-1
            GET g => "w"
            COPY f g DB => -ERR syntax error
            COPY f g FOO => -ERR syntax error
            COPY f f DB 1 => :1 +1
            COPY f f DB 1 => :0
            COPY f f DB 1 REPLACE => :1 +1
            COPY f f DB 16 => -ERR DB index is out of range
            COPY f f DB x => -ERR value is not an integer or out of range
            COPY f f DB -1 => -ERR DB index is out of range
            COPY f f DB 9999999999 => -{int}
            COPY f f DB 1 DB 0 => -ERR source and destination objects are the same
            COPY f f db 0 DB 1 REPLACE => :1 +1
            COPY none none DB 77 => -ERR DB index is out of range
            COPY f f DB 77 FOO => -ERR DB index is out of range
            COPY f f FOO DB 77 => -ERR syntax error
            COPY f => -ERR wrong number of arguments for 'copy' command
            "#
            .replace("{int}", INT_RANGE)
            .as_str(),
        );
    }

    /// The error for numbers that do not fit 32 bits.
    const INT_RANGE: &str =
        "ERR value is out of range, value must between -2147483648 and 2147483647";

    #[test]
    fn moving() {
        check_script(
            r#"
            MSET f 1 g 2 => OK +2
            MOVE f 0 => -ERR source and destination objects are the same
            MOVE none 0 => -ERR source and destination objects are the same
            MOVE none 1 => :0
            COPY f f DB 1 => :1 +1
            MOVE f 1 => :0
            MOVE f 2 => :1 +1
            EXISTS f => :0
            MOVE g x => -ERR value is not an integer or out of range
            MOVE g 16 => -ERR DB index is out of range
            MOVE g -1 => -ERR DB index is out of range
            MOVE g 9999999999 => -{int}
            MOVE g 2147483647 => -ERR DB index is out of range
            MOVE g 99999999999999999999 => -ERR value is not an integer or out of range
            "#
            .replace("{int}", INT_RANGE)
            .as_str(),
        );
    }

    #[test]
    fn a_moved_value_keeps_its_expiry() {
        let mut bench = Bench::new();
        bench.run(&["SET", "k", "v", "EX", "100"]);
        bench.run(&["MOVE", "k", "3"]);
        bench.db = 3;
        assert_eq!(show(&bench.run(&["TTL", "k"])), ":100");
        assert_eq!(show(&bench.run(&["COPY", "k", "l", "DB", "0"])), ":1");
        bench.db = 0;
        assert_eq!(show(&bench.run(&["TTL", "l"])), ":100");
        assert_eq!(show(&bench.run(&["DBSIZE"])), ":1");
        bench.slice.check();
    }

    #[test]
    fn propagated_commands() {
        check_feed(
            r#"
            COPY none x =>
            SET f v => SET f v
            COPY f g => COPY f g
            COPY f g =>
            COPY f g REPLACE => COPY f g REPLACE
            COPY f f DB 3 => COPY f f DB 3
            MOVE f 3 =>
            MOVE f 4 => MOVE f 4
            SET e v => SET e v
            PEXPIREAT e {now+20} => PEXPIREAT e {now+20}
            COPY e e DB 5 => COPY e e DB 5
            ADVANCE 40
            COPY e x => UNLINK e
            COPY g e DB 5 => 5:UNLINK e | COPY g e DB 5
            MOVE e 1 =>
            "#,
        );
    }

    #[test]
    fn an_expired_destination_does_not_exist() {
        let mut bench = Bench::new();
        bench.record();
        bench.db = 3;
        bench.run(&["SET", "e", "v", "PX", "20"]);
        bench.db = 0;
        bench.run(&["SET", "e", "w"]);
        bench.advance_ms(40);
        assert_eq!(show(&bench.run(&["MOVE", "e", "3"])), ":1");
        assert_eq!(bench.recorded(), ["3:UNLINK e", "MOVE e 3"]);
        assert_eq!(show(&bench.run(&["MOVE", "e", "3"])), ":0");
    }

    #[test]
    fn the_database_of_a_copy() {
        let cases: &[(&str, usize)] = &[
            ("COPY a b", 7),
            ("COPY a b DB 3", 3),
            ("COPY a b REPLACE db 3 DB 4", 4),
            ("COPY a b DB 99", 99),
            ("COPY a b DB -1", usize::MAX),
            ("COPY a b DB", 7),
            ("COPY a b FOO DB 1", 7),
        ];
        for (line, expected) in cases {
            let mut spans = Vec::new();
            let mut at = 0;
            for arg in line.split(' ') {
                spans.push(Span::text(at, arg.len()));
                at += arg.len() + 1;
            }
            let args = Args::new(line.as_bytes(), &spans, &mut []);
            assert_eq!(copy_database(&args, 1, 7), 7);
            assert_eq!(copy_database(&args, 2, 7), *expected, "{line}");
        }
    }
}
