//! Whole EVALs without a server: the script is found by its text, runs, and its reply is written.

use annulet::resp::{Args, Output, Protocol, Reply, Span};
use annulet::script::{
    AclAnswer, Host, Invocation, LogLevel, Origin, Propagation, Scripts, Verdict, Vm, VmOptions,
};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

/// A server whose only reply is 1.
struct One;

impl Host for One {
    fn call(&mut self, args: Args<'_>, _: Protocol, reply: &mut Output) {
        black_box(args);
        reply.append_raw(b":1\r\n");
    }

    fn pause(&mut self) -> Verdict {
        Verdict::Continue
    }

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn acl_check(&mut self, _: Args<'_>) -> AclAnswer {
        AclAnswer::Allowed
    }

    fn set_propagation(&mut self, _: Propagation) {}

    fn count_error(&mut self, _: &[u8]) {}
}

const BUCKET: &str = "local rate = tonumber(ARGV[1]) local now = tonumber(ARGV[2])
local tokens = tonumber(redis.call('hget', KEYS[1], 'tokens')) or rate
local last = tonumber(redis.call('hget', KEYS[1], 'last')) or now
tokens = math.min(rate, tokens + (now - last) * rate / 1000)
local allowed = tokens >= 1
if allowed then tokens = tokens - 1 end
redis.call('hset', KEYS[1], 'tokens', tokens)
redis.call('hset', KEYS[1], 'last', now)
redis.call('pexpire', KEYS[1], 2000)
return allowed and 1 or 0";

fn script(c: &mut Criterion) {
    let cases = [
        ("empty", "return 1"),
        ("incr", "return redis.call('incr', KEYS[1])"),
        ("bucket", BUCKET),
        ("array", "return {1, 2, 3, {'a', 'b', 'c'}}"),
        ("json", "return cjson.encode(cjson.decode('{\"a\":[1,2,3],\"b\":{\"c\":\"d\"}}'))"),
    ];
    let mut group = c.benchmark_group("script");
    let (scripts, mut vm) = (Scripts::default(), Vm::new(VmOptions::default()));
    let text = b"key:000000012345101700000000000";
    let spans = [(0, 0), (0, 0), (0, 0), (0, 16), (16, 2), (18, 13)];
    let spans = spans.map(|(start, len)| Span::text(start, len));
    for (name, body) in cases {
        scripts.add(body.as_bytes(), Origin::Eval, &|_| false).expect("the script compiles");
        let mut out = Output::default();
        group.bench_function(name, |b| {
            b.iter(|| {
                let script = scripts.by_body(black_box(body.as_bytes())).expect("it is cached");
                let args = Args::new(text, &spans, &mut []);
                let invocation = Invocation { args: &args, first_key: 3, keys: 1 };
                let mut reply = Reply::new(&mut out, Protocol::Two);
                vm.run_script(&script, &invocation, &mut One, &mut reply);
                scripts.note_use(&script);
                out.clear();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, script);
criterion_main!(benches);
