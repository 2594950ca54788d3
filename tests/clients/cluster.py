"""Runs redis-py's cluster client against a server whose shards are nodes: single commands, pipelines,
transactions, commands on many keys, pub/sub, shard channels, scripts, walks over all keys. Prints OK, or
the first thing that went wrong. `scripts/cluster-clients` starts it.

  python cluster.py PORT
"""
import sys
import time
from redis.cluster import ClusterNode, RedisCluster

PORT = int(sys.argv[1])
KEYS = 1000


def check(what, is_right):
    if not is_right:
        sys.exit(f"FAILED {what}")


def until(what, holds, seconds=10):
    end = time.time() + seconds
    while not holds():
        check(what, time.time() < end)
        time.sleep(0.01)


def moved(client):
    """Returns how often the server has sent a client elsewhere."""
    stats = client.get_redis_connection(client.get_default_node()).info("errorstats")
    return int(stats.get("errorstat_MOVED", {}).get("count", 0))


def commands(client):
    for n in range(KEYS):
        client.set(f"key:{n}", n)
    values = [client.get(f"key:{n}") for n in range(KEYS)]
    check("GET", values == [str(n) for n in range(KEYS)])
    check("MSET", client.mset_nonatomic({f"m:{n}": n for n in range(100)}))
    check("MGET", client.mget_nonatomic([f"m:{n}" for n in range(100)]) == [str(n) for n in range(100)])
    check("DEL", client.delete(*[f"m:{n}" for n in range(100)]) == 100)
    check("DBSIZE", client.dbsize(target_nodes=RedisCluster.PRIMARIES) == KEYS)
    check("SCAN", sorted(client.scan_iter("key:*", count=50)) == sorted(f"key:{n}" for n in range(KEYS)))
    check("KEYS", len(client.keys("key:*", target_nodes=RedisCluster.PRIMARIES)) == KEYS)


def pipelines(client):
    with client.pipeline() as pipe:
        for n in range(KEYS):
            pipe.incr(f"key:{n}")
        check("a pipeline", pipe.execute() == [n + 1 for n in range(KEYS)])


def transactions(client):
    with client.pipeline(transaction=True) as pipe:
        pipe.watch("{t}a")
        pipe.multi()
        pipe.set("{t}a", 1)
        pipe.incr("{t}a")
        pipe.get("{t}b")
        check("a transaction", pipe.execute()[1:] == [2, None])


def scripts(client):
    script = client.register_script("redis.call('set', KEYS[1], ARGV[1]) return redis.call('get', KEYS[2])")
    check("a script", script(keys=["{s}a", "{s}a"], args=["x"]) == "x")
    check("EVAL", [client.eval("return KEYS[1]", 1, f"e:{n}") for n in range(50)] == [f"e:{n}" for n in range(50)])


def messages(client):
    reader = client.pubsub()
    reader.subscribe("news")
    until("SUBSCRIBE", lambda: (reader.get_message() or {}).get("type") == "subscribe")
    client.publish("news", "hello")
    until("a message", lambda: (reader.get_message() or {}).get("data") == "hello")
    shards = client.pubsub()
    for n in range(20):
        shards.ssubscribe(f"shard:{n}")
    for n in range(20):
        check("SPUBLISH", client.execute_command("SPUBLISH", f"shard:{n}", n) == 1)
    got = set()

    def has_all():
        for n in range(20):
            message = shards.get_sharded_message()
            if message and message["type"] == "smessage":
                got.add((message["channel"], message["data"]))
        return got == {(f"shard:{n}", str(n)) for n in range(20)}
    until("shard messages", has_all)


def main():
    client = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", PORT)], decode_responses=True)
    primaries = client.get_primaries()
    print(f"redis-py: nodes {sorted(node.port for node in primaries)}")
    check("the nodes", PORT not in [node.port for node in primaries] and len(primaries) > 1)
    client.flushall(target_nodes=RedisCluster.PRIMARIES)
    before = moved(client)
    for part in (commands, pipelines, transactions, scripts, messages):
        part(client)
    check("no redirection", moved(client) == before)
    client.flushall(target_nodes=RedisCluster.PRIMARIES)
    print("redis-py: OK")


main()
