//! Commands on geospatial positions, which are stored as the scores of a sorted set.

mod ask;
mod search;

use crate::base::extended::Extended;
use crate::base::number::parse_f64;
use crate::commands::sorted_set::limits_of;
use crate::exec::{Command, Context};
use crate::keyspace::Event;
use crate::resp::{Args, Error, Reply};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::geo::Point;
use crate::value::sorted_set::{Limits, Put, SortedSet};

/// The geo commands.
pub static FAMILY: &[&Command] = &[
    &GEOADD,
    &GEOPOS,
    &GEOHASH,
    &GEODIST,
    &search::GEORADIUS,
    &search::GEORADIUS_RO,
    &search::GEORADIUSBYMEMBER,
    &search::GEORADIUSBYMEMBER_RO,
    &search::GEOSEARCH,
    &search::GEOSEARCHSTORE,
];

/// Parses the point in two arguments: longitude, then latitude.
fn point_at(args: &Args<'_>, first: usize) -> Result<Point, Error> {
    let longitude = parse_f64(&args[first]).ok_or(Error::NotFloat)?;
    let latitude = parse_f64(&args[first + 1]).ok_or(Error::NotFloat)?;
    let point = Point { longitude, latitude };
    if !point.is_on_map() {
        return Err(Error::other(format!(
            "ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}"
        )));
    }
    Ok(point)
}

/// Returns the length in metres of the unit that an argument names.
fn unit_m(arg: &[u8]) -> Result<f64, Error> {
    const UNITS: [(&[u8], f64); 4] =
        [(b"M", 1.0), (b"KM", 1000.0), (b"FT", 0.3048), (b"MI", 1609.34)];
    let found = UNITS.iter().find(|(name, _)| arg.eq_ignore_ascii_case(name));
    found
        .map(|(_, metres)| *metres)
        .ok_or(Error::other("ERR unsupported unit provided. please use M, KM, FT, MI"))
}

/// Returns the text of a distance, with four digits after the decimal point.
fn distance_text(distance: f64) -> String {
    // As in the reference, a number that does not fit 64 bits becomes the lowest 64-bit integer.
    let parts = crate::value::geo::signed((distance * 10_000.0).round_ties_even());
    let (sign, parts) = (if parts < 0 { "-" } else { "" }, parts.unsigned_abs());
    format!("{sign}{}.{:04}", parts / 10_000, parts % 10_000)
}

fn reply_point(reply: &mut Reply<'_>, point: &Point) {
    reply.array(2);
    for value in [point.longitude, point.latitude] {
        let value = Extended::from_f64(value).expect("a point has finite coordinates");
        reply.double_text(&value.text());
    }
}

static GEOADD: Command = Command::single(
    geoadd,
    Card::new("geoadd", Group::Geo, "3.2.0")
        .summary(
            "Adds one or more members to a geospatial index. The key is created if it doesn't \
             exist.",
        )
        .complexity(
            "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
        )
        .arity(-5)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::updates()])
        .history(&[("6.2.0", "Added the `CH`, `NX` and `XX` options.")])
        .args(&[
            Arg::key("key"),
            Arg::choice("condition", &["NX", "XX"]).since("6.2.0").optional(),
            Arg::keyword("CH").named("change").since("6.2.0").optional(),
            Arg::block(
                "data",
                &[Arg::double("longitude"), Arg::double("latitude"), Arg::string("member")],
            )
            .repeated(),
        ]),
);

fn geoadd(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let options = Options::parse(args);
    let triples_len = args.len() - options.end;
    if !triples_len.is_multiple_of(3) || (options.is_nx && options.is_xx) {
        return Err(Error::Syntax);
    }
    let places = (options.end..args.len()).step_by(3);
    let points: Vec<Point> = places.map(|first| point_at(args, first)).collect::<Result<_, _>>()?;
    if points.is_empty() {
        return Err(Error::Syntax);
    }
    let key = cx.key(args, 1);
    let limits = limits_of(cx.config);
    let longest = (0..points.len()).map(|at| options.member(args, at).len()).max().unwrap_or(0);
    let (mut added, mut moved) = (0, 0);
    let mut put_all = |set: &mut SortedSet| {
        set.prepare(points.len(), longest, &limits);
        for (at, point) in points.iter().enumerate() {
            match options.put(set, options.member(args, at), point.score() as f64, &limits) {
                Some(Put::New) => added += 1,
                Some(Put::Moved) => moved += 1,
                Some(Put::Same) | None => {}
            }
        }
        added + moved
    };
    if options.is_xx {
        if let Some(mut set) = cx.slice.edit::<SortedSet>(cx.db, &key)?
            && let changes @ 1.. = put_all(&mut set)
        {
            set.raise(Event::ZAdd, changes);
        }
    } else {
        let mut set = cx.slice.edit_or_new::<SortedSet>(cx.db, &key)?;
        if let changes @ 1.. = put_all(&mut set) {
            set.raise(Event::ZAdd, changes);
        }
    }
    if added + moved > 0 && cx.is_recorded() {
        propagate(cx, args, &options, &points);
    }
    cx.reply.integer((added + if options.is_ch { moved } else { 0 }) as i64);
    Ok(())
}

/// Propagates the change as a ZADD with the computed scores.
fn propagate(cx: &mut Context<'_>, args: &Args<'_>, options: &Options, points: &[Point]) {
    let scores: Vec<String> = points.iter().map(|point| point.score().to_string()).collect();
    let mut propagated: Vec<&[u8]> = vec![b"ZADD"];
    propagated.extend((1..options.end).map(|index| &args[index]));
    for (at, score) in scores.iter().enumerate() {
        propagated.extend([score.as_bytes(), options.member(args, at)]);
    }
    cx.propagate(&propagated);
}

/// The options of GEOADD.
struct Options {
    /// Whether only new members are added.
    is_nx: bool,
    /// Whether only existing members are updated.
    is_xx: bool,
    /// Whether the reply also counts updated members.
    is_ch: bool,
    /// The first argument after the options.
    end: usize,
}

impl Options {
    fn parse(args: &Args<'_>) -> Options {
        let mut options = Options { is_nx: false, is_xx: false, is_ch: false, end: 2 };
        for arg in args.iter_from(2) {
            let flag = match arg {
                arg if arg.eq_ignore_ascii_case(b"NX") => &mut options.is_nx,
                arg if arg.eq_ignore_ascii_case(b"XX") => &mut options.is_xx,
                arg if arg.eq_ignore_ascii_case(b"CH") => &mut options.is_ch,
                _ => break,
            };
            *flag = true;
            options.end += 1;
        }
        options
    }

    /// Returns the member with the number `at`.
    fn member<'a>(&self, args: &'a Args<'_>, at: usize) -> &'a [u8] {
        &args[self.end + 3 * at + 2]
    }

    fn put(&self, set: &mut SortedSet, member: &[u8], score: f64, limits: &Limits) -> Option<Put> {
        let is_left = |old: Option<f64>| if old.is_some() { self.is_nx } else { self.is_xx };
        set.change(member, limits, |old| (!is_left(old)).then_some(score))
    }
}

static GEOPOS: Command = Command::single(
    geopos,
    Card::new("geopos", Group::Geo, "3.2.0")
        .summary("Returns the longitude and latitude of members from a geospatial index.")
        .complexity("O(1) for each member requested.")
        .arity(-2)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), Arg::string("member").optional().repeated()]),
);

fn geopos(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let set = cx.slice.read::<SortedSet>(cx.db, &key)?;
    cx.reply.array(args.len() - 2);
    for member in args.iter_from(2) {
        match set.and_then(|set| set.score(member)) {
            None => cx.reply.null_array(),
            Some(score) => reply_point(&mut cx.reply, &Point::of_score(score)),
        }
    }
    Ok(())
}

static GEOHASH: Command = Command::single(
    geohash,
    Card::new("geohash", Group::Geo, "3.2.0")
        .summary("Returns members from a geospatial index as geohash strings.")
        .complexity("O(1) for each member requested.")
        .arity(-2)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), Arg::string("member").optional().repeated()]),
);

fn geohash(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let set = cx.slice.read::<SortedSet>(cx.db, &key)?;
    cx.reply.array(args.len() - 2);
    for member in args.iter_from(2) {
        match set.and_then(|set| set.score(member)) {
            None => cx.reply.null(),
            Some(score) => cx.reply.bulk(&Point::of_score(score).geohash()),
        }
    }
    Ok(())
}

static GEODIST: Command = Command::single(
    geodist,
    Card::new("geodist", Group::Geo, "3.2.0")
        .summary("Returns the distance between two members of a geospatial index.")
        .constant_time()
        .arity(-4)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .args(&[
            Arg::key("key"),
            Arg::string("member1"),
            Arg::string("member2"),
            Arg::choice("unit", &["M", "KM", "FT", "MI"]).optional(),
        ]),
);

fn geodist(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.len() > 5 {
        return Err(Error::Syntax);
    }
    let unit_m = args.get(4).map_or(Ok(1.0), unit_m)?;
    let key = cx.key(args, 1);
    let set = cx.slice.read::<SortedSet>(cx.db, &key)?;
    let point = |member| set.and_then(|set| set.score(member)).map(Point::of_score);
    match (point(&args[2]), point(&args[3])) {
        (Some(one), Some(other)) => {
            cx.reply.bulk(distance_text(one.distance_m(&other) / unit_m).as_bytes());
        }
        _ => cx.reply.null(),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
