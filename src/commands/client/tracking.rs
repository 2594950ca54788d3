//! CLIENT TRACKING and its companions: the client keeps copies of values, and the server tells it
//! when they change.

use crate::base::number::parse_i64;
use crate::exec::{Command, Request, SessionContext, Tracking, TrackingMode};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group};
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) static TRACKING: Command = Command::session(
    tracking,
    Card::new("tracking", Group::Connection, "6.0.0")
        .summary("Controls server-assisted client-side caching for the connection.")
        .complexity("O(1). Some options may introduce additional complexity.")
        .arity(-3)
        .flags(Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE))
        .args(&[
            Arg::choice("status", &["ON", "OFF"]),
            Arg::integer("client-id").after("REDIRECT").optional(),
            Arg::string("prefix").after("PREFIX").optional().repeated_with_keyword(),
            Arg::keyword("BCAST").optional(),
            Arg::keyword("OPTIN").optional(),
            Arg::keyword("OPTOUT").optional(),
            Arg::keyword("NOLOOP").optional(),
        ]),
)
.behind_commands();

fn tracking(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let options = Options::read(cx, args)?;
    let old = cx.session.tracking.as_deref();
    let new = match &args[2].to_ascii_lowercase()[..] {
        b"on" => Some(options.apply(old)?),
        b"off" => None,
        _ => return Err(Error::Syntax),
    };
    cx.session.tracking = new.map(Box::new);
    cx.request = Some(Request::Tracking);
    cx.reply.ok();
    Ok(())
}

/// Options of CLIENT TRACKING.
#[derive(Default)]
struct Options {
    redirect: u64,
    broadcasts: bool,
    opts_in: bool,
    opts_out: bool,
    is_noloop: bool,
    prefixes: Vec<Arc<[u8]>>,
}

impl Options {
    fn read(cx: &SessionContext<'_>, args: &Args<'_>) -> Result<Options, Error> {
        let mut options = Options::default();
        let mut at = 3;
        while at < args.len() {
            let value = args.get(at + 1);
            match (&args[at].to_ascii_lowercase()[..], value) {
                (b"redirect", Some(value)) => {
                    if options.redirect != 0 {
                        let why = "ERR A client can only redirect to a single other client";
                        return Err(Error::other(why));
                    }
                    let id = parse_i64(value).ok_or(Error::NotInteger)?;
                    let id = u64::try_from(id)
                        .ok()
                        .filter(|id| cx.process.client_homes.find(*id).is_some());
                    options.redirect = id.ok_or_else(|| {
                        Error::other("ERR The client ID you want redirect to does not exist")
                    })?;
                    at += 1;
                }
                (b"prefix", Some(value)) => {
                    options.prefixes.push(value.into());
                    at += 1;
                }
                (b"bcast", _) => options.broadcasts = true,
                (b"optin", _) => options.opts_in = true,
                (b"optout", _) => options.opts_out = true,
                (b"noloop", _) => options.is_noloop = true,
                _ => return Err(Error::Syntax),
            }
            at += 1;
        }
        Ok(options)
    }

    /// Returns the tracking with these options, which replaces the old one.
    fn apply(&self, old: Option<&Tracking>) -> Result<Tracking, Error> {
        if !self.broadcasts && !self.prefixes.is_empty() {
            return Err(Error::other("ERR PREFIX option requires BCAST mode to be enabled"));
        }
        if old.is_some_and(|old| (old.mode == TrackingMode::Broadcast) != self.broadcasts) {
            return Err(Error::other(
                "ERR You can't switch BCAST mode on/off before disabling tracking for this \
                 client, and then re-enabling it with a different mode.",
            ));
        }
        if self.broadcasts && (self.opts_in || self.opts_out) {
            return Err(Error::other("ERR OPTIN and OPTOUT are not compatible with BCAST"));
        }
        if self.opts_in && self.opts_out {
            return Err(Error::other("ERR You can't specify both OPTIN mode and OPTOUT mode"));
        }
        let old_mode = old.map(|old| old.mode);
        if (self.opts_in && old_mode == Some(TrackingMode::OptOut))
            || (self.opts_out && old_mode == Some(TrackingMode::OptIn))
        {
            return Err(Error::other(
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this \
                 client, and then re-enabling it with a different mode.",
            ));
        }
        let mut prefixes = old.map(|old| old.prefixes.clone()).unwrap_or_default();
        if self.broadcasts {
            self.check_prefixes(&prefixes)?;
            prefixes.extend(self.prefixes.iter().cloned());
            if self.prefixes.is_empty() {
                prefixes.insert(Arc::default());
            }
        }
        Ok(Tracking {
            mode: self.mode(),
            is_noloop: self.is_noloop,
            redirect: self.redirect,
            is_redirect_broken: false,
            is_caching: old.is_some_and(|old| old.is_caching),
            prefixes,
        })
    }

    fn mode(&self) -> TrackingMode {
        match (self.broadcasts, self.opts_in, self.opts_out) {
            (true, ..) => TrackingMode::Broadcast,
            (_, true, _) => TrackingMode::OptIn,
            (.., true) => TrackingMode::OptOut,
            _ => TrackingMode::Reads,
        }
    }

    /// Refuses prefixes that begin with one another, or with a prefix that the client already has.
    /// The client would get a key twice.
    fn check_prefixes(&self, old: &BTreeSet<Arc<[u8]>>) -> Result<(), Error> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
        let refuse = |new: &[u8], which: &str, other: &[u8]| {
            Err(Error::other(format!(
                "ERR Prefix '{}' overlaps with {which} prefix '{}'. Prefixes for a single client \
                 must not overlap.",
                text(new),
                text(other)
            )))
        };
        for (at, prefix) in self.prefixes.iter().enumerate() {
            if let Some(other) = old.iter().find(|other| overlap(prefix, other)) {
                return refuse(prefix, "an existing", other);
            }
            let later = &self.prefixes[at + 1..];
            if let Some(other) = later.iter().find(|other| overlap(prefix, other)) {
                return refuse(prefix, "another provided", other);
            }
        }
        Ok(())
    }
}

pub(super) static CACHING: Command = Command::session(
    caching,
    Card::new("caching", Group::Connection, "6.0.0")
        .summary("Instructs the server whether to track the keys in the next request.")
        .constant_time()
        .arity(3)
        .flags(Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE).and(Flag::ALLOW_BUSY))
        .args(&[Arg::choice("mode", &["YES", "NO"])]),
);

fn caching(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let Some(tracking) = &mut cx.session.tracking else {
        return Err(Error::other(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN \
             or OPTOUT mode enabled",
        ));
    };
    let (needed, name) = match &args[2].to_ascii_lowercase()[..] {
        b"yes" => (TrackingMode::OptIn, "YES is only valid when tracking is enabled in OPTIN"),
        b"no" => (TrackingMode::OptOut, "NO is only valid when tracking is enabled in OPTOUT"),
        _ => return Err(Error::Syntax),
    };
    if tracking.mode != needed {
        return Err(Error::other(format!("ERR CLIENT CACHING {name} mode.")));
    }
    tracking.is_caching = true;
    cx.reply.ok();
    Ok(())
}

pub(super) static GETREDIR: Command = Command::session(
    getredir,
    Card::new("getredir", Group::Connection, "6.0.0")
        .summary(
            "Returns the client ID to which the connection's tracking notifications are \
             redirected.",
        )
        .constant_time()
        .arity(2)
        .flags(Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE).and(Flag::ALLOW_BUSY)),
);

/// Replies with the client that gets the invalidations: 0 for this client, -1 without tracking.
fn getredir(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cx.reply.integer(cx.session.redirect());
    Ok(())
}

pub(super) static TRACKINGINFO: Command = Command::session(
    trackinginfo,
    Card::new("trackinginfo", Group::Connection, "6.2.0")
        .summary(
            "Returns information about server-assisted client-side caching for the connection.",
        )
        .constant_time()
        .arity(2)
        .flags(Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE)),
);

fn trackinginfo(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    let tracking = cx.session.tracking.as_deref();
    let is = |is_it: fn(&Tracking) -> bool| tracking.is_some_and(is_it);
    let flags = [
        (tracking.is_none(), "off"),
        (tracking.is_some(), "on"),
        (is(|it| it.mode == TrackingMode::Broadcast), "bcast"),
        (is(|it| it.mode == TrackingMode::OptIn), "optin"),
        (is(|it| it.mode == TrackingMode::OptIn && it.is_caching), "caching-yes"),
        (is(|it| it.mode == TrackingMode::OptOut), "optout"),
        (is(|it| it.mode == TrackingMode::OptOut && it.is_caching), "caching-no"),
        (is(|it| it.is_noloop), "noloop"),
        (is(|it| it.is_redirect_broken), "broken_redirect"),
    ];
    let flags: Vec<&str> = flags.iter().filter(|(is_set, _)| *is_set).map(|it| it.1).collect();
    cx.reply.map(3);
    cx.reply.bulk(b"flags");
    cx.reply.set(flags.len());
    flags.iter().for_each(|flag| cx.reply.bulk(flag.as_bytes()));
    cx.reply.bulk(b"redirect");
    cx.reply.integer(cx.session.redirect());
    cx.reply.bulk(b"prefixes");
    cx.reply.array(tracking.map_or(0, |it| it.prefixes.len()));
    tracking.iter().flat_map(|it| &it.prefixes).for_each(|prefix| cx.reply.bulk(prefix));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::session_testing::SessionBench;
    use crate::exec::Request;
    use crate::resp::Protocol;

    #[test]
    fn nothing_is_tracked_at_first() {
        let mut bench = SessionBench::new();
        bench.check_script(
            r#"
            CLIENT GETREDIR => :-1
            CLIENT TRACKINGINFO => ["flags" ["off"] "redirect" :-1 "prefixes" []]
            CLIENT TRACKING OFF => OK
            "#,
        );
        bench.session.protocol = Protocol::Three;
        bench.check_script(
            r#"
            CLIENT TRACKINGINFO => {"flags" <"off"> "redirect" :-1 "prefixes" []}
            "#,
        );
    }

    #[test]
    fn modes_exclude_one_another() {
        SessionBench::new().check_script(
            r#"
            CLIENT TRACKING x => -ERR syntax error
            CLIENT TRACKING on x => -ERR syntax error
            CLIENT TRACKING on PREFIX => -ERR syntax error
            CLIENT TRACKING on PREFIX a => -ERR PREFIX option requires BCAST mode to be enabled
            CLIENT TRACKING on BCAST OPTIN => -ERR OPTIN and OPTOUT are not compatible with BCAST
            CLIENT TRACKING on OPTIN optout => -ERR You can't specify both OPTIN mode and OPTOUT
                | mode
            CLIENT TRACKING on REDIRECT x => -ERR value is not an integer or out of range
            CLIENT TRACKING on REDIRECT 99 => -ERR The client ID you want redirect to does not exist
            CLIENT TRACKING on REDIRECT -1 => -ERR The client ID you want redirect to does not exist
            CLIENT GETREDIR => :-1
            CLIENT TRACKING on optin noloop => OK
            CLIENT GETREDIR => :0
            CLIENT TRACKING on optout => -ERR You can't switch OPTIN/OPTOUT mode before disabling
                | tracking for this client, and then re-enabling it with a different mode.
            CLIENT TRACKING on bcast => -ERR You can't switch BCAST mode on/off before disabling
                | tracking for this client, and then re-enabling it with a different mode.
            CLIENT TRACKINGINFO => ["flags" ["on" "optin" "noloop"] "redirect" :0 "prefixes" []]
            CLIENT TRACKING on => OK
            CLIENT TRACKING on optout => OK
            CLIENT TRACKINGINFO => ["flags" ["on" "optout"] "redirect" :0 "prefixes" []]
            CLIENT TRACKING off x => -ERR syntax error
            CLIENT TRACKING off optin => OK
            CLIENT TRACKINGINFO => ["flags" ["off"] "redirect" :-1 "prefixes" []]
            "#,
        );
    }

    #[test]
    fn caching_needs_its_mode() {
        SessionBench::new().check_script(
            r#"
            CLIENT CACHING yes => -ERR CLIENT CACHING can be called only when the client is in
                | tracking mode with OPTIN or OPTOUT mode enabled
            CLIENT TRACKING on => OK
            CLIENT CACHING yes => -ERR CLIENT CACHING YES is only valid when tracking is enabled in
                | OPTIN mode.
            CLIENT TRACKING on OPTOUT => OK
            CLIENT CACHING x => -ERR syntax error
            CLIENT CACHING NO => OK
            CLIENT TRACKINGINFO => ["flags" ["on" "optout" "caching-no"] "redirect" :0
                | "prefixes" []]
            CLIENT TRACKING off => OK
            CLIENT TRACKING on OPTIN => OK
            CLIENT CACHING no => -ERR CLIENT CACHING NO is only valid when tracking is enabled in
                | OPTOUT mode.
            CLIENT CACHING YES => OK
            CLIENT TRACKINGINFO => ["flags" ["on" "optin" "caching-yes"] "redirect" :0
                | "prefixes" []]
            "#,
        );
    }

    #[test]
    fn prefixes_do_not_overlap() {
        let mut bench = SessionBench::new();
        bench.check_script(
            r#"
            CLIENT TRACKING on BCAST PREFIX ab PREFIX c PREFIX a => -ERR Prefix 'ab' overlaps with
                | another provided prefix 'a'. Prefixes for a single client must not overlap.
            CLIENT TRACKING on BCAST PREFIX foo PREFIX bar => OK
            CLIENT TRACKINGINFO => ["flags" ["on" "bcast"] "redirect" :0 "prefixes" ["bar" "foo"]]
            CLIENT TRACKING on BCAST PREFIX fo => -ERR Prefix 'fo' overlaps with an existing prefix
                | 'foo'. Prefixes for a single client must not overlap.
            CLIENT TRACKING on BCAST PREFIX c NOLOOP => OK
            CLIENT TRACKINGINFO => ["flags" ["on" "bcast" "noloop"] "redirect" :0 "prefixes"
                | ["bar" "c" "foo"]]
            "#,
        );
        assert_eq!(bench.session.flags(), "tB");
        bench.check_script(
            r#"
            RESET => ?Reset
            CLIENT TRACKING off => OK
            CLIENT TRACKING on BCAST => OK
            CLIENT TRACKINGINFO => ["flags" ["on" "bcast"] "redirect" :0 "prefixes" [""]]
            CLIENT TRACKING OFF => OK
            "#,
        );
        assert_eq!((bench.session.flags(), bench.request), ("N".into(), Some(Request::Tracking)));
    }
}
