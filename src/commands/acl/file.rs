//! ACL LOAD, ACL SAVE, and the users at the start.

use super::{OF_ADMINS, new_users};
use crate::acl::{User, read_file, read_lines};
use crate::base::system::error_text;
use crate::config::{Config, replace_file};
use crate::exec::{Command, Process, Request, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Card, Group};
use std::path::Path;

pub(super) static LOAD: Command = Command::session(
    load,
    Card::new("load", Group::Server, "6.0.0")
        .summary("Reloads the rules from the configured ACL file.")
        .complexity("O(N). Where N is the number of configured users.")
        .arity(2)
        .flags(OF_ADMINS),
)
.asks_shards();

fn load(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    let config = cx.process.config.snapshot();
    let path = acl_file(&config)?;
    let users = read(cx.process, &config, path);
    let users = users.map_err(|text| Error::quoting(&[b"ERR ", &text]))?;
    cx.process.acl.replace(users);
    cx.request = Some(Request::UsersChanged { deleted: 0 });
    Ok(())
}

/// Reads the users of an ACL file. The error names the wrong lines.
fn read(process: &Process, config: &Config, path: &Path) -> Result<Vec<User>, Vec<u8>> {
    let shown = path.to_string_lossy();
    let text = std::fs::read(path).map_err(|error| {
        let why = error_text(&error);
        format!("Error loading ACLs, opening file '{shown}': {why}").into_bytes()
    })?;
    read_file(&text, &shown, &process.acl.catalogue, new_users(config))
}

pub(super) static SAVE: Command = Command::session(
    save,
    Card::new("save", Group::Server, "6.0.0")
        .summary("Saves the effective ACL rules in the configured ACL file.")
        .complexity("O(N). Where N is the number of configured users.")
        .arity(2)
        .flags(OF_ADMINS)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
);

fn save(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    let config = cx.process.config.snapshot();
    let path = acl_file(&config)?;
    let mut text = Vec::new();
    for user in cx.process.acl.list() {
        text.extend_from_slice(&user.line());
        text.push(b'\n');
    }
    if let Err(error) = replace_file(path, &text) {
        cx.process.log.warning(&format!("Writing ACL file for ACL SAVE: {error}"));
        return Err(Error::other(
            "ERR There was an error trying to save the ACLs. Please check the server logs for more \
             information",
        ));
    }
    cx.reply.ok();
    Ok(())
}

fn acl_file(config: &Config) -> Result<&Path, Error> {
    config.aclfile.as_deref().ok_or_else(|| {
        Error::other(
            "ERR This instance is not configured to use an ACL file. You may want to specify users \
             via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a \
             configuration file set) in order to store users in the configuration.",
        )
    })
}

/// Creates the users of the config file or of the ACL file.
///
/// # Errors
/// The server must not start; the text says why.
pub fn load_users(process: &Process) -> Result<(), String> {
    let config = process.config.snapshot();
    if config.aclfile.is_some() && !config.users.is_empty() {
        return Err("Configuring Annulet with users defined in the config file and at the same \
                    setting an ACL file path is invalid. This setup is very likely to lead to \
                    configuration errors and security holes, please define either an ACL file or \
                    declare users directly in your config file, but not both."
            .to_string());
    }
    let users = read_lines(&config.users, &process.acl.catalogue, new_users(&config));
    let users = users.map_err(|error| {
        process.log.warning(&error);
        "Critical error while loading ACLs. Exiting.".to_string()
    })?;
    for user in users.iter().filter(|user| !user.is_on()) {
        process.log.notice(&format!(
            "The user '{}' is disabled (there is no 'on' modifier in the user description). Make \
             sure this is not a configuration error.",
            String::from_utf8_lossy(&user.name)
        ));
    }
    process.acl.add(users);
    if let Some(path) = &config.aclfile {
        let users = read(process, &config, path).map_err(|text| {
            let text = String::from_utf8_lossy(&text).into_owned();
            format!("Aborting Annulet startup because of ACL errors: {text}")
        })?;
        process.acl.replace(users);
    }
    Ok(())
}
