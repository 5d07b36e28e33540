//! Why a call of the Bot API came to nothing, and what that means for a reply.

use std::time::Duration;

use crate::channels::SendError;

/// Why a call came to nothing. Nothing of the bot's token is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// Telegram said no.
    #[error("Telegram says: {}", .0.description)]
    No(No),
    /// Telegram has trouble of its own, or something between it and us has.
    #[error("Telegram has trouble (status {0})")]
    Trouble(u16),
    /// It was not reached: it has nothing of the call.
    #[error("Telegram cannot be reached: {0}")]
    Away(String),
    /// The connection broke or nothing came in time: it may have taken the call.
    #[error("the connection to Telegram broke: {0}")]
    Broken(String),
    /// It took the call, and its answer cannot be read.
    #[error("Telegram's answer cannot be read: {0}")]
    Unreadable(String),
    /// The answer is larger than any that we read.
    #[error("Telegram's answer is too large")]
    TooLarge,
    /// We did not call at all: it can never work.
    #[error("{0}")]
    Never(String),
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct No {
    /// As HTTP has them.
    pub(super) code: i64,
    /// In Telegram's words, shortened.
    pub(super) description: String,
    /// How long to wait before the next try.
    pub(super) after: Option<Duration>,
    /// The chat has this id now.
    pub(super) moved_to: Option<i64>,
}

impl Failure {
    /// Whether Telegram refused with these words, which it does not promise to keep; whatever the case.
    pub(super) fn says(&self, words: &[&str]) -> bool {
        let Self::No(no) = self else { return false };
        let said = no.description.to_lowercase();
        words.iter().any(|words| said.contains(&words.to_lowercase()))
    }

    /// Whether Telegram does not know the token: 401, or 404 when it cannot even be one.
    pub(super) fn is_bad_token(&self) -> bool {
        let Self::No(no) = self else { return false };
        no.code == 401 || no.code == 404 && no.description == "Not Found"
    }

    /// Whether another program, or a webhook, gets the updates.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::No(no) if no.code == 409)
    }

    /// The pause that Telegram asks for.
    pub(super) fn after(&self) -> Option<Duration> {
        match self {
            Self::No(no) => no.after,
            _ => None,
        }
    }

    /// The same for a call that may be made twice without harm, such as an edit: there is no doubt to be afraid of.
    pub(super) fn harmless(self) -> Self {
        match self {
            Self::Broken(why) | Self::Unreadable(why) => Self::Away(why),
            Self::Trouble(status) if is_doubt(status) => Self::Away(format!("it has trouble (status {status})")),
            Self::No(no) if u16::try_from(no.code).is_ok_and(is_doubt) => Self::Away(no.description),
            other => other,
        }
    }
}

impl From<Failure> for SendError {
    fn from(failure: Failure) -> Self {
        let why = failure.to_string();
        match failure {
            Failure::No(no) => refusal(no, why),
            Failure::Trouble(status) if is_doubt(status) => Self::Doubt { why },
            Failure::Trouble(_) | Failure::Away(_) => Self::later(why, None),
            Failure::Broken(_) | Failure::Unreadable(_) | Failure::TooLarge => Self::Doubt { why },
            Failure::Never(why) => Self::Refused { why },
        }
    }
}

/// Whether a call that failed so may have been done all the same: its server failed over it, or what stands before that server
/// lost it on the way back. A server that says that it serves nobody now (503) did not look at it.
fn is_doubt(status: u16) -> bool {
    status >= 500 && status != 503
}

/// What a refusal means for a reply.
fn refusal(no: No, why: String) -> SendError {
    const TOKEN: Duration = Duration::from_secs(60);
    let said = no.description.to_lowercase();
    let in_words = |words: &str| SendError::Refused { why: format!("{words} ({})", no.description) };
    match no.code {
        429 => SendError::later("Telegram takes no more messages in this chat for a while", no.after),
        401 => SendError::Later {
            why: "Telegram does not know the bot's token".into(),
            after: Some(TOKEN),
            whole_channel: true,
        },
        404 if no.description == "Not Found" => SendError::Later {
            why: "Telegram does not know the bot's token".into(),
            after: Some(TOKEN),
            whole_channel: true,
        },
        409 => SendError::later(why, no.after),
        503 => SendError::later(why, no.after),
        code if code >= 500 => SendError::Doubt { why },
        403 if said.contains("blocked") => in_words("the person has blocked the bot"),
        403 => in_words("the bot may not write there"),
        400 if said.contains("chat not found") => in_words("there is no such chat, or the bot was never in it"),
        400 if said.contains("thread not found") => in_words("the topic is gone"),
        413 => in_words("the file is too large for Telegram"),
        _ => SendError::Refused { why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no(code: i64, description: &str) -> Failure {
        Failure::No(No { code, description: description.into(), after: None, moved_to: None })
    }

    #[test]
    fn what_may_pass_is_tried_again_what_cannot_is_not_and_a_break_is_a_doubt() {
        let kind = |failure: Failure| match SendError::from(failure) {
            SendError::Later { whole_channel: false, .. } => "later",
            SendError::Later { .. } => "all later",
            SendError::Disk { .. } => "disk",
            SendError::Refused { .. } => "refused",
            SendError::Doubt { .. } => "doubt",
            SendError::Absent => "absent",
        };
        for (failure, expected) in [
            (no(429, "Too Many Requests: retry after 5"), "later"),
            (no(401, "Unauthorized"), "all later"),
            (no(404, "Not Found"), "all later"),
            (no(403, "Forbidden: bot was blocked by the user"), "refused"),
            (no(400, "Bad Request: chat not found"), "refused"),
            (no(400, "Bad Request: message thread not found"), "refused"),
            (no(500, "Internal Server Error"), "doubt"),
            (no(500, "Internal Server Error").harmless(), "later"),
            (no(503, "Service Unavailable"), "later"),
            (Failure::Trouble(502), "doubt"),
            (Failure::Trouble(504), "doubt"),
            (Failure::Trouble(502).harmless(), "later"),
            (Failure::Trouble(503), "later"),
            (Failure::Trouble(404), "later"),
            (Failure::Away("no".into()), "later"),
            (Failure::Broken("no".into()), "doubt"),
            (Failure::Unreadable("no".into()), "doubt"),
            (Failure::TooLarge, "doubt"),
            (Failure::Broken("no".into()).harmless(), "later"),
            (Failure::Never("no".into()), "refused"),
        ] {
            assert_eq!(kind(failure.clone()), expected, "{failure:?}");
        }
    }

    #[test]
    fn the_pause_is_the_one_that_was_asked_for() {
        let after = Some(Duration::from_secs(86_400));
        let limit = Failure::No(No { code: 429, description: "Too Many Requests".into(), after, moved_to: None });
        assert!(matches!(SendError::from(limit), SendError::Later { after: Some(a), .. } if a.as_secs() == 86_400));
    }
}
