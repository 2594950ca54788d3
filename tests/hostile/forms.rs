//! The commands that the grammar of the differential test lacks, as data.
//!
//! One line is one command. Arguments that begin with `$` are drawn:
//!
//! ```text
//!   $key   a key, one of a few                $huge     a key for long strings
//!   $val   any value                          $big      a value of up to a megabyte
//!   $int   an integer                         $db       a database
//!   $ms    a few milliseconds                 $s        a timeout in seconds, or 0: for ever
//!   $soon  Unix milliseconds, very near       $n        a count
//!   $id    the id of a connection             $addr     the address of a connection
//!   $many  thousands of members               $scored   thousands of scores with members
//!   $pairs thousands of fields with values    $some     a few hundred members
//! ```
//! Must not know: how they are sent, and what the server replies.

/// Builds a collection of thousands of elements.
pub const LOADS: &[&str] = &[
    "RPUSH $key $many",
    "LPUSH $key $many",
    "SADD $key $many",
    "HSET $key $pairs",
    "ZADD $key $scored",
    "PFADD $key $many",
    "SET $huge $big",
    "APPEND $huge $big",
    "SETRANGE $huge 4000000 x",
    "MSET $huge $big $key 1 $huge $big",
];

/// Makes a collection volatile, or takes it away.
pub const VOLATILE: &[&str] = &[
    "PEXPIRE $key $ms",
    "PEXPIREAT $key $soon",
    "PEXPIRE $key $ms",
    "HPEXPIRE $key $ms FIELDS 2 m1 m2",
    "DEL $key",
    "UNLINK $key $key",
    "RENAME $key $key",
    "MOVE $key $db",
    "GETEX $key PX $ms",
    "PERSIST $key",
    "LTRIM $key 0 1000",
    "FLUSHDB",
    "SWAPDB $db $db",
];

/// Takes long on large collections.
pub const HEAVY: &[&str] = &[
    "SUNION $key $key $key",
    "SUNIONSTORE $key $key $key",
    "SINTER $key $key",
    "SINTERSTORE $key $key $key",
    "SDIFFSTORE $key $key $key",
    "SINTERCARD 2 $key $key",
    "ZUNIONSTORE $key 2 $key $key WEIGHTS 2 3",
    "ZINTERSTORE $key 2 $key $key AGGREGATE MAX",
    "ZDIFFSTORE $key 2 $key $key",
    "ZUNION 2 $key $key WITHSCORES",
    "ZRANGESTORE $key $key 0 -1",
    "SORT $key",
    "SORT $key ALPHA STORE $key",
    "SORT $key BY w_* GET # LIMIT 0 10",
    "SORT $key BY $key STORE $key",
    "COPY $key $key REPLACE",
    "COPY $key $key DB $db REPLACE",
    "HGETALL $key",
    "HVALS $key",
    "SMEMBERS $key",
    "LRANGE $key 0 -1",
    "ZRANGE $key 0 -1 WITHSCORES",
    "LREM $key 0 m7",
    "LPOS $key m19999",
    "LINSERT $key BEFORE m300 x",
    "SPOP $key 5000",
    "SRANDMEMBER $key -3000",
    "HRANDFIELD $key 3000 WITHVALUES",
    "ZREMRANGEBYRANK $key 0 3000",
    "PFMERGE $key $key $key",
    "PFCOUNT $key $key",
    "BITOP XOR $huge $huge $huge",
    "BITCOUNT $huge",
    "DUMP $key",
    "GET $huge",
    "GETRANGE $huge 0 -1",
    "SMOVE $key $key m5",
    "LMOVE $key $key LEFT RIGHT",
    "OBJECT ENCODING $key",
    "MEMORY USAGE $key SAMPLES 0",
    "DEBUG DIGEST-VALUE $key $key",
    "HSCAN $key 0 COUNT 5000",
    "SSCAN $key 0 COUNT 20000 MATCH *1*",
    "KEYS *",
    "SCAN 0 COUNT 1000",
    "SADD $key $some",
    "SREM $key $some",
    "RPUSH $key $some",
    "HDEL $key $some",
    "ZREM $key $some",
    "SMISMEMBER $key $some",
    "HMGET $key $some",
    "MGET $key $key $key $huge",
    "DEL $key $key $key $key",
    "XADD $key MAXLEN 1000 * f $big",
    "XADD $key * f v",
    "XRANGE $key - +",
];

/// Waits for other clients.
pub const BLOCKING: &[&str] = &[
    "BLPOP $key $key $key $s",
    "BRPOP $key $s",
    "BLMOVE $key $key LEFT RIGHT $s",
    "BRPOPLPUSH $key $key $s",
    "BLMPOP $s 2 $key $key LEFT COUNT $n",
    "BZPOPMIN $key $key $s",
    "BZPOPMAX $key $s",
    "BZMPOP $s 2 $key $key MIN COUNT $n",
    "XREAD BLOCK $ms STREAMS $key $key $ $",
    "XREAD BLOCK 0 STREAMS $key $key $ 0",
    "XREADGROUP GROUP alice bob BLOCK $ms STREAMS $key >",
    "WAIT 1 $ms",
    "WAIT 3 $ms",
];

/// Feeds the clients that wait.
pub const FEEDING: &[&str] = &[
    "RPUSH $key a b",
    "LPUSH $key c",
    "ZADD $key 1 a 2 b",
    "XADD $key * f v",
    "XGROUP CREATE $key alice 0 MKSTREAM",
    "DEL $key",
    "LPOP $key",
    "RENAME $key $key",
    "COPY $key $key REPLACE",
    "SWAPDB $db $db",
    "SORT $key ALPHA STORE $key",
    "CLIENT UNBLOCK $id",
    "CLIENT UNBLOCK $id ERROR",
];

/// Subscriptions, and messages on few channels and patterns.
pub const MESSAGES: &[&str] = &[
    "HELLO 3",
    "SUBSCRIBE h$n h$n",
    "PSUBSCRIBE h* __key*",
    "PSUBSCRIBE __keyspace@?__:*",
    "SSUBSCRIBE h$n",
    "UNSUBSCRIBE",
    "UNSUBSCRIBE h$n",
    "PUNSUBSCRIBE",
    "SUNSUBSCRIBE h$n",
    "RESET",
    "PUBLISH h$n $val",
    "PUBLISH h$n $val",
    "PUBLISH h$n $big",
    "SPUBLISH h$n $val",
    "PUBSUB NUMSUB h$n h$n",
    "PUBSUB CHANNELS",
];

/// Scripts on their first key or argument: long ones, large ones, and ones that fail half-way.
pub const SCRIPTS: &[&str] = &[
    "for i = 1, 1000000 do end return KEYS[1] or ARGV[1]",
    "for i = 1, 2000 do redis.pcall('APPEND', KEYS[1] or ARGV[1], i) end \
     return redis.call('DBSIZE')",
    "for i = 1, 3000000 do end redis.call('SET', 'counter', 1) for i = 1, 1000000 do end",
    "for i = 1, 500 do redis.pcall('RPUSH', 'l' .. i, i) redis.pcall('PEXPIRE', 'l' .. i, 9) end",
    "local t = {} for i = 1, 20000 do t[i] = {i, 'x', {ok = 'y'}} end return t",
    "redis.call('SET', 'text', 'half') error({err = 'ERR half-way'})",
    "while true do local ok = pcall(redis.call, 'GET', KEYS[1]) if not ok then error('no') end \
     if redis.call('INCR', 'turns') % 1000 == 0 then return 1 end end",
    "return redis.call('PUBLISH', 'h1', string.rep('m', 100000))",
    "return {redis.call('KEYS', '*'), redis.call('SCAN', 0), redis.call('FLUSHDB')}",
];

/// Disturbs other clients and the server.
pub const ADMIN: &[&str] = &[
    "CLIENT KILL ID $id",
    "CLIENT KILL ID $id SKIPME no",
    "CLIENT KILL $addr",
    "CLIENT KILL ADDR $addr",
    "CLIENT KILL TYPE normal MAXAGE 100",
    "CLIENT KILL TYPE replica",
    "CLIENT KILL FLAGS O",
    "CLIENT KILL FLAGS b SKIPME no",
    "CLIENT KILL DB $db",
    "CLIENT UNBLOCK $id",
    "CLIENT UNBLOCK $id ERROR",
    "CLIENT UNBLOCK $id TIMEOUT",
    "CLIENT UNPAUSE",
    "CLIENT LIST",
    "CLIENT LIST TYPE normal",
    "CLIENT LIST ID $id $id",
    "CLIENT INFO",
    "CLIENT NO-EVICT on",
    "CLIENT NO-TOUCH on",
    "CLIENT SETNAME h$n",
    "CLIENT TRACKINGINFO",
    "SWAPDB $db $db",
    "FLUSHDB",
    "FLUSHALL ASYNC",
    "FLUSHALL SYNC",
    "SAVE",
    "BGSAVE",
    "BGSAVE SCHEDULE",
    "BGSAVE CANCEL",
    "INFO everything",
    "INFO commandstats latencystats",
    "SLOWLOG GET -1",
    "SLOWLOG RESET",
    "COMMANDLOG GET -1 large-reply",
    "LATENCY RESET",
    "LATENCY HISTOGRAM",
    "LATENCY LATEST",
    "LATENCY DOCTOR",
    "MEMORY STATS",
    "MEMORY PURGE",
    "MEMORY DOCTOR",
    "COMMAND",
    "COMMAND DOCS",
    "ROLE",
    "DBSIZE",
    "CONFIG RESETSTAT",
    "CONFIG GET *",
    "DEBUG RELOAD",
    "DEBUG DIGEST",
    "DEBUG JMAP",
    "DEBUG HTSTATS $db full",
    "DEBUG OBJECT $key",
    "DEBUG SET-ACTIVE-EXPIRE 0",
    "DEBUG SET-ACTIVE-EXPIRE 1",
    "DEBUG QUICKLIST-PACKED-THRESHOLD 100",
    "DEBUG QUICKLIST-PACKED-THRESHOLD 0",
    "DEBUG CLIENT-ENFORCE-REPLY-LIST 1",
    "DEBUG CLIENT-ENFORCE-REPLY-LIST 0",
    "DEBUG DICT-RESIZING 0",
    "DEBUG DICT-RESIZING 1",
    "DEBUG REPLYBUFFER RESIZING 0",
    "DEBUG REPLYBUFFER PEAK-RESET-TIME $n",
    "DEBUG PROTOCOL attrib",
    "DEBUG PROTOCOL push",
    "DEBUG LOG hostile",
    "DEBUG ERROR hostile",
    "LOLWUT VERSION 5 9 9 9",
];

/// Holds up all clients for a moment. Sent seldom, because all such times add up.
pub const PAUSES: &[&str] = &["CLIENT PAUSE $ms", "CLIENT PAUSE $ms WRITE", "DEBUG SLEEP 0.02"];

/// Settings that a run may change, each with its values. Packed encodings stay small, because a
/// large one makes each command slow, also in the reference.
pub const SETTINGS: &[(&str, &[&str])] = &[
    ("maxmemory", &["0", "0", "200mb", "50mb"]),
    ("maxmemory-policy", &["noeviction", "allkeys-lru", "allkeys-random", "volatile-ttl"]),
    ("maxmemory-policy", &["allkeys-lfu", "volatile-lru", "volatile-lfu", "volatile-random"]),
    ("maxmemory-samples", &["1", "5", "20"]),
    ("maxmemory-clients", &["0", "0", "20mb", "5%"]),
    ("list-max-listpack-size", &["-2", "4", "-1", "128"]),
    ("list-compress-depth", &["0", "1"]),
    ("hash-max-listpack-entries", &["512", "4", "2000"]),
    ("set-max-listpack-entries", &["128", "4", "1000"]),
    ("set-max-intset-entries", &["512", "0", "2000"]),
    ("zset-max-listpack-entries", &["128", "0", "2000"]),
    ("stream-node-max-entries", &["100", "1", "0"]),
    ("lazyfree-lazy-expire", &["yes", "no"]),
    ("lazyfree-lazy-eviction", &["yes", "no"]),
    ("lazyfree-lazy-server-del", &["yes", "no"]),
    ("lazyfree-lazy-user-del", &["yes", "no"]),
    ("lazyfree-lazy-user-flush", &["yes", "no"]),
    ("notify-keyspace-events", &["", "KEA", "Kxe"]),
    ("slowlog-log-slower-than", &["0", "10000", "-1"]),
    ("slowlog-max-len", &["0", "128", "1000"]),
    ("commandlog-request-larger-than", &["100", "1048576"]),
    ("commandlog-reply-larger-than", &["100", "1048576"]),
    ("latency-monitor-threshold", &["0", "1"]),
    ("latency-tracking", &["yes", "no"]),
    ("client-output-buffer-limit", &["pubsub 1mb 0 0", "pubsub 32mb 8mb 60"]),
    ("client-output-buffer-limit", &["normal 0 0 0", "normal 2mb 1mb 1", "normal 32mb 0 0"]),
    ("client-query-buffer-limit", &["1gb", "1mb", "16mb"]),
    ("proto-max-bulk-len", &["512mb", "1mb"]),
    ("timeout", &["0", "1", "100"]),
    ("hz", &["1", "10", "500"]),
    ("active-expire-effort", &["1", "10"]),
    ("repl-backlog-size", &["16kb", "1mb", "10mb"]),
    ("min-replicas-to-write", &["0", "0", "0", "1"]),
    ("maxclients", &["10000", "200"]),
    ("tcp-keepalive", &["300", "0"]),
    ("activerehashing", &["yes", "no"]),
    ("rdbcompression", &["yes", "no"]),
    ("latency-profile-interval", &["64", "1", "0"]),
];

/// What the end of a run sets again, so that the server rests and follows its primary's rules.
pub const RESTORING: &[&[&str]] = &[
    &["CLIENT", "UNPAUSE"],
    &["CONFIG", "SET", "maxmemory", "0", "maxmemory-clients", "0", "timeout", "0"],
    &["CONFIG", "SET", "maxmemory-policy", "noeviction", "min-replicas-to-write", "0"],
    &["CONFIG", "SET", "repl-backlog-size", "1mb", "maxclients", "10000", "hz", "10"],
    &["CONFIG", "SET", "slowlog-max-len", "128", "slowlog-log-slower-than", "10000"],
    &["CONFIG", "SET", "commandlog-request-larger-than", "1048576"],
    &["CONFIG", "SET", "commandlog-reply-larger-than", "1048576"],
    &["CONFIG", "SET", "client-query-buffer-limit", "1gb", "proto-max-bulk-len", "512mb"],
    &["CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0"],
    &["DEBUG", "SET-ACTIVE-EXPIRE", "1"],
    &["DEBUG", "QUICKLIST-PACKED-THRESHOLD", "0"],
    &["DEBUG", "CLIENT-ENFORCE-REPLY-LIST", "0"],
    &["DEBUG", "DICT-RESIZING", "1"],
    &["SLOWLOG", "RESET"],
    &["LATENCY", "RESET"],
    // Frees the histograms of commands, some 20 KiB for each command that a shard has run.
    &["CONFIG", "RESETSTAT"],
];

/// Cards that are never called with random arguments: they would end the server, hold it up for
/// an unknown time, take its keys' expiry away, or change what the replica cannot know.
pub const SPARED: &[&str] = &[
    "shutdown",
    "debug",
    "client|pause",
    "client|import-source",
    "config|set",
    "config|rewrite",
    "psync",
    "sync",
    "replconf",
    "monitor",
    "client|reply",
    "client|kill",
    "quit",
    "wait",
];

/// Bytes that are no commands, or not whole ones.
pub const GARBAGE: &[&[u8]] = &[
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100\r\nhalf",
    b"*2\r\n$3\r\nGET\r\n$-5\r\n",
    b"*1000000\r\n$3\r\nDEL\r\n$1\r\na\r\n",
    b"*2147483647\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$400000000\r\nhalf",
    b"*1\r\n$4\r\nPING\r\n*1\r\n:4\r\n",
    b"SET inline 'unbalanced\r\n",
    b"PING\r\nGET a\r\nMULTI\r\nGET b\r\n",
    b"\x00\x01\x02\xff\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"*-1\r\n*0\r\n\r\n\r\nPING\r\n",
    b"MONITOR\r\nMULTI\r\nMONITOR\r\nEXEC\r\n",
    b"CLIENT REPLY OFF\r\nDEBUG PROTOCOL map\r\nCLIENT REPLY ON\r\n",
    b"CLIENT REPLY SKIP\r\nBLPOP nothing 0.01\r\nPING\r\n",
    b"SYNC\r\n",
    b"REPLCONF listening-port 1\r\nREPLCONF capa eof\r\nPSYNC ? -1\r\n",
    b"REPLCONF ACK 100\r\nREPLCONF GETACK *\r\nREPLCONF ACK 0 FACK 0\r\n",
    b"MULTI\r\nBLPOP a 0\r\nWAIT 1 0\r\nEXEC\r\n",
    b"QUIT\r\nSET after quit\r\n",
    b"RESET\r\nHELLO 3\r\nHELLO 2\r\nHELLO 3 AUTH default x\r\n",
];
