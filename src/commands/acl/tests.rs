//! ACL commands on a session. What the shards do for them is tested with whole servers.

use crate::commands::session_testing::{SessionBench, show};
use crate::resp::Protocol;

/// Runs commands and compares the replies, or the requests to the shards. A line without `=>`
/// continues the one before.
fn check(bench: &mut SessionBench, script: &str) {
    let script = script.replace("\n            | ", " ");
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, expected) = line.split_once(" => ").expect("a line has a reply");
        let args = command.split(' ').map(|arg| if arg == "''" { "" } else { arg });
        let command: Vec<&str> = args.collect();
        let reply = bench.run(&command);
        let shown = match (&reply, &bench.request) {
            (Some(reply), _) => show(reply),
            (None, request) => format!("?{:?}", request.as_ref().expect("a reply or a request")),
        };
        assert_eq!(shown, expected, "{line}");
    }
}

#[test]
fn users_are_set_shown_and_deleted() {
    let mut bench = SessionBench::new();
    check(
        &mut bench,
        r#"
        ACL WHOAMI => "default"
        ACL USERS => ["default"]
        ACL LIST => ["user default on nopass ~* &* +@all"]
        ACL SETUSER bob on >secret ~a* +get => OK
        ACL SETUSER bob %R~b (+set ~c) => ?UsersChanged { deleted: 0 }
        ACL USERS => ["bob" "default"]
        ACL GETUSER nobody => nil
        ACL GETUSER bob => ["flags" ["on"] "passwords"
            | ["2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"]
            | "commands" "-@all +get" "keys" "~a* %R~b" "channels" "" "databases" "alldbs"
            | "selectors" [["commands" "-@all +set" "keys" "~c" "channels" ""
            | "databases" "alldbs"]]]
        ACL SETUSER bob foo => -ERR Error in ACL SETUSER modifier 'foo': Syntax error
        ACL SETUSER bob (+get => -ERR Unmatched parenthesis in acl selector starting at '(+get'.
        ACL DELUSER x bob default => -ERR The 'default' user cannot be removed
        ACL DELUSER x => :0
        ACL DELUSER x bob => ?UsersChanged { deleted: 1 }
        ACL DELUSER => -ERR wrong number of arguments for 'acl|deluser' command
        ACL LOAD => -ERR This instance is not configured to use an ACL file. You may want to
            | specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming
            | you have a configuration file set) in order to store users in the configuration.
        "#,
    );
    let with_blank = show(&bench.run(&["ACL", "SETUSER", "a b"]).expect("a reply"));
    assert_eq!(with_blank, "-ERR Usernames can't contain spaces or null characters");
    bench.session.protocol = Protocol::Three;
    let shown = show(&bench.run(&["ACL", "GETUSER", "default"]).expect("a reply"));
    assert!(shown.starts_with(r#"{"flags" <"on" "nopass"> "passwords" []"#), "{shown}");
}

#[test]
fn dry_runs_say_what_a_user_lacks() {
    check(
        &mut SessionBench::new(),
        r#"
        ACL SETUSER bob +@all -config ~a &c db=0 => OK
        ACL DRYRUN bob GET a => OK
        ACL DRYRUN bob GET b => "User bob has no permissions to access the 'b' key"
        ACL DRYRUN bob GET => -ERR wrong number of arguments for 'get' command
        ACL DRYRUN bob nothing a => -ERR Command 'nothing' not found
        ACL DRYRUN nobody GET a => -ERR User 'nobody' not found
        ACL DRYRUN bob CONFIG GET a => "User bob has no permissions to run the 'config|get' command"
        ACL DRYRUN bob PUBLISH d x => "User bob has no permissions to access the 'd' channel"
        ACL DRYRUN bob SELECT 1 => "User bob has no permissions to access database 1"
        ACL DRYRUN bob COPY a a DB 0 => OK
        ACL DRYRUN bob COPY a a DB 1 => "User bob has no permissions to access database 1"
        ACL DRYRUN bob MIGRATE h 1 b 0 1 => "User bob has no permissions to access the 'b' key"
        ACL DRYRUN bob MIGRATE h 1 '' 0 1 KEYS a b => "User bob has no permissions to access the
            | 'b' key"
        ACL DRYRUN bob MIGRATE h 1 b 0 1 KEYS b => OK
        ACL DRYRUN bob MIGRATE h 1 b 0 1 KEYS => "User bob has no permissions to access the
            | 'b' key"
        ACL DRYRUN bob SET a x GET => OK
        ACL SETUSER bob resetkeys %W~a => ?UsersChanged { deleted: 0 }
        ACL DRYRUN bob SET a x => OK
        ACL DRYRUN bob SET a x GET => "User bob has no permissions to access the 'a' key"
        ACL DRYRUN bob BITFIELD a GET u8 0 => "User bob has no permissions to access the 'a' key"
        ACL DRYRUN bob EXISTS a => OK
        "#,
    );
}

#[test]
fn categories_and_passwords() {
    let mut bench = SessionBench::new();
    check(
        &mut bench,
        "
        ACL CAT foo => -ERR Unknown category 'foo'
        ACL CAT read x => -ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL
            | HELP.
        ACL GENPASS 0 => -ERR ACL GENPASS argument must be the number of bits for the output
            | password, a positive number up to 4096
        ACL GENPASS 4097 => -ERR ACL GENPASS argument must be the number of bits for the output
            | password, a positive number up to 4096
        ACL GENPASS x => -ERR value is not an integer or out of range
        ",
    );
    let mut shown = |args: &[&str]| show(&bench.run(args).expect("a reply"));
    assert!(shown(&["ACL", "CAT"]).starts_with(r#"["keyspace" "read" "write" "set""#));
    assert!(shown(&["ACL", "CAT", "SCRIPTING"]).contains(r#""eval""#));
    assert_eq!(shown(&["ACL", "GENPASS"]).len(), 64 + 2);
    assert_eq!(shown(&["ACL", "GENPASS", "5"]).len(), 2 + 2);
    assert_ne!(shown(&["ACL", "GENPASS"]), shown(&["ACL", "GENPASS"]));
}

#[test]
fn clients_log_in_as_users() {
    let mut bench = SessionBench::new();
    check(
        &mut bench,
        r#"
        ACL SETUSER bob on >pass +@all ~* => OK
        ACL SETUSER eve >pass => OK
        AUTH bob wrong => -WRONGPASS invalid username-password pair or user is disabled.
        AUTH eve pass => -WRONGPASS invalid username-password pair or user is disabled.
        ACL WHOAMI => "default"
        AUTH bob pass => OK
        ACL WHOAMI => "bob"
        RESET => RESET
        ACL WHOAMI => "default"
        CONFIG SET requirepass foo => ?SettingsChanged(FollowUp { shards_settle: false,
            | listeners_change: false })
        AUTH foo => OK
        ACL SETUSER default >bar => ?UsersChanged { deleted: 0 }
        AUTH bar => OK
        AUTH foo => OK
        "#,
    );
    let log = show(&bench.run(&["ACL", "LOG"]).expect("a reply"));
    let entry = r#"[["count" :1 "reason" "auth" "context" "toplevel" "object" "AUTH" "username""#;
    assert!(log.starts_with(&format!("{entry} \"eve\"")), "{log}");
    check(&mut bench, "ACL LOG 0 => []\nACL LOG RESET => OK\nACL LOG => []");
}

#[test]
fn files_are_loaded_and_saved() {
    let path = std::env::temp_dir().join(format!("annulet-users-{}.acl", std::process::id()));
    std::fs::write(&path, "user bob on nopass +get ~a\n\nuser default on nopass +@all\n").unwrap();
    let mut bench = SessionBench::with(|config| config.aclfile = Some(path.clone()));
    super::load_users(&bench.process).unwrap();
    check(
        &mut bench,
        r#"
        ACL LIST => ["user bob on nopass ~a resetchannels -@all +get"
            | "user default on nopass resetchannels +@all"]
        ACL SETUSER bob +set => ?UsersChanged { deleted: 0 }
        ACL SAVE => OK
        ACL DELUSER bob => ?UsersChanged { deleted: 1 }
        ACL LOAD => ?UsersChanged { deleted: 0 }
        ACL USERS => ["bob" "default"]
        "#,
    );
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("user bob on nopass ~a resetchannels -@all +get +set\n"), "{text}");
    std::fs::write(&path, "user bob off\nuser eve +foo\n").unwrap();
    let shown = show(&bench.run(&["ACL", "LOAD"]).expect("a reply"));
    assert!(shown.contains(":2: Error in applying operation '+foo'"), "{shown}");
    std::fs::remove_file(&path).unwrap();
    let shown = show(&bench.run(&["ACL", "LOAD"]).expect("a reply"));
    assert!(shown.contains("opening file") && shown.ends_with("No such file or directory"));
    check(&mut bench, r#"ACL USERS => ["bob" "default"]"#);
}
