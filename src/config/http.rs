//! Settings of the HTTP port for metrics and the status page. Specific to Annulet.

use super::card::{Kind, Setting, field};
use super::network::read_bind;

/// The cards of these settings.
pub(super) static SETTINGS: &[Setting] = &[
    Setting::new("http-port", Kind::Int(0, 65_535), "0", field!(http_port)).own(),
    Setting::new("http-bind", Kind::Words(read_bind), "127.0.0.1 -::1", field!(http_bind)).own(),
];
