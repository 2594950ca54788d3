//! Publishing, subscribing, and questions about subscriptions.

use super::help::{help_card, help_command};
use crate::base::glob;
use crate::exec::{Command, Context, Request, SessionContext};
use crate::pubsub::{Count, Sort};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Channels, Flag, Group, KeySpec};
use bytes::{Bytes, BytesMut};

/// The commands of this file.
pub static FAMILY: &[&Command] = &[
    &SUBSCRIBE,
    &UNSUBSCRIBE,
    &PSUBSCRIBE,
    &PUNSUBSCRIBE,
    &SSUBSCRIBE,
    &SUNSUBSCRIBE,
    &PUBLISH,
    &SPUBLISH,
    &PUBSUB,
];

const OF_SESSION: Flag = Flag::PUBSUB.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE);

const OF_QUESTIONS: Flag = Flag::PUBSUB.and(Flag::LOADING).and(Flag::STALE);

const OF_PUBLISHERS: Flag =
    Flag::PUBSUB.and(Flag::LOADING).and(Flag::STALE).and(Flag::FAST).and(Flag::MAY_REPLICATE);

static SUBSCRIBE: Command = Command::session(
    |cx, args| subscribe(cx, args, Sort::Channel),
    Card::new("subscribe", Group::PubSub, "2.0.0")
        .summary("Listens for messages published to channels.")
        .complexity("O(N) where N is the number of channels to subscribe to.")
        .channels(Channels::All)
        .arity(-2)
        .flags(OF_SESSION)
        .args(&[Arg::string("channel").repeated()]),
)
.for_subscribers();

static PSUBSCRIBE: Command = Command::session(
    |cx, args| subscribe(cx, args, Sort::Pattern),
    Card::new("psubscribe", Group::PubSub, "2.0.0")
        .summary("Listens for messages published to channels that match one or more patterns.")
        .complexity("O(N) where N is the number of patterns to subscribe to.")
        .channels(Channels::Patterns)
        .arity(-2)
        .flags(OF_SESSION)
        .args(&[Arg::pattern("pattern").repeated()]),
)
.for_subscribers();

static SSUBSCRIBE: Command = Command::session(
    |cx, args| subscribe(cx, args, Sort::ShardChannel),
    Card::new("ssubscribe", Group::PubSub, "7.0.0")
        .summary("Listens for messages published to shard channels.")
        .complexity("O(N) where N is the number of shard channels to subscribe to.")
        .channels(Channels::All)
        .arity(-2)
        .flags(OF_SESSION)
        .keys(&[KeySpec::channels().to_end(1)])
        .args(&[Arg::string("shardchannel").repeated()]),
)
.for_subscribers();

static UNSUBSCRIBE: Command = Command::session(
    |cx, args| unsubscribe(cx, args, Sort::Channel),
    Card::new("unsubscribe", Group::PubSub, "2.0.0")
        .summary("Stops listening to messages posted to channels.")
        .complexity("O(N) where N is the number of channels to unsubscribe.")
        .arity(-1)
        .flags(OF_SESSION)
        .args(&[Arg::string("channel").optional().repeated()]),
)
.for_subscribers();

static PUNSUBSCRIBE: Command = Command::session(
    |cx, args| unsubscribe(cx, args, Sort::Pattern),
    Card::new("punsubscribe", Group::PubSub, "2.0.0")
        .summary(
            "Stops listening to messages published to channels that match one or more patterns.",
        )
        .complexity("O(N) where N is the number of patterns to unsubscribe.")
        .arity(-1)
        .flags(OF_SESSION)
        .args(&[Arg::pattern("pattern").optional().repeated()]),
)
.for_subscribers();

static SUNSUBSCRIBE: Command = Command::session(
    |cx, args| unsubscribe(cx, args, Sort::ShardChannel),
    Card::new("sunsubscribe", Group::PubSub, "7.0.0")
        .summary("Stops listening to messages posted to shard channels.")
        .complexity("O(N) where N is the number of shard channels to unsubscribe.")
        .arity(-1)
        .flags(OF_SESSION)
        .keys(&[KeySpec::channels().to_end(1)])
        .args(&[Arg::string("shardchannel").optional().repeated()]),
)
.for_subscribers();

fn names(args: &Args<'_>) -> Vec<Bytes> {
    args.iter_from(1).map(Bytes::copy_from_slice).collect()
}

fn subscribe(cx: &mut SessionContext<'_>, args: &Args<'_>, sort: Sort) -> Result<(), Error> {
    cx.request = Some(Request::Subscribe(sort, names(args)));
    Ok(())
}

fn unsubscribe(cx: &mut SessionContext<'_>, args: &Args<'_>, sort: Sort) -> Result<(), Error> {
    let names = (args.len() > 1).then(|| names(args));
    cx.request = Some(Request::Unsubscribe(sort, names));
    Ok(())
}

static PUBLISH: Command = Command::gather(
    |cx, args| publish(cx, args, Sort::Channel),
    Card::new("publish", Group::PubSub, "2.0.0")
        .summary("Posts a message to a channel.")
        .complexity(
            "O(N+M) where N is the number of clients subscribed to the receiving channel and M is \
             the total number of subscribed patterns (by any client).",
        )
        .channels(Channels::First)
        .arity(3)
        .flags(OF_PUBLISHERS)
        .args(&[Arg::string("channel"), Arg::string("message")]),
);

static SPUBLISH: Command = Command::gather(
    |cx, args| publish(cx, args, Sort::ShardChannel),
    Card::new("spublish", Group::PubSub, "7.0.0")
        .summary("Posts a message to a shard channel.")
        .complexity(
            "O(N) where N is the number of clients subscribed to the receiving shard channel.",
        )
        .channels(Channels::First)
        .arity(3)
        .flags(OF_PUBLISHERS)
        .keys(&[KeySpec::channels()])
        .args(&[Arg::string("shardchannel"), Arg::string("message")]),
);

fn publish(cx: &mut Context<'_>, args: &mut Args<'_>, sort: Sort) -> Result<(), Error> {
    if cx.is_recorded() {
        cx.propagate(&[&args[0], &args[1], &args[2]]);
    }
    // A large message is sent from the buffer that it was received in.
    let large = args.take_large(2).map(BytesMut::freeze);
    let payload = || large.unwrap_or_else(|| Bytes::copy_from_slice(&args[2]));
    let receivers = cx.publish(sort, &args[1], payload);
    cx.reply.integer(receivers as i64);
    Ok(())
}

static PUBSUB: Command = Command::container(
    Card::new("pubsub", Group::PubSub, "2.8.0")
        .summary("A container for Pub/Sub commands.")
        .complexity("Depends on subcommand.")
        .arity(-2),
    &[&CHANNELS, &HELP, &NUMPAT, &NUMSUB, &SHARDCHANNELS, &SHARDNUMSUB],
);

static HELP: Command = help_command(help_card(Group::PubSub, "6.2.0"));

static CHANNELS: Command = Command::session(
    |cx, args| channels(cx, args, Sort::Channel),
    Card::new("channels", Group::PubSub, "2.8.0")
        .summary("Returns the active channels.")
        .complexity(
            "O(N) where N is the number of active channels, and assuming constant time pattern \
             matching (relatively short channels and patterns)",
        )
        .arity(-2)
        .flags(OF_QUESTIONS)
        .args(&[Arg::pattern("pattern").optional()]),
);

static SHARDCHANNELS: Command = Command::session(
    |cx, args| channels(cx, args, Sort::ShardChannel),
    Card::new("shardchannels", Group::PubSub, "7.0.0")
        .summary("Returns the active shard channels.")
        .complexity(
            "O(N) where N is the number of active shard channels, and assuming constant time \
             pattern matching (relatively short shard channels).",
        )
        .arity(-2)
        .flags(OF_QUESTIONS)
        .args(&[Arg::pattern("pattern").optional()]),
);

fn channels(cx: &mut SessionContext<'_>, args: &Args<'_>, sort: Sort) -> Result<(), Error> {
    if args.len() > 3 {
        return Err(Error::subcommand_syntax(b"PUBSUB", &args[1]));
    }
    let pattern = args.get(2);
    let passes = |name: &[u8]| pattern.is_none_or(|pattern| glob::matches(pattern, name, false));
    let names = cx.process.pubsub.names(sort, passes);
    cx.reply.array(names.len());
    names.iter().for_each(|name| cx.reply.bulk(name));
    Ok(())
}

static NUMSUB: Command = Command::session(
    |cx, args| numsub(cx, args, Sort::Channel),
    Card::new("numsub", Group::PubSub, "2.8.0")
        .summary("Returns a count of subscribers to channels.")
        .complexity("O(N) for the NUMSUB subcommand, where N is the number of requested channels")
        .arity(-2)
        .flags(OF_QUESTIONS)
        .args(&[Arg::string("channel").optional().repeated()]),
);

static SHARDNUMSUB: Command = Command::session(
    |cx, args| numsub(cx, args, Sort::ShardChannel),
    Card::new("shardnumsub", Group::PubSub, "7.0.0")
        .summary("Returns the count of subscribers of shard channels.")
        .complexity(
            "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard \
             channels",
        )
        .arity(-2)
        .flags(OF_QUESTIONS)
        .args(&[Arg::string("shardchannel").optional().repeated()]),
);

fn numsub(cx: &mut SessionContext<'_>, args: &Args<'_>, sort: Sort) -> Result<(), Error> {
    let counts = cx.process.pubsub.count_subscriptions(sort, args.iter_from(2));
    cx.reply.array(2 * counts.len());
    for (name, count) in args.iter_from(2).zip(counts) {
        cx.reply.bulk(name);
        cx.reply.integer(count as i64);
    }
    Ok(())
}

static NUMPAT: Command = Command::session(
    numpat,
    Card::new("numpat", Group::PubSub, "2.8.0")
        .summary("Returns a count of unique pattern subscriptions.")
        .constant_time()
        .arity(2)
        .flags(OF_QUESTIONS),
);

fn numpat(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    let patterns = cx.process.pubsub.count(Count::Names(Sort::Pattern));
    cx.reply.integer(patterns as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::session_testing::SessionBench;

    /// What the reference says of a question with too many arguments.
    const TOO_MANY: &str = "-ERR unknown subcommand or wrong number of arguments for 'channels'. \
                            Try PUBSUB HELP.";

    #[test]
    fn questions_about_subscriptions() {
        let mut bench = SessionBench::new();
        let name = |name: &'static str| Bytes::from_static(name.as_bytes());
        let hub = &bench.process.pubsub;
        hub.subscribe(0, Sort::Channel, &[name("a"), name("b")]);
        hub.subscribe(1, Sort::Channel, &[name("a")]);
        hub.subscribe(1, Sort::Pattern, &[name("p*")]);
        hub.subscribe(0, Sort::ShardChannel, &[name("s")]);
        bench.check_script(
            r#"
            PUBSUB NUMSUB => []
            PUBSUB NUMSUB a b c a => ["a" :2 "b" :1 "c" :0 "a" :2]
            PUBSUB SHARDNUMSUB a s => ["a" :0 "s" :1]
            PUBSUB NUMPAT => :1
            PUBSUB CHANNELS b* => ["b"]
            PUBSUB SHARDCHANNELS => ["s"]
            PUBSUB NUMPAT a => -ERR wrong number of arguments for 'pubsub|numpat' command
            "#,
        );
        bench.check_script(&format!("PUBSUB channels a b => {TOO_MANY}"));
    }

    #[test]
    fn subscribing_is_the_shards_work() {
        let mut bench = SessionBench::new();
        bench.run(&["PSUBSCRIBE", "a*", "b"]);
        let names = vec![Bytes::from_static(b"a*"), Bytes::from_static(b"b")];
        assert_eq!(bench.request, Some(Request::Subscribe(Sort::Pattern, names)));
        bench.run(&["SUNSUBSCRIBE"]);
        assert_eq!(bench.request, Some(Request::Unsubscribe(Sort::ShardChannel, None)));
    }

    #[test]
    fn a_subscriber_with_resp2_gets_messages_for_pings() {
        let mut bench = SessionBench::new();
        bench.session.subscriptions[Sort::Channel as usize] = 1;
        bench.check_script("PING => [\"pong\" \"\"]\nPING a => [\"pong\" \"a\"]");
    }
}
