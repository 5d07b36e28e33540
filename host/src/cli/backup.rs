//! `cofferdam backup` and `cofferdam restore`.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use cofferdam_protocol::admin::{
    BackupReport, BackupRequest, ErrorKind, FilesCopied, GroupRestore, HomeRestore, RestoreReport, RestoreRequest,
    SharedRestore, WorkEvent,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Context;
use super::args::{BackupArgs, RestoreArgs};
use super::client::Client;
use super::connect::{self, Mode};
use super::error::CliError;
use super::table::Table;
use super::terminal::{self, Style};
use crate::config::home::SHARED;

/// Makes a backup. Ends with 13 when the database of a group is not in it, and else with 14 when files are not in it that
/// should be.
pub(super) async fn backup(context: &Context, args: BackupArgs) -> Result<u8, CliError> {
    let request = BackupRequest { dir: full(&args.dir)?, groups: args.groups };
    // Also without a daemon: containers that one left are not touched.
    let work = async |client: &Client| follow::<BackupReport>(client, "/v1/backup", &request).await;
    let report = connect::with(&context.home, Mode::Query, work).await?;
    let missing = report.groups.iter().any(|group| group.missing.is_some());
    let copied = report.groups.iter().map(|group| &group.copied).chain([&report.shared]);
    let complete = if missing { ErrorKind::Database.exit_code() } else { completeness(copied) };
    if context.json {
        terminal::out_json(&report)?;
    } else {
        terminal::out(&backed_up(&report))?;
    }
    Ok(complete)
}

fn completeness<'c>(mut copied: impl Iterator<Item = &'c FilesCopied>) -> u8 {
    if copied.any(|copied| copied.failed > 0) { ErrorKind::Incomplete.exit_code() } else { 0 }
}

/// Restores groups. Ends with 14 when files of the backup could not be read.
pub(super) async fn restore(context: &Context, args: RestoreArgs) -> Result<u8, CliError> {
    if args.from.is_none() && args.groups.len() != 1 {
        return Err(CliError::usage("neither a backup nor one group is named").with_hint(
            "`restore --from DIR [GROUP]…` takes from a backup; `restore GROUP` saves what can be read",
        ));
    }
    let from = args.from.as_deref().map(full).transpose()?;
    if from.is_some() && !context.home.root().exists() {
        let home = context.home.root();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(home)
            .map_err(|error| CliError::io(format!("{} cannot be made", home.display()), &error))?;
    }
    let request =
        RestoreRequest { groups: args.groups, from, folder: args.folder, stop: args.stop, empty: args.empty };
    let work = async |client: &Client| follow::<RestoreReport>(client, "/v1/restore", &request).await;
    let report = connect::with(&context.home, Mode::InProcess, work).await?;
    if context.json {
        terminal::out_json(&report)?;
    } else {
        let shared = report.shared.iter().map(restored_shared);
        let home = report.home.iter().flat_map(restored_home);
        let texts: Vec<String> = report.groups.iter().map(restored).chain(shared).chain(home).collect();
        terminal::out(&texts.join("\n"))?;
    }
    let shared = report.shared.iter().map(|shared| &shared.copied);
    Ok(completeness(report.groups.iter().map(|group| &group.copied).chain(shared)))
}

/// Follows long work to its end; on a terminal one line says how far it is.
async fn follow<T: DeserializeOwned>(client: &Client, path: &str, request: &impl Serialize) -> Result<T, CliError> {
    let mut lines = client.work::<T>(path, request).await?;
    let shown = Style::of(&std::io::stderr()).redraws();
    let clear = || {
        if shown {
            terminal::err_piece("\r\u{1b}[K");
        }
    };
    loop {
        let next = lines.next().await;
        clear();
        match next? {
            WorkEvent::Progress(words) if shown => terminal::err_piece(&terminal::clean_line(&words, 79)),
            WorkEvent::Progress(_) => {}
            WorkEvent::Done(done) => return Ok(done),
            WorkEvent::Failed(body) => return Err(body.into()),
        }
    }
}

/// A path as the daemon understands it, which has another working directory.
fn full(path: &Path) -> Result<String, CliError> {
    let full = std::path::absolute(path)
        .map_err(|error| CliError::io(format!("{} has no full path", path.display()), &error))?;
    full.to_str().map(str::to_owned).ok_or_else(|| CliError::usage("the directory's name is not UTF-8"))
}

fn backed_up(report: &BackupReport) -> String {
    let mut table = Table::new(["GROUP", "DATABASE", "FILES", "MIB", "LEFT OUT"]);
    let mut notes = Vec::new();
    for group in &report.groups {
        let database = match (group.database, &group.missing) {
            (true, _) => "copied",
            (false, Some(_)) => "NOT COPIED",
            (false, None) => "none yet",
        };
        table.row(row(group.group.as_str(), database, &group.copied));
        if let Some(why) = &group.missing {
            notes.push(format!("{}: its database is not in the backup: {why}", group.group));
        }
        notes.extend(left_out(group.group.as_str(), &group.copied));
    }
    if report.shared != FilesCopied::default() {
        table.row(row(SHARED, "", &report.shared));
        notes.extend(left_out(SHARED, &report.shared));
    }
    let mut text = table.render();
    for note in notes {
        text += &format!("\n{}", terminal::clean_line(&note, 400));
    }
    text + &format!("\nthe backup is {}", report.dir)
}

fn row(name: &str, database: &str, copied: &FilesCopied) -> [String; 5] {
    let figures = [copied.files, copied.bytes >> 20, copied.left_out];
    let [files, mib, left_out] = figures.map(|figure| figure.to_string());
    [name.to_owned(), database.to_owned(), files, mib, left_out]
}

/// What of a group's files is not in the copy, as far as it is named.
fn left_out(group: &str, copied: &FilesCopied) -> Vec<String> {
    let mut notes: Vec<String> = copied.named.iter().map(|named| format!("{group}: left out {named}")).collect();
    if copied.left_out > copied.named.len() as u64 {
        notes.push(format!("{group}: {} more were left out", copied.left_out - copied.named.len() as u64));
    }
    if copied.failed > 0 {
        notes.push(format!(
            "{group}: {} of these should be in the copy; see to them and do it again",
            copied.failed
        ));
    }
    notes
}

fn restored_shared(shared: &SharedRestore) -> String {
    let mut lines = vec![format!("groups/{SHARED} is restored")];
    lines.extend(put(SHARED, &shared.copied, &shared.aside));
    terminal::clean(&lines.join("\n"))
}

/// What came back besides the groups, line by line.
fn restored_home(home: &HomeRestore) -> Vec<String> {
    let named = |what: &str, names: &[String]| (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")));
    let counted = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));
    let lines = [
        named("channels", &home.channels),
        named("channels that were here stay as they are", &home.channels_kept),
        named(
            "people whom nobody knew here; see whether each should be let in (`cofferdam user list`)",
            &home.people,
        ),
        counted(home.approvals, "approvals wait (`cofferdam approval list`)"),
        counted(home.posts, "messages of Cofferdam's own were on their way, or wait as dead letters"),
    ];
    let to_do = home.to_do.iter().map(|what| format!("to do: {what}"));
    lines.into_iter().flatten().chain(to_do).map(|line| terminal::clean_line(&line, 1000)).collect()
}

/// What of the copy is to be told, and where that is now which it replaced.
fn put(name: &str, copied: &FilesCopied, aside: &[String]) -> Vec<String> {
    let left_out = left_out(name, copied).into_iter().map(|note| terminal::clean_line(&note, 400));
    left_out.chain(aside.iter().map(|path| format!("what was there is now {path}"))).collect()
}

fn restored(group: &GroupRestore) -> String {
    let mut lines = vec![match &group.as_of {
        Some(at) => format!("group {} is as it was at {at}: messages since then are not in it", group.group),
        None => format!("group {} is restored", group.group),
    }];
    if !group.tables.is_empty() {
        let mut table = Table::new(["TABLE", "SAVED", "LOST", "UNUSABLE"]);
        for row in &group.tables {
            let lost = row.lost.map_or_else(|| "unknown".to_owned(), |lost| lost.to_string());
            table.row([row.table.clone(), row.saved.to_string(), lost, row.unusable.to_string()]);
        }
        lines.push(table.render());
    } else if !group.folder {
        lines.push("its folder stays as it was; --folder takes the backup's".to_owned());
    }
    lines.extend(put(group.group.as_str(), &group.copied, &group.aside));
    lines.extend(
        group.wired_elsewhere.iter().map(|chat| format!("{chat} reaches another group here, and stays so")),
    );
    if !group.roles.is_empty() {
        lines.push(format!("roles in it again: {}", group.roles.join(", ")));
    }
    lines.extend(group.no_channel.iter().map(|name| {
        format!("its chats on '{name}' wait for that channel: `cofferdam channel add {name} KIND` adds it")
    }));
    terminal::clean(&lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::admin::{GroupBackup, TableRestore};

    use super::*;

    fn copied(failed: bool) -> FilesCopied {
        let mut named = vec!["workspace/pipe: neither a file nor a directory".to_owned()];
        if failed {
            named.insert(0, "workspace/a\nb\u{1b}[2J: Input/output error (os error 5)".to_owned());
        }
        FilesCopied {
            files: 3,
            bytes: 5 << 20,
            left_out: if failed { 3 } else { 1 },
            failed: u64::from(failed),
            named,
        }
    }

    #[test]
    fn a_backup_says_what_is_not_in_it() {
        let group = |name: &str, missing: Option<&str>| GroupBackup {
            group: name.parse().unwrap(),
            database: missing.is_none(),
            missing: missing.map(str::to_owned),
            copied: copied(missing.is_some()),
        };
        let report = BackupReport {
            dir: "/b".into(),
            at: "2026-01-01T00:00:00Z".into(),
            files: 6,
            bytes: 10 << 20,
            groups: vec![group("demo", None), group("other", Some("it is malformed"))],
            shared: FilesCopied { files: 1, ..FilesCopied::default() },
        };
        insta::assert_snapshot!(backed_up(&report), @r#"
        GROUP   DATABASE    FILES  MIB  LEFT OUT
        demo    copied      3      5    1
        other   NOT COPIED  3      5    3
        global              1      0    0
        demo: left out workspace/pipe: neither a file nor a directory
        other: its database is not in the backup: it is malformed
        other: left out workspace/a b: Input/output error (os error 5)
        other: left out workspace/pipe: neither a file nor a directory
        other: 1 more were left out
        other: 1 of these should be in the copy; see to them and do it again
        the backup is /b
        "#);
    }

    #[test]
    fn a_restored_group_says_what_was_lost_and_where_the_rest_is() {
        let group = GroupRestore {
            group: "demo".parse().unwrap(),
            as_of: None,
            aside: vec!["/h/state.db.broken-1".into()],
            folder: false,
            copied: FilesCopied::default(),
            tables: vec![
                TableRestore { table: "inbox".into(), saved: 3, lost: Some(1), unusable: 0 },
                TableRestore { table: "outbox".into(), saved: 0, lost: None, unusable: 0 },
            ],
            wired_elsewhere: Vec::new(),
            no_channel: vec!["tg".into()],
            roles: vec!["Ada: member".into()],
        };
        insta::assert_snapshot!(restored(&group), @r#"
        group demo is restored
        TABLE   SAVED  LOST     UNUSABLE
        inbox   3      1        0
        outbox  0      unknown  0
        what was there is now /h/state.db.broken-1
        roles in it again: Ada: member
        its chats on 'tg' wait for that channel: `cofferdam channel add tg KIND` adds it
        "#);
    }

    #[test]
    fn a_restored_home_says_what_came_back_and_what_is_to_do() {
        let home = HomeRestore {
            channels: vec!["tg".into()],
            channels_kept: vec![],
            people: vec!["Ada (owner)".into(), "Eve\u{1b}[2J (member of demo)".into()],
            approvals: 1,
            posts: 0,
            to_do: vec!["channel tg: it has no secret".into()],
        };
        insta::assert_snapshot!(restored_home(&home).join("\n"), @r"
        channels: tg
        people whom nobody knew here; see whether each should be let in (`cofferdam user list`): Ada (owner), Eve (member of demo)
        1 approvals wait (`cofferdam approval list`)
        to do: channel tg: it has no secret
        ");
    }
}
