//! HELP of a container of subcommands, from their cards.

use crate::exec::SessionContext;
use crate::resp::{Args, Error};

/// Shows the subcommands beside the HELP that was called, each with its summary.
pub(super) fn help(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    let container = cx.entry.name.split('|').next().unwrap_or_default();
    let entry = cx.process.commands.find(container.as_bytes()).expect("HELP has a container");
    let mut lines = Vec::with_capacity(2 * entry.subcommands.len());
    for card in entry.subcommands.iter().map(|sub| &sub.command.card) {
        lines.push(card.name.to_ascii_uppercase());
        lines.push(format!("    {}", card.summary));
    }
    write_help(cx, container, &lines);
    Ok(())
}

/// Shows these lines under the heading of a container's help.
pub(super) fn write_help(cx: &mut SessionContext<'_>, container: &str, lines: &[String]) {
    let name = container.to_ascii_uppercase();
    cx.reply.array(lines.len() + 1);
    let heading = format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    cx.reply.simple(&heading);
    for line in lines {
        cx.reply.simple(line);
    }
}
