//! What names a chat, or a user: a whole number, as Telegram writes it.

/// Why an id names nothing, and what is meant instead.
pub(super) fn check(id: &str) -> Result<(), String> {
    if is_number(id) {
        return Ok(());
    }
    match id.split_once('#') {
        Some((chat, _)) if is_number(chat) => Err(format!(
            "'{id}' is a topic, and topics are threads of their chat: name the chat, '{chat}'. The session mode `per-thread` \
             gives each of its topics a session of its own"
        )),
        _ => Err(format!(
            "'{id}' is no id at Telegram: chats and people are whole numbers there, those of groups below zero, such as -1001234567890"
        )),
    }
}

/// Another way to write the same number would never be found.
fn is_number(id: &str) -> bool {
    id.parse::<i64>().is_ok_and(|number| number.to_string() == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_is_a_whole_number_and_a_topic_is_told_from_what_is_none() {
        for id in ["1001", "-5", "-1001234567890"] {
            assert_eq!(check(id), Ok(()), "{id}");
        }
        for id in ["-1001234567890#3", "5#"] {
            let why = check(id).unwrap_err();
            assert!(why.contains("threads of their chat") && why.contains("per-thread"), "{why}");
        }
        for id in ["", "@team", "+5", "05", " 5", "5.0", "#3", "team#3", "99999999999999999999"] {
            assert!(check(id).unwrap_err().contains("whole numbers"), "{id}");
        }
    }
}
