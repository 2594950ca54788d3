//! Settings of the listening sockets.

use super::card::{Kind, OnChange, Setting, Value, any_text, field};

/// Largest number of addresses in `bind`.
pub const BIND_ADDRESSES_MAX: usize = 16;

/// The cards of these settings.
pub(super) static SETTINGS: &[Setting] = &[
    Setting::new("port", Kind::Int(0, 65_535), "6379", field!(port))
        .on_change(OnChange::Listen("Unable to listen on this port. Check server logs.")),
    Setting::new("bind", Kind::Words(read_bind), "* -::*", field!(bind))
        .on_change(OnChange::Listen("Failed to bind to specified addresses.")),
    Setting::new("unixsocket", Kind::Text(any_text), "", field!(unixsocket)).immutable(),
    Setting::new("unixsocketperm", Kind::Octal(0, 0o777), "0", field!(unixsocketperm)).immutable(),
    Setting::new("unixsocketgroup", Kind::Text(any_text), "", field!(unixsocketgroup)).immutable(),
    Setting::new("tcp-backlog", Kind::Int(0, i32::MAX as i128), "511", field!(tcp_backlog))
        .immutable(),
    Setting::new("tcp-keepalive", Kind::Int(0, i32::MAX as i128), "300", field!(tcp_keepalive)),
    Setting::new("protected-mode", Kind::Bool, "yes", field!(protected_mode)),
];

/// Parses addresses; one empty argument means none.
pub(super) fn read_bind(args: &[&[u8]], _: &Value) -> Result<Value, String> {
    if args.len() > BIND_ADDRESSES_MAX {
        return Err("Too many bind addresses specified.".to_owned());
    }
    if let [b""] = args {
        return Ok(Value::Words(Vec::new()));
    }
    Ok(Value::Words(args.iter().map(|word| word.to_vec()).collect()))
}
