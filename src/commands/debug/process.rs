//! DEBUG of the process: its log, its files, its periodic work, its config file, and ways to crash
//! it.

use super::leading_number;
use crate::base::crash;
use crate::commands::config::rewrite_settings;
use crate::exec::SessionContext;
use crate::resp::{Args, Error};
use std::sync::atomic::Ordering;

/// Runs the subcommand `name`. Returns false if it is not one of the subcommands here.
pub(super) fn debug_process(
    cx: &mut SessionContext<'_>,
    name: &[u8],
    args: &Args<'_>,
) -> Result<bool, Error> {
    match (name, args.get(2), args.len()) {
        (b"assert", _, _) => panic!("DEBUG ASSERT was called"),
        (b"panic", _, _) => panic!("DEBUG PANIC was called"),
        (b"segfault", _, _) => crash::fault(),
        (b"aof-flush-sleep", Some(arg), 3) => {
            let delay_us = u32::try_from(leading_number(arg)).unwrap_or(0);
            cx.process.aof.set_write_delay(delay_us);
        }
        (b"config-rewrite-force-all", None, _) => rewrite_settings(cx.process, true)?,
        (b"log", Some(arg), 3) => {
            cx.process.log.warning(&format!("DEBUG LOG: {}", String::from_utf8_lossy(arg)));
        }
        (b"pause-cron", Some(arg), 3) => {
            cx.process.is_cron_paused.store(leading_number(arg) != 0, Ordering::Relaxed);
        }
        _ => return Ok(false),
    }
    cx.reply.ok();
    Ok(true)
}
