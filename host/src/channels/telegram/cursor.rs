//! How far the updates were read. Telegram forgets everything before the offset that it is asked with, and gives at most a
//! hundred from there on; so what no chat took yet goes along in the cursor, and the offset passes it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::albums::Album;

/// Telegram numbers updates anew, at random, after a week without any; an offset of before would then skip what is new.
/// So an old one is not used: everything before it was confirmed, and nothing comes twice.
const OLD: i64 = 6 * 24 * 3600 * 1000;

/// How far the updates were read, and what of them waits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cursor {
    /// The bot that it is of: another one's updates have other numbers.
    pub(super) bot: Option<String>,
    /// The first update that was not read.
    pub(super) next: Option<i64>,
    /// When the last one was read, ms since 1970.
    pub(super) at: i64,
    /// Updates that were read and not taken, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) held: Vec<Value>,
    /// Albums of which more may come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) albums: Vec<Album>,
}

impl Cursor {
    /// Reads what was kept for this bot. What is none, or another bot's, begins anew: Telegram then gives all that was not
    /// confirmed.
    pub(super) fn parse(channel: &str, bot: &str, kept: Option<&str>) -> Self {
        let mine = Self { bot: Some(bot.to_owned()), ..Self::default() };
        let Some(kept) = kept else { return mine };
        match serde_json::from_str(kept) {
            // Before bots were noted, there was one.
            Ok(Self { bot: None, next, at, held, albums }) => Self { next, at, held, albums, ..mine },
            Ok(known) if known.bot == mine.bot => known,
            Ok(_) => {
                tracing::warn!(
                    channel,
                    "the kept place among the updates is another bot's; all that Telegram has is read"
                );
                mine
            }
            Err(_) => {
                tracing::warn!(
                    channel,
                    "the kept place among the updates cannot be read; all that Telegram has is read again"
                );
                mine
            }
        }
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What Telegram is asked with.
    pub(super) fn offset(&self, now: i64) -> Option<i64> {
        self.next.filter(|_| now - self.at < OLD)
    }

    /// Passes an update. Answers whether that is further than before.
    pub(super) fn pass(&mut self, update: i64, now: i64) -> bool {
        let next = update.saturating_add(1);
        let further = match self.offset(now) {
            Some(before) => next > before,
            None => true,
        };
        if further {
            (self.next, self.at) = (Some(next), now);
        }
        further
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cursor_reads_back_with_what_it_holds() {
        let none = Cursor { bot: Some("7".into()), ..Cursor::default() };
        let cursor = Cursor { next: Some(5), at: 7, held: vec![json!({"update_id": 4})], ..none.clone() };
        assert_eq!(Cursor::parse("tg", "7", Some(&cursor.text())), cursor);
        assert_eq!(Cursor::parse("tg", "7", Some("nonsense")), none);
        assert_eq!(Cursor::parse("tg", "7", None), none);
    }

    #[test]
    fn another_bots_place_is_not_used_and_one_of_before_bots_were_noted_is() {
        let kept = |bot: &str| format!(r#"{{{bot}"next":5,"at":7,"held":[{{"update_id":4}}]}}"#);
        let other = Cursor::parse("tg", "7", Some(&kept(r#""bot":"8","#)));
        assert_eq!(other, Cursor { bot: Some("7".into()), ..Cursor::default() });
        let before = Cursor::parse("tg", "7", Some(&kept("")));
        assert_eq!((before.bot.as_deref(), before.next, before.held.len()), (Some("7"), Some(5), 1));
    }

    #[test]
    fn it_goes_forward_only_and_begins_anew_after_a_week() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.offset(0), None);
        assert!(cursor.pass(9, 0) && !cursor.pass(3, 0), "a late one does not turn it back");
        assert_eq!(cursor.offset(OLD - 1), Some(10));
        assert_eq!(cursor.offset(OLD), None);
        assert!(cursor.pass(2, OLD), "they were numbered anew");
        assert_eq!(cursor.offset(OLD), Some(3));
    }
}
