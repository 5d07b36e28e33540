//! Albums. Telegram gives each file of one as a message of its own, and only one of them has the caption: whom that speaks to,
//! those that follow speak to as well.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::channels::{Arrival, Content};

/// The most albums that are remembered. Their messages come within a second or two.
const REMEMBERED: usize = 16;

/// An album that speaks to the bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Album {
    chat: String,
    id: String,
}

/// The newest albums that speak to the bot, oldest first. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Albums(Arc<Mutex<VecDeque<Album>>>);

impl Albums {
    /// Notes the album of a message that speaks to the bot, and has one speak to it whose album does.
    pub(super) fn mark(&self, album: Option<&str>, arrival: &mut Arrival) {
        let (Some(id), Content::Message(written)) = (album, &mut arrival.content) else { return };
        let album = Album { chat: arrival.chat.chat_id.clone(), id: id.to_owned() };
        let mut known = self.lock();
        if known.contains(&album) {
            written.addressed = true;
        } else if written.addressed {
            known.push_back(album);
            if known.len() > REMEMBERED {
                known.pop_front();
            }
        }
    }

    /// Those that are remembered, to be kept.
    pub(super) fn known(&self) -> Vec<Album> {
        self.lock().iter().cloned().collect()
    }

    /// Remembers what was kept.
    pub(super) fn remember(&self, kept: Vec<Album>) {
        let from = kept.len().saturating_sub(REMEMBERED);
        *self.lock() = kept.into_iter().skip(from).collect();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Album>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::{Sender, Written};
    use crate::model::chat::{ChatKind, ChatRef};

    fn marked(albums: &Albums, chat: &str, album: Option<&str>, addressed: bool) -> bool {
        let mut arrival = Arrival {
            chat: ChatRef { channel: "tg".into(), chat_id: chat.into(), thread_id: None },
            kind: ChatKind::Group,
            title: None,
            platform_id: "1".into(),
            sender: Sender { id: "9".into(), name: "Ada".into() },
            content: Content::Message(Written { addressed, ..Written::default() }),
        };
        albums.mark(album, &mut arrival);
        matches!(arrival.content, Content::Message(Written { addressed: true, .. }))
    }

    #[test]
    fn what_follows_in_an_album_speaks_to_whom_its_caption_does() {
        let albums = Albums::default();
        assert!(!marked(&albums, "-1", Some("a"), false), "nothing spoke to the bot yet");
        assert!(marked(&albums, "-1", Some("a"), true));
        assert!(marked(&albums, "-1", Some("a"), false));
        assert!(!marked(&albums, "-2", Some("a"), false), "another chat");
        assert!(!marked(&albums, "-1", Some("b"), false) && !marked(&albums, "-1", None, false));
        let again = Albums::default();
        again.remember(albums.known());
        assert!(marked(&again, "-1", Some("a"), false), "after a restart, too");
        for album in 0..REMEMBERED {
            marked(&albums, "-1", Some(&album.to_string()), true);
        }
        assert!(!marked(&albums, "-1", Some("a"), false) && albums.known().len() == REMEMBERED, "bounded");
    }
}
