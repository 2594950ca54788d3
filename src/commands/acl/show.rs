//! The subcommands that show users, categories and the user of the connection.

use super::{OF_ADMINS, OF_CLIENTS};
use crate::acl::Selector;
use crate::exec::{Command, SessionContext};
use crate::resp::{Args, Error, Reply};
use crate::spec::{Arg, CATEGORY_NAMES, Card, Group};

pub(super) static CAT: Command = Command::session(
    cat,
    Card::new("cat", Group::Server, "6.0.0")
        .summary("Lists the ACL categories, or the commands inside a category.")
        .complexity("O(1) since the categories and commands are a fixed set.")
        .arity(-2)
        .flags(OF_CLIENTS)
        .args(&[Arg::string("category").optional()]),
);

fn cat(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.len() > 3 {
        return Err(Error::subcommand_syntax(b"ACL", &args[1]));
    }
    let Some(category) = args.get(2) else {
        cx.reply.array(CATEGORY_NAMES.len());
        CATEGORY_NAMES.iter().for_each(|name| cx.reply.bulk(name.as_bytes()));
        return Ok(());
    };
    let is_it = |name: &&&str| category.eq_ignore_ascii_case(name.as_bytes());
    let Some(category) = CATEGORY_NAMES.iter().find(is_it) else {
        let shown = &category[..category.len().min(128)];
        return Err(Error::quoting(&[b"ERR Unknown category '", shown, b"'"]));
    };
    let commands = cx.process.commands.walk();
    let names: Vec<&str> = commands
        .filter(|entry| entry.command.card.is_in(category))
        .map(|entry| entry.name.as_str())
        .collect();
    cx.reply.array(names.len());
    names.into_iter().for_each(|name| cx.reply.bulk(name.as_bytes()));
    Ok(())
}

pub(super) static GETUSER: Command = Command::session(
    getuser,
    Card::new("getuser", Group::Server, "6.0.0")
        .summary("Lists the ACL rules of a user.")
        .complexity(
            "O(N). Where N is the number of password, command and pattern rules that the user has.",
        )
        .arity(3)
        .flags(OF_ADMINS)
        .history(&[
            ("6.2.0", "Added Pub/Sub channel patterns."),
            (
                "7.0.0",
                "Added selectors and changed the format of key and channel patterns from a list \
                 to their rule representation.",
            ),
            ("9.1.0", "Added database permission rules."),
        ])
        .args(&[Arg::string("username")]),
)
.secrets(|_, _, at| at == 2);

fn getuser(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let Some(user) = cx.process.acl.find(&args[2]) else {
        cx.reply.null();
        return Ok(());
    };
    let reply = &mut cx.reply;
    reply.map(7);
    reply.bulk(b"flags");
    reply.set(1 + usize::from(user.needs_no_password()));
    reply.bulk(if user.is_on() { b"on" } else { b"off" });
    if user.needs_no_password() {
        reply.bulk(b"nopass");
    }
    reply.bulk(b"passwords");
    let passwords: Vec<String> = user.password_digits().collect();
    reply.array(passwords.len());
    passwords.iter().for_each(|digits| reply.bulk(digits.as_bytes()));
    show_selector(reply, user.root());
    reply.bulk(b"selectors");
    reply.array(user.others().len());
    for selector in user.others() {
        reply.map(4);
        show_selector(reply, selector);
    }
    Ok(())
}

/// Writes four pairs.
fn show_selector(reply: &mut Reply<'_>, selector: &Selector) {
    let pairs: [(&[u8], Vec<u8>); 4] = [
        (b"commands", selector.describe_commands()),
        (b"keys", selector.describe_keys()),
        (b"channels", selector.describe_channels()),
        (b"databases", selector.describe_databases()),
    ];
    for (name, rules) in pairs {
        reply.bulk(name);
        reply.bulk(&rules);
    }
}

pub(super) static LIST: Command = Command::session(
    list,
    Card::new("list", Group::Server, "6.0.0")
        .summary("Dumps the effective rules in ACL file format.")
        .complexity("O(N). Where N is the number of configured users.")
        .arity(2)
        .flags(OF_ADMINS),
);

fn list(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    let users = cx.process.acl.list();
    cx.reply.array(users.len());
    users.iter().for_each(|user| cx.reply.bulk(&user.line()));
    Ok(())
}

pub(super) static USERS: Command = Command::session(
    users,
    Card::new("users", Group::Server, "6.0.0")
        .summary("Lists all ACL users.")
        .complexity("O(N). Where N is the number of configured users.")
        .arity(2)
        .flags(OF_ADMINS),
);

fn users(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    let users = cx.process.acl.list();
    cx.reply.array(users.len());
    users.iter().for_each(|user| cx.reply.bulk(&user.name));
    Ok(())
}

pub(super) static WHOAMI: Command = Command::session(
    whoami,
    Card::new("whoami", Group::Server, "6.0.0")
        .summary("Returns the authenticated username of the current connection.")
        .complexity("O(1)")
        .arity(2)
        .flags(OF_CLIENTS),
);

fn whoami(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    match &cx.session.user {
        Some(user) => cx.reply.bulk(&user.name),
        None => cx.reply.null(),
    }
    Ok(())
}
