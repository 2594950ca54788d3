//! Client-side caching. Invalidations by prefixes are left to a connection of their own, because
//! their order and number depend on the server's event loop.

use super::Part::{Either, Some, Word};
use super::{Check, Command, exact};

pub const FAMILY: &[Command] = &[
    exact(
        "CLIENT TRACKING",
        &[Either(&[
            &[Word("ON")],
            &[Word("ON"), Some(&[&[Word("NOLOOP")], &[Word("OPTIN")], &[Word("OPTOUT")]])],
            &[Word("ON"), Some(&[&[Word("NOLOOP")], &[Word("OPTIN")], &[Word("OPTOUT")]])],
            &[Word("OFF")],
        ])],
    ),
    exact("CLIENT CACHING", &[Either(&[&[Word("YES")], &[Word("NO")]])]).weighs(15),
    exact("CLIENT TRACKINGINFO", &[]).weighs(3).compared(Check::Kind),
    exact("CLIENT GETREDIR", &[]).weighs(3).compared(Check::Kind),
];
