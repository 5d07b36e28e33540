//! What becomes of a message; pure. Whoever calls has looked up what is asked for here, and does what is answered.

use cofferdam_protocol::ids::Folder;

use super::DropReason;
use crate::model::chat::{ChatKind, SessionMode};
use crate::model::engage::{EngageMode, Heard, Others};
use crate::model::own_command::{Asks, OwnCommand};
use crate::model::people::{Act, Role, UnknownPolicy};

/// A message, as far as it is told apart.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// The sort of its chat.
    pub kind: ChatKind,
    /// It speaks to the bot. In a direct chat everything does.
    pub addressed: bool,
    /// What it asks for.
    pub asks: &'a Asks,
    /// It has neither text nor files.
    pub empty: bool,
    /// Its text is longer than is taken.
    pub too_large: bool,
}

/// A group that listens in the chat.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The group.
    pub folder: Folder,
    /// Which messages share a session.
    pub session_mode: SessionMode,
    /// When it is woken.
    pub engage: EngageMode,
    /// Its pattern fits the message.
    pub fits: bool,
    /// The message is in a thread in which one engaged before.
    pub goes_on: bool,
    /// What becomes of messages that do not wake it.
    pub others: Others,
    /// What the sender may do there; none: nobody knows them.
    pub role: Option<Role>,
}

/// What becomes of a message in one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Into its inbox.
    Accept,
    /// Kept for the agent to see with the next one.
    Context,
    /// Held, and an approver is asked whether the sender may write.
    AskSender,
    /// Dropped, and the sender is told what role it takes.
    Refuse(Act),
    /// Dropped.
    Drop(DropReason),
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Cofferdam answers it.
    Own,
    /// Nobody listens: held, and an owner is asked which group it is for.
    AskWiring,
    /// Dropped, whoever listens.
    Drop(DropReason),
    /// Each group's own fate, in the order of the listeners.
    Groups(Vec<Fate>),
}

impl Decision {
    /// The same where nobody is to be asked.
    #[must_use]
    pub fn unasked(self) -> Self {
        let unasked = |fate| match fate {
            Fate::AskSender => Fate::Drop(DropReason::UnknownSender),
            fate => fate,
        };
        match self {
            Self::AskWiring => Self::Drop(DropReason::Unwired),
            Self::Groups(fates) => Self::Groups(fates.into_iter().map(unasked).collect()),
            decision => decision,
        }
    }

    /// Whether somebody has to do something about it: an agent, an approver, or Cofferdam with an answer.
    pub fn wakes(&self) -> bool {
        match self {
            Self::Own | Self::AskWiring | Self::Drop(DropReason::AboveRole) => true,
            Self::Drop(_) => false,
            Self::Groups(fates) => {
                fates.iter().any(|fate| matches!(fate, Fate::Accept | Fate::AskSender | Fate::Refuse(_)))
            }
        }
    }

    /// Whether nothing is kept of it, and nobody answers.
    pub fn is_drop(&self) -> bool {
        let kept = |fates: &[Fate]| fates.contains(&Fate::Context);
        !self.wakes() && !matches!(self, Self::Groups(fates) if kept(fates))
    }
}

/// Decides. Absent policy is a drop (invariant 5).
pub fn decide(said: Said<'_>, policy: UnknownPolicy, anywhere: Option<Role>, listeners: &[Listener]) -> Decision {
    if said.empty {
        return Decision::Drop(DropReason::Empty);
    }
    if said.too_large {
        return Decision::Drop(DropReason::TooLarge);
    }
    if let Asks::Own(command) = said.asks
        && is_spoken_to(said, listeners)
    {
        let role = best(command, anywhere, listeners, policy);
        if role.is_some() || !meets(said) {
            return own(said.asks, role);
        }
    }
    if listeners.is_empty() {
        let asks = said.addressed && speaks(said);
        return if asks { Decision::AskWiring } else { Decision::Drop(DropReason::Unwired) };
    }
    Decision::Groups(listeners.iter().map(|listener| fate(said, policy, listener)).collect())
}

/// Whether a command is meant for us: in a chat with others only when it names the bot, or when everything there wakes a
/// group.
fn is_spoken_to(said: Said<'_>, listeners: &[Listener]) -> bool {
    said.addressed || said.kind == ChatKind::Direct || listeners.iter().any(|one| one.engage == EngageMode::Always)
}

/// What a stranger asks to be let in with: words for the agent, or what platforms send for who meets the bot. Other commands
/// ask for nothing.
fn speaks(said: Said<'_>) -> bool {
    matches!(said.asks, Asks::Agent) || meets(said)
}

/// Whether it is the button with which a direct chat begins.
fn meets(said: Said<'_>) -> bool {
    said.kind == ChatKind::Direct && matches!(said.asks, Asks::Own(OwnCommand::Start))
}

/// The most that the sender of a command may do; none: nobody knows them.
fn best(
    command: &OwnCommand,
    anywhere: Option<Role>,
    listeners: &[Listener],
    policy: UnknownPolicy,
) -> Option<Role> {
    let public = (policy == UnknownPolicy::Public && !listeners.is_empty()).then_some(Role::Guest);
    // How a chat's groups stand is for those who may write to one of them.
    let anywhere = anywhere.filter(|_| *command != OwnCommand::Status || listeners.is_empty());
    listeners.iter().filter_map(|one| one.role).chain(anywhere).chain(public).max()
}

fn own(asks: &Asks, role: Option<Role>) -> Decision {
    let Some(act) = asks.act() else { return Decision::Own };
    match role {
        Some(role) if role.may(act) => Decision::Own,
        Some(_) => Decision::Drop(DropReason::AboveRole),
        None => Decision::Drop(DropReason::UnknownSender),
    }
}

fn fate(said: Said<'_>, policy: UnknownPolicy, listener: &Listener) -> Fate {
    let heard = Heard { addressed: said.addressed, fits: listener.fits, goes_on: listener.goes_on };
    let engages = listener.engage.engages(heard);
    let public = (policy == UnknownPolicy::Public).then_some(Role::Guest);
    let Some(role) = listener.role.max(public) else {
        let asks = policy == UnknownPolicy::Ask && engages && speaks(said);
        return if asks { Fate::AskSender } else { Fate::Drop(DropReason::UnknownSender) };
    };
    if !engages {
        return match listener.others {
            Others::Context => Fate::Context,
            Others::Drop => Fate::Drop(DropReason::NotEngaged),
        };
    }
    match said.asks.act() {
        Some(act) if !role.may(act) => Fate::Refuse(act),
        _ => Fate::Accept,
    }
}
