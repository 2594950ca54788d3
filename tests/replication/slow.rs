//! A replica that does not read is cut before it costs more memory than it may.

use super::peer;
use super::primary::{Primary, is_rehearsal};
use super::server::wait_for;
use super::shards;
use super::support::{Info, assert_equal, demand, number};
use super::wire::put_request;
use annulet::base::clock::Clock;
use std::io::Write;
use std::net::TcpStream;

/// Far more than the buffers of two sockets.
const WRITES: usize = 900;
const VALUE_BYTES: usize = 100_000;

/// Writes after which the other replica is waited for: less than the limit.
const WRITES_AHEAD: usize = 20;

/// What may wait for a replica is 8 MB; keys, backlog and buffers are some more.
const MEMORY_GROWTH_BYTES_MAX: u64 = 40 << 20;

/// A backlog of 1 MB, some blocks, and commands that are longer than them.
const BACKLOG_BYTES_MAX: u64 = (1 << 20) + (256 << 10);

/// A PING may take so long while all that goes on.
const PING_MS_MAX: u64 = 1_000;

#[test]
fn a_slow_replica_is_cut() {
    let Some(program) = peer::program() else { return };
    for shards in shards() {
        let limits = ["--client-output-buffer-limit", "replica 8mb 0 0"];
        let arguments = [&limits[..], &["--repl-backlog-size", "1mb"]].concat();
        let primary = Primary::start(&program, shards, &arguments);
        let (mut wire, mut other) = (primary.connect(), primary.connect());
        let (_replica, mut replica) = primary.follow(&program);
        let mut slow = TcpStream::connect(("127.0.0.1", primary.port())).expect("it accepts");
        let mut words = Vec::new();
        put_request(&mut words, &["PSYNC", "?", "-1"]);
        slow.write_all(&words).expect("the server takes bytes");
        let online = |wire: &mut _| {
            let info = Info::of(wire, "replication");
            let is_online = |name| info.text(name).contains("state=online");
            is_online("slave0") && is_online("slave1")
        };
        assert!(wait_for(|| online(&mut wire)), "{shards} shards: both replicas are online");

        let memory = |wire: &mut _| Info::of(wire, "memory").number("used_memory");
        let at_first = memory(&mut wire);
        let value = "x".repeat(VALUE_BYTES);
        for write in 0..WRITES {
            demand(&mut wire, &["SET", &format!("key:{}", write % 10), &value]);
            if write % WRITES_AHEAD == 0 {
                let reached = number(&wire.ask(&["WAIT", "1", "10000"]));
                assert!(reached >= 1, "{shards} shards: the other replica has it");
                let start_ms = Clock::System.unix_ms();
                demand(&mut other, &["PING"]);
                let took_ms = Clock::System.unix_ms() - start_ms;
                assert!(took_ms < PING_MS_MAX, "{shards} shards: a PING took {took_ms} ms");
                let grown = memory(&mut other).saturating_sub(at_first);
                assert!(grown < MEMORY_GROWTH_BYTES_MAX, "{shards} shards: {grown} bytes more");
            }
        }
        let count = |wire: &mut _| Info::of(wire, "replication").number("connected_slaves");
        assert!(wait_for(|| count(&mut wire) == 1), "{shards} shards: it is cut");
        let line = if is_rehearsal() { "output buffer limits" } else { "output-buffer-limit" };
        assert!(primary.log().contains(line), "{}", primary.log());
        assert_equal(&mut wire, &mut replica, &format!("{shards} shards, beside a slow one"));
        // What was kept for it goes as well.
        let kept = |wire: &mut _| Info::of(wire, "replication").number("repl_backlog_histlen");
        assert!(wait_for(|| kept(&mut wire) <= BACKLOG_BYTES_MAX), "{} are kept", kept(&mut wire));
        let stats = Info::of(&mut wire, "stats");
        assert_eq!((stats.number("sync_full"), stats.number("sync_partial_ok")), (2, 0));
    }
}
