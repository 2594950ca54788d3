//! Rules, their texts, and what they allow.

use super::*;
use crate::spec::{Card, Category, Channels, Databases, Flag, Group, KeySpec};

const GET: Card = Card::new("get", Group::String, "1.0.0")
    .arity(2)
    .flags(Flag::READONLY.and(Flag::FAST))
    .keys(&[KeySpec::reads()]);
const EXISTS: Card = Card::new("exists", Group::Generic, "1.0.0")
    .arity(-2)
    .flags(Flag::READONLY.and(Flag::FAST))
    .categories(&[Category::Keyspace])
    .keys(&[KeySpec::inspects().to_end(1)]);
const COPY: Card = Card::new("copy", Group::Generic, "6.2.0")
    .arity(-3)
    .flags(Flag::WRITE)
    .categories(&[Category::Keyspace])
    .databases(Databases::Option { name: "DB", from: 3, others: &["REPLACE"] })
    .keys(&[KeySpec::reads(), KeySpec::overwrites().at(2)]);
const SELECT: Card = Card::new("select", Group::Connection, "1.0.0")
    .arity(2)
    .flags(Flag::FAST)
    .databases(Databases::At(&[1]));
const SWAPDB: Card = Card::new("swapdb", Group::Server, "4.0.0")
    .arity(3)
    .flags(Flag::WRITE)
    .categories(&[Category::Keyspace])
    .databases(Databases::At(&[1, 2]));
const FLUSHALL: Card = Card::new("flushall", Group::Server, "1.0.0")
    .flags(Flag::WRITE)
    .categories(&[Category::Keyspace])
    .databases(Databases::All);
const PING: Card = Card::new("ping", Group::Connection, "1.0.0").arity(-1).flags(Flag::FAST);
const AUTH: Card = Card::new("auth", Group::Connection, "1.0.0").arity(-2).flags(Flag::NO_AUTH);
const CONFIG: Card = Card::new("config", Group::Server, "2.0.0").arity(-2).container();
const CONFIG_GET: Card = Card::new("get", Group::Server, "2.0.0").arity(-3).flags(Flag::ADMIN);
const CONFIG_SET: Card = Card::new("set", Group::Server, "2.0.0").arity(-4).flags(Flag::ADMIN);
const SUBSCRIBE: Card = Card::new("subscribe", Group::PubSub, "2.0.0")
    .arity(-2)
    .flags(Flag::PUBSUB)
    .channels(Channels::All);
const PSUBSCRIBE: Card = Card::new("psubscribe", Group::PubSub, "2.0.0")
    .arity(-2)
    .flags(Flag::PUBSUB)
    .channels(Channels::Patterns);
const PUBLISH: Card = Card::new("publish", Group::PubSub, "2.0.0")
    .arity(3)
    .flags(Flag::PUBSUB)
    .channels(Channels::First);

static CARDS: [(&str, Card); 14] = [
    ("get", GET),
    ("exists", EXISTS),
    ("copy", COPY),
    ("select", SELECT),
    ("swapdb", SWAPDB),
    ("flushall", FLUSHALL),
    ("ping", PING),
    ("auth", AUTH),
    ("config", CONFIG),
    ("config|get", CONFIG_GET),
    ("config|set", CONFIG_SET),
    ("subscribe", SUBSCRIBE),
    ("psubscribe", PSUBSCRIBE),
    ("publish", PUBLISH),
];

fn acl() -> Acl {
    Acl::new(Catalogue::new(CARDS.iter().map(|(name, card)| (*name, card))))
}

fn words(text: &str) -> Vec<&[u8]> {
    text.split(' ').filter(|word| !word.is_empty()).map(str::as_bytes).collect()
}

/// Sets a user by rules and returns its rules, or the error.
fn set(acl: &Acl, rules: &str) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match acl.set_user(b"u", &words(rules), NewUsers::default()) {
        Ok(_) => text(acl.find(b"u").unwrap().rules()),
        Err(error) => text(&error),
    }
}

/// Returns the rules of a new user.
fn described(rules: &str) -> String {
    set(&acl(), rules)
}

/// Returns why user `u` must not send a command on database 0 of 16, in the words of ACL DRYRUN.
fn refusal(acl: &Acl, command: &str) -> String {
    let args = words(command);
    let full = |n: usize| String::from_utf8(args[..n].join(&b'|')).unwrap().to_lowercase();
    let number = (args.len() > 1).then(|| acl.catalogue.find(full(2).as_bytes())).flatten();
    let number = number.or(acl.catalogue.find(full(1).as_bytes())).expect("a command");
    let card = &CARDS[usize::from(number)].1;
    let keys = |each: &mut dyn FnMut(usize, Needs) -> bool| {
        let keys = card.used_args(args.len(), |at| args[at]).unwrap_or_default();
        _ = keys.iter().all(|(at, spec)| each(*at, Needs::of(spec)));
    };
    let argc = args.len();
    let call = Call { number, card, argc, arg: &|at| args[at], keys: &keys, db: 0, databases: 16 };
    let user = acl.find(b"u").unwrap();
    match user.refusal(&call) {
        None => "OK".to_string(),
        Some(denial) => {
            let name = &acl.catalogue.at(number).name;
            String::from_utf8(denial.text(&user, name, Some(args[denial.at]))).unwrap()
        }
    }
}

#[test]
fn rules_are_described_in_one_form() {
    for (rules, expected) in [
        ("", "off resetchannels -@all"),
        ("on nopass ~* &* +@all", "on nopass ~* &* +@all"),
        ("ALLKEYS allchannels AllCommands", "off ~* &* +@all"),
        ("~a* %R~b %W~c %rw~d %R~a*", "off ~a* %R~b %W~c ~d resetchannels -@all"),
        ("%R~x %W~x", "off ~x resetchannels -@all"),
        ("&a &b &a", "off resetchannels &a &b -@all"),
        ("+get +config|get -config +get", "off resetchannels -@all -config +get"),
        ("+config|get +config", "off resetchannels -@all +config"),
        ("+config -config|set", "off resetchannels -@all +config -config|set"),
        ("+@all -get +@read", "off resetchannels +@all -get +@read"),
        ("+@READ -GET", "off resetchannels -@all +@read -get"),
        ("+select|0 +SELECT|0", "off resetchannels -@all +select|0"),
        ("+migrate -cluster|info", "off resetchannels -@all +migrate -cluster|info"),
        ("db=3,1,1 +get", "off resetchannels db=1,3 -@all +get"),
        ("db=1 resetdbs", "off resetchannels resetdbs -@all"),
        ("db=1 alldbs", "off resetchannels -@all"),
        (
            "(+get ~a) ( ~b &c )",
            "off resetchannels -@all (~a resetchannels -@all +get) (~b \
            resetchannels &c -@all)",
        ),
        ("(+get) clearselectors", "off resetchannels -@all"),
        ("on >a ~a +get (~b) reset", "off resetchannels -@all"),
        ("sanitize-payload skip-sanitize-payload", "off resetchannels -@all"),
        (">a nopass", "off nopass resetchannels -@all"),
        ("nopass >a <a", "off resetchannels -@all"),
    ] {
        let expected = expected.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(described(rules), expected, "{rules}");
    }
}

#[test]
fn a_pattern_is_added_once_to_any_number_of_them() {
    let acl = acl();
    for count in [10, 100] {
        let rules = |head: &str| -> Vec<String> {
            (0..count).map(|number| format!("{head}p{number}")).collect()
        };
        let all = [rules("%R~"), rules("%W~"), rules("&"), rules("&")].concat().join(" ");
        let expected = [rules("~"), vec!["resetchannels".to_string()], rules("&")].concat();
        assert_eq!(set(&acl, &all), format!("off {} -@all", expected.join(" ")));
        set(&acl, "resetkeys resetchannels ~x");
        assert_eq!(set(&acl, "~p1 ~x"), "off ~x ~p1 resetchannels -@all");
        set(&acl, "reset");
    }
}

#[test]
fn a_rule_that_is_refused_changes_nothing() {
    let acl = acl();
    set(&acl, "on ~* &* +get");
    let before = set(&acl, "");
    for (rules, expected) in [
        (
            "off ~a",
            "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and \
            does not have any effect. Try 'resetkeys' to start with an empty list of patterns",
        ),
        (
            "off &a",
            "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid \
            and does not have any effect. Try 'resetchannels' to start with an empty list of \
            channels",
        ),
        ("off +foo", "Unknown command or category name in ACL"),
        ("off -config|foo", "Unknown command or category name in ACL"),
        ("off +@foo", "Unknown command or category name in ACL"),
        ("off -select|0", "Unknown command or category name in ACL"),
        ("off +config|get|x", "Allowing first-arg of a subcommand is not supported"),
        ("off +select|", "Syntax error"),
        ("off foo", "Syntax error"),
        ("off resetkeys %~a", "Syntax error"),
        ("off resetkeys %RR~a", "Syntax error"),
        ("off db=", "Syntax error"),
        ("off db=1,", "Syntax error"),
        ("off db=x", "Syntax error"),
        ("off db=-1", "The provided database ID is out of range"),
        ("off db=2147483648", "The provided database ID is out of range"),
        ("off <a", "The password you are trying to remove from the user does not exist"),
        (
            "off #a",
            "The password hash must be exactly 64 characters and contain only lowercase \
            hexadecimal characters",
        ),
        ("off (on)", "Syntax error"),
    ] {
        let rule = rules.split(' ').next_back().unwrap();
        let expected = expected.split_whitespace().collect::<Vec<_>>().join(" ");
        let expected = format!("Error in ACL SETUSER modifier '{rule}': {expected}");
        assert_eq!(set(&acl, rules), expected, "{rules}");
        assert_eq!(set(&acl, ""), before);
    }
    let open = "Unmatched parenthesis in acl selector starting at '(+get'.";
    assert_eq!(set(&acl, "off (+get ~a"), open);
}

#[test]
fn commands_keys_and_channels_are_checked() {
    let acl = acl();
    let no_command = |name| format!("User u has no permissions to run the '{name}' command");
    let no = |what, name| format!("User u has no permissions to access the '{name}' {what}");
    set(&acl, "+@all -get -config|set ~a %R~r* %W~w* &c* &p?");
    for (command, expected) in [
        ("GET a", no_command("get")),
        ("CONFIG GET x", "OK".to_string()),
        ("CONFIG SET x y", no_command("config|set")),
        ("EXISTS a r1 w1", "OK".to_string()),
        ("EXISTS a b c", no("key", "b")),
        ("COPY r w", "OK".to_string()),
        ("COPY a a", "OK".to_string()),
        ("COPY w a", no("key", "w")),
        ("COPY r r", no("key", "r")),
        ("SUBSCRIBE c1 px", "OK".to_string()),
        ("SUBSCRIBE c1 x", no("channel", "x")),
        ("PSUBSCRIBE c* p?", "OK".to_string()),
        ("PSUBSCRIBE c1", no("channel", "c1")),
        ("PUBLISH c1 x", "OK".to_string()),
        ("PUBLISH x c1", no("channel", "x")),
    ] {
        assert_eq!(refusal(&acl, command), expected, "{command}");
    }
    set(&acl, "reset +ping +select|1 +config|get");
    assert_eq!(refusal(&acl, "AUTH x"), "OK", "every user may authenticate");
    assert_eq!(refusal(&acl, "SELECT 1"), "OK");
    assert_eq!(refusal(&acl, "SELECT 2"), no_command("select"));
    assert_eq!(refusal(&acl, "CONFIG SET x y"), no_command("config|set"));
    set(&acl, "-@connection +@admin +select");
    assert_eq!(refusal(&acl, "PING"), no_command("ping"));
    assert_eq!(refusal(&acl, "SELECT 2"), "OK");
    assert_eq!(refusal(&acl, "CONFIG SET x y"), "OK");
}

#[test]
fn one_selector_must_allow_the_whole_command() {
    let acl = acl();
    set(&acl, "+get ~a (+copy ~b ~c) (%R~d %W~e +copy +get)");
    assert_eq!(refusal(&acl, "GET a"), "OK");
    assert_eq!(refusal(&acl, "GET d"), "OK");
    assert_eq!(refusal(&acl, "COPY b c"), "OK");
    assert_eq!(refusal(&acl, "COPY d e"), "OK");
    let no_key = |name| format!("User u has no permissions to access the '{name}' key");
    assert_eq!(refusal(&acl, "COPY b e"), no_key("e"), "the last key of all selectors");
    assert_eq!(refusal(&acl, "GET b"), no_key("b"));
    let free = "(~* &* +@all)";
    set(&acl, free);
    assert!(acl.find(b"u").unwrap().is_free());
}

#[test]
fn databases_are_checked_where_a_command_uses_them() {
    let acl = acl();
    let no = |number: &str| format!("User u has no permissions to access database {number}");
    set(&acl, "+@all ~* db=1,2");
    assert_eq!(refusal(&acl, "GET a"), no("GET"));
    assert_eq!(refusal(&acl, "PING"), "OK");
    assert_eq!(refusal(&acl, "SELECT 1"), "OK");
    assert_eq!(refusal(&acl, "SELECT 0"), no("0"));
    assert_eq!(refusal(&acl, "SELECT 99"), "OK", "the command itself fails");
    assert_eq!(refusal(&acl, "SWAPDB 1 2"), "OK");
    assert_eq!(refusal(&acl, "SWAPDB 1 3"), no("3"));
    assert_eq!(refusal(&acl, "FLUSHALL"), no("FLUSHALL"));
    set(&acl, "db=0");
    assert_eq!(refusal(&acl, "COPY a b DB 0 REPLACE"), "OK");
    assert_eq!(refusal(&acl, "COPY a b REPLACE DB 0 DB 1"), no("1"));
    let all: Vec<String> = (0..16).map(|number| number.to_string()).collect();
    set(&acl, &format!("db={}", all.join(",")));
    assert_eq!(refusal(&acl, "FLUSHALL"), "OK");
}

#[test]
fn users_keep_their_identity_over_changes_and_loads() {
    let acl = acl();
    set(&acl, "on >a");
    let (first, version) = (acl.find(b"u").unwrap(), acl.version());
    assert!(acl.authenticate(b"u", b"a").is_some());
    assert!(acl.authenticate(b"u", b"b").is_none());
    set(&acl, "off");
    assert!(acl.authenticate(b"u", b"a").is_none(), "the user is off");
    assert!(acl.version() > version);
    assert_eq!(acl.by_id(first.id).unwrap().id, acl.find(b"u").unwrap().id);
    let text = b"user v on\n\n  user u nopass on \r\n";
    let loaded = read_file(text, "f", &acl.catalogue, NewUsers::default()).unwrap();
    acl.replace(loaded);
    assert_eq!(acl.find(b"u").unwrap().id, first.id);
    assert!(acl.authenticate(b"u", b"anything").is_some());
    let names: Vec<_> = acl.list().iter().map(|user| user.line()).collect();
    assert_eq!(names.len(), 3);
    assert_eq!(names[0], b"user default on nopass ~* &* +@all");
    assert_eq!(acl.delete([&b"u"[..], b"u", b"w"].into_iter()), 1);
    assert!(acl.by_id(first.id).is_none());
    set(&acl, "on");
    assert_ne!(acl.find(b"u").unwrap().id, first.id);
}

#[test]
fn the_default_user_has_the_required_password() {
    let acl = acl();
    assert!(acl.is_open() && acl.is_unprotected());
    acl.set_default_password(b"x");
    assert!(!acl.is_open() && !acl.is_unprotected());
    assert!(acl.authenticate(b"default", b"x").is_some());
    acl.set_user(b"default", &[b">y"], NewUsers::default()).unwrap();
    acl.set_default_password(b"");
    assert!(acl.is_open());
    acl.set_user(b"default", &[b"off"], NewUsers::default()).unwrap();
    assert!(!acl.is_open() && acl.is_unprotected());
}

#[test]
fn errors_of_a_file_are_collected() {
    let acl = acl();
    let text = b"user a on\nx\nuser a\nuser b +foo ~* ~a bad\nuser c (+get\nuser \t\n";
    let errors = read_file(text, "f", &acl.catalogue, NewUsers::default()).err().unwrap();
    assert_eq!(
        String::from_utf8(errors).unwrap(),
        "f:2 should start with user keyword followed by the username. WARNING: Duplicate user 'a' \
         found on line 3. f:4: Error in applying operation '+foo': Unknown command or category \
         name in ACL. f:4: Adding a pattern after the * pattern (or the 'allkeys' flag) is not \
         valid and does not have any effect. Try 'resetkeys' to start with an empty list of \
         patterns. f:5: Unmatched parenthesis in selector definition.f:6 should start with user \
         keyword followed by the username. WARNING: ACL errors detected, no change to the \
         previously active ACL rules was performed"
    );
}

#[test]
fn refusals_are_merged() {
    let log = AclLog::default();
    let key = |object: &[u8]| LogKey {
        reason: Reason::Key,
        context: DenialContext::TopLevel,
        object: object.to_vec(),
        user: b"u".to_vec(),
    };
    let client = |text: &[u8]| Refused::Client(text.to_vec());
    log.add(key(b"a"), client(b"1"), 1_000, 3);
    log.add(key(b"b"), client(b"2"), 2_000, 3);
    log.add(key(b"a"), client(b"3"), 61_000, 3);
    let shown = || -> Vec<(u64, u64, Vec<u8>)> {
        let entries = log.latest(10).into_iter();
        entries.map(|entry| (entry.id, entry.count, entry.client.line().to_vec())).collect()
    };
    assert_eq!(shown(), [(0, 2, b"3".to_vec()), (1, 1, b"2".to_vec())]);
    log.add(key(b"b"), Refused::Connection(1, 7, 0), 62_001, 3);
    assert_eq!(shown()[0], (2, 1, Vec::new()), "the old entry is older than a minute");
    log.describe(0, |_| unreachable!("the connection is of shard 1"));
    log.describe(1, |client| format!("{client:?}").into_bytes());
    assert_eq!(shown()[0].2, b"Connection(1, 7, 0)");
    log.add(key(b"c"), client(b""), 62_001, 3);
    assert_eq!(shown().len(), 3);
    log.add(key(b"c"), client(b""), 62_001, 0);
    assert_eq!(shown().len(), 0);
}
