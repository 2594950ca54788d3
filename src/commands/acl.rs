//! ACL: the users and their rules.

mod file;
mod log;
mod show;

use super::command::find_called;
use super::help::{help_card, help_command};
use crate::acl::{NewUsers, has_blanks, random_digits};
use crate::base::number::parse_i64;
use crate::base::system::fill_random;
use crate::config::{AclPubsubDefault, Config};
use crate::exec::{Asked, Command, Request, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group};

pub use file::load_users;
pub(super) use log::note_failed_login;

/// The commands of this file.
pub static FAMILY: &[&Command] = &[&ACL];

static ACL: Command = Command::container(
    Card::new("acl", Group::Server, "6.0.0")
        .summary("A container for Access List Control commands.")
        .complexity("Depends on subcommand.")
        .arity(-2),
    &[
        &show::CAT,
        &DELUSER,
        &DRYRUN,
        &GENPASS,
        &show::GETUSER,
        &HELP,
        &show::LIST,
        &file::LOAD,
        &log::LOG,
        &file::SAVE,
        &SETUSER,
        &show::USERS,
        &show::WHOAMI,
    ],
);

/// Flags of the subcommands that every user may need.
const OF_CLIENTS: Flag = Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE);

/// Flags of the subcommands that show or change users.
const OF_ADMINS: Flag = OF_CLIENTS.and(Flag::ADMIN);

/// Largest number of bits of a password that ACL GENPASS makes.
const PASSWORD_BITS_MAX: i64 = 4_096;

/// Returns the permissions that new users begin with.
fn new_users(config: &Config) -> NewUsers {
    NewUsers { all_channels: config.acl_pubsub_default == AclPubsubDefault::AllChannels }
}

static SETUSER: Command = Command::session(
    setuser,
    Card::new("setuser", Group::Server, "6.0.0")
        .summary("Creates and modifies an ACL user and its rules.")
        .complexity("O(N). Where N is the number of rules provided.")
        .arity(-3)
        .flags(OF_ADMINS)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .history(&[
            ("6.2.0", "Added Pub/Sub channel patterns."),
            ("7.0.0", "Added selectors and key based permissions."),
            ("9.1.0", "Added database permission rules."),
        ])
        .args(&[Arg::string("username"), Arg::string("rule").optional().repeated()]),
)
.asks_shards()
.secrets(|_, _, at| at >= 2);

fn setuser(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if has_blanks(&args[2]) {
        return Err(Error::other("ERR Usernames can't contain spaces or null characters"));
    }
    let rules: Vec<&[u8]> = args.iter_from(3).collect();
    let new = new_users(&cx.process.config.snapshot());
    let set = cx.process.acl.set_user(&args[2], &rules, new);
    let has_changed = set.map_err(|text| Error::quoting(&[b"ERR ", &text]))?;
    if has_changed {
        cx.request = Some(Request::UsersChanged { deleted: 0 });
    } else {
        cx.reply.ok();
    }
    Ok(())
}

static DELUSER: Command = Command::session(
    deluser,
    Card::new("deluser", Group::Server, "6.0.0")
        .summary("Deletes ACL users, and terminates their connections.")
        .complexity("O(1) amortized time considering the typical user.")
        .arity(-3)
        .flags(OF_ADMINS)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .args(&[Arg::string("username").repeated()]),
)
.asks_shards()
.secrets(|_, _, at| at >= 2);

fn deluser(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.iter_from(2).any(|name| name == b"default") {
        return Err(Error::other("ERR The 'default' user cannot be removed"));
    }
    match cx.process.acl.delete(args.iter_from(2)) {
        0 => cx.reply.integer(0),
        deleted => cx.request = Some(Request::UsersChanged { deleted }),
    }
    Ok(())
}

/// Index of the argument of ACL DRYRUN at which the command begins.
const CALLED: usize = 3;

static DRYRUN: Command = Command::session(
    dryrun,
    Card::new("dryrun", Group::Server, "7.0.0")
        .summary("Simulates the execution of a command by a user, without executing the command.")
        .complexity("O(1).")
        .arity(-4)
        .flags(OF_ADMINS)
        .args(&[
            Arg::string("username"),
            Arg::string("command"),
            Arg::string("arg").optional().repeated(),
        ]),
);

fn dryrun(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let Some(user) = cx.process.acl.find(&args[2]) else {
        return Err(Error::quoting(&[b"ERR User '", &args[2], b"' not found"]));
    };
    let Some(entry) = find_called(cx.process.commands, args, CALLED) else {
        return Err(Error::quoting(&[b"ERR Command '", &args[CALLED], b"' not found"]));
    };
    let argc = args.len() - CALLED;
    if !entry.command.card.takes(argc) {
        return Err(Error::wrong_arity(&entry.name));
    }
    let db = cx.session.multi.map_or(cx.session.db, |multi| multi.db);
    let arg = |at: usize| &args[CALLED + at];
    let asked = Asked { entry, argc, arg: &arg, db, databases: cx.process.databases };
    match asked.refusal(&user) {
        None => cx.reply.ok(),
        Some(denial) => {
            let text = denial.text(&user, &entry.name, Some(arg(denial.at)));
            cx.reply.bulk(&text);
        }
    }
    Ok(())
}

static GENPASS: Command = Command::session(
    genpass,
    Card::new("genpass", Group::Server, "6.0.0")
        .summary(
            "Generates a pseudorandom, secure password that can be used to identify ACL users.",
        )
        .complexity("O(1)")
        .arity(-2)
        .flags(OF_CLIENTS)
        .args(&[Arg::integer("bits").optional()]),
);

fn genpass(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.len() > 3 {
        return Err(Error::subcommand_syntax(b"ACL", &args[1]));
    }
    let bits = match args.get(2) {
        None => 256,
        Some(bits) => parse_i64(bits).ok_or(Error::NotInteger)?,
    };
    if !(1..=PASSWORD_BITS_MAX).contains(&bits) {
        return Err(Error::other(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a \
             positive number up to {PASSWORD_BITS_MAX}"
        )));
    }
    let digits = (bits as usize).div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    if let Err(error) = fill_random(&mut bytes) {
        return Err(Error::other(format!("ERR No random bytes are available: {error}")));
    }
    cx.reply.bulk(random_digits(&bytes, digits).as_bytes());
    Ok(())
}

static HELP: Command = help_command(help_card(Group::Server, "6.0.0"));

#[cfg(test)]
mod tests;
