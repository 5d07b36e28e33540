//! The words of error notices: what happened and what to do now.

use cofferdam_protocol::runner::{Failure, FailureKind};

/// The notice for a failed turn.
pub fn turn_failed(failure: &Failure) -> String {
    let advice = match failure.kind {
        FailureKind::UsageLimit => "The account's limit is used up. Wait for its reset, or choose another account.",
        FailureKind::RateLimited => {
            "The model's vendor limits the rate of requests. Send the message again in a while."
        }
        FailureKind::Unauthorized => {
            "The credential was refused. Check OPENAI_API_KEY on the host and restart the daemon."
        }
        FailureKind::ModelNotFound => "Check 'model' in the group's container.json.",
        FailureKind::ContextWindow => {
            "The conversation no longer fits into the model's window. Send a shorter message; \
             the provider compacts the conversation before the next turn."
        }
        FailureKind::Refused => "The model's vendor does not take this request. Write it in another way.",
        FailureKind::ThreadBusy => {
            "Another process holds the conversation. Send the message again; `cofferdam session stop` ends what is left."
        }
        FailureKind::Upstream => "The model's vendor has a problem. Send the message again in a while.",
        FailureKind::Connection => {
            "The model could not be reached. Check the host's network and OPENAI_BASE_URL, then send the message again."
        }
        FailureKind::Silence => {
            "Nothing moved for the group's silence time-out, so the turn was interrupted. Send the message again, \
             or raise 'timeouts.silence_secs' in container.json if such work is normal."
        }
        FailureKind::ProviderDied => "It is started again for the next message. Send the message again.",
        FailureKind::ProviderStart => "See `cofferdam session logs` for its last words, and `cofferdam doctor`.",
        FailureKind::StaleThread => "Send the message again: it starts a new conversation.",
        FailureKind::Other => "See `cofferdam session logs`, then send the message again.",
    };
    format!("The turn failed: {} {advice}", sentence(&failure.message))
}

/// The notice for a message whose container went away too often.
pub fn container_gone(why: &str) -> String {
    format!(
        "The turn failed: its container ended before the turn did ({why}), also when it was tried again. \
         See `cofferdam session logs`, then send the message again."
    )
}

/// The notice for an interrupted turn.
pub fn interrupted() -> String {
    "The turn was stopped before it was finished.".to_owned()
}

/// The notice for messages that wait while their group is removed.
pub fn group_removed() -> String {
    "The group was removed before the message's turn.".to_owned()
}

/// The notice for a group whose `container.json` cannot be used.
pub fn bad_config(what: &str) -> String {
    format!("The session cannot start: {what}. Mend the file, then send the message again.")
}

/// The stated "nothing to say".
pub fn nothing_to_say() -> String {
    "The agent finished without a reply.".to_owned()
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
