//! DEBUG REPLYBUFFER, CLIENT-ENFORCE-REPLY-LIST and FORCE-TLS-WRITE-ERROR: output buffers of
//! connections.

use super::leading_number;
use crate::base::number::parse_i64;
use crate::config::FollowUp;
use crate::exec::{REPLY_BUFFER_IDLE_MS, Request, SessionContext};
use crate::resp::Error;
use std::sync::atomic::Ordering;

pub(super) fn set_reply_buffer(
    cx: &mut SessionContext<'_>,
    what: &[u8],
    value: &[u8],
) -> Result<(), Error> {
    let buffers = &cx.process.reply_buffers;
    match &what.to_ascii_lowercase()[..] {
        b"peak-reset-time" => {
            let idle_ms = match &value.to_ascii_lowercase()[..] {
                b"never" => u64::MAX,
                b"reset" => REPLY_BUFFER_IDLE_MS,
                // A negative time becomes a huge one, which never passes.
                _ => parse_i64(value).ok_or(Error::NotInteger)? as u64,
            };
            buffers.idle_ms.store(idle_ms, Ordering::Relaxed);
        }
        b"resizing" => buffers.are_kept.store(leading_number(value) == 0, Ordering::Relaxed),
        _ => return Err(Error::unknown_subcommand(b"debug", b"replybuffer")),
    }
    cx.reply.ok();
    Ok(())
}

/// Sets whether output buffer limits count all replies. The reference has a buffer that its limits
/// do not count.
pub(super) fn limit_all_replies(cx: &mut SessionContext<'_>, arg: &[u8]) {
    cx.process.reply_buffers.are_limited.store(leading_number(arg) != 0, Ordering::Relaxed);
    have_shards_settle(cx);
}

/// Sets whether connections by TLS keep their output, as if their peers did not read.
pub(super) fn hold_tls_output(cx: &mut SessionContext<'_>, arg: &[u8]) -> Result<(), Error> {
    let number = parse_i64(arg).ok_or(Error::NotInteger)?;
    if !(0..=1).contains(&number) {
        return Err(Error::other("ERR Value must be 0 or 1"));
    }
    cx.process.reply_buffers.is_tls_held.store(number == 1, Ordering::Relaxed);
    have_shards_settle(cx);
    Ok(())
}

fn have_shards_settle(cx: &mut SessionContext<'_>) {
    let follow_up = FollowUp { shards_settle: true, ..FollowUp::default() };
    cx.request = Some(Request::SettingsChanged(follow_up));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::session_testing::SessionBench;

    #[test]
    fn times_and_switches() {
        let mut bench = SessionBench::with(|config| {
            config.enable_debug_command = crate::config::Permission::Yes;
        });
        for (line, idle_ms, are_kept) in [
            ("DEBUG REPLYBUFFER peak-reset-time 100 => OK", 100, false),
            ("DEBUG REPLYBUFFER RESIZING 0 => OK", 100, true),
            ("DEBUG REPLYBUFFER PEAK-RESET-TIME never => OK", u64::MAX, true),
            ("DEBUG REPLYBUFFER RESIZING 1 => OK", u64::MAX, false),
            ("DEBUG REPLYBUFFER PEAK-RESET-TIME Reset => OK", REPLY_BUFFER_IDLE_MS, false),
        ] {
            bench.check_script(line);
            let buffers = &bench.process.reply_buffers;
            assert_eq!(buffers.idle_ms.load(Ordering::Relaxed), idle_ms, "{line}");
            assert_eq!(buffers.are_kept.load(Ordering::Relaxed), are_kept, "{line}");
        }
    }
}
