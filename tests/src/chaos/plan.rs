//! What a run does, from its seed: which messages, and which faults in which order. When each of them meets the other
//! depends on the machine.

use std::time::Duration;

use fastrand::Rng;

/// How large a run is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the choices come from.
    pub seed: u64,
    /// How many messages are sent.
    pub messages: usize,
    /// How many processes and containers are killed; other faults come on top.
    pub kills: usize,
    /// Groups.
    pub groups: usize,
    /// Chats of each group, with a session each.
    pub chats: usize,
    /// Who answers.
    pub agent: Agent,
    /// The mean time between two kills.
    pub pace: Duration,
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// The mock provider, at once.
    Mock,
    /// The real Codex over the offline model.
    Codex,
}

/// What is done to the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `kill -9` of the daemon.
    DaemonKilled,
    /// `SIGTERM` to the daemon.
    DaemonEnded,
    /// `docker kill` of a container.
    ContainerKilled,
    /// `kill -9` of the runner in a container.
    RunnerKilled,
    /// `kill -9` of the app-server in a container.
    AppServerKilled,
    /// `kill -9` of the engine.
    EngineKilled,
    /// `SIGTERM` to the engine.
    EngineEnded,
    /// The engine answers nothing for a while.
    EngineStopped,
    /// A container is frozen for a while.
    Paused,
    /// The disk under the home's data is full for a while.
    DiskFull,
    /// The platform breaks the connection.
    Cut,
}

impl Kind {
    /// What it is called in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::DaemonKilled => "daemon killed",
            Self::DaemonEnded => "daemon told to end",
            Self::ContainerKilled => "container killed",
            Self::RunnerKilled => "runner killed",
            Self::AppServerKilled => "app-server killed",
            Self::EngineKilled => "engine killed",
            Self::EngineEnded => "engine told to end",
            Self::EngineStopped => "engine frozen",
            Self::Paused => "container frozen",
            Self::DiskFull => "disk full",
            Self::Cut => "platform cut off",
        }
    }

    /// Whether something dies of it.
    pub fn kills(self) -> bool {
        !matches!(self, Self::EngineStopped | Self::Paused | Self::DiskFull | Self::Cut)
    }

    /// The longest that it is held, ms; a kill is not.
    fn longest(self) -> u64 {
        match self {
            Self::EngineStopped | Self::Paused => 2_500,
            Self::DiskFull => 2_000,
            _ => 0,
        }
    }
}

/// One fault.
#[derive(Debug, Clone)]
pub struct Fault {
    /// When it is due, from the run's start.
    pub at: Duration,
    /// What.
    pub kind: Kind,
    /// Chooses among what is there then.
    pub pick: usize,
    /// It meets the session that the container's fault before it met, if that has a container: a message whose container
    /// ends twice ends in a notice.
    pub again: bool,
    /// How long it is held.
    pub hold: Duration,
}

/// One message.
#[derive(Debug, Clone)]
pub struct Message {
    /// When it is due, from the run's start.
    pub at: Duration,
    /// Which chat, as in [`Plan::chats`].
    pub chat: usize,
    /// Its number in the chat, from 1.
    pub number: usize,
    /// Its text.
    pub text: String,
}

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The chats.
    pub chats: Vec<String>,
    /// The messages, in order.
    pub messages: Vec<Message>,
    /// The faults, in order.
    pub faults: Vec<Fault>,
    /// The share of nudges that each daemon loses, in percent, one after the other.
    pub lost_nudges: Vec<u32>,
}

/// Kills, as often as each is here. The engine takes all containers with it, so there are few of its.
const MOCK_KILLS: &[(Kind, u32)] = &[
    (Kind::DaemonKilled, 8),
    (Kind::DaemonEnded, 3),
    (Kind::ContainerKilled, 7),
    (Kind::RunnerKilled, 7),
    (Kind::EngineKilled, 1),
    (Kind::EngineEnded, 1),
];
const CODEX_KILLS: &[(Kind, u32)] = &[
    (Kind::AppServerKilled, 3),
    (Kind::DaemonKilled, 2),
    (Kind::DaemonEnded, 1),
    (Kind::ContainerKilled, 1),
    (Kind::RunnerKilled, 1),
    (Kind::EngineKilled, 1),
    (Kind::EngineEnded, 1),
];
/// What nobody dies of.
const OTHERS: &[(Kind, u32)] = &[(Kind::Paused, 4), (Kind::Cut, 4), (Kind::DiskFull, 2), (Kind::EngineStopped, 1)];
/// Nudges that a daemon loses, in percent. More would make all wait for the next look at the rows, and little would be
/// there to be hurt: `tests/restart.rs` loses every one.
const LOST_NUDGES: &[u32] = &[0, 0, 5, 10, 25];
/// Other faults for each hundred kills.
const OTHERS_PERCENT: usize = 60;

impl Plan {
    /// The plan of these settings; the same for the same settings.
    pub fn of(settings: &Settings) -> Self {
        let mut rng = Rng::with_seed(settings.seed);
        let chats: Vec<String> = (0..settings.groups)
            .flat_map(|group| (0..settings.chats).map(move |chat| format!("g{group}.{chat}")))
            .collect();
        let kills = match settings.agent {
            Agent::Mock => MOCK_KILLS,
            Agent::Codex => CODEX_KILLS,
        };
        let length = settings.pace * u32::try_from(settings.kills.max(1)).unwrap_or(u32::MAX);
        let mut kinds = dealt(&mut rng, kills, settings.kills);
        kinds.extend(dealt(&mut rng, OTHERS, settings.kills * OTHERS_PERCENT / 100));
        rng.shuffle(&mut kinds);
        let mut times: Vec<Duration> = kinds.iter().map(|_| length.mul_f64(rng.f64())).collect();
        times.sort();
        let faults = kinds.into_iter().zip(times).map(|(kind, at)| {
            let hold = Duration::from_millis(kind.longest().min(200 + rng.u64(0..=kind.longest())));
            Fault { at, kind, pick: rng.usize(..), again: rng.u32(0..3) == 0, hold }
        });
        let faults = faults.collect();
        let messages = messages(&mut rng, settings, length, chats.len());
        let lost_nudges = (0..64).map(|_| *rng.choice(LOST_NUDGES).unwrap_or(&0)).collect();
        Self { chats, messages, faults, lost_nudges }
    }
}

/// So many of these: each kind once if there is room, the others by their weights.
fn dealt(rng: &mut Rng, weights: &[(Kind, u32)], many: usize) -> Vec<Kind> {
    let bag: Vec<Kind> =
        weights.iter().flat_map(|(kind, weight)| std::iter::repeat_n(*kind, *weight as usize)).collect();
    let once = weights.iter().map(|(kind, _)| *kind);
    let mut dealt: Vec<Kind> = once.take(many).collect();
    while dealt.len() < many {
        dealt.extend(rng.choice(&bag));
    }
    dealt
}

fn messages(rng: &mut Rng, settings: &Settings, length: Duration, chats: usize) -> Vec<Message> {
    let mut numbers = vec![0; chats];
    let mut times: Vec<Duration> = (0..settings.messages).map(|_| length.mul_f64(rng.f64())).collect();
    times.sort();
    let message = |at| {
        let chat = rng.usize(0..chats);
        numbers[chat] += 1;
        let number = numbers[chat];
        let text = match settings.agent {
            Agent::Mock => mock_text(rng, number),
            Agent::Codex => codex_text(rng, number),
        };
        Message { at, chat, number, text }
    };
    times.into_iter().map(message).collect()
}

/// Half are quick; the others take long enough to be hit.
fn mock_text(rng: &mut Rng, number: usize) -> String {
    match rng.u32(0..10) {
        0..=4 => format!("#{number}"),
        5..=7 => format!("#{number}\n!wait {:.2}", 0.1 + rng.f64() * 0.8),
        _ => format!("#{number}\n!wait {:.2}", 0.5 + rng.f64() * 1.5),
    }
}

fn codex_text(rng: &mut Rng, number: usize) -> String {
    match rng.u32(0..3) {
        0 => format!("!say #{number}"),
        1 => format!("!wait {:.2}\n!say #{number}", 0.5 + rng.f64() * 2.0),
        _ => format!("!run sleep {:.2}\n!say #{number}", 0.5 + rng.f64() * 2.0),
    }
}

/// The numbers of the messages that a reply answers.
pub fn numbers(reply: &str) -> impl Iterator<Item = usize> {
    reply.split_whitespace().filter_map(|word| word.strip_prefix('#')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(seed: u64) -> Settings {
        Settings {
            seed,
            messages: 100,
            kills: 30,
            groups: 2,
            chats: 3,
            agent: Agent::Mock,
            pace: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_seed_says_everything() {
        let text = |seed| format!("{:?}", Plan::of(&settings(seed)));
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
    }

    #[test]
    fn as_many_are_killed_as_was_asked_for_and_every_kind_is_among_them() {
        let plan = Plan::of(&settings(3));
        assert_eq!(plan.faults.iter().filter(|fault| fault.kind.kills()).count(), 30);
        for (kind, _) in MOCK_KILLS.iter().chain(OTHERS) {
            assert!(plan.faults.iter().any(|fault| fault.kind == *kind), "{kind:?}");
        }
        assert!(plan.faults.is_sorted_by_key(|fault| fault.at));
    }

    #[test]
    fn the_messages_of_a_chat_are_numbered() {
        let plan = Plan::of(&settings(4));
        for chat in 0..plan.chats.len() {
            let of_chat = plan.messages.iter().filter(|message| message.chat == chat);
            assert!(
                of_chat.map(|message| message.number).eq(1..=plan
                    .messages
                    .iter()
                    .filter(|m| m.chat == chat)
                    .count())
            );
        }
    }

    #[test]
    fn a_reply_says_what_it_answers() {
        assert!(numbers("mock reply to: #7\n#8\n(turn 3)").eq([7, 8]));
        assert!(numbers("[offline model] #12").eq([12]));
        assert_eq!(numbers("# no #x number").count(), 0);
    }
}
