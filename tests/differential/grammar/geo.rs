//! Geographic positions.

use super::Part::{
    Count, Counted, Either, Float, Key, Latitude, Length, Longitude, Maybe, Member, Repeat, Some,
    Word,
};
use super::{Command, Part, exact};

/// Mostly keys that hold only positions.
const PLACES: Part = Either(&[
    &[Word("places")],
    &[Word("places")],
    &[Word("{tag}places")],
    &[Word("cities")],
    &[Key],
]);

const POINT: Part = Either(&[
    &[Longitude, Latitude],
    &[Longitude, Latitude],
    &[Longitude, Latitude],
    &[Longitude, Latitude],
    &[Longitude, Latitude],
    &[Longitude, Latitude],
    &[Longitude, Latitude],
    &[Longitude, Latitude],
    &[Longitude, Latitude],
    &[Longitude, Float],
]);

const UNIT: Part = Either(&[
    &[Word("m")],
    &[Word("km")],
    &[Word("km")],
    &[Word("ft")],
    &[Word("mi")],
    &[Word("yd")],
]);

const OPTIONS: Part = Some(&[
    &[Word("WITHCOORD")],
    &[Word("WITHDIST")],
    &[Word("WITHHASH")],
    &[Word("COUNT"), Count, Maybe(&[Word("ANY")])],
    &[Either(&[&[Word("ASC")], &[Word("DESC")]])],
]);

const STORE_OPTIONS: Part = Some(&[
    &[Word("COUNT"), Count, Maybe(&[Word("ANY")])],
    &[Either(&[&[Word("ASC")], &[Word("DESC")]])],
    &[Word("STORE"), PLACES],
    &[Word("STOREDIST"), PLACES],
]);

const OLD_OPTIONS: Part = Either(&[&[OPTIONS], &[STORE_OPTIONS]]);

/// A centre and a shape.
const AREA: Part = Either(&[
    &[Word("FROMMEMBER"), Member, Word("BYRADIUS"), Length, UNIT],
    &[Word("FROMLONLAT"), POINT, Word("BYRADIUS"), Length, UNIT],
    &[Word("FROMMEMBER"), Member, Word("BYBOX"), Length, Length, UNIT],
    &[Word("BYBOX"), Length, Length, UNIT, Word("FROMLONLAT"), POINT],
    &[Word("BYPOLYGON"), Counted(3, 6, &[POINT])],
    &[Word("FROMLONLAT"), POINT, Word("BYRADIUS"), Length, UNIT, Word("FROMMEMBER"), Member],
    &[Word("BYBOX"), Length, Length, UNIT],
    &[Word("FROMMEMBER"), Member],
]);

const CHANCES: Part = Some(&[&[Word("NX")], &[Word("XX")], &[Word("CH")]]);

pub const FAMILY: &[Command] = &[
    exact("GEOADD", &[PLACES, Repeat(1, 8, &[POINT, Member])]).weighs(30),
    exact("GEOADD", &[PLACES, CHANCES, Repeat(1, 3, &[POINT, Member])]).weighs(10),
    exact("GEOADD", &[PLACES, Repeat(100, 140, &[Longitude, Latitude, Member])]).weighs(3),
    exact("GEOPOS", &[PLACES, Repeat(0, 3, &[Member])]),
    exact("GEOHASH", &[PLACES, Repeat(0, 3, &[Member])]),
    exact("GEODIST", &[PLACES, Member, Member, Maybe(&[UNIT])]).weighs(15),
    exact("GEOSEARCH", &[PLACES, AREA, OPTIONS]).weighs(50),
    exact(
        "GEOSEARCHSTORE",
        &[
            PLACES,
            PLACES,
            AREA,
            Some(&[
                &[Word("STOREDIST")],
                &[Word("COUNT"), Count, Maybe(&[Word("ANY")])],
                &[Either(&[&[Word("ASC")], &[Word("DESC")]])],
            ]),
        ],
    )
    .weighs(20),
    exact("GEORADIUS", &[PLACES, POINT, Length, UNIT, OLD_OPTIONS]).weighs(20),
    exact("GEORADIUS_RO", &[PLACES, POINT, Length, UNIT, OPTIONS]),
    exact("GEORADIUSBYMEMBER", &[PLACES, Member, Length, UNIT, OLD_OPTIONS]).weighs(20),
    exact("GEORADIUSBYMEMBER_RO", &[PLACES, Member, Length, UNIT, OPTIONS]),
];
