//! `cofferdam session logs --follow`: a session as it goes on.

use std::time::Duration;

use cofferdam_protocol::admin::{ChatOutcome, FollowEvent};
use cofferdam_protocol::ids::{Attempt, TurnId};
use cofferdam_protocol::runner::Usage;
use tokio::time::sleep;

use super::state;
use crate::cli::Context;
use crate::cli::chat;
use crate::cli::client::{Client, ClientError};
use crate::cli::connect::{self, Mode};
use crate::cli::error::CliError;
use crate::cli::table::grouped;
use crate::cli::terminal::{self, Style, clean, clean_line};
use crate::cli::words::SessionWord;

/// How often a daemon that went away is looked for.
const RETRY: Duration = Duration::from_millis(200);

pub(super) async fn run(context: &Context, id: &SessionWord) -> Result<(), CliError> {
    let connection = connect::connect_or_host(&context.home, Mode::Query).await?;
    let mut view = View { json: context.json, style: Style::of(&std::io::stdout()), place: None };
    let result = if connection.is_remote() {
        tokio::select! {
            result = follow(connection.client(), id, &mut view) => result,
            // The ordinary end.
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    } else {
        once(connection.client(), id, &mut view).await
    };
    connection.close().await;
    result
}

/// Follows over restarts of the daemon.
async fn follow(client: &Client, id: &SessionWord, view: &mut View) -> Result<(), CliError> {
    let mut lost = false;
    loop {
        let Err(end) = read(client, id, view, &mut lost).await;
        match end {
            End::View(error) => return Err(error),
            End::Client(error) if !error.is_passing() => return Err(error.into()),
            End::Client(_) if !lost => {
                lost = true;
                terminal::err(chat::LOST);
            }
            End::Client(_) => {}
        }
        sleep(RETRY).await;
    }
}

enum End {
    Client(ClientError),
    View(CliError),
}

async fn read(
    client: &Client,
    id: &SessionWord,
    view: &mut View,
    lost: &mut bool,
) -> Result<std::convert::Infallible, End> {
    let mut events = client.follow(&view.path(id)).await.map_err(End::Client)?;
    loop {
        let event = events.next().await.map_err(End::Client)?;
        *lost = false;
        view.show(&event).map_err(End::View)?;
    }
}

/// Without a daemon nothing goes on: what there is, and why there is no more.
async fn once(client: &Client, id: &SessionWord, view: &mut View) -> Result<(), CliError> {
    let mut events = client.follow(&view.path(id)).await?;
    loop {
        let event = events.next().await?;
        if matches!(event, FollowEvent::State { .. }) {
            terminal::err("no daemon runs, so nothing more is written; `cofferdam up` starts it");
            return Ok(());
        }
        view.show(&event)?;
    }
}

/// What is shown, and up to where.
struct View {
    json: bool,
    style: Style,
    /// Where the log goes on.
    place: Option<(Attempt, u64)>,
}

impl View {
    fn path(&self, id: &SessionWord) -> String {
        let query = self.place.map(|(attempt, offset)| format!("?attempt={attempt}&offset={offset}"));
        format!("/v1/sessions/{id}/follow{}", query.unwrap_or_default())
    }

    fn show(&mut self, event: &FollowEvent) -> Result<(), CliError> {
        match event {
            FollowEvent::Log { attempt, offset, .. } => self.place = Some((*attempt, *offset)),
            // Said again after a connection broke.
            FollowEvent::Attempt { attempt } if self.place.is_some_and(|(known, _)| known == *attempt) => {
                return Ok(());
            }
            FollowEvent::Attempt { attempt } => self.place = Some((*attempt, 0)),
            _ => {}
        }
        if self.json {
            let line = serde_json::to_string(event).map_err(|error| CliError::internal(error.to_string()))?;
            return terminal::out(&line);
        }
        match text(event, self.style) {
            Some(text) => terminal::out(&text),
            None => Ok(()),
        }
    }
}

/// An event in one line; the log as it is, what the agent does marked by `>`, our own words dim.
fn text(event: &FollowEvent, style: Style) -> Option<String> {
    let dim = |text: String| Some(style.dim(&text));
    match event {
        FollowEvent::Attempt { attempt } => dim(format!("-- log of attempt {attempt}")),
        FollowEvent::Log { line, .. } => Some(clean(line)),
        FollowEvent::State { state: now, note } => {
            let note = note.as_ref().map(|note| format!(": {}", clean_line(note, 160))).unwrap_or_default();
            dim(format!("-- {}{note}", state(*now)))
        }
        FollowEvent::Blocked { message, .. } => {
            Some(style.yellow(&format!("-- waits: {}", clean_line(message, 400))))
        }
        FollowEvent::Started { turn, attempt } => dim(format!("-- turn {turn} begins on attempt {attempt}")),
        FollowEvent::Text { line } => Some(format!("> {}", clean(line))),
        FollowEvent::Activity { kind, text } => chat::activity(*kind, text).map(|line| format!("> {line}")),
        FollowEvent::Retrying { turn, at } => {
            Some(style.yellow(&format!("-- turn {turn} failed and is tried again at {at}")))
        }
        FollowEvent::Ended { turn, outcome, usage } => dim(ended(*turn, outcome, usage.as_ref())),
        FollowEvent::Missed { events } => Some(style.yellow(&format!("-- {events} events were missed"))),
    }
}

fn ended(turn: Option<TurnId>, outcome: &ChatOutcome, usage: Option<&Usage>) -> String {
    let what = turn.map_or_else(|| "messages that waited".to_owned(), |turn| format!("turn {turn}"));
    let how = match outcome {
        ChatOutcome::Replied => "ended".to_owned(),
        ChatOutcome::Failed { kind } => format!("failed: {}", super::show::word(kind).replace('_', " ")),
        ChatOutcome::Interrupted => "was interrupted".to_owned(),
    };
    let tokens =
        usage.map(|usage| format!(" ({} input, {} output tokens)", grouped(usage.input), grouped(usage.output)));
    format!("-- {what} {how}{}", tokens.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::admin::SessionState;
    use cofferdam_protocol::runner::{ActivityKind, FailureKind};

    use super::*;

    fn log(line: &str, offset: u64) -> FollowEvent {
        FollowEvent::Log { line: line.into(), attempt: Attempt(2), offset }
    }

    #[test]
    fn the_log_the_agent_and_our_words_are_told_apart() {
        let events = [
            FollowEvent::Attempt { attempt: Attempt(2) },
            log("INFO turn\u{1b}[2J begins", 20),
            FollowEvent::State { state: SessionState::Busy, note: None },
            FollowEvent::Started { turn: TurnId(3), attempt: Attempt(2) },
            FollowEvent::Activity { kind: ActivityKind::CommandStarted, text: "ls".into() },
            FollowEvent::Text { line: "It is\u{7} done.".into() },
            FollowEvent::Missed { events: 4 },
            FollowEvent::Retrying { turn: TurnId(2), at: "2026-01-01T00:00:00Z".into() },
            FollowEvent::Ended {
                turn: Some(TurnId(3)),
                outcome: ChatOutcome::Replied,
                usage: Some(Usage { input: 1234, output: 5, ..Usage::default() }),
            },
            FollowEvent::Ended {
                turn: None,
                outcome: ChatOutcome::Failed { kind: FailureKind::ProviderDied },
                usage: None,
            },
        ];
        let lines: Vec<String> = events.iter().filter_map(|event| text(event, Style::PLAIN)).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        -- log of attempt 2
        INFO turn begins
        -- busy
        -- turn 3 begins on attempt 2
        > $ ls
        > It is done.
        -- 4 events were missed
        -- turn 2 failed and is tried again at 2026-01-01T00:00:00Z
        -- turn 3 ended (1,234 input, 5 output tokens)
        -- messages that waited failed: provider died
        ");
    }

    #[test]
    fn a_connection_that_broke_goes_on_where_it_was() {
        let id: SessionWord = "ab".parse().unwrap();
        let mut view = View { json: false, style: Style::PLAIN, place: None };
        assert_eq!(view.path(&id), "/v1/sessions/ab/follow");
        view.show(&FollowEvent::Attempt { attempt: Attempt(2) }).unwrap();
        assert_eq!(view.path(&id), "/v1/sessions/ab/follow?attempt=2&offset=0");
        view.show(&log("x", 20)).unwrap();
        view.show(&FollowEvent::Attempt { attempt: Attempt(2) }).unwrap();
        assert_eq!(view.path(&id), "/v1/sessions/ab/follow?attempt=2&offset=20");
    }
}
