//! `cofferdam dead-letter …`: what was tried for the last time, and what becomes of it.

use cofferdam_protocol::admin::{DeadLetter, ErrorKind, SettledLetters};
use jiff::Timestamp;
use serde_json::json;

use super::args::{DeadLetterVerb, SettleArgs};
use super::client::Client;
use super::connect::{self, Mode};
use super::error::CliError;
use super::group::{set_aside_of_all, tell_missing};
use super::table::{Table, ago, pairs};
use super::words::{LetterWord, LettersOf};
use super::{Context, terminal};

const PATH: &str = "/v1/dead-letters";

/// What a person decides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Decision {
    Retry,
    Drop,
}

pub(super) async fn run(context: &Context, verb: DeadLetterVerb) -> Result<u8, CliError> {
    match verb {
        DeadLetterVerb::List { group, all } => list(context, group.as_ref(), all).await?,
        DeadLetterVerb::Show { letter } => show(context, &letter).await?,
        DeadLetterVerb::Retry(args) => settle(context, args, Decision::Retry).await?,
        DeadLetterVerb::Drop(args) => settle(context, args, Decision::Drop).await?,
    }
    Ok(0)
}

async fn list(context: &Context, of: Option<&LettersOf>, all: bool) -> Result<(), CliError> {
    let only = of.map(|of| format!("&group={of}")).unwrap_or_default();
    let path = format!("{PATH}?all={all}{only}");
    let get = async |client: &Client| {
        let letters = client.get::<Vec<DeadLetter>>(&path).await?;
        let aside = match of {
            Some(LettersOf::Own) => Vec::new(),
            of => set_aside_of_all(client, of.and_then(LettersOf::group)).await?,
        };
        Ok((letters, aside))
    };
    let (letters, aside) = connect::with(&context.home, Mode::Query, get).await?;
    tell_missing("dead letters", &aside);
    if context.json {
        return terminal::out_json(&letters);
    }
    if letters.is_empty() {
        return terminal::out("no dead letters");
    }
    terminal::out(&table(&letters, Timestamp::now()))
}

fn table(letters: &[DeadLetter], now: Timestamp) -> String {
    let mut table = Table::new(["LETTER", "WHAT", "CHAT", "CAUSE", "TRIES", "STATE", "SINCE", "TEXT"]);
    for letter in letters {
        table.row([
            letter.reference.clone(),
            what(letter).to_owned(),
            letter.chat.clone(),
            letter.cause.clone(),
            letter.tries.to_string(),
            letter.state.clone(),
            ago(&letter.at, now),
            letter.text.clone(),
        ]);
    }
    table.render()
}

fn what(letter: &DeadLetter) -> &'static str {
    match (&letter.group, letter.reply) {
        (None, _) => "post",
        (_, Some(_)) => "reply",
        (_, None) => "message",
    }
}

async fn show(context: &Context, letter: &LetterWord) -> Result<(), CliError> {
    let path = format!("{PATH}/{letter}");
    let get = async |client: &Client| Ok(client.get::<DeadLetter>(&path).await?);
    let letter = connect::with(&context.home, Mode::Query, get).await?;
    if context.json {
        return terminal::out_json(&letter);
    }
    terminal::out(&shown(&letter, Timestamp::now()))
}

fn shown(letter: &DeadLetter, now: Timestamp) -> String {
    let id = letter.message.map(|id| id.0).or(letter.reply.map(|id| id.0)).unwrap_or_default();
    let head = pairs(&[
        ("letter", Some(letter.reference.clone())),
        ("what", Some(format!("{} {id}", what(letter)))),
        ("chat", Some(letter.chat.clone())),
        ("session", letter.session.as_ref().map(ToString::to_string)),
        ("turn", letter.turn.map(|turn| turn.to_string())),
        ("cause", Some(letter.cause.clone())),
        ("error", Some(letter.error.clone())),
        ("tries", Some(letter.tries.to_string())),
        ("since", Some(format!("{} ({})", ago(&letter.at, now), letter.at))),
        ("state", Some(letter.state.clone())),
        ("decided", letter.settled_at.clone()),
    ]);
    format!("{head}\n\n{}", terminal::clean(&letter.text).trim_end())
}

async fn settle(context: &Context, args: SettleArgs, decision: Decision) -> Result<(), CliError> {
    let connection = connect::connect_or_host(&context.home, Mode::Query).await?;
    let settled = match &args.all {
        Some(of) => settle_all(connection.client(), of, decision).await,
        None => settle_each(connection.client(), &args.letters, decision).await,
    };
    let daemon = connection.is_remote();
    connection.close().await;
    let settled = settled?;
    if context.json {
        let key = if decision == Decision::Retry { "retried" } else { "dropped" };
        return terminal::out_json(&json!({ key: settled }));
    }
    terminal::out(&words(&settled, decision, daemon))
}

async fn settle_all(client: &Client, of: &LettersOf, decision: Decision) -> Result<Vec<String>, CliError> {
    let answer: SettledLetters = match decision {
        Decision::Retry => client.post_for(&format!("{PATH}/{of}/retry")).await?,
        Decision::Drop => client.delete_for(&format!("{PATH}/{of}")).await?,
    };
    Ok(answer.settled)
}

/// One after another; the first that cannot be decided ends it, and says what was done before.
async fn settle_each(client: &Client, letters: &[LetterWord], decision: Decision) -> Result<Vec<String>, CliError> {
    let mut done: Vec<String> = Vec::new();
    for letter in letters {
        let path = format!("{PATH}/{letter}");
        let answer = match decision {
            Decision::Retry => client.post_for::<DeadLetter>(&format!("{path}/retry")).await,
            Decision::Drop => client.delete_for::<DeadLetter>(&path).await,
        };
        match answer {
            Ok(letter) => done.push(letter.reference),
            Err(error) => return Err(after(&done, error.into())),
        }
    }
    Ok(done)
}

fn after(done: &[String], error: CliError) -> CliError {
    if done.is_empty() {
        return error;
    }
    let kind: ErrorKind = error.kind();
    let named = CliError::new(kind, format!("{}; done before: {}", error.message(), done.join(", ")));
    match error.hint() {
        Some(hint) => named.with_hint(hint),
        None => named,
    }
}

fn words(settled: &[String], decision: Decision, daemon: bool) -> String {
    let which = settled.join(", ");
    match (settled.len(), decision) {
        (0, _) => "no dead letters".to_owned(),
        (1, Decision::Drop) => format!("{which} is dropped"),
        (_, Decision::Drop) => format!("{which} are dropped"),
        (n, Decision::Retry) => {
            let verb = if n == 1 { "is" } else { "are" };
            let when = if daemon { "now" } else { "when a daemon runs: `cofferdam up` starts it" };
            format!("{which} {verb} tried again {when}")
        }
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::ids::{MessageId, TurnId};

    use super::*;

    fn letter() -> DeadLetter {
        DeadLetter {
            reference: "demo/3".into(),
            group: "demo".parse().ok(),
            number: 3,
            session: "0123456789abcdef0123456789abcdef".parse().ok(),
            chat: "terminal:demo".into(),
            message: Some(MessageId(7)),
            reply: None,
            turn: Some(TurnId(4)),
            text: "please\nlook".into(),
            cause: "provider".into(),
            error: "503 Service Unavailable".into(),
            tries: 4,
            state: "open".into(),
            at: "2026-01-01T00:00:00Z".into(),
            settled_at: None,
        }
    }

    #[test]
    fn letters_are_listed_and_shown_with_their_error() {
        let now = "2026-01-01T00:02:00Z".parse().unwrap();
        insta::assert_snapshot!(table(&[letter()], now), @r"
        LETTER  WHAT     CHAT           CAUSE     TRIES  STATE  SINCE      TEXT
        demo/3  message  terminal:demo  provider  4      open   2 min ago  please look
        ");
        insta::assert_snapshot!(shown(&letter(), now), @r"
        letter:  demo/3
        what:    message 7
        chat:    terminal:demo
        session: 0123456789abcdef0123456789abcdef
        turn:    4
        cause:   provider
        error:   503 Service Unavailable
        tries:   4
        since:   2 min ago (2026-01-01T00:00:00Z)
        state:   open

        please
        look
        ");
    }

    #[test]
    fn a_retry_without_a_daemon_says_what_it_waits_for() {
        let one = ["demo/3".to_owned()];
        assert_eq!(words(&one, Decision::Retry, true), "demo/3 is tried again now");
        assert!(words(&one, Decision::Retry, false).contains("cofferdam up"));
        assert_eq!(words(&[], Decision::Drop, true), "no dead letters");
    }
}
