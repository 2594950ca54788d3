//! Propagation of commands that set strings. A relative expiry becomes an absolute one, and GET is
//! dropped. The functions run before the key is set, because setting takes the buffers of large
//! arguments.

use super::options::{Condition, Lifetime, Options, Unit};
use crate::exec::Context;
use crate::keyspace::Expiry;
use crate::resp::Args;

/// Propagates a SET that sets its key. A SET with PXAT is propagated as it was sent.
pub(super) fn propagate_set(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    options: &Options,
    expiry: Expiry,
) {
    if !cx.is_recorded() || is_unix_millis(options) {
        return;
    }
    match expiry {
        // The condition was met, so it is not propagated.
        Expiry::At(at) => {
            let is_plain = args.len() == 5;
            let name = if is_plain { &args[0] } else { b"SET" };
            propagate_set_until(cx, name, args, 2, at);
        }
        Expiry::Clear | Expiry::Keep if options.get => propagate_without_get(cx, args, options),
        Expiry::Clear | Expiry::Keep => {}
    }
}

/// Propagates that the key at argument 1 is set to the value at argument `value_at` and expires at
/// `at` in Unix milliseconds. `name` is the command name to propagate.
pub(super) fn propagate_set_until(
    cx: &mut Context<'_>,
    name: &[u8],
    args: &Args<'_>,
    value_at: usize,
    at: u64,
) {
    if cx.is_recorded() {
        let mut digits = itoa::Buffer::new();
        let at = digits.format(at).as_bytes();
        cx.propagate(&[name, &args[1], &args[value_at], b"PXAT", at]);
    }
}

/// Returns whether the client gave the expiry in Unix milliseconds.
fn is_unix_millis(options: &Options) -> bool {
    matches!(options.lifetime, Lifetime::Given(Unit::UnixMillis, _))
}

/// Propagates a SET without its GET options, which may be repeated. An argument `GET` that IFEQ
/// compares with stays.
fn propagate_without_get(cx: &mut Context<'_>, args: &Args<'_>, options: &Options) {
    let is_propagated = |at: usize| {
        let is_compared = options.condition == Condition::Equal(at);
        at < 3 || is_compared || !args[at].eq_ignore_ascii_case(b"GET")
    };
    let command: Vec<&[u8]> =
        (0..args.len()).filter(|at| is_propagated(*at)).map(|at| &args[at]).collect();
    cx.propagate(&command);
}

/// Propagates an MSETEX that sets its keys. Its options begin at argument `first`.
///
/// Each expiry option becomes PXAT with the last expiry. The last one counts, and different expiry
/// options together would be an error.
pub(super) fn propagate_msetex(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    first: usize,
    options: &Options,
    expiry: Expiry,
) {
    let Expiry::At(at) = expiry else { return };
    if !cx.is_recorded() || is_unix_millis(options) {
        return;
    }
    let mut digits = itoa::Buffer::new();
    let at = digits.format(at).as_bytes();
    let mut command: Vec<&[u8]> = args.iter_from(0).take(first).collect();
    let mut is_time = false;
    for arg in args.iter_from(first) {
        let is_unit = !is_time && Unit::named(arg).is_some();
        command.push(match (is_time, is_unit) {
            (true, _) => at,
            (false, true) => b"PXAT",
            (false, false) => arg,
        });
        is_time = is_unit;
    }
    cx.propagate(&command);
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Bench, check_feed};

    #[test]
    fn set() {
        check_feed(
            r#"
            SET k v => SET k v
            set k 010 => set k 010
            SET k v EX 100 => SET k v PXAT {now+100000}
            set k v ex 100 => set k v PXAT {now+100000}
            SET k v PX 100 => SET k v PXAT {now+100}
            SET k v EXAT {now_s+100} => SET k v PXAT {now+100000}
            SET k v PXAT {now+100000} => SET k v PXAT {now+100000}
            SET k v pxat {now+100000} => SET k v pxat {now+100000}
            SET k v EX 100 EX 200 => SET k v PXAT {now+200000}
            SET k v KEEPTTL => SET k v KEEPTTL
            SET k v NX =>
            SET n v NX => SET n v NX
            SET k v XX => SET k v XX
            SET none v XX =>
            SET k v XX EX 100 => SET k v PXAT {now+100000}
            SET k v EX 100 XX => SET k v PXAT {now+100000}
            SET k v XX PXAT {now+100000} => SET k v XX PXAT {now+100000}
            SET k v GET => SET k v
            SET k v GET get XX => SET k v XX
            SET k v XX GET KEEPTTL => SET k v XX KEEPTTL
            SET k v GET EX 100 => SET k v PXAT {now+100000}
            SET k v get PXAT {now+9} GET => SET k v get PXAT {now+9} GET
            SET k v IFEQ v => SET k v IFEQ v
            SET k v IFEQ v EX 100 => SET k v PXAT {now+100000}
            SET k v IFEQ v GET => SET k v IFEQ v
            SET k v IFEQ x =>
            SET k v IFEQ x GET =>
            SET k get IFEQ v GET => SET k get IFEQ v
            SET k v IFEQ get GET => SET k v IFEQ get
            SET get get GET => SET get get
            SET k v EX 0 =>
            "#,
        );
    }

    #[test]
    fn set_with_a_past_expiry() {
        check_feed(
            r#"
            SET k v => SET k v
            SET k v PXAT 1 => UNLINK k
            SET k v PXAT 1 =>
            SET k v => SET k v
            SET k v EXAT 1 GET => UNLINK k
            SET k v EXAT 1 GET =>
            SET k v => SET k v
            SET k v XX EXAT 1 GET => UNLINK k
            SET k v NX EXAT 1 =>
            SET k v IFEQ v EXAT 1 =>
            "#,
        );
    }

    #[test]
    fn other_commands_that_set() {
        check_feed(
            r#"
            SETNX k v => SETNX k v
            SETNX k v =>
            SETEX k 100 v => SET k v PXAT {now+100000}
            psetex k 100 7 => SET k 7 PXAT {now+100}
            GETSET k a => SET k a
            getset new a => SET new a
            APPEND k v => APPEND k v
            SETRANGE k 1 x => SETRANGE k 1 x
            SETRANGE k 1 '' =>
            SETRANGE none 1 '' =>
            SETRANGE r 2 x => SETRANGE r 2 x
            INCR n => INCR n
            DECR n => DECR n
            INCRBY n 5 => INCRBY n 5
            INCRBY n 0 => INCRBY n 0
            DECRBY n 5 => DECRBY n 5
            INCR k =>
            INCRBYFLOAT n 1.5 => SET n 1.5 KEEPTTL
            incrbyfloat f 3.0e3 => SET f 3000 KEEPTTL
            INCRBYFLOAT f 0 => SET f 3000 KEEPTTL
            INCRBYFLOAT f x =>
            "#,
        );
    }

    #[test]
    fn commands_that_read_and_change() {
        check_feed(
            r#"
            SET k v => SET k v
            GETEX k =>
            GETEX k EX 100 => PEXPIREAT k {now+100000}
            GETEX k PX 100 => PEXPIREAT k {now+100}
            GETEX k EXAT {now_s+100} => PEXPIREAT k {now+100000}
            GETEX k PXAT {now+100} => PEXPIREAT k {now+100}
            GETEX k PERSIST => PERSIST k
            GETEX k PERSIST =>
            GETEX k PXAT 1 => UNLINK k
            GETEX k PXAT 1 =>
            SET k v => SET k v
            GETDEL k => DEL k
            GETDEL k =>
            SET k 5 => SET k 5
            DELIFEQ k 05 =>
            DELIFEQ k 5 => DEL k
            DELIFEQ k 5 =>
            GET k =>
            "#,
        );
    }

    #[test]
    fn many() {
        check_feed(
            r#"
            MSET a 1 b 2 => MSET a 1 b 2
            MSETNX a 1 c 2 =>
            MSETNX c 1 d 2 => MSETNX c 1 d 2
            MSETEX 1 a 1 => MSETEX 1 a 1
            MSETEX 2 a 1 b 2 EX 100 => MSETEX 2 a 1 b 2 PXAT {now+100000}
            msetex 2 a 1 b 2 ex 100 => msetex 2 a 1 b 2 PXAT {now+100000}
            MSETEX 2 a 1 b 2 PX 100 => MSETEX 2 a 1 b 2 PXAT {now+100}
            MSETEX 2 a 1 b 2 EXAT {now_s+1} => MSETEX 2 a 1 b 2 PXAT {now+1000}
            MSETEX 2 a 1 b 2 PXAT {now+100} => MSETEX 2 a 1 b 2 PXAT {now+100}
            MSETEX 2 a 1 b 2 NX EX 100 =>
            MSETEX 2 a 1 b 2 XX EX 100 => MSETEX 2 a 1 b 2 XX PXAT {now+100000}
            MSETEX 2 a 1 b 2 EX 100 XX => MSETEX 2 a 1 b 2 PXAT {now+100000} XX
            MSETEX 1 ex px EX 1 => MSETEX 1 ex px PXAT {now+1000}
            MSETEX 1 a 1 EX x EX 2 => MSETEX 1 a 1 PXAT {now+2000} PXAT {now+2000}
            MSETEX 1 a 1 EX EX EX 2 => MSETEX 1 a 1 PXAT {now+2000} PXAT {now+2000}
            MSETEX 2 x 1 y 2 NX => MSETEX 2 x 1 y 2 NX
            MSETEX 2 x 1 y 2 KEEPTTL => MSETEX 2 x 1 y 2 KEEPTTL
            MSETEX 2 x 1 y 2 PXAT 1 => MSETEX 2 x 1 y 2 PXAT 1
            GET x => UNLINK x
            MSETEX 2 x 1 y 2 EXAT 1 => UNLINK y | MSETEX 2 x 1 y 2 PXAT 1000
            DELIFEQ y 2 => UNLINK y
            "#,
        );
    }

    #[test]
    fn expired_keys_are_propagated_first() {
        let cases = [
            ("SET k w", "UNLINK k | SET k w"),
            ("SET k w NX", "UNLINK k | SET k w NX"),
            ("SET k w XX", "UNLINK k"),
            ("SET k w KEEPTTL GET", "UNLINK k | SET k w KEEPTTL"),
            ("SET k w EX 1 GET", "UNLINK k | SET k w PXAT {now+1060}"),
            ("SET k w PXAT 1", "UNLINK k"),
            ("SET k w PXAT 1 GET", "UNLINK k"),
            ("GETSET k w", "UNLINK k | SET k w"),
            ("GETDEL k", "UNLINK k"),
            ("GETEX k EX 10", "UNLINK k"),
            ("SETRANGE k 0 x", "UNLINK k | SETRANGE k 0 x"),
            ("APPEND k x", "UNLINK k | APPEND k x"),
            ("INCR k", "UNLINK k | INCR k"),
            ("INCRBYFLOAT k 1", "UNLINK k | SET k 1 KEEPTTL"),
            ("MSETNX a 1 k 2", "UNLINK k | MSETNX a 1 k 2"),
            ("MSETEX 1 k v XX", "UNLINK k"),
            ("DELIFEQ k v", "UNLINK k"),
            ("LCS k none", "UNLINK k"),
            ("GETRANGE k 0 1", "UNLINK k"),
            ("STRLEN k", "UNLINK k"),
        ];
        for (command, expected) in cases {
            let set = "SET k v PX 30 => SET k v PXAT {now+30}";
            check_feed(&format!("{set}\nADVANCE 60\n{command} => {expected}"));
        }
    }

    #[test]
    fn expiry_in_the_past_propagates_del_or_unlink_by_setting() {
        let mut bench = Bench::new();
        bench.record();
        bench.config.lazyfree_lazy_expire = false;
        for command in ["SET k v PXAT 1", "GETEX k PXAT 1"] {
            bench.run(&["SET", "k", "v"]);
            bench.run(&command.split(' ').collect::<Vec<_>>());
            assert_eq!(bench.recorded(), ["DEL k"], "{command}");
        }
    }

    #[test]
    fn large_values_are_propagated_whole() {
        let mut bench = Bench::new();
        bench.record();
        let large = "x".repeat(50_000);
        let cases = [
            ("SET k @", "SET k @"),
            ("SET k @ GET", "SET k @"),
            ("SET k @ XX PX 7", "SET k @ PXAT 1800000000007"),
            ("SET k @ IFEQ @ GET", "SET k @ IFEQ @"),
            ("SETEX k 1 @", "SET k @ PXAT 1800000001000"),
            ("GETSET k @", "SET k @"),
            ("MSETEX 2 k @ l @ PX 7", "MSETEX 2 k @ l @ PXAT 1800000000007"),
            ("DELIFEQ l @", "DEL l"),
        ];
        for (command, expected) in cases {
            let args: Vec<&str> =
                command.split(' ').map(|arg| if arg == "@" { &large } else { arg }).collect();
            bench.run(&args);
            assert_eq!(bench.recorded(), [expected.replace('@', &large)], "{command}");
        }
    }
}
