//! How far the updates were read. Telegram forgets everything before the offset that it is asked with, and gives at most a
//! hundred from there on; so what no chat took yet goes along in the cursor, and the offset passes it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Telegram numbers updates anew, at random, after a week without any; an offset of before would then skip what is new.
/// So an old one is not used: everything before it was confirmed, and nothing comes twice.
const OLD: i64 = 6 * 24 * 3600 * 1000;

/// How far the updates were read, and what of them waits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cursor {
    /// The first update that was not read.
    pub(super) next: Option<i64>,
    /// When the last one was read, ms since 1970.
    pub(super) at: i64,
    /// Updates that were read and not taken, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) held: Vec<Value>,
}

impl Cursor {
    /// Reads what was kept. What is none begins anew: Telegram then gives all that was not confirmed.
    pub(super) fn parse(channel: &str, kept: Option<&str>) -> Self {
        let Some(kept) = kept else { return Self::default() };
        serde_json::from_str(kept).unwrap_or_else(|_| {
            tracing::warn!(
                channel,
                "the kept place among the updates cannot be read; all that Telegram has is read again"
            );
            Self::default()
        })
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
        let cursor = Cursor { next: Some(5), at: 7, held: vec![json!({"update_id": 4})] };
        assert_eq!(Cursor::parse("tg", Some(&cursor.text())), cursor);
        assert_eq!(Cursor::parse("tg", Some("nonsense")), Cursor::default());
        assert_eq!(Cursor::parse("tg", None), Cursor::default());
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
