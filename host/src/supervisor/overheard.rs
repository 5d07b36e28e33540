//! What was said in a chat to others, as the agent reads it before the message that wakes it.

use jiff::tz::TimeZone;

use super::conversation::in_quotes;
use crate::config::zone::local_time;
use crate::store::group::context::Overheard;

/// The most characters of a name.
const MOST_NAME: usize = 60;

/// The words before a turn's first message; nothing when nothing was said. They are people's, like the message itself.
pub(super) fn before(overheard: &[Overheard], zone: &TimeZone) -> String {
    if overheard.is_empty() {
        return String::new();
    }
    let one = |said: &Overheard| {
        let text = said.text.trim().replace('\n', "\n  ");
        format!("- {} at {}: {text}\n", in_quotes(&said.sender, MOST_NAME), local_time(said.at, zone))
    };
    let said: String = overheard.iter().map(one).collect();
    format!("(Said in this chat before, not to you:\n{said}End of that.)\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_apart_from_the_message_and_nothing_is_said_of_nothing() {
        assert_eq!(before(&[], &TimeZone::UTC), "");
        let said = [Overheard { sender: "Ann \"x".into(), text: "one\ntwo".into(), at: 0 }];
        insta::assert_snapshot!(before(&said, &TimeZone::UTC), @r#"
        (Said in this chat before, not to you:
        - "Ann x" at 1970-01-01 00:00 UTC: one
          two
        End of that.)
        "#);
    }
}
