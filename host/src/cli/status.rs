//! `cofferdam status`: what runs, what waits, and why.

use cofferdam_protocol::admin::{Channel, DiskTrouble, ForPeople, OpenLetters, Status};
use jiff::Timestamp;

use super::account::limits;
use super::client::Client;
use super::connect::{self, Mode};
use super::error::CliError;
use super::table::{Table, pairs, span};
use super::{Context, chats, session, terminal};

pub(super) async fn run(context: &Context) -> Result<u8, CliError> {
    let get = async |client: &Client| Ok(client.get::<Status>("/v1/status").await?);
    let status = connect::with(&context.home, Mode::Query, get).await?;
    if context.json {
        terminal::out_json(&status)?;
    } else {
        terminal::out(&render(&status, Timestamp::now()))?;
    }
    Ok(0)
}

fn render(status: &Status, now: Timestamp) -> String {
    let daemon = match status.uptime_secs {
        Some(secs) => format!("up {}, process {}", span(i64::try_from(secs).unwrap_or(i64::MAX)), status.pid),
        None => "not running; `cofferdam up` starts it, and `chat` works without".to_owned(),
    };
    let queued = match status.places.queued {
        0 => String::new(),
        n => format!(", {n} waiting for a place"),
    };
    let mut text = pairs(&[
        ("cofferdam", Some(status.version.clone())),
        ("home", Some(status.home.clone())),
        ("daemon", Some(daemon)),
        ("account", Some(status.account.clone())),
        ("limits", (!status.limits.is_empty()).then(|| limits(&status.limits, now))),
        // A command that only looks leaves containers alone, and so does not know them.
        (
            "containers",
            status
                .uptime_secs
                .map(|_| format!("{} of {}{queued}", status.places.running, status.places.max_sessions)),
        ),
        ("groups", Some(status.groups.to_string())),
        ("engine", status.engine_error.clone()),
        ("disk", status.disk.as_ref().map(disk)),
        ("channels", channels(&status.channels)),
        ("approvals", waiting(status.people)),
        ("dead letters", dead_letters(&status.dead_letters)),
    ]);
    for note in &status.notes {
        text += &format!("\nnote: {}", terminal::clean_line(note, 400));
    }
    for lost in &status.lost_secrets {
        text += &format!(
            "\nnote: {}; {}",
            terminal::clean_line(&lost.what, 200),
            terminal::clean_line(&lost.mend, 200)
        );
    }
    if !status.sessions.is_empty() {
        text += &format!("\n\n{}", session::table(&status.sessions, now));
    }
    if !status.dropped.is_empty() {
        let mut table = Table::new(["DROPPED FROM", "COUNT", "WHY"]);
        for dropped in &status.dropped {
            table.row([dropped.chat.clone(), dropped.count.to_string(), dropped.reason.clone()]);
        }
        text += &format!("\n\n{}", table.render());
    }
    text
}

fn disk(trouble: &DiskTrouble) -> String {
    let free = trouble.free_bytes / 1024;
    format!(
        "{} cannot be written: {}; {free} KiB free; what comes is refused, what is under way waits",
        trouble.path, trouble.why
    )
}

/// How the channels stand, in one line.
fn channels(channels: &[Channel]) -> Option<String> {
    let stand: Vec<_> =
        channels.iter().map(|channel| format!("{} {}", channel.name, chats::channel::state(channel))).collect();
    (!stand.is_empty()).then(|| stand.join("; "))
}

/// What waits for a person, in one line.
fn waiting(waits: ForPeople) -> Option<String> {
    let count = |many: u64, what: &str| match many {
        0 => None,
        1 => Some(format!("1 {what}")),
        many => Some(format!("{many} {what}s")),
    };
    let counts: Vec<_> =
        [count(waits.approvals, "approval"), count(waits.questions, "question")].into_iter().flatten().collect();
    let nobody = match waits.unasked {
        0 => String::new(),
        n => format!(
            ", {n} of which nobody could be asked: no owner or admin has a direct chat with the bot. `cofferdam pair` makes a \
             code for one"
        ),
    };
    (!counts.is_empty()).then(|| {
        format!("{} for a person{nobody}; `cofferdam approval list` shows what waits", counts.join(" and "))
    })
}

/// Groups with dead letters, in one line.
fn dead_letters(groups: &[OpenLetters]) -> Option<String> {
    let count = |open: &OpenLetters| match &open.group {
        Some(group) => format!("{} in {group}", open.count),
        None => format!("{} of Cofferdam's own words", open.count),
    };
    let counts: Vec<_> = groups.iter().map(count).collect();
    (!counts.is_empty()).then(|| format!("{}; `cofferdam dead-letter list` shows them", counts.join(", ")))
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::admin::{Dropped, Places, SessionState};

    use super::*;

    fn status() -> Status {
        Status {
            version: "0.1.0".into(),
            home: "/h".into(),
            install: "i".into(),
            pid: 7,
            uptime_secs: None,
            ends_within_secs: None,
            account: "offline model".into(),
            limits: vec![],
            places: Places { max_sessions: 8, running: 0, queued: 0 },
            groups: 1,
            engine_error: None,
            disk: None,
            channels: vec![],
            lost_secrets: vec![],
            people: ForPeople::default(),
            notes: vec![],
            dropped: vec![],
            dead_letters: vec![],
            sessions: vec![],
        }
    }

    #[test]
    fn a_quiet_home_is_told_in_a_few_lines() {
        insta::assert_snapshot!(render(&status(), Timestamp::UNIX_EPOCH), @r#"
        cofferdam: 0.1.0
        home:      /h
        daemon:    not running; `cofferdam up` starts it, and `chat` works without
        account:   offline model
        groups:    1
        "#);
    }

    #[test]
    fn everything_that_waits_shows_why() {
        let status = Status {
            uptime_secs: Some(7300),
            places: Places { max_sessions: 8, running: 8, queued: 1 },
            engine_error: Some("the Docker engine does not answer".into()),
            disk: Some(DiskTrouble { path: "/h/data".into(), why: "no space".into(), free_bytes: 4096 }),
            notes: vec!["demo: container.json has errors".into()],
            people: ForPeople { approvals: 2, unasked: 1, questions: 1 },
            dead_letters: vec![
                OpenLetters { group: "demo".parse().ok(), count: 2 },
                OpenLetters { group: None, count: 1 },
            ],
            dropped: vec![Dropped { chat: "terminal:x".into(), reason: "no wiring".into(), count: 2 }],
            sessions: vec![session::tests::session(SessionState::Queued, Some("waits for a place"))],
            ..status()
        };
        insta::assert_snapshot!(render(&status, "2026-01-01T00:00:00Z".parse().unwrap()), @r#"
        cofferdam:    0.1.0
        home:         /h
        daemon:       up 2 h, process 7
        account:      offline model
        containers:   8 of 8, 1 waiting for a place
        groups:       1
        engine:       the Docker engine does not answer
        disk:         /h/data cannot be written: no space; 4 KiB free; what comes is refused, what is under way waits
        approvals:    2 approvals and 1 question for a person, 1 of which nobody could be asked: no owner or admin has a direct chat with the bot. `cofferdam pair` makes a code for one; `cofferdam approval list` shows what waits
        dead letters: 2 in demo, 1 of Cofferdam's own words; `cofferdam dead-letter list` shows them
        note: demo: container.json has errors

        SESSION       GROUP  CHAT           STATE   TURNS  WAITING  ACTIVE  NOTE
        0123456789ab  demo   terminal:main  queued  3      1        now     waits for a place

        DROPPED FROM  COUNT  WHY
        terminal:x    2      no wiring
        "#);
    }
}
