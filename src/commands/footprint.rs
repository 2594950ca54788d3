//! The use of memory by purpose, for INFO and MEMORY.

use crate::base::alloc;
use crate::exec::{AofMode, Process};
use crate::keyspace::{ENTRY_HEADER_BYTES, EXPIRY_BYTES};

/// The name of the allocator in INFO.
pub(super) const ALLOCATOR: &str = "mimalloc-0.1.52";

/// Numbers of bytes by purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Footprint {
    /// Handed out by the allocator.
    pub(super) used: u64,
    /// The maximum of `used` since the start.
    pub(super) used_peak: u64,
    /// In use at the start, before there was data.
    pub(super) at_start: u64,
    /// Physical memory of the process.
    pub(super) resident: u64,
    /// Committed by the allocator, in use or not.
    pub(super) committed: u64,
    /// The replication backlog.
    pub(super) backlog: u64,
    /// The part of the stream that only the append-only file still needs.
    pub(super) aof_buffer: u64,
    /// Clients other than replicas.
    pub(super) clients: u64,
    /// Replicas, with the part of the stream that only they still need.
    pub(super) replica_clients: u64,
    /// Scripts.
    pub(super) scripts: ScriptBytes,
    /// The tables of all databases.
    pub(super) tables: u64,
    /// The parts of entries that are neither key nor value, in all databases.
    pub(super) headers: u64,
    /// Keys in all databases.
    pub(super) keys: u64,
}

/// Memory of the Lua states, and of the texts of scripts and functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ScriptBytes {
    /// The Lua states for scripts.
    pub(super) eval_vm: u64,
    /// The Lua states for functions.
    pub(super) functions_vm: u64,
    /// The texts of scripts.
    pub(super) scripts: u64,
    /// The texts of libraries.
    pub(super) functions: u64,
}

impl ScriptBytes {
    /// Returns the numbers of this moment.
    pub(super) fn now(process: &Process) -> ScriptBytes {
        let gauges = process.boards.gauges();
        ScriptBytes {
            eval_vm: gauges.eval_vm_bytes as u64,
            functions_vm: gauges.functions_vm_bytes as u64,
            scripts: process.scripts.bytes() as u64,
            functions: process.functions.libraries().bytes() as u64,
        }
    }

    /// Returns the bytes of all Lua states.
    pub(super) fn vm(&self) -> u64 {
        self.eval_vm + self.functions_vm
    }

    /// Returns the bytes of scripts that are not part of the memory at the start.
    fn added(&self) -> u64 {
        self.scripts + self.functions
    }
}

/// Bytes of one database that are not data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DatabaseOverhead {
    /// The tables, and the headers of entries.
    pub(super) main: u64,
    /// The expiries of entries.
    pub(super) expires: u64,
    /// The tables.
    tables: u64,
    /// Number of keys.
    keys: u64,
}

impl DatabaseOverhead {
    /// Returns the numbers of a database.
    pub(super) fn now(process: &Process, db: usize) -> DatabaseOverhead {
        let [keys, volatile, _] = process.boards.database(db);
        let tables = process.boards.table_bytes(db);
        let main = tables + keys * ENTRY_HEADER_BYTES as u64;
        DatabaseOverhead { main, expires: volatile * EXPIRY_BYTES as u64, tables, keys }
    }

    /// Returns whether the database has or had keys.
    pub(super) fn is_used(&self) -> bool {
        self.main > 0
    }
}

impl Footprint {
    /// Returns the numbers of this moment.
    pub(super) fn now(process: &Process) -> Footprint {
        let used = alloc::used_bytes();
        // If the sample fails, the numbers of the last sample are used.
        let _ = process.memory.sample(used);
        let resident = process.memory.resident_bytes();
        let backlog_max = process.config.snapshot().repl_backlog_size;
        let [backlog, kept] = process.replication().stream(backlog_max);
        let aof = *process.aof.facts();
        let aof_buffer = if aof.mode == AofMode::Off { 0 } else { aof.unwritten.min(kept) };
        let replica_clients = process.boards.gauges().replica_client_bytes.max(0) as u64;
        let databases = (0..process.databases).map(|db| DatabaseOverhead::now(process, db));
        let sum = databases.fold(DatabaseOverhead::default(), |sum, one| DatabaseOverhead {
            main: sum.main + one.main,
            expires: sum.expires + one.expires,
            tables: sum.tables + one.tables,
            keys: sum.keys + one.keys,
        });
        Footprint {
            used,
            used_peak: process.memory.used_peak_bytes(),
            at_start: process.memory.start_bytes().min(used),
            resident,
            // Memory that the allocator has reserved but never touched is not counted.
            committed: alloc::committed_bytes().clamp(used, resident.max(used)),
            backlog,
            aof_buffer,
            clients: process.boards.normal_client_bytes(),
            replica_clients: replica_clients + kept - aof_buffer,
            scripts: ScriptBytes::now(process),
            tables: sum.tables,
            headers: sum.main + sum.expires - sum.tables,
            keys: sum.keys,
        }
    }

    /// Returns the number of bytes that are not data.
    pub(super) fn overhead(&self) -> u64 {
        let buffers = self.backlog + self.aof_buffer + self.clients + self.replica_clients;
        let keyspace = self.tables + self.headers;
        (self.at_start + buffers + self.scripts.added() + keyspace).min(self.used)
    }

    /// Returns the number of bytes that are data.
    pub(super) fn dataset(&self) -> u64 {
        self.used - self.overhead()
    }

    /// Returns the percentage of data in the memory allocated since the start.
    pub(super) fn dataset_percent(&self) -> f64 {
        percent(self.dataset(), self.used - self.at_start)
    }
}

/// Returns `part` as a percentage of `whole`, or 0 if `whole` is 0.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}
