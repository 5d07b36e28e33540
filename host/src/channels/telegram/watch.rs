//! Whether Telegram can post to us: it alone knows, so it is asked now and then.
//!
//! ```text
//!  set ─▶ getWebhookInfo, after 1, 2, 4 … 60 s ─┬─ ours, nothing failed ─▶ connected
//!                                               ├─ ours, posts fail ─────▶ waiting, in Telegram's words, until one is taken
//!                                               └─ taken away ───────────▶ set again
//! ```

use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::wire::WebhookInfo;
use super::words::cut;
use super::{CALL, Inner};
use crate::channels::State;
use crate::clock::now_ms;

/// The first pause between two looks; each is twice as long as the one before, up to the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// The longest words of Telegram's that are shown, in characters.
const WORDS: usize = 300;

/// Why the watch is over.
pub(super) enum Over {
    /// We end, or a person is needed.
    End,
    /// The webhook is to be set again, for this reason.
    Lost(String),
}

/// A webhook that was just set.
pub(super) struct Watch<'a> {
    pub(super) inner: &'a Inner,
    pub(super) stop: &'a CancellationToken,
    /// How many of Telegram's calls were taken.
    pub(super) taken: watch::Receiver<u64>,
}

impl Watch<'_> {
    /// Keeps the channel's state, until the webhook is not ours any more.
    pub(super) async fn run(mut self) -> Over {
        let (mut posts, mut pause) = (Posts::default(), None);
        loop {
            self.taken.borrow_and_update();
            let away = match self.look().await {
                None => return Over::End,
                Some(Ok(info)) => {
                    if let Some(why) = posts.lost(&info) {
                        return Over::Lost(why);
                    }
                    posts.look(&info);
                    None
                }
                Some(Err(failure)) if failure.is_bad_token() => {
                    self.inner.stopped();
                    return Over::End;
                }
                Some(Err(failure)) => Some(failure.to_string()),
            };
            let next = pause.map_or(FIRST, |before: Duration| (before * 2).min(LONGEST));
            pause = Some(next);
            if !self.wait(&mut posts, away.as_ref(), next).await {
                return Over::End;
            }
        }
    }

    /// Asks Telegram. None: we end.
    async fn look(&self) -> Option<Result<WebhookInfo, Failure>> {
        let nothing = json!({});
        tokio::select! {
            () = self.stop.cancelled() => None,
            info = self.inner.api.call("getWebhookInfo", &nothing, CALL) => Some(info),
        }
    }

    /// Shows how it stands until the next look; a call that is taken meanwhile ends what is wrong. Answers whether to go on.
    async fn wait(&mut self, posts: &mut Posts, away: Option<&String>, pause: Duration) -> bool {
        let name = &self.inner.name;
        let again_at = now_ms() + i64::try_from(pause.as_millis()).unwrap_or(i64::MAX / 2);
        let over = tokio::time::sleep(pause);
        tokio::pin!(over);
        loop {
            let wrong = away.or(posts.trouble.as_ref());
            let state = wrong.map_or(State::Connected, |why| State::Waiting { why: why.clone(), again_at });
            self.inner.standing.set(name, state);
            tokio::select! {
                () = self.stop.cancelled() => return false,
                () = &mut over => return true,
                changed = self.taken.changed(), if posts.trouble.is_some() => match changed {
                    Ok(()) => posts.trouble = None,
                    Err(_) => return false,
                },
            }
        }
    }
}

/// What Telegram said of its posts.
#[derive(Debug, Default)]
struct Posts {
    /// The webhook as Telegram writes its address, once it was seen.
    url: Option<String>,
    /// When the newest failure was that was seen.
    failed_at: Option<i64>,
    /// What is wrong.
    trouble: Option<String>,
}

impl Posts {
    /// Why the webhook is not ours any more, if so. The first that is seen is.
    fn lost(&mut self, info: &WebhookInfo) -> Option<String> {
        let why = match &self.url {
            _ if info.url.is_empty() => "another program took the bot's webhook away",
            Some(ours) if *ours != info.url => "another program gave the bot a webhook of its own",
            Some(_) => return None,
            None => {
                self.url = Some(info.url.clone());
                // What failed before it was set is not this one's.
                self.failed_at = info.last_error_date;
                return None;
            }
        };
        Some(format!("{why}; end it, or give this channel a bot of its own"))
    }

    /// A failure that is new counts while anything waits. It is over when nothing does.
    fn look(&mut self, info: &WebhookInfo) {
        let is_new = info.last_error_date.is_some() && info.last_error_date != self.failed_at;
        self.failed_at = info.last_error_date.or(self.failed_at);
        if info.pending_update_count == 0 {
            self.trouble = None;
        } else if is_new {
            let words = info.last_error_message.as_deref().unwrap_or("it does not say why");
            let plain = words.chars().take(WORDS * 2).map(|c| if c.is_control() { ' ' } else { c });
            let plain: String = plain.collect();
            self.trouble = Some(format!("Telegram cannot post to webhook.url: {}", cut(&plain, WORDS)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(url: &str, waiting: u64, failed_at: Option<i64>) -> WebhookInfo {
        let last_error_message = failed_at.map(|_| "Wrong response\nfrom the webhook: 502 Bad Gateway".to_owned());
        WebhookInfo {
            url: url.into(),
            pending_update_count: waiting,
            last_error_date: failed_at,
            last_error_message,
        }
    }

    fn looked(posts: &mut Posts, info: &WebhookInfo) -> bool {
        assert_eq!(posts.lost(info), None);
        posts.look(info);
        posts.trouble.is_some()
    }

    #[test]
    fn only_a_new_failure_counts_and_only_while_something_waits() {
        let mut posts = Posts::default();
        assert!(!looked(&mut posts, &info("u", 3, Some(7))), "of before it was set");
        assert!(!looked(&mut posts, &info("u", 3, Some(7))));
        assert!(looked(&mut posts, &info("u", 3, Some(8))));
        let words = posts.trouble.clone().unwrap();
        assert_eq!(words, "Telegram cannot post to webhook.url: Wrong response from the webhook: 502 Bad Gateway");
        assert!(looked(&mut posts, &info("u", 3, Some(8))), "until one is taken");
        posts.trouble = None;
        assert!(!looked(&mut posts, &info("u", 3, Some(8))));
        assert!(!looked(&mut posts, &info("u", 0, Some(9))), "it was posted again");
    }

    #[test]
    fn a_webhook_that_is_gone_or_anothers_is_lost() {
        let mut posts = Posts::default();
        assert!(posts.lost(&info("", 0, None)).unwrap().contains("took the bot's webhook away"));
        assert_eq!(posts.lost(&info("ours", 0, None)), None);
        assert!(posts.lost(&info("theirs", 0, None)).unwrap().contains("a webhook of its own"));
        assert!(posts.lost(&info("", 0, None)).is_some());
    }
}
