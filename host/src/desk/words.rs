//! The desk's own words, and what is made harmless before anybody reads it.

use cofferdam_protocol::ids::{Folder, WaitingId};

use crate::channels::{Arrival, Content};
use crate::model::chat::ChatKind;
use crate::model::people::{Act, Role};
use crate::store::StoreError;
use crate::store::pairing::{Paired, Shown};

/// The longest name of a person or a chat, in characters.
const MOST_NAME: usize = 80;

/// An arrival whose names can be shown anywhere: one line, no control characters, not too long.
pub(super) fn harmless(mut arrival: Arrival) -> Arrival {
    arrival.sender.name = name(&arrival.sender.name);
    if arrival.sender.name.is_empty() {
        arrival.sender.name.clone_from(&arrival.sender.id);
    }
    arrival.title = arrival.title.map(|title| name(&title)).filter(|title| !title.is_empty());
    // What a database's text cannot be searched for.
    if let Content::Message(written) | Content::Edit(written) = &mut arrival.content {
        written.text = written.text.replace('\0', "");
        written.quote = written.quote.take().map(|quote| quote.replace('\0', ""));
    }
    arrival
}

/// A foreign name in one harmless line.
pub(super) fn name(name: &str) -> String {
    let reorders =
        |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    let plain: String = name.chars().filter(|c| !c.is_control() && !reorders(*c)).take(MOST_NAME).collect();
    plain.trim().to_owned()
}

pub(super) fn flood() -> String {
    "You write faster than anybody reads: your messages are taken in one every two seconds now, and dropped when more than a \
     minute of them waits."
        .to_owned()
}

pub(super) fn backlog() -> String {
    "So much of this chat waits for its agent already that nothing more is kept: what you write now is dropped. Write it again \
     later."
        .to_owned()
}

pub(super) fn refused(act: Act) -> String {
    let what = match act {
        Act::Write => "writing to this agent",
        Act::Look => "looking at it",
        Act::Steer => "any of /stop, /clear and /compact",
        Act::Choose => "any of /model, /effort and /account",
        Act::Decide => "deciding on approvals",
    };
    format!("Not done: {what} takes the role {} here.", act.needs().as_str())
}

pub(super) fn unwired() -> String {
    "This chat is not connected to an agent yet. Whoever keeps this bot was asked; your message is kept until they answer."
        .to_owned()
}

pub(super) fn unknown_sender() -> String {
    "I do not know you yet. Whoever keeps this bot was asked; your message is kept until they answer.".to_owned()
}

pub(super) fn help(role: Option<Role>) -> String {
    let may = |act: Act| role.is_some_and(|role| role.may(act));
    let mut lines =
        vec!["Write, and the agent answers. What begins so is for me:".to_owned(), "/help · /status".into()];
    if may(Act::Steer) {
        lines.push("/stop ends the running turn · /clear begins anew · /compact sums up".into());
    }
    if may(Act::Choose) {
        lines.push("/model [NAME|default] · /effort [LEVEL|default] · /account [NAME|default]".into());
    }
    if may(Act::Decide) {
        lines.push(
            "/approve [ID] [WORD] · /deny [ID] decide on what waits, and answer a question of the agent".into(),
        );
    }
    if role.is_none() {
        lines.push("/pair CODE shows me who you are".into());
    }
    lines.join("\n")
}

/// What is said to somebody who shows a code.
pub(super) fn shown(shown: &Shown) -> String {
    match shown {
        Shown::Opened(opened) => paired(opened),
        Shown::Wrong => bad_code(),
        Shown::Another => another(),
    }
}

fn paired(paired: &Paired) -> String {
    let of = |group: &Folder| format!(" of {group}");
    let of = paired.wired.as_ref().filter(|_| paired.role != Some(Role::Owner)).map(of).unwrap_or_default();
    let known = match paired.role {
        Some(role) => format!("You are {} {}{of} now.", article(role), role.as_str()),
        None => "You are known here now.".to_owned(),
    };
    let chat = match &paired.wired {
        Some(group) => format!(" This chat reaches {group} now: write something."),
        None => String::new(),
    };
    format!("Hello! {known}{chat}")
}

fn article(role: Role) -> &'static str {
    match role {
        Role::Admin | Role::Owner => "an",
        Role::Guest | Role::Member => "a",
    }
}

fn another() -> String {
    "That code is for somebody else: you are known here as another person already. If both are you, `cofferdam user link` makes \
     them one."
        .to_owned()
}

/// It was decided, and what.
pub(super) fn decided(id: &WaitingId, made: &str) -> String {
    sentence(&format!("{}: {made}", id.named()))
}

/// A command that came again.
pub(super) fn said_before() -> String {
    "That message was answered before; it does nothing more.".to_owned()
}

/// What a group's own trouble makes of a command or a press, where trying again would only say the same.
pub(super) fn unable(error: &StoreError) -> String {
    match error {
        StoreError::Full(waiting) => format!("Not done: {waiting} messages of that conversation wait already."),
        _ => "Not done: that group takes nothing just now. `cofferdam doctor` says why.".to_owned(),
    }
}

/// Words that begin as a sentence does.
pub(super) fn sentence(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn bad_code() -> String {
    "That code opens nothing: it was used, it is over, or it has a mistake. `cofferdam pair` makes a new one."
        .to_owned()
}

pub(super) fn owner_already() -> String {
    "Whoever writes here is an owner already. A code is for a chat on another channel: send it there.".to_owned()
}

/// Who and where, for an approver.
pub(super) fn who(arrival: &Arrival) -> String {
    let place = match (arrival.kind, &arrival.title) {
        (ChatKind::Direct, _) => "in a direct chat".to_owned(),
        (ChatKind::Group, Some(title)) => format!("in the chat “{title}”"),
        (ChatKind::Group, None) => format!("in the chat {}", arrival.chat.chat_id),
    };
    let Arrival { sender, chat, .. } = arrival;
    format!("{} ({} {}) writes {place}", sender.name, chat.channel, sender.id)
}

/// The beginning of what they wrote, for an approver.
pub(super) fn excerpt(text: &str) -> String {
    const MOST: usize = 200;
    let line: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).take(MOST).collect();
    format!("“{}{}”", name_free(&line), if text.chars().count() > MOST { "…" } else { "" })
}

fn name_free(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned()
}
