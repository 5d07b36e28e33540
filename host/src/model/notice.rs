//! The words of notices: what happened and what to do now.

use cofferdam_protocol::runner::{Compaction, CompactionOutcome, Failure, FailureKind};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::failure::MOST_TRIES;
use super::question::shortened;

/// What a notice of a failure can say besides the failure itself.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// When it may work again, in the group's zone.
    pub resets: Option<String>,
    /// The models that the provider knows.
    pub models: Vec<String>,
}

/// What is added when a turn fails of silence as others by themselves did: these are not tried any more either.
pub fn silent_too(words: &str, others: usize) -> String {
    let whose = match others {
        1 => "the message that waits behind it is".to_owned(),
        others => format!("the {others} messages that wait behind it are"),
    };
    format!("{words} As others before it were silent too, {whose} not tried.")
}

/// The notice for a failed turn, without how to go on.
pub fn turn_failed(failure: &Failure, known: &Known) -> String {
    format!("The turn failed: {} {}", sentence(&failure.message), advice(failure.kind, known))
}

fn advice(kind: FailureKind, known: &Known) -> String {
    let advice = match kind {
        FailureKind::UsageLimit => return usage_limit(known),
        FailureKind::ModelNotFound => return model_not_found(known),
        FailureKind::RateLimited => "The model's vendor limits the rate of requests: wait a while.",
        FailureKind::Unauthorized => {
            "The credential was refused: log the account in again on the host; `cofferdam account list` there shows what is wrong."
        }
        FailureKind::ContextWindow => {
            "The conversation no longer fits into the model's window: /compact makes room, if the message itself is short enough."
        }
        FailureKind::Refused => "The model's vendor does not take this request. Write it in another way.",
        FailureKind::ThreadBusy => {
            "Another process holds the conversation: `cofferdam session stop` ends what is left."
        }
        FailureKind::Upstream => "The model's vendor has a problem: wait a while.",
        FailureKind::Connection => {
            "The connection to the model was lost: check the host's network and OPENAI_BASE_URL, and whether the daemon was \
             started again in the turn."
        }
        FailureKind::Silence => {
            "That is the group's silence time-out: the turn was interrupted, and a fresh container takes what comes next. \
             Raise 'timeouts.silence_secs' in container.json if such work is normal."
        }
        FailureKind::ProviderDied => "It is started again for the next turn.",
        FailureKind::ProviderStart => "See `cofferdam session logs` for its last words, and `cofferdam doctor`.",
        FailureKind::StaleThread => "The next turn begins a new conversation.",
        FailureKind::Other => "See `cofferdam session logs`.",
    };
    advice.to_owned()
}

fn usage_limit(known: &Known) -> String {
    match &known.resets {
        Some(at) => format!("The account's limit is used up until {at}. Wait for that, or choose another account."),
        None => "The account's limit is used up. Wait for its reset, or choose another account.".to_owned(),
    }
}

fn model_not_found(known: &Known) -> String {
    let advice = "Choose another with /model NAME, or check 'model' in the group's container.json.";
    if known.models.is_empty() {
        return advice.to_owned();
    }
    format!("{advice} Known are: {}.", known.models.join(", "))
}

/// The notice for a turn that is tried again by itself `at` that time, after `failed` tries.
pub fn tried_again(failure: &Failure, at: &str, failed: u32) -> String {
    let what = match failure.kind {
        FailureKind::RateLimited => "The model's vendor limits the rate of requests",
        FailureKind::Connection => "The connection to the model was lost",
        FailureKind::ProviderDied => "The agent's process ended in the turn",
        FailureKind::ThreadBusy => "Another process still holds the conversation",
        _ => "The model's vendor has a problem",
    };
    let why = sentence(&failure.message);
    let why = why.trim_end_matches('.');
    let number = failed.saturating_add(1);
    format!("{what} ({why}). It is tried again by itself at {at} ({number} of {MOST_TRIES}); /stop ends that.")
}

/// The notice for a turn over several messages that are tried one by one now.
pub fn one_by_one(failure: &Failure, messages: usize) -> String {
    let why = sentence(&failure.message);
    let why = why.trim_end_matches('.');
    format!("The turn over {messages} messages failed ({why}). They are tried again now, one by one.")
}

/// `words` and how to go on: where the messages that they are about are kept, by the dead letters' numbers, which grow; or,
/// of what is none, that it can be said again. Only one of the two: who does both gets two answers.
pub fn with_letters(words: &str, folder: &str, letters: &[i64]) -> String {
    match letters {
        [] => format!("{words} Send it again after that."),
        [one] => format!(
            "{words} The message is kept as dead letter {folder}/{one}: `cofferdam dead-letter retry {folder}/{one}` tries \
             it again."
        ),
        [first, .., last] => format!(
            "{words} The messages are kept as dead letters {folder}/{first} to {folder}/{last}: `cofferdam dead-letter \
             retry --all {folder}` tries them again."
        ),
    }
}

/// The notice for messages whose session's container did not start.
pub fn not_started(error: &str, tries: u32) -> String {
    format!("The session does not start: {} It was tried {tries} times.", sentence(error))
}

/// The notice for messages that wait for something that is no fault of theirs; `until` ends a sentence.
pub fn waits(error: &str, until: &str) -> String {
    format!(
        "The session cannot start yet: {} Your message is kept and will be answered when {until}.",
        sentence(error)
    )
}

/// The notice for a message whose container went away too often.
pub fn container_gone(why: &str) -> String {
    format!(
        "The turn failed: its container ended before the turn did ({why}), also when it was tried again. \
         See `cofferdam session logs`."
    )
}

/// The notice for messages whose container was killed over its memory limit, of so many MB, every time.
pub fn out_of_memory(limit_mb: u64) -> String {
    format!(
        "The turn failed: its container ran out of its memory limit of {limit_mb} MB, also when it was tried again. \
         Raise 'limits.memory_mb' in container.json."
    )
}

/// The notice for a turn that outages ended so many times, and that goes on after a pause, in ms.
pub fn cut_off_again(ends: u32, pause: i64) -> String {
    let seconds = pause / 1000;
    let pause = if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) };
    format!(
        "The turn was cut off for the {ends}th time, because the Docker engine or the host ended with it. It is tried again \
         by itself in {pause}; /stop ends that."
    )
}

/// The notice for a message whose turn outages ended for the last time.
pub fn cut_off(ends: u32) -> String {
    format!(
        "The turn failed: the Docker engine or the host ended in it {ends} times, so it may be what ends them. See their logs."
    )
}

/// The notice for messages whose answers were on damaged pages of the database.
pub fn answers_lost(messages: usize) -> String {
    let whose = if messages == 1 {
        "The answer to a message".to_owned()
    } else {
        format!("The answers to {messages} messages")
    };
    format!(
        "{whose} of this chat may not have arrived: the group's database was damaged, and they could not be read. \
         What was done for them is done; ask again for what is missing."
    )
}

/// The notice for an interrupted turn.
pub fn interrupted() -> String {
    "The turn was stopped before it was finished.".to_owned()
}

/// The notice for a turn that `/stop` ended.
pub fn stopped() -> String {
    "The turn was stopped, and its background commands were ended.".to_owned()
}

/// The notice for a `/stop` that came when the turn was ending.
pub fn stopped_too_late() -> String {
    "The turn had ended before it could be stopped.".to_owned()
}

/// The notice for messages that `/stop` took back before their turn.
pub fn stopped_waiting(messages: usize) -> String {
    match messages {
        1 => "Stopped: the message that waited is not answered.".to_owned(),
        messages => format!("Stopped: the {messages} messages that waited are not answered."),
    }
}

/// The notice for a `/stop` without anything to stop.
pub fn nothing_runs() -> String {
    "Nothing is running.".to_owned()
}

/// The notice for a `/clear`.
pub fn cleared() -> String {
    "The conversation was cleared: the next message begins a new one. Files in the workspace stay.".to_owned()
}

/// The notice for a `/compact` in a conversation that has not begun.
pub fn nothing_to_compact() -> String {
    "There is nothing to compact: the conversation has not begun.".to_owned()
}

/// The notice for a `/compact` that ended; none when the provider did not say how.
pub fn compacted(compaction: Option<&Compaction>) -> String {
    match compaction.map(|compaction| (&compaction.outcome, compaction.before)) {
        Some((CompactionOutcome::Failed { message }, _)) => format!(
            "The conversation could not be compacted: {} It is as it was, and is tried again after the next turn.",
            sentence(message)
        ),
        Some((CompactionOutcome::Completed, before)) if before > 0 => {
            format!("The conversation was compacted, after {before} input tokens.")
        }
        Some(_) | None => "The conversation was compacted.".to_owned(),
    }
}

/// The line before an answer that was given on a fresh thread because the earlier one is lost.
pub fn thread_lost(why: &str) -> String {
    let why = sentence(why);
    let why = why.trim_end_matches('.');
    format!("The earlier conversation could not be resumed ({why}); the agent was given its last messages.")
}

/// The notice for an MCP server that failed.
pub fn mcp_failed(name: &str, error: &str) -> String {
    format!(
        "The MCP server '{name}' failed: {} The agent works without its tools; see 'mcpServers' in container.json and \
         `cofferdam session show`.",
        sentence(error)
    )
}

/// The notice for messages that wait while their group is removed.
pub fn group_removed() -> String {
    // True also if it is not removed in the end.
    "The message had no turn: its group was being removed.".to_owned()
}

/// The notice for a group whose `container.json` cannot be used.
pub fn bad_config(what: &str) -> String {
    format!("The session cannot start: {} Mend that first.", sentence(what))
}

/// The notice for a question that was answered in another place than its chat.
pub fn answered_elsewhere(question: &str, answer: &str, by: &str) -> String {
    let (question, answer) = (shortened(question), shortened(answer));
    format!("Answered from elsewhere by {by}: {answer} (to “{question}”)")
}

/// The notice for a question that nobody answered.
pub fn unanswered(secs: i64) -> String {
    format!("No answer came within {secs} s; the agent goes on without it.")
}

/// The notice for a turn whose answer is in the chat already, from one before it over the same messages.
pub fn said_before() -> String {
    "The agent finished; what it said is in this chat already, from an earlier try.".to_owned()
}

/// The stated "nothing to say".
pub fn nothing_to_say() -> String {
    "The agent finished without a reply.".to_owned()
}

/// A time for people, both in ms since 1970: the clock, with seconds when it is near and the date when it is not today.
pub fn clock(at: i64, now: i64, zone: &TimeZone) -> String {
    /// Nearer than that, in ms, the minute alone might be the present one.
    const NEAR: i64 = 120_000;
    let local = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or_default().to_zoned(zone.clone());
    let (then, today) = (local(at), local(now));
    let form = match (then.date() == today.date(), at.saturating_sub(now) < NEAR) {
        (true, true) => "%H:%M:%S",
        (true, false) => "%H:%M",
        (false, _) => "%Y-%m-%d %H:%M",
    };
    then.strftime(form).to_string()
}

/// `text` as one sentence, bounded: a vendor's error can be a whole page.
fn sentence(text: &str) -> String {
    const MOST_CHARS: usize = 600;
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > MOST_CHARS {
        line = line.chars().take(MOST_CHARS).collect::<String>() + "…";
    }
    if !line.ends_with(['.', '!', '?', '…']) {
        line.push('.');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_as_exactly_as_it_is_needed() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let now = 1_795_266_209_000;
        assert_eq!(clock(now + 15_000, now, &zone), "14:03:44");
        assert_eq!(clock(now + 300_000, now, &zone), "14:08");
        assert_eq!(clock(now + 86_400_000, now, &zone), "2026-11-22 14:03");
    }

    #[test]
    fn a_try_that_comes_says_what_failed_and_when_it_is_tried_again() {
        let failure = Failure::new(FailureKind::Upstream, "503 Service Unavailable.");
        assert_eq!(
            tried_again(&failure, "14:05", 1),
            "The model's vendor has a problem (503 Service Unavailable). It is tried again by itself at 14:05 (2 of 4); \
             /stop ends that."
        );
    }

    #[test]
    fn a_notice_has_one_way_to_go_on() {
        let failures = [
            FailureKind::UsageLimit,
            FailureKind::RateLimited,
            FailureKind::Unauthorized,
            FailureKind::ModelNotFound,
            FailureKind::ContextWindow,
            FailureKind::Upstream,
            FailureKind::Connection,
            FailureKind::Silence,
            FailureKind::ProviderDied,
            FailureKind::ProviderStart,
            FailureKind::StaleThread,
            FailureKind::ThreadBusy,
            FailureKind::Other,
        ];
        let failed = failures.map(|kind| turn_failed(&Failure::new(kind, "x"), &Known::default()));
        let others = [bad_config("x"), not_started("x", 8), container_gone("x"), out_of_memory(1), cut_off(10)];
        for words in failed.iter().chain(&others) {
            let kept = with_letters(words, "demo", &[1]);
            assert!(!kept.to_lowercase().contains("send") && kept.contains("dead-letter retry demo/1"), "{kept}");
            let gone = with_letters(words, "demo", &[]);
            assert!(gone.ends_with(" Send it again after that.") && !gone.contains("dead"), "{gone}");
        }
    }

    #[test]
    fn what_a_person_must_do_is_said_with_what_is_known() {
        let known = Known { resets: Some("15:30".into()), models: vec!["a".into(), "b".into()] };
        let words = |kind| turn_failed(&Failure::new(kind, "x"), &known);
        assert!(words(FailureKind::UsageLimit).contains("until 15:30"));
        assert!(words(FailureKind::Refused).contains("in another way"), "the only one that is no dead letter");
        assert!(words(FailureKind::ModelNotFound).ends_with("Known are: a, b."));
        assert!(words(FailureKind::Unauthorized).contains("log the account in again"));
        let unknown = turn_failed(&Failure::new(FailureKind::UsageLimit, "x"), &Known::default());
        assert!(unknown.contains("limit is used up. Wait"), "{unknown}");
    }
}
