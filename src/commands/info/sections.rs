//! The sections of INFO about the process: its version, its clients, its memory, its persistence,
//! its use of the CPU.
//!
//! Some features do not exist in this server (modules, forks). Fields about them that clients
//! expect have the value 0 or none.

use super::View;
use super::text::{Human, Text};
use crate::base::system;
use crate::cluster::Viewer;
use crate::commands::cluster::info_fields;
use crate::commands::connection::{REDIS_VERSION, VALKEY_VERSION};
use crate::commands::footprint::{ALLOCATOR, Footprint, ScriptBytes, percent};
use crate::config::{Config, VERSION};
use crate::exec::{AofMode, Pause};
use crate::pubsub::Count;
use std::sync::OnceLock;

/// The bits of a key's access clock.
const ACCESS_CLOCK_MASK: u64 = 0xff_ffff;

/// Percentage of a core that a compaction takes at most.
const COMPACTION_PERCENT: u32 = 33;

/// Seconds per day.
const DAY_S: u64 = 86_400;

pub(super) fn server(view: &View<'_>, text: &mut Text) {
    static SYSTEM: OnceLock<String> = OnceLock::new();
    let process = view.process;
    let config = process.config.snapshot();
    let uptime_s = (view.now_us / 1_000_000).saturating_sub(process.started_s);
    let mode = if config.extended_redis_compatibility { "redis_mode" } else { "server_mode" };
    let zone = config.text("availability-zone").unwrap_or_default();
    text.field("redis_version", REDIS_VERSION);
    text.field("server_name", "valkey");
    text.field("valkey_version", VALKEY_VERSION);
    text.field("valkey_release_stage", "ga");
    // The value for a build without a commit id.
    text.field("redis_git_sha1", "00000000");
    text.field("redis_git_dirty", 0);
    text.field("redis_build_id", build_id());
    text.field("annulet_version", VERSION);
    text.field(mode, if process.is_cluster { "cluster" } else { "standalone" });
    text.field("os", SYSTEM.get_or_init(system::system_name));
    text.field("arch_bits", usize::BITS);
    text.field("monotonic_clock", "POSIX clock_gettime");
    text.field("multiplexing_api", process.driver_name.get().unwrap_or(&"none"));
    text.field("process_id", std::process::id());
    text.field("process_supervised", process.supervised.get().unwrap_or(&"no"));
    text.field("run_id", &process.run_id);
    text.field("tcp_port", config.shown_port());
    text.field("server_time_usec", view.now_us);
    text.field("uptime_in_seconds", uptime_s);
    text.field("uptime_in_days", uptime_s / DAY_S);
    text.field("hz", config.hz);
    text.field("configured_hz", config.hz);
    text.field("clients_hz", config.hz);
    text.field("lru_clock", (view.now_us / 1_000_000) & ACCESS_CLOCK_MASK);
    text.field("executable", &process.paths[0]);
    text.field("config_file", &process.paths[1]);
    text.field("io_threads_active", 0);
    text.field("availability_zone", String::from_utf8_lossy(&zone));
    listeners(&config, text);
}

/// Returns an id derived from the version. Builds of the same version have the same id.
fn build_id() -> String {
    let hash = VERSION.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// Writes the listeners. As in the reference, the number of a listener is the number of its kind.
fn listeners(config: &Config, text: &mut Text) {
    let binds: String = config.bind.iter().map(|address| format!("bind={address},")).collect();
    if config.port != 0 {
        text.field("listener0", format_args!("name=tcp,{binds}port={}", config.port));
    }
    if let Some(path) = &config.unixsocket {
        text.field("listener1", format_args!("name=unix,bind={}", path.display()));
    }
    if config.tls_port != 0 {
        text.field("listener2", format_args!("name=tls,{binds}port={}", config.tls_port));
    }
}

pub(super) fn tls(view: &View<'_>, text: &mut Text) {
    let context = view.process.tls.context();
    let context = context.as_deref();
    let now_s = (view.now_us / 1_000_000) as i64;
    for (name, shown) in [
        ("server", context.and_then(|it| it.server_shown.as_ref())),
        ("client", context.and_then(|it| it.client_shown.as_ref())),
        ("ca", context.and_then(|it| it.ca_shown.as_ref())),
    ] {
        let serial = shown.map_or("none", |shown| &shown.serial);
        text.field(&format!("tls_{name}_cert_serial"), serial);
        let left_s = shown.map_or(0, |shown| (shown.ends_s - now_s).max(0));
        text.field(&format!("tls_{name}_cert_expires_in_seconds"), left_s);
    }
}

pub(super) fn clients(view: &View<'_>, text: &mut Text) {
    let gauges = view.process.boards.gauges();
    let replicas = view.process.replication().replicas.len() as i64;
    text.field("connected_clients", (gauges.clients - replicas).max(0));
    text.field("cluster_connections", 0);
    text.field("maxclients", view.process.config.snapshot().maxclients);
    let [input_bytes, output_bytes] = view.process.boards.recent_client_peaks();
    text.field("client_recent_max_input_buffer", input_bytes);
    text.field("client_recent_max_output_buffer", output_bytes);
    text.field("blocked_clients", gauges.clients_blocked);
    text.field("tracking_clients", view.process.trackers.clients());
    text.field("pubsub_clients", view.process.pubsub.count(Count::Clients));
    text.field("watching_clients", gauges.clients_watching);
    text.field("clients_in_timeout_table", gauges.clients_in_timeout);
    text.field("total_watched_keys", gauges.keys_watched);
    text.field("total_blocking_keys", gauges.keys_awaited);
    text.field("total_blocking_keys_on_nokey", gauges.keys_awaited_gone);
    let now_ms = view.now_us / 1_000;
    let pause = view.process.paused(now_ms);
    text.field("paused_reason", pause.map_or("none", |_| "client_pause"));
    let actions = |pause: Pause| if pause.is_all { "all" } else { "write" };
    text.field("paused_actions", pause.map_or("none", actions));
    let left_ms = pause.map_or(0, |pause| pause.until_ms - now_ms);
    text.field("paused_timeout_milliseconds", left_ms);
}

pub(super) fn memory(view: &View<'_>, text: &mut Text) {
    let process = view.process;
    let config = process.config.snapshot();
    let at = Footprint::now(process);
    let (used, resident) = (at.used, at.resident);
    text.bytes("used_memory", used);
    text.bytes("used_memory_rss", resident);
    text.bytes("used_memory_peak", at.used_peak);
    text.field("used_memory_peak_perc", format_args!("{:.2}%", percent(used, at.used_peak)));
    text.field("used_memory_overhead", at.overhead());
    text.field("used_memory_startup", at.at_start);
    text.field("used_memory_dataset", at.dataset());
    text.field("used_memory_dataset_perc", format_args!("{:.2}%", at.dataset_percent()));
    text.field("allocator_allocated", used);
    text.field("allocator_active", at.committed);
    text.field("allocator_resident", resident);
    text.field("allocator_muzzy", 0);
    text.bytes("total_system_memory", system::memory_bytes());
    scripting(view, text);
    text.bytes("maxmemory", config.maxmemory);
    text.field("maxmemory_policy", config.maxmemory_policy.word());
    text.ratio("allocator_frag", at.committed, used);
    text.ratio("allocator_rss", resident, at.committed);
    text.ratio("rss_overhead", resident, resident);
    text.field("mem_fragmentation_ratio", format_args!("{:.2}", percent(resident, used) / 100.0));
    text.field("mem_fragmentation_bytes", resident as i64 - used as i64);
    text.field("mem_not_counted_for_evict", process.room.uncounted_bytes());
    text.field("mem_replication_backlog", at.backlog);
    text.field("mem_total_replication_buffers", at.backlog + at.replica_clients);
    text.field("mem_replicas_repl_buffer", 0);
    text.field("mem_clients_slaves", at.replica_clients);
    text.field("mem_clients_normal", at.clients);
    text.field("mem_aof_buffer", at.aof_buffer);
    text.field("mem_allocator", ALLOCATOR);
    text.field("mem_overhead_db_hashtable_rehashing", 0);
    let is_compacting = process.boards.gauges().compacting > 0;
    text.field("active_defrag_running", if is_compacting { COMPACTION_PERCENT } else { 0 });
    text.field("lazyfree_pending_objects", process.boards.gauges().unfreed_values);
    text.field("lazyfreed_objects", process.boards.totals().freed_values);
}

/// The fields of the append-only file.
fn append_only(view: &View<'_>, text: &mut Text) {
    let aof = *view.process.aof.facts();
    let is_on = aof.mode != AofMode::Off;
    text.field("aof_enabled", u8::from(is_on));
    let is_rewriting = view.process.aof.is_rewriting() || aof.rewrites.is_promised;
    text.field("aof_rewrite_in_progress", u8::from(is_rewriting));
    // The first rewrite of a new file begins when the last file has ended.
    let is_awaited = aof.is_ending && view.process.config.snapshot().appendonly;
    text.field("aof_rewrite_scheduled", u8::from(aof.rewrites.is_scheduled || is_awaited));
    let seconds = |s: Option<u64>| s.map_or(-1, |s| s as i64);
    text.field("aof_last_rewrite_time_sec", seconds(aof.rewrites.took_s));
    let since_s = (view.now_us / 1_000_000).saturating_sub(aof.rewrites.started_s);
    text.field("aof_current_rewrite_time_sec", seconds(is_rewriting.then_some(since_s)));
    let status = if aof.rewrites.has_failed { "err" } else { "ok" };
    text.field("aof_last_bgrewrite_status", status);
    text.field("aof_rewrites", aof.rewrites.begun);
    text.field("aof_rewrites_consecutive_failures", aof.rewrites.failures);
    let has_failed = view.process.aof.failure().is_some();
    text.field("aof_last_write_status", if has_failed { "err" } else { "ok" });
    text.field("aof_last_cow_size", 0);
    if is_on {
        text.field("aof_current_size", aof.current_size);
        text.field("aof_base_size", aof.base_size);
        text.field("aof_pending_rewrite", u8::from(aof.rewrites.is_scheduled));
        text.field("aof_buffer_length", aof.unwritten);
        text.field("aof_pending_bio_fsync", aof.syncs);
        text.field("aof_delayed_fsync", aof.delayed);
        text.field("aof_paused_writes", aof.pauses);
    }
}

pub(super) fn persistence(view: &View<'_>, text: &mut Text) {
    // Includes changes before a reset of the statistics: they are still unsaved.
    let changes: u64 = view.process.boards.iter().map(|board| board.counters.changes.get()).sum();
    let facts = view.process.persistence();
    text.field("loading", u8::from(view.process.is_loading()));
    text.field("async_loading", 0);
    for name in ["current_cow_peak", "current_cow_size", "current_cow_size_age"] {
        text.field(name, 0);
    }
    let under_way = facts.background.as_ref().or(facts.under_way.as_ref());
    let [keys, all_keys] = under_way.map_or([0, 0], |it| [it.progress.keys(), it.keys]);
    text.field("current_fork_perc", format_args!("{:.2}", percent(keys, all_keys)));
    text.field("current_save_keys_processed", keys);
    text.field("current_save_keys_total", all_keys);
    // After FLUSHALL the file is written at once, unless there are no save points.
    let is_flushed = facts.is_flush_unsaved || facts.flushes_seen != view.process.boards.flushes();
    let is_flushed = is_flushed && !view.process.config.snapshot().save.is_empty();
    let changes = if is_flushed { 0 } else { changes.saturating_sub(facts.saved_changes) };
    text.field("rdb_changes_since_last_save", changes);
    text.field("rdb_bgsave_in_progress", u8::from(facts.background.is_some()));
    text.field("rdb_last_save_time", facts.saved_s);
    text.field("rdb_last_bgsave_status", if facts.has_save_failed { "err" } else { "ok" });
    let now_s = view.now_us / 1_000_000;
    let current_s = facts.background.as_ref().map(|it| now_s.saturating_sub(it.started_s));
    let seconds = |seconds: Option<u64>| seconds.map_or(-1, |seconds| seconds as i64);
    text.field("rdb_last_bgsave_time_sec", seconds(facts.save_took_s));
    text.field("rdb_current_bgsave_time_sec", seconds(current_s));
    text.field("rdb_saves", facts.saves);
    // There is no copy on write: the memory of the keys on their way to the file.
    text.field("rdb_last_cow_size", facts.save_peak_bytes);
    text.field("rdb_last_load_keys_expired", facts.expired_keys);
    text.field("rdb_last_load_keys_loaded", facts.loaded_keys);
    append_only(view, text);
    if let Some(loading) = facts.loading {
        let (total, read) = (loading.total_bytes, loading.read_bytes);
        let elapsed_s = (view.now_us / 1_000_000).saturating_sub(loading.started_s);
        let eta_s = match read {
            0 => 1,
            read => (elapsed_s as f64 * total.saturating_sub(read) as f64 / read as f64) as u64,
        };
        text.field("loading_start_time", loading.started_s);
        text.field("loading_total_bytes", total);
        text.field("loading_rdb_used_mem", loading.used_memory_bytes);
        text.field("loading_loaded_bytes", read);
        text.field("loading_loaded_perc", format_args!("{:.2}", percent(read, total)));
        text.field("loading_eta_seconds", eta_s);
    }
}

pub(super) fn cpu(view: &View<'_>, text: &mut Text) {
    let (own, children) = system::cpu_times();
    let times = [
        ("used_cpu_sys", own.system_us),
        ("used_cpu_user", own.user_us),
        ("used_cpu_sys_children", children.system_us),
        ("used_cpu_user_children", children.user_us),
    ];
    for (name, us) in times {
        text.field(name, format_args!("{}.{:06}", us / 1_000_000, us % 1_000_000));
    }
    // There is no main thread; this is the sum over all shards.
    let us = view.process.boards.iter().map(|board| board.counters.cycle_ns_sum.get()).sum::<u64>();
    let us = us / 1_000;
    let text_of_us = format_args!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    text.field("used_active_time_main_thread", text_of_us);
}

/// Writes nothing: there are no modules.
pub(super) fn modules(_view: &View<'_>, _text: &mut Text) {}

fn scripting(view: &View<'_>, text: &mut Text) {
    let at = ScriptBytes::now(view.process);
    let (libraries, functions) = view.process.functions.libraries().counts();
    text.field("used_memory_lua", at.eval_vm);
    text.field("used_memory_vm_eval", at.eval_vm);
    text.field("used_memory_lua_human", Human(at.eval_vm));
    text.field("used_memory_scripts_eval", at.scripts);
    text.field("number_of_cached_scripts", view.process.scripts.len());
    text.field("number_of_functions", functions);
    text.field("number_of_libraries", libraries);
    text.field("used_memory_vm_functions", at.functions_vm);
    text.bytes("used_memory_vm_total", at.vm());
    text.field("used_memory_functions", at.functions);
    text.bytes("used_memory_scripts", at.scripts + at.functions);
}

/// Writes the engines that run scripts.
pub(super) fn engines(view: &View<'_>, text: &mut Text) {
    let at = ScriptBytes::now(view.process);
    text.field("engines_count", 1);
    text.field("engines_total_used_memory", at.vm());
    text.field("engines_total_memory_overhead", 0);
    let used = at.vm();
    text.line(format_args!(
        "engine_0:name=LUA,module=lua,abi_version=4,used_memory={used},memory_overhead=0"
    ));
}

pub(super) fn cluster(view: &View<'_>, text: &mut Text) {
    text.field("cluster_enabled", u8::from(view.process.is_cluster));
    text.field("slot_map_epoch", view.process.slot_map.epoch());
    text.field("slots_moved", view.process.slot_moves.moved());
}

/// Writes the fields of CLUSTER INFO.
pub(super) fn cluster_info(view: &View<'_>, text: &mut Text) {
    let process = view.process;
    let Some(cluster) = process.cluster.get().filter(|_| process.is_cluster) else { return };
    let (config, map) = (process.config.snapshot(), process.slot_map.snapshot());
    let (config, map) = (&*config, &*map);
    let viewer = Viewer { config, local_address: "", is_tls: false, map, shard: None };
    let nodes = cluster.nodes();
    for (name, value) in info_fields(&nodes, &viewer.all(&nodes), config) {
        text.field(name, value);
    }
}
