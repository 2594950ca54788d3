//! Users and their rules: what a change of a user does to connections, files, and a comparison of
//! random rules with Valkey.
//!
//! The comparison needs a Valkey 9.1, whose program `ANNULET_PEER` names. `ANNULET_ACL_COMMANDS` is
//! the number of its commands (6,000), `ANNULET_ACL_SEED` their seed (1).

use super::server::{PATIENCE, Server, Setup, free_port, wait_for};
use super::wire::Wire;
use super::{crowd, on_each_setup};
use annulet::base::rng::Rng;
use std::process::{Child, Command, Stdio};

const NO_KEY: &str = "-NOPERM No permissions to access a key";

/// Connects as a user that needs no password.
fn connect_as(server: &Server, user: &str) -> Wire {
    let mut wire = Wire::connect(server.port);
    assert_eq!(wire.ask(&["AUTH", user, "any"]), "+OK");
    wire
}

/// Splits a command at blanks.
fn words(command: &str) -> Vec<&str> {
    command.split(' ').collect()
}

#[test]
fn rules_hold_for_all_clients_of_a_user_at_once() {
    on_each_setup(&[], |server| {
        let mut admin = Wire::connect(server.port);
        admin.ask(&words("ACL SETUSER bob on nopass +@all ~a*"));
        let mut wires: Vec<Wire> = (0..9).map(|_| connect_as(server, "bob")).collect();
        for wire in &mut wires {
            assert_eq!(wire.ask(&["SET", "a1", "1"]), "+OK");
            assert_eq!(wire.ask(&["MGET", "a1", "b1"]), NO_KEY);
            assert_eq!(wire.ask(&["SET", "b1", "1"]), NO_KEY);
            let script = "return redis.call('get', KEYS[1])";
            assert_eq!(wire.ask(&["EVAL", script, "1", "a1"]), "1");
            let script = "return redis.call('get', 'b' .. ARGV[1])";
            let refused = wire.ask(&["EVAL", script, "0", "1"]);
            assert!(refused.starts_with("-ERR ACL failure in script: No permissions"), "{refused}");
            let check = "return redis.acl_check_cmd('get', ARGV[1])";
            assert_eq!(wire.ask(&["EVAL", check, "0", "a"]), ":1");
            assert_eq!(wire.ask(&["EVAL", check, "0", "b"]), "(nil)");
            let sort = wire.ask(&["SORT", "a1", "BY", "w*"]);
            assert_eq!(sort, "-ERR BY option of SORT denied due to insufficient ACL permissions.");
        }
        for round in 0..20 {
            let (rule, expected) = if round % 2 == 0 { ("-get", "-NOPERM") } else { ("+get", "1") };
            assert_eq!(admin.ask(&["ACL", "SETUSER", "bob", rule]), "+OK");
            for wire in &mut wires {
                let reply = wire.ask(&["GET", "a1"]);
                assert!(reply.starts_with(expected), "{reply}");
            }
        }
        let info = admin.ask(&["INFO", "stats"]);
        assert!(info.contains("acl_access_denied_key:27\r\n"), "{info}");
        assert!(info.contains("acl_access_denied_cmd:90\r\n"), "{info}");
        let list = admin.ask(&["CLIENT", "LIST", "USER", "bob"]);
        assert_eq!(list.lines().filter(|line| line.contains(" user=bob ")).count(), 9);
        let log = admin.ask(&["ACL", "LOG"]);
        assert!(log.contains("[count, :9, reason, key, context, lua, object, b1"), "{log}");
        assert!(log.contains("cmd=eval user=bob"), "{log}");
    });
}

#[test]
fn connections_of_deleted_users_close_whatever_they_do() {
    on_each_setup(&[], |server| {
        let mut admin = Wire::connect(server.port);
        let set = || words("ACL SETUSER bob on nopass allcommands allkeys allchannels");
        assert_eq!(admin.ask(&set()), "+OK");
        let begin: [&[&str]; 8] = [
            &["PING"],
            &["BLPOP", "list", "0"],
            &["XREAD", "BLOCK", "0", "STREAMS", "s1", "s2", "$", "$"],
            &["SUBSCRIBE", "news"],
            &["MULTI"],
            &["MONITOR"],
            &["CLIENT", "TRACKING", "ON", "BCAST"],
            &["WATCH", "a", "b", "c"],
        ];
        let mut wires: Vec<Wire> = Vec::new();
        for command in begin {
            let mut wire = connect_as(server, "bob");
            wire.send(&["HELLO", "3"]);
            wire.reply();
            wire.send(command);
            wires.push(wire);
        }
        let is_blocked =
            |admin: &mut Wire| admin.ask(&["INFO", "clients"]).contains("blocked_clients:2\r\n");
        assert!(wait_for(|| is_blocked(&mut admin)));
        assert_eq!(admin.ask(&words("ACL DELUSER bob nobody")), ":1");
        let left = admin.ask(&["CLIENT", "LIST"]);
        assert_eq!(left.lines().count(), 1, "{left}");
        wires.iter_mut().for_each(|wire| _ = wire.rest());
        assert_eq!(admin.ask(&["RPUSH", "list", "1"]), ":1");
        assert_eq!(admin.ask(&["LLEN", "list"]), ":1", "no client pops it");
        // A user that deletes itself gets the reply.
        assert_eq!(admin.ask(&set()), "+OK");
        let mut bob = connect_as(server, "bob");
        bob.write("MULTI\r\nACL DELUSER bob\r\nACL WHOAMI\r\nEXEC\r\nPING\r\n");
        assert_eq!(bob.rest(), "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n$7\r\ndefault\r\n");
    });
}

#[test]
fn what_is_under_way_ends_when_it_is_not_allowed_any_more() {
    on_each_setup(&[], |server| {
        let mut admin = Wire::connect(server.port);
        admin.ask(&words("ACL SETUSER bob on nopass +@all ~* &a* &b*"));
        let mut kept = connect_as(server, "bob");
        let mut cut = connect_as(server, "bob");
        assert_eq!(kept.ask(&["SUBSCRIBE", "a1"]), "[subscribe, a1, :1]");
        assert_eq!(cut.ask(&["PSUBSCRIBE", "b*"]), "[psubscribe, b*, :1]");
        let mut blocked = connect_as(server, "bob");
        blocked.send(&["BLMPOP", "0", "2", "x", "y", "LEFT"]);
        assert!(wait_for(|| admin.ask(&["INFO", "clients"]).contains("blocked_clients:1\r\n")));
        assert_eq!(admin.ask(&words("ACL SETUSER bob resetkeys ~x resetchannels &a*")), "+OK");
        assert_eq!(blocked.reply(), NO_KEY);
        assert_eq!(blocked.ask(&["PING"]), "+PONG");
        assert_eq!(cut.rest(), "");
        assert_eq!(admin.ask(&["PUBLISH", "a1", "x"]), ":1");
        assert_eq!(kept.reply(), "[message, a1, x]");
    });
}

/// Queues commands for EXEC.
fn queue(wire: &mut Wire, commands: &[&str]) {
    assert_eq!(wire.ask(&["MULTI"]), "+OK");
    for command in commands {
        assert_eq!(wire.ask(&words(command)), "+QUEUED", "{command}");
    }
}

/// Returns the error of a command that EXEC refuses.
fn why(why: &str) -> String {
    format!(
        "-NOPERM ACLs rules changed between the moment the transaction was accumulated and the \
         EXEC call. This command is no longer allowed for the following reason: {why}"
    )
}

#[test]
fn queued_commands_are_checked_again_by_exec() {
    on_each_setup(&[], |server| {
        let mut admin = Wire::connect(server.port);
        admin.ask(&words("ACL SETUSER bob on nopass +@all ~* db=0,1"));
        let mut bob = connect_as(server, "bob");
        queue(&mut bob, &["SET a 1", "MSET a 2 b 2 c 2 d 2", "SET b 3", "ECHO x", "GET a"]);
        assert_eq!(admin.ask(&words("ACL SETUSER bob -mset resetkeys ~a")), "+OK");
        let (mset, set) = (
            why("no permission to execute the command or subcommand"),
            why("no permission to touch the specified keys"),
        );
        assert_eq!(bob.ask(&["EXEC"]), format!("[+OK, {mset}, {set}, x, 1]"));
        // A refused command dooms the transaction. Before it, a queued SELECT counts.
        queue(&mut bob, &["SELECT 1", "GET a"]);
        assert_eq!(bob.ask(&["SELECT", "2"]), "-NOPERM No permissions to access database");
        assert_eq!(bob.ask(&["SELECT", "1"]), "+QUEUED");
        assert_eq!(bob.ask(&["GET", "b"]), NO_KEY);
        let aborted = "-EXECABORT Transaction discarded because of previous errors.";
        assert_eq!(bob.ask(&["EXEC"]), aborted);
        // Rules that the transaction itself changes hold for its later commands.
        queue(&mut bob, &["GET a", "ACL SETUSER bob -get", "GET a", "SET a 5", "AUTH default x"]);
        let denied = why("no permission to execute the command or subcommand");
        assert_eq!(bob.ask(&["EXEC"]), format!("[1, +OK, {denied}, +OK, +OK]"));
        assert_eq!(bob.ask(&["ACL", "WHOAMI"]), "default");
        queue(&mut bob, &["AUTH nobody x"]);
        assert!(bob.ask(&["EXEC"]).starts_with("[-WRONGPASS"));
        let log = bob.ask(&["ACL", "LOG", "1"]);
        assert!(log.contains("reason, auth, context, multi, object, AUTH"), "{log}");
    });
}

#[test]
fn each_command_of_a_transaction_runs_by_the_rules_of_its_turn() {
    on_each_setup(&[], |server| {
        let mut admin = Wire::connect(server.port);
        let denied = why("no permission to execute the command or subcommand");
        // A denial is logged when its command's turn comes, after changes of the user.
        admin.ask(&words("ACL SETUSER eve on nopass +@all ~*"));
        let mut eve = connect_as(server, "eve");
        queue(&mut eve, &["AUTH default x", "EXISTS a", "AUTH eve x", "EXISTS a"]);
        admin.ask(&words("ACL SETUSER eve -exists"));
        assert_eq!(eve.ask(&["EXEC"]), format!("[+OK, :0, +OK, {denied}]"));
        let log = admin.ask(&["ACL", "LOG", "1"]);
        let entry = "[[count, :1, reason, command, context, multi, object, exists, username, eve";
        assert!(log.starts_with(entry), "{log}");
        // Each of its commands runs by the rules and on the database of its turn.
        admin.ask(&words("ACL SETUSER eve +@all -select resetkeys ~a"));
        let commands =
            ["SELECT 1", "MSET b 1 c 2 d 3", "AUTH default x", "SELECT 1", "MSET b 5 c 6"];
        queue(&mut admin, &["SET a zero", "SET b zero", "SELECT 1", "SET a one", "SET b one"]);
        assert_eq!(admin.ask(&["EXEC"]), "[+OK, +OK, +OK, +OK, +OK]");
        admin.ask(&["SELECT", "0"]);
        admin.ask(&words("ACL SETUSER eve +select ~*"));
        queue(&mut eve, &commands);
        eve.ask(&["GET", "b"]);
        for last in ["AUTH eve x", "SELECT 0", "GET a", "GET b"] {
            assert_eq!(eve.ask(&words(last)), "+QUEUED");
        }
        eve.ask(&["EVAL", "return redis.pcall('get', ARGV[1])", "0", "b"]);
        admin.ask(&words("ACL SETUSER eve -select resetkeys ~a"));
        let (no_key, no_script_key) = (
            why("no permission to touch the specified keys"),
            "-ERR ACL failure in script: No permissions to access a key",
        );
        assert_eq!(
            eve.ask(&["EXEC"]),
            format!(
                "[{denied}, {no_key}, +OK, +OK, +OK, 5, +OK, {denied}, one, {no_key}, \
                 {no_script_key}]"
            )
        );
    });
}

#[test]
fn passwords_of_the_default_user_follow_the_setting() {
    on_each_setup(&["--requirepass", "one"], |server| {
        let refused = "-NOAUTH Authentication required.";
        let mut wire = Wire::connect(server.port);
        assert_eq!(wire.ask(&["GET", "a"]), refused);
        assert_eq!(wire.ask(&["AUTH", "one"]), "+OK");
        let mut waiting = crowd(server);
        waiting.iter_mut().for_each(|wire| assert_eq!(wire.ask(&["GET", "a"]), refused));
        assert_eq!(wire.ask(&["ACL", "SETUSER", "default", "nopass"]), "+OK");
        waiting.iter_mut().for_each(|wire| assert_eq!(wire.ask(&["GET", "a"]), "(nil)"));
        assert_eq!(wire.ask(&["CONFIG", "SET", "requirepass", "two"]), "+OK");
        waiting.iter_mut().for_each(|wire| assert_eq!(wire.ask(&["GET", "a"]), refused));
        assert_eq!(waiting[0].ask(&["AUTH", "one"]).split(' ').next(), Some("-WRONGPASS"));
        let greeting = waiting[0].ask(&["HELLO", "3", "AUTH", "default", "two"]);
        assert!(greeting.starts_with("{server: valkey"), "{greeting}");
    });
}

/// Returns the log of a server that does not start.
fn failure(arguments: &[&str]) -> String {
    let setup = Setup { shards: 1, driver: "epoll" };
    let mut server = Server::launch(setup, free_port(), arguments, Stdio::null());
    assert!(wait_for(|| server.is_over()), "the server must not start");
    wait_for(|| !server.log().is_empty());
    server.log()
}

#[test]
fn users_come_from_files() {
    let path = std::env::temp_dir().join(format!("annulet-acl-{}", std::process::id()));
    let file = path.to_str().expect("a plain path").to_string();
    let first = "user bob on nopass +@all ~*\nuser eve on nopass +@all ~e\n";
    std::fs::write(&path, first).unwrap();
    on_each_setup(&["--aclfile", &file], |server| {
        let mut bobs: Vec<Wire> = (0..9).map(|_| connect_as(server, "bob")).collect();
        let mut eve = connect_as(server, "eve");
        assert_eq!(eve.ask(&["GET", "a"]), NO_KEY);
        std::fs::write(&path, "user eve on nopass +@all ~a\n").unwrap();
        assert_eq!(bobs[0].ask(&["ACL", "LOAD"]), "+OK", "the reply comes before the end");
        bobs.iter_mut().for_each(|bob| assert_eq!(bob.rest(), ""));
        assert_eq!(eve.ask(&["GET", "a"]), "(nil)");
        assert_eq!(eve.ask(&["ACL", "SETUSER", "bob", "on", "nopass", "+@all", "~*"]), "+OK");
        assert_eq!(eve.ask(&["ACL", "SETUSER", "eve", "~e"]), "+OK");
        assert_eq!(eve.ask(&["ACL", "SAVE"]), "+OK");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("user eve on nopass ~a ~e resetchannels +@all\n"), "{text}");
        std::fs::write(&path, first).unwrap();
    });
    std::fs::write(&path, "user bob +foo\n").unwrap();
    let log = failure(&["--aclfile", &file]);
    assert!(log.contains("because of ACL errors: ") && log.contains(":1: Error in"), "{log}");
    let log = failure(&["--aclfile", &file, "--user", "bob", "on"]);
    assert!(log.contains("please define either an ACL file or declare users"), "{log}");
    let log = failure(&["--user", "bob", "on", "--user", "bob", "off"]);
    assert!(log.contains("Error in user declaration 'bob': Duplicate user found."), "{log}");
    let log = failure(&["--user", "bob", "on", "bad"]);
    assert!(log.contains("Error in user declaration '") && log.contains("Syntax error"), "{log}");
    let log = failure(&["--user", "bob", "on", "+foo"]);
    assert!(log.contains("Error loading ACL rule '+foo' for the user named 'bob'"), "{log}");
    std::fs::remove_file(&path).unwrap();
}

/// A Valkey server, killed on drop.
struct Peer {
    child: Child,
    port: u16,
}

impl Peer {
    fn start() -> Option<Peer> {
        let program = std::env::var_os("ANNULET_PEER")?;
        let port = free_port();
        let child = Command::new(program)
            .args(["--port", &port.to_string(), "--save", "", "--daemonize", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("the peer starts");
        let is_up = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(wait_for(is_up), "the peer accepts within {PATIENCE:?}");
        Some(Peer { child, port })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may be over already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes random rules and commands.
struct Dice {
    rng: Rng,
    commands: Vec<String>,
}

impl Dice {
    fn pick(&mut self, from: &[&str]) -> String {
        from[self.rng.below(from.len() as u64) as usize].to_string()
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.below(bound as u64) as usize
    }

    fn command(&mut self) -> String {
        let at = self.below(self.commands.len());
        self.commands[at].clone()
    }

    fn pattern(&mut self) -> String {
        self.pick(&["*", "a", "a*", "b?", "[ab]*", "k1", "k*1", "", "\\*", "a b", "**"])
    }

    fn rule(&mut self) -> String {
        let categories =
            ["all", "read", "WRITE", "fast", "slow", "string", "keyspace", "admin", "pubsub", "no"];
        match self.below(24) {
            0..4 => format!("+{}", self.command()),
            4..6 => format!("-{}", self.command()),
            6..8 => format!("+@{}", self.pick(&categories)),
            8 => format!("-@{}", self.pick(&categories)),
            9 => format!("+{}|{}", self.command(), self.pick(&["0", "1", "get", "ECHO", ""])),
            10..13 => format!("~{}", self.pattern()),
            13 => format!("%R~{}", self.pattern()),
            14 => format!("%{}~{}", self.pick(&["W", "RW", "wr", "", "RR", "x"]), self.pattern()),
            15..17 => format!("&{}", self.pattern()),
            17 => format!("db={}", self.pick(&["0", "0,1", "3,2,2", "", ",1", "x", "-1", "99"])),
            18 => self.pick(&["resetkeys", "resetchannels", "resetdbs", "alldbs", "allkeys"]),
            19 => self.pick(&["on", "off", "nopass", "resetpass", "nocommands", "allchannels"]),
            20 => format!("{}{}", self.pick(&[">", "<", "#", "!"]), self.pick(&["p", "q"])),
            21 => self.pick(&["reset", "clearselectors", "sanitize-payload", "foo", "+", "-", "~"]),
            _ => {
                let rules: Vec<String> = (0..self.below(4)).map(|_| self.rule()).collect();
                let end = self.pick(&[")", ")", ")", ")", ""]);
                format!("({}{end}", rules.join(" "))
            }
        }
    }

    fn called(&mut self) -> Vec<String> {
        let name = self.command();
        let mut called: Vec<String> = name.split('|').map(str::to_string).collect();
        let args = [
            "a",
            "b1",
            "ab",
            "k1",
            "k21",
            "x",
            "0",
            "1",
            "2",
            "3",
            "STORE",
            "GET",
            "DB",
            "BY",
            "*",
            "REPLACE",
            "STREAMS",
            "COUNT",
            "SET",
            "u8",
            "KEYS",
            "",
            "MATCH",
            "STOREDIST",
            "-1",
        ];
        called.extend((0..self.below(6)).map(|_| self.pick(&args)));
        called
    }

    /// Returns a command whose reply is the same on every server.
    fn sent(&mut self) -> Vec<String> {
        let key = |dice: &mut Dice| dice.pick(&["a", "b1", "ab", "k1", "x"]);
        let (one, two) = (key(self), key(self));
        let line = match self.below(20) {
            0 => format!("GET {one}"),
            1 => format!("SET {one} 1"),
            2 => format!("SET {one} 1 GET"),
            3 => format!("MGET {one} {two}"),
            4 => format!("MSET {one} 2 {two} 3"),
            5 => format!("COPY {one} {two} DB {}", self.below(3)),
            6 => format!("EXISTS {one} {two}"),
            7 => format!("SORT {one} BY {two}* GET #"),
            8 => format!("SUNIONSTORE {one} {two}"),
            9 => format!("DEL {one} {two}"),
            10 => format!("PUBLISH {one} x"),
            11 => format!("SELECT {}", self.below(4)),
            12 => format!("RENAME {one} {two}"),
            13 => "MULTI".to_string(),
            14 | 15 => "EXEC".to_string(),
            16 => "CONFIG GET port2".to_string(),
            17 => format!("EVAL return{{redis.pcall('get','{one}').err}} 1 {two}"),
            18 => format!("EVAL return(redis.acl_check_cmd('set','{one}','1')) 0 {two}"),
            _ => "ACL WHOAMI".to_string(),
        };
        line.split(' ').map(str::to_string).collect()
    }
}

/// Removes what differs between any two servers from a reply of ACL LOG.
fn without_times(log: &str) -> String {
    let mut shown = Vec::new();
    for entry in log.split("[count, ").skip(1) {
        let end = entry.find(", age-seconds").expect("every entry has an age");
        shown.push(entry[..end].to_string());
    }
    shown.join("\n")
}

#[test]
fn random_rules_give_the_replies_of_valkey() {
    let number = |name: &str, default: usize| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let commands = number("ANNULET_ACL_COMMANDS", 6_000);
    let seed = number("ANNULET_ACL_SEED", 1) as u64;
    for shards in [1, 4] {
        let Some(peer) = Peer::start() else {
            return println!("skipped: ANNULET_PEER names no server");
        };
        let server = Server::start(Setup { shards, driver: "epoll" }, &[]);
        let mut admins = [Wire::connect(server.port), Wire::connect(peer.port)];
        let names = admins[0].ask(&["COMMAND", "LIST"]);
        let names = names.trim_matches(['[', ']']).split(", ").map(str::to_string);
        // Commands of this server alone, and one that Valkey lets write to any key.
        let is_apart = |name: &String| {
            name.starts_with("annulet") || ["latency|profile", "pfmerge"].contains(&name.as_str())
        };
        let names = names.filter(|name| !is_apart(name)).collect();
        let mut dice = Dice { rng: Rng::new(seed), commands: names };
        let mut users = [Wire::connect(server.port), Wire::connect(peer.port)];
        for at in 0..commands {
            let user = dice.pick(&["u1", "u2", "u3"]);
            let (sides, command) = match dice.below(10) {
                0..3 => {
                    let rules = (0..=dice.below(5)).map(|_| dice.rule()).collect::<Vec<_>>();
                    let head = ["ACL", "SETUSER", &user].map(str::to_string);
                    (&mut admins, [&head[..], &rules].concat())
                }
                3..6 => {
                    let head = ["ACL", "DRYRUN", &user].map(str::to_string);
                    (&mut admins, [&head[..], &dice.called()].concat())
                }
                6 => (&mut admins, ["ACL", "GETUSER", &user].map(str::to_string).to_vec()),
                7 if at % 50 == 0 => {
                    let command = dice.pick(&["ACL LOG 20", "ACL LIST", "ACL DELUSER u1 u2"]);
                    (&mut admins, command.split(' ').map(str::to_string).collect())
                }
                _ => (&mut users, dice.sent()),
            };
            let args: Vec<&str> = command.iter().map(String::as_str).collect();
            let [ours, theirs] = sides.each_mut().map(|wire| wire.ask(&args));
            let is_log = args.get(1) == Some(&"LOG") && ours.starts_with('[');
            let shown = |reply: String| if is_log { without_times(&reply) } else { reply };
            assert_eq!(shown(ours), shown(theirs), "command {at} of seed {seed}: {args:?}");
            if at % 40 == 0 || args[1..].contains(&"DELUSER") {
                let rules = ["on", "nopass"];
                for (wire, port) in users.iter_mut().zip([server.port, peer.port]) {
                    *wire = Wire::connect(port);
                }
                for admin in &mut admins {
                    admin.ask(&[&["ACL", "SETUSER", &user][..], &rules].concat());
                }
                for wire in &mut users {
                    assert_eq!(wire.ask(&["AUTH", &user, "x"]), "+OK");
                }
            }
        }
    }
}
