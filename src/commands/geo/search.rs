//! Searches for positions nearby: GEOSEARCH, GEOSEARCHSTORE, GEORADIUS and its variants.

use super::ask::{Ask, Form, Order};
use super::{distance_text, reply_point};
use crate::base::order;
use crate::commands::sorted_set::limits_of;
use crate::exec::{Command, Context, Weighing};
use crate::keyspace::{Event, Expiry};
use crate::resp::{Args, Error, Reply};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::Container;
use crate::value::geo::{Point, Search, signed};
use crate::value::sorted_set::SortedSet;
use std::cmp::Ordering;

/// A member in the searched area.
#[derive(Clone, Debug)]
struct Found {
    member: Vec<u8>,
    point: Point,
    score: f64,
    /// Distance from the centre: first in metres, later in the unit of the search.
    distance: f64,
}

/// Returns the members in the searched area, at most `limit` unless it is 0.
fn find(set: &SortedSet, search: &Search, limit: u64) -> Vec<Found> {
    let mut found = Vec::new();
    let is_enough = |found: &Vec<Found>| limit > 0 && found.len() as u64 >= limit;
    for scores in search.scores() {
        if is_enough(&found) {
            break;
        }
        let (min, max) = (scores.start as f64, scores.end as f64);
        let first = set.rank_where(|score, _| score < min);
        for (member, score) in set.iter_from(first).take_while(|(_, score)| *score < max) {
            let point = Point::of_score(score);
            if let Some(distance) = search.distance_m(&point) {
                found.push(Found { member: member.to_vec(), point, score, distance });
            }
            if is_enough(&found) {
                break;
            }
        }
    }
    found
}

/// Compares distances like the reference: if one of them is a NaN, the first one is less.
fn compare(one: &Found, other: &Found) -> Ordering {
    match () {
        () if one.distance > other.distance => Ordering::Greater,
        () if one.distance == other.distance => Ordering::Equal,
        () => Ordering::Less,
    }
}

/// Sorts the result as requested, limits it to the requested count, and converts distances to the
/// requested unit.
fn arrange(mut found: Vec<Found>, ask: &Ask, unit_m: f64) -> Vec<Found> {
    let all = found.len();
    let count = match ask.count {
        0 => all,
        count => usize::try_from(count).unwrap_or(all).min(all),
    };
    let sort = |found: &mut [Found], compare: &dyn Fn(&Found, &Found) -> Ordering| {
        if count == all {
            order::sort(found, &compare);
        } else {
            order::sort_part(found, 0..count, &compare);
        }
    };
    match ask.order {
        Order::Any => {}
        Order::Asc => sort(&mut found, &compare),
        Order::Desc => sort(&mut found, &|one, other| compare(one, other).reverse()),
    }
    found.truncate(count);
    found.iter_mut().for_each(|found| found.distance /= unit_m);
    found
}

/// Elements in whose time a member of the searched cells is measured.
const MEASURED_WEIGHT: usize = 4;

fn weigh(weighing: &Weighing<'_>, args: &Args<'_>, form: Form) -> usize {
    let Some(set) = weighing.object::<SortedSet>(args, form.key()) else { return 0 };
    if set.len() * MEASURED_WEIGHT < weighing.enough {
        return set.len();
    }
    let Ok(Ask { search: Some(search), .. }) = Ask::parse(args, form, Some(set)) else { return 0 };
    let rank = |below: f64| set.rank_where(|score, _| score < below);
    let members = search
        .scores()
        .into_iter()
        .map(|scores| rank(scores.end as f64).saturating_sub(rank(scores.start as f64)));
    members.sum::<usize>() * MEASURED_WEIGHT
}

fn search(cx: &mut Context<'_>, args: &Args<'_>, form: Form) -> Result<(), Error> {
    let key = cx.key(args, form.key());
    cx.slice.read::<SortedSet>(cx.db, &key)?;
    let set = cx.slice.held::<SortedSet>(cx.db, &key);
    let ask = Ask::parse(args, form, set)?;
    let found = match (set, &ask.search) {
        (Some(set), Some(search)) => {
            let limit = if ask.is_any { ask.count } else { 0 };
            arrange(find(set, search, limit), &ask, search.unit_m())
        }
        _ => Vec::new(),
    };
    match ask.store {
        Some(arg) => store(cx, args, (arg, form.event()), &ask, &found),
        None => reply(&mut cx.reply, &ask, &found),
    }
    Ok(())
}

fn reply(reply: &mut Reply<'_>, ask: &Ask, all: &[Found]) {
    let extras = [ask.with_distance, ask.with_hash, ask.with_point];
    let extras = extras.iter().filter(|on| **on).count();
    reply.array(all.len());
    for found in all {
        if extras > 0 {
            reply.array(1 + extras);
        }
        reply.bulk(&found.member);
        if ask.with_distance {
            reply.bulk(distance_text(found.distance).as_bytes());
        }
        if ask.with_hash {
            reply.integer(signed(found.score));
        }
        if ask.with_point {
            reply_point(reply, &found.point);
        }
    }
}

/// Stores the result in the destination key. An empty result removes the key.
fn store(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    (arg, event): (usize, Event),
    ask: &Ask,
    all: &[Found],
) {
    let key = cx.key(args, arg);
    if all.is_empty() {
        if cx.slice.remove(cx.db, &key) {
            cx.raise(&key, Event::Del, 1);
        }
    } else {
        let limits = limits_of(cx.config);
        let mut set = Box::<SortedSet>::default();
        set.prepare(all.len(), all.iter().map(|one| one.member.len()).max().unwrap_or(0), &limits);
        for found in all {
            let score = if ask.stores_distances { found.distance } else { found.score };
            // For antipodes, rounding can make the distance NaN; it is stored as infinity.
            let score = if score.is_nan() { f64::INFINITY } else { score };
            set.put(&found.member, score, &limits);
        }
        cx.slice.set_object(cx.db, &key, set.into_object(), Expiry::Clear);
        cx.raise(&key, event, all.len() as u64);
    }
    cx.reply.integer(all.len() as i64);
}

/// COUNT of GEORADIUS and GEORADIUS_RO.
const COUNT: Arg = Arg::block(
    "count-block",
    &[Arg::integer("count").after("COUNT"), Arg::keyword("ANY").since("6.2.0").optional()],
);

/// The history of GEORADIUS and its variants.
const RADIUS_HISTORY: &[(&str, &str)] = &[
    ("6.2.0", "Added the `ANY` option for `COUNT`."),
    ("7.0.0", "Added support for uppercase unit names."),
];

/// The key for the result.
const STORED: Arg = Arg::one_of(
    "store",
    &[
        Arg::key("storekey").after("STORE").key_spec(1).shown_as("key"),
        Arg::key("storedistkey").after("STOREDIST").key_spec(2).shown_as("key"),
    ],
);

pub(super) static GEORADIUS: Command = Command::gather(
    georadius,
    Card::new("georadius", Group::Geo, "3.2.0")
        .summary(
            "Queries a geospatial index for members within a distance from a coordinate, \
             optionally stores the result.",
        )
        .complexity(
            "O(N+log(M)) where N is the number of elements inside the bounding box of the \
             circular area delimited by center and radius and M is the number of items inside the \
             index.",
        )
        .arity(-6)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::MOVABLEKEYS))
        .keys(&[
            KeySpec::reads(),
            KeySpec::overwrites().varying().after("STORE", 6),
            KeySpec::overwrites().varying().after("STOREDIST", 6),
        ])
        .history(RADIUS_HISTORY)
        .args(&[
            Arg::key("key"),
            Arg::double("longitude"),
            Arg::double("latitude"),
            Arg::double("radius"),
            Arg::choice("unit", &["M", "KM", "FT", "MI"]),
            Arg::keyword("WITHCOORD").optional(),
            Arg::keyword("WITHDIST").optional(),
            Arg::keyword("WITHHASH").optional(),
            COUNT.optional(),
            Arg::choice("order", &["ASC", "DESC"]).optional(),
            STORED.optional(),
        ]),
)
.offload_by(weigh_radius)
.key_use(|_, _| KeySpec::overwrites());

fn weigh_radius(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    weigh(weighing, args, Form::Radius { by_member: false, is_read_only: false })
}

fn georadius(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    search(cx, args, Form::Radius { by_member: false, is_read_only: false })
}

pub(super) static GEORADIUS_RO: Command = Command::single(
    georadius_ro,
    Card::new("georadius_ro", Group::Geo, "3.2.10")
        .summary(
            "Returns members from a geospatial index that are within a distance from a coordinate.",
        )
        .complexity(
            "O(N+log(M)) where N is the number of elements inside the bounding box of the \
             circular area delimited by center and radius and M is the number of items inside the \
             index.",
        )
        .arity(-6)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .history(RADIUS_HISTORY)
        .args(&[
            Arg::key("key"),
            Arg::double("longitude"),
            Arg::double("latitude"),
            Arg::double("radius"),
            Arg::choice("unit", &["M", "KM", "FT", "MI"]),
            Arg::keyword("WITHCOORD").optional(),
            Arg::keyword("WITHDIST").optional(),
            Arg::keyword("WITHHASH").optional(),
            COUNT.optional(),
            Arg::choice("order", &["ASC", "DESC"]).optional(),
        ]),
)
.offload_by(weigh_radius_ro);

fn weigh_radius_ro(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    weigh(weighing, args, Form::Radius { by_member: false, is_read_only: true })
}

fn georadius_ro(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    search(cx, args, Form::Radius { by_member: false, is_read_only: true })
}

pub(super) static GEORADIUSBYMEMBER: Command = Command::gather(
    georadiusbymember,
    Card::new("georadiusbymember", Group::Geo, "3.2.0")
        .summary(
            "Queries a geospatial index for members within a distance from a member, optionally \
             stores the result.",
        )
        .complexity(
            "O(N+log(M)) where N is the number of elements inside the bounding box of the \
             circular area delimited by center and radius and M is the number of items inside the \
             index.",
        )
        .arity(-5)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::MOVABLEKEYS))
        .keys(&[
            KeySpec::reads(),
            KeySpec::overwrites().varying().after("STORE", 5),
            KeySpec::overwrites().varying().after("STOREDIST", 5),
        ])
        .history(RADIUS_HISTORY)
        .args(&[
            Arg::key("key"),
            Arg::string("member"),
            Arg::double("radius"),
            Arg::choice("unit", &["M", "KM", "FT", "MI"]),
            Arg::keyword("WITHCOORD").optional(),
            Arg::keyword("WITHDIST").optional(),
            Arg::keyword("WITHHASH").optional(),
            Arg::block(
                "count-block",
                &[Arg::integer("count").after("COUNT"), Arg::keyword("ANY").optional()],
            )
            .optional(),
            Arg::choice("order", &["ASC", "DESC"]).optional(),
            STORED.optional(),
        ]),
)
.offload_by(weigh_radiusbymember)
.key_use(|_, _| KeySpec::overwrites());

fn weigh_radiusbymember(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    weigh(weighing, args, Form::Radius { by_member: true, is_read_only: false })
}

fn georadiusbymember(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    search(cx, args, Form::Radius { by_member: true, is_read_only: false })
}

pub(super) static GEORADIUSBYMEMBER_RO: Command = Command::single(
    georadiusbymember_ro,
    Card::new("georadiusbymember_ro", Group::Geo, "3.2.10")
        .summary(
            "Returns members from a geospatial index that are within a distance from a member.",
        )
        .complexity(
            "O(N+log(M)) where N is the number of elements inside the bounding box of the \
             circular area delimited by center and radius and M is the number of items inside the \
             index.",
        )
        .arity(-5)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .history(RADIUS_HISTORY)
        .args(&[
            Arg::key("key"),
            Arg::string("member"),
            Arg::double("radius"),
            Arg::choice("unit", &["M", "KM", "FT", "MI"]),
            Arg::keyword("WITHCOORD").optional(),
            Arg::keyword("WITHDIST").optional(),
            Arg::keyword("WITHHASH").optional(),
            Arg::block(
                "count-block",
                &[Arg::integer("count").after("COUNT"), Arg::keyword("ANY").optional()],
            )
            .optional(),
            Arg::choice("order", &["ASC", "DESC"]).optional(),
        ]),
)
.offload_by(weigh_radiusbymember_ro);

fn weigh_radiusbymember_ro(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    weigh(weighing, args, Form::Radius { by_member: true, is_read_only: true })
}

fn georadiusbymember_ro(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    search(cx, args, Form::Radius { by_member: true, is_read_only: true })
}

/// The centre of the area.
const FROM: Arg = Arg::one_of(
    "from",
    &[
        Arg::string("member").after("FROMMEMBER"),
        Arg::block("fromlonlat", &[Arg::double("longitude"), Arg::double("latitude")])
            .after("FROMLONLAT"),
    ],
);

/// The shape of the area.
const BY: Arg = Arg::one_of(
    "by",
    &[
        Arg::block(
            "circle",
            &[
                Arg::double("radius").after("BYRADIUS"),
                Arg::choice("unit", &["M", "KM", "FT", "MI"]),
            ],
        ),
        Arg::block(
            "box",
            &[
                Arg::double("width").after("BYBOX"),
                Arg::double("height"),
                Arg::choice("unit", &["M", "KM", "FT", "MI"]),
            ],
        ),
        Arg::block(
            "polygon",
            &[
                Arg::integer("num-vertices").after("BYPOLYGON"),
                Arg::block("vertices", &[Arg::double("longitude"), Arg::double("latitude")])
                    .repeated(),
            ],
        )
        .since("9.0.0"),
    ],
);

pub(super) static GEOSEARCH: Command = Command::single(
    geosearch,
    Card::new("geosearch", Group::Geo, "6.2.0")
        .summary(
            "Queries a geospatial index for members inside an area of a box, circle, or a polygon.",
        )
        .complexity(
            "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area \
             around the shape provided as the filter and M is the number of items inside the \
             shape",
        )
        .arity(-7)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .history(&[
            ("7.0.0", "Added support for uppercase unit names."),
            ("9.0.0", "Added support for the BYPOLYGON option."),
        ])
        .args(&[
            Arg::key("key"),
            FROM.optional(),
            BY,
            Arg::choice("order", &["ASC", "DESC"]).optional(),
            Arg::block(
                "count-block",
                &[Arg::integer("count").after("COUNT"), Arg::keyword("ANY").optional()],
            )
            .optional(),
            Arg::keyword("WITHCOORD").optional(),
            Arg::keyword("WITHDIST").optional(),
            Arg::keyword("WITHHASH").optional(),
        ]),
)
.offload_by(weigh_search);

fn weigh_search(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    weigh(weighing, args, Form::Search)
}

fn geosearch(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    search(cx, args, Form::Search)
}

pub(super) static GEOSEARCHSTORE: Command = Command::gather(
    geosearchstore,
    Card::new("geosearchstore", Group::Geo, "6.2.0")
        .summary(
            "Queries a geospatial index for members inside an area of a box, a circle, or a \
             polygon, optionally stores the result.",
        )
        .complexity(
            "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area \
             around the shape provided as the filter and M is the number of items inside the \
             shape",
        )
        .arity(-8)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::overwrites(), KeySpec::reads().at(2)])
        .history(&[
            ("7.0.0", "Added support for uppercase unit names."),
            ("9.0.0", "Added support for the BYPOLYGON option."),
        ])
        .args(&[
            Arg::key("destination"),
            Arg::key("source").key_spec(1),
            FROM.optional(),
            BY,
            Arg::choice("order", &["ASC", "DESC"]).optional(),
            Arg::block(
                "count-block",
                &[Arg::integer("count").after("COUNT"), Arg::keyword("ANY").optional()],
            )
            .optional(),
            Arg::keyword("STOREDIST").optional(),
        ]),
)
.offload_by(weigh_searchstore);

fn weigh_searchstore(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    weigh(weighing, args, Form::SearchStore)
}

fn geosearchstore(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    search(cx, args, Form::SearchStore)
}
