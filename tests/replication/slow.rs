//! A replica that does not read is disconnected before it uses more memory than allowed.

use super::peer;
use super::primary::{Primary, is_rehearsal};
use super::server::wait_for;
use super::shards;
use super::support::{Info, assert_equal, demand, number};
use super::wire::put_request;
use annulet::base::clock::Clock;
use std::io::Write;
use std::net::TcpStream;

/// Far more data than the buffers of two sockets.
const WRITES: usize = 900;
const VALUE_BYTES: usize = 100_000;

/// Writes after which the test waits for the other replica: less data than the limit.
const WRITES_AHEAD: usize = 20;

/// Largest growth of memory: 8 MB of output to a replica, plus keys, backlog and buffers.
const MEMORY_GROWTH_BYTES_MAX: u64 = 40 << 20;

/// Largest size of the backlog: 1 MB, plus some blocks, plus commands that are longer than a block.
const BACKLOG_BYTES_MAX: u64 = (1 << 20) + (256 << 10);

/// Longest time of a PING meanwhile.
const PING_MS_MAX: u64 = 1_000;

#[test]
fn a_slow_replica_is_disconnected() {
    let Some(program) = peer::program() else { return };
    for shards in shards() {
        let limits = ["--client-output-buffer-limit", "replica 8mb 0 0"];
        let arguments = [&limits[..], &["--repl-backlog-size", "1mb"]].concat();
        let primary = Primary::start(&program, shards, &arguments);
        let (mut wire, mut other) = (primary.connect(), primary.connect());
        let (_replica, mut replica) = primary.follow(&program);
        let mut slow =
            TcpStream::connect(("127.0.0.1", primary.port())).expect("the server accepts");
        let mut args = Vec::new();
        put_request(&mut args, &["PSYNC", "?", "-1"]);
        slow.write_all(&args).expect("the server takes bytes");
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
        assert!(
            wait_for(|| count(&mut wire) == 1),
            "{shards} shards: the slow replica is disconnected"
        );
        let line = if is_rehearsal() { "output buffer limits" } else { "output-buffer-limit" };
        assert!(primary.log().contains(line), "{}", primary.log());
        assert_equal(&mut wire, &mut replica, &format!("{shards} shards, beside a slow one"));
        // The backlog kept for the slow replica is freed too.
        let kept = |wire: &mut _| Info::of(wire, "replication").number("repl_backlog_histlen");
        assert!(wait_for(|| kept(&mut wire) <= BACKLOG_BYTES_MAX), "{} are kept", kept(&mut wire));
        let stats = Info::of(&mut wire, "stats");
        assert_eq!((stats.number("sync_full"), stats.number("sync_partial_ok")), (2, 0));
    }
}
