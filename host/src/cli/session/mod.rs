//! `cofferdam session …`: conversations and their containers.

mod diff;
mod follow;
mod show;

use cofferdam_protocol::admin::{Session, SessionState, StoppedSession};
use cofferdam_protocol::ids::Folder;
use jiff::Timestamp;
use serde_json::json;

use super::args::SessionVerb;
use super::client::Client;
use super::connect::{self, Mode};
use super::error::CliError;
use super::group::{set_aside_of_all, tell_missing};
use super::table::{Table, ago, until};
use super::words::SessionWord;
use super::{Context, terminal};

pub(super) async fn run(context: &Context, verb: SessionVerb) -> Result<u8, CliError> {
    match verb {
        SessionVerb::List { group } => list(context, group.as_ref()).await?,
        SessionVerb::Show { session } => show::run(context, &session).await?,
        SessionVerb::Diff { session, turn } => diff::run(context, &session, turn).await?,
        SessionVerb::Stop { session } => stop(context, &session).await?,
        SessionVerb::Logs { session, follow: true, .. } => follow::run(context, &session).await?,
        SessionVerb::Logs { session, attempt, follow: false } => logs(context, &session, attempt).await?,
    }
    Ok(0)
}

async fn list(context: &Context, group: Option<&Folder>) -> Result<(), CliError> {
    let path = group.map_or_else(|| "/v1/sessions".to_owned(), |group| format!("/v1/sessions?group={group}"));
    let get = async |client: &Client| {
        let sessions = client.get::<Vec<Session>>(&path).await?;
        Ok((sessions, set_aside_of_all(client, group).await?))
    };
    let (sessions, aside) = connect::with(&context.home, Mode::Query, get).await?;
    tell_missing("sessions", &aside);
    if context.json {
        return terminal::out_json(&sessions);
    }
    if sessions.is_empty() {
        return terminal::out("no sessions yet: the first message of a chat makes one");
    }
    terminal::out(&table(&sessions, Timestamp::now()))
}

/// How much of a session's id a table shows; the beginning is enough for every command.
const SHOWN: usize = 12;

/// Sessions as a table; used by `status` too.
pub(super) fn table(sessions: &[Session], now: Timestamp) -> String {
    let mut table = Table::new(["SESSION", "GROUP", "CHAT", "STATE", "TURNS", "WAITING", "ACTIVE", "NOTE"]);
    for session in sessions {
        table.row([
            session.id.as_str().chars().take(SHOWN).collect(),
            session.group.to_string(),
            session.chat.clone(),
            state(session.state).to_owned(),
            session.turns.to_string(),
            session.waiting.to_string(),
            ago(&session.active_at, now),
            note(session, now),
        ]);
    }
    table.render()
}

fn note(session: &Session, now: Timestamp) -> String {
    let changed = session.config_changed.then(|| "container.json changed: holds from the next start".to_owned());
    let retry = session.retry_at.as_deref().map(|at| format!("tries again {}, at {at}", until(at, now)));
    session.note.clone().into_iter().chain(retry).chain(changed).collect::<Vec<_>>().join("; ")
}

/// A state in the word that people see.
pub(super) fn state(state: SessionState) -> &'static str {
    match state {
        SessionState::Stopped => "stopped",
        SessionState::Queued => "queued",
        SessionState::Starting => "starting",
        SessionState::Idle => "idle",
        SessionState::Busy => "busy",
        SessionState::Stopping => "stopping",
    }
}

async fn stop(context: &Context, id: &SessionWord) -> Result<(), CliError> {
    let path = format!("/v1/sessions/{id}/stop");
    let post = async |client: &Client| Ok(client.post_for::<StoppedSession>(&path).await?);
    let stopped = connect::with(&context.home, Mode::InProcess, post).await?;
    if context.json {
        return terminal::out_json(&json!({ "stopped": id.to_string(), "waiting": stopped.waiting }));
    }
    terminal::out(&format!("session {id} {}", starts_again(stopped.waiting)))
}

/// What starts a session again that was stopped while so many messages waited.
fn starts_again(waiting: u64) -> String {
    match waiting {
        0 => "is stopped; its next message starts it again".to_owned(),
        1 => "was stopped; 1 message waits and starts it again (`/stop` in its chat takes it back)".to_owned(),
        n => format!("was stopped; {n} messages wait and start it again (`/stop` in their chat takes them back)"),
    }
}

async fn logs(context: &Context, id: &SessionWord, attempt: Option<i64>) -> Result<(), CliError> {
    let query = attempt.map_or_else(String::new, |attempt| format!("?attempt={attempt}"));
    let path = format!("/v1/sessions/{id}/logs{query}");
    let get = async |client: &Client| Ok(client.get_text(&path).await?);
    let log = connect::with(&context.home, Mode::Query, get).await?;
    if context.json {
        return terminal::out_json(&json!({ "session": id.to_string(), "attempt": attempt, "log": log }));
    }
    terminal::out(terminal::clean(&log).trim_end())
}

#[cfg(test)]
pub(super) mod tests {
    use cofferdam_protocol::ids::Attempt;
    use cofferdam_protocol::runner::ProviderKind;

    use super::*;

    #[test]
    fn whoever_stops_a_session_is_told_how_many_messages_start_it_again() {
        assert!(starts_again(0).contains("its next message starts it again"));
        assert!(starts_again(1).contains("1 message waits and starts it again"));
        assert!(starts_again(2).contains("2 messages wait and start it again"));
    }

    pub fn session(state: SessionState, note: Option<&str>) -> Session {
        Session {
            id: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            group: "demo".parse().unwrap(),
            chat: "terminal:main".into(),
            state,
            note: note.map(str::to_owned),
            attempt: Attempt(2),
            provider: Some(ProviderKind::Codex),
            continuation: None,
            container: Some("c1".into()),
            turns: 3,
            waiting: 1,
            active_at: "2026-01-01T00:00:00Z".into(),
            config_changed: state == SessionState::Idle,
            retry_at: None,
        }
    }

    #[test]
    fn a_session_that_waits_for_another_try_says_when() {
        let session =
            Session { retry_at: Some("2026-01-01T00:01:00Z".into()), ..session(SessionState::Stopped, None) };
        let note = note(&session, "2026-01-01T00:00:15Z".parse().unwrap());
        assert_eq!(note, "tries again in 45 s, at 2026-01-01T00:01:00Z");
    }

    #[test]
    fn a_list_says_why_a_session_waits_and_that_its_file_changed() {
        let sessions = [
            session(SessionState::Queued, Some("waits for a place: 8 of 8 containers run")),
            session(SessionState::Idle, None),
        ];
        insta::assert_snapshot!(table(&sessions, "2026-01-01T00:02:00Z".parse().unwrap()), @r#"
        SESSION       GROUP  CHAT           STATE   TURNS  WAITING  ACTIVE     NOTE
        0123456789ab  demo   terminal:main  queued  3      1        2 min ago  waits for a place: 8 of 8 containers run
        0123456789ab  demo   terminal:main  idle    3      1        2 min ago  container.json changed: holds from the next start
        "#);
    }
}
