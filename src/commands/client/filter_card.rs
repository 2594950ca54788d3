//! The history and the arguments of CLIENT LIST and CLIENT KILL, for their cards.

use crate::spec::Arg;

/// The history of CLIENT KILL.
pub(super) const KILL_HISTORY: &[(&str, &str)] = &[
    ("2.8.12", "Added new filter format."),
    ("2.8.12", "`ID` option."),
    ("3.2.0", "Added `master` type in for `TYPE` option."),
    (
        "5.0.0",
        "Replaced `slave` `TYPE` with `replica`. `slave` still supported for backward \
         compatibility.",
    ),
    ("6.2.0", "`LADDR` option."),
    ("8.0.0", "`MAXAGE` option."),
    (
        "8.0.0",
        "Replaced `master` `TYPE` with `primary`. `master` still supported for backward \
         compatibility.",
    ),
    ("8.1.0", "`ID` option accepts multiple IDs."),
    (
        "9.0.0",
        "Added filters NAME, IDLE, FLAGS, LIB-NAME, LIB-VER, DB, CAPA, and IP. And negative \
         filters NOT-ID, NOT-TYPE, NOT-ADDR, NOT-LADDR, NOT-USER, NOT-FLAGS, NOT-NAME, \
         NOT-LIB-NAME, NOT-LIB-VER, NOT-DB, NOT-CAPA, NOT-IP.",
    ),
];

/// The arguments of CLIENT KILL.
pub(super) const KILL_ARGS: &[Arg] = &[Arg::one_of(
    "filter",
    &[
        Arg::string("old-format").shown_as("ip:port").deprecated("2.8.12"),
        Arg::one_of(
            "new-format",
            &[
                Arg::integer("client-id").after("ID").since("2.8.12").optional().repeated(),
                Arg::one_of(
                    "client-type",
                    &[
                        Arg::keyword("NORMAL"),
                        Arg::keyword("MASTER").since("3.2.0"),
                        Arg::keyword("PRIMARY").since("8.0.0"),
                        Arg::keyword("SLAVE"),
                        Arg::keyword("REPLICA").since("5.0.0"),
                        Arg::keyword("PUBSUB"),
                    ],
                )
                .after("TYPE")
                .since("2.8.12")
                .optional(),
                Arg::string("username").after("USER").optional(),
                Arg::string("addr").after("ADDR").shown_as("ip:port").optional(),
                Arg::string("laddr").after("LADDR").shown_as("ip:port").since("6.2.0").optional(),
                Arg::choice("skipme", &["YES", "NO"]).after("SKIPME").optional(),
                Arg::integer("maxage").after("MAXAGE").since("8.0.0").optional(),
                Arg::string("name").after("NAME").since("9.0.0").optional(),
                Arg::integer("idle").after("IDLE").since("9.0.0").optional(),
                Arg::string("flags").after("FLAGS").since("9.0.0").optional(),
                Arg::string("lib-name").after("LIB-NAME").since("9.0.0").optional(),
                Arg::string("lib-ver").after("LIB-VER").since("9.0.0").optional(),
                Arg::integer("db").after("DB").since("9.0.0").optional(),
                Arg::string("capa").after("CAPA").since("9.0.0").optional(),
                Arg::string("ip").after("IP").since("9.0.0").optional(),
                Arg::choice(
                    "not-client-type",
                    &["NORMAL", "MASTER", "PRIMARY", "SLAVE", "REPLICA", "PUBSUB"],
                )
                .after("NOT-TYPE")
                .since("9.0.0")
                .optional(),
                Arg::integer("not-client-id").after("NOT-ID").since("9.0.0").optional().repeated(),
                Arg::string("not-username").after("NOT-USER").since("9.0.0").optional(),
                Arg::string("not-addr")
                    .after("NOT-ADDR")
                    .shown_as("ip:port")
                    .since("9.0.0")
                    .optional(),
                Arg::string("not-laddr")
                    .after("NOT-LADDR")
                    .shown_as("ip:port")
                    .since("9.0.0")
                    .optional(),
                Arg::string("not-name").after("NOT-NAME").since("9.0.0").optional(),
                Arg::string("not-flags").after("NOT-FLAGS").since("9.0.0").optional(),
                Arg::string("not-lib-name").after("NOT-LIB-NAME").since("9.0.0").optional(),
                Arg::string("not-lib-ver").after("NOT-LIB-VER").since("9.0.0").optional(),
                Arg::integer("not-db").after("NOT-DB").since("9.0.0").optional(),
                Arg::string("not-capa").after("NOT-CAPA").since("9.0.0").optional(),
                Arg::string("not-ip").after("NOT-IP").since("9.0.0").optional(),
            ],
        )
        .repeated(),
    ],
)];

/// The history of CLIENT LIST.
pub(super) const LIST_HISTORY: &[(&str, &str)] = &[
    ("2.8.12", "Added unique client `id` field."),
    ("5.0.0", "Added optional `TYPE` filter."),
    ("6.0.0", "Added `user` field."),
    (
        "6.2.0",
        "Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional `ID` filter.",
    ),
    ("7.0.0", "Added `resp`, `multi-mem`, `rbs` and `rbp` fields."),
    ("7.0.3", "Added `ssub` field."),
    (
        "8.0.0",
        "Replaced `master` `TYPE` with `primary`. `master` still supported for backward \
         compatibility.",
    ),
    ("8.1.0", "Added filters USER, ADDR, LADDR, SKIPME, and MAXAGE."),
    (
        "9.0.0",
        "Added filters NAME, IDLE, FLAGS, LIB-NAME, LIB-VER, DB, CAPA, and IP. And negative \
         filters NOT-ID, NOT-TYPE, NOT-ADDR, NOT-LADDR, NOT-USER, NOT-FLAGS, NOT-NAME, \
         NOT-LIB-NAME, NOT-LIB-VER, NOT-DB, NOT-CAPA, NOT-IP.",
    ),
];

/// The arguments of CLIENT LIST.
pub(super) const LIST_ARGS: &[Arg] = &[
    Arg::choice("client-type", &["NORMAL", "MASTER", "REPLICA", "PUBSUB"])
        .after("TYPE")
        .since("5.0.0")
        .optional(),
    Arg::integer("client-id").after("ID").since("6.2.0").optional().repeated(),
    Arg::string("username").after("USER").since("8.1.0").optional(),
    Arg::string("addr").after("ADDR").shown_as("ip:port").since("8.1.0").optional(),
    Arg::string("laddr").after("LADDR").shown_as("ip:port").since("8.1.0").optional(),
    Arg::choice("skipme", &["YES", "NO"]).after("SKIPME").since("8.1.0").optional(),
    Arg::integer("maxage").after("MAXAGE").since("8.1.0").optional(),
    Arg::string("name").after("NAME").since("9.0.0").optional(),
    Arg::integer("idle").after("IDLE").since("9.0.0").optional(),
    Arg::string("flags").after("FLAGS").since("9.0.0").optional(),
    Arg::string("lib-name").after("LIB-NAME").since("9.0.0").optional(),
    Arg::string("lib-ver").after("LIB-VER").since("9.0.0").optional(),
    Arg::integer("db").after("DB").since("9.0.0").optional(),
    Arg::string("capa").after("CAPA").since("9.0.0").optional(),
    Arg::string("ip").after("IP").since("9.0.0").optional(),
    Arg::choice("not-client-type", &["NORMAL", "MASTER", "REPLICA", "PUBSUB"])
        .after("NOT-TYPE")
        .since("9.0.0")
        .optional(),
    Arg::integer("not-client-id").after("NOT-ID").since("9.0.0").optional().repeated(),
    Arg::string("not-username").after("NOT-USER").since("9.0.0").optional(),
    Arg::string("not-addr").after("NOT-ADDR").shown_as("ip:port").since("9.0.0").optional(),
    Arg::string("not-laddr").after("NOT-LADDR").shown_as("ip:port").since("9.0.0").optional(),
    Arg::string("not-name").after("NOT-NAME").since("9.0.0").optional(),
    Arg::string("not-flags").after("NOT-FLAGS").since("9.0.0").optional(),
    Arg::string("not-lib-name").after("NOT-LIB-NAME").since("9.0.0").optional(),
    Arg::string("not-lib-ver").after("NOT-LIB-VER").since("9.0.0").optional(),
    Arg::integer("not-db").after("NOT-DB").since("9.0.0").optional(),
    Arg::string("not-capa").after("NOT-CAPA").since("9.0.0").optional(),
    Arg::string("not-ip").after("NOT-IP").since("9.0.0").optional(),
];
