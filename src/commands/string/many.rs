//! Many strings at once. A part of such a command sees the keys of its own shard only.

use super::{new_value, reply_string};
use crate::commands::each_key::each_key;
use crate::exec::{Command, Context, Merge, Over, Run};
use crate::keyspace::Expiry;
use crate::resp::{Args, Error};
use crate::spec::{Card, Category, Flag, Group, KeySpec};

pub(super) static MGET: Command = Command {
    card: Card {
        name: "mget",
        summary: "Atomically returns the string values of one or more keys.",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(N) where N is the number of keys to retrieve.",
        arity: -2,
        flags: Flag::READONLY.and(Flag::FAST),
        categories: &[Category::String],
        tips: &["request_policy:multi_shard"],
        keys: &[KeySpec::all("RO access", 1)],
    },
    run: Run::Spread(mget, Over::Keys, Merge::ByKey),
    subcommands: &[],
};

fn mget(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    cx.reply.array(args.len() - 1);
    each_key(cx, args, 1, |cx, args, word| {
        let view = cx.slice.lookup(cx.db, &word.key(args));
        match view.and_then(|view| view.string()) {
            None => cx.reply.null(),
            Some(value) => reply_string(&mut cx.reply, value),
        }
        cx.reply.element_end();
    });
    Ok(())
}

pub(super) static MSET: Command = Command {
    card: Card {
        name: "mset",
        summary: "Atomically creates or modifies the string values of one or more keys.",
        since: "1.0.1",
        group: Group::String,
        complexity: "O(N) where N is the number of keys to set.",
        arity: -3,
        flags: Flag::WRITE.and(Flag::DENYOOM),
        categories: &[Category::String],
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        keys: &[KeySpec::all("OW update", 2)],
    },
    run: Run::Spread(mset, Over::Keys, Merge::Ok),
    subcommands: &[],
};

fn mset(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.len().is_multiple_of(2) {
        return Err(Error::wrong_arity("mset"));
    }
    each_key(cx, args, 2, |cx, args, word| {
        let large = args.take_large(word.index + 1);
        let value = new_value(&args[word.index + 1], large);
        cx.slice.set(cx.db, &word.key(args), value, Expiry::Clear);
        cx.effects.changes += 1;
    });
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check_script;

    #[test]
    fn many_strings() {
        check_script(
            r#"
            MSET a 1 b 2 c x => OK +3
            MGET a b c d a => ["1" "2" "x" nil "1"]
            MGET => -ERR wrong number of arguments for 'mget' command
            MSET => -ERR wrong number of arguments for 'mset' command
            MSET a => -ERR wrong number of arguments for 'mset' command
            MSET a 1 b => -ERR wrong number of arguments for 'mset' command
            MSET a 1 b 2 c => -ERR wrong number of arguments for 'mset' command
            MSET a 1 a 2 => OK +2
            GET a => "2"
            MSET '' e a '' => OK +2
            MGET '' a => ["e" ""]
            SET a v EX 100 => OK +1
            MSET a w => OK +1
            TTL a => :-1
            SET p v PX 20 => OK +1
            ADVANCE 40
            MGET p a => [nil "w"]
            DBSIZE => :4
            "#,
        );
    }
}
