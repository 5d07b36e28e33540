//! Which platforms there are, and what their channels are made of.

use std::sync::Arc;

use secrecy::SecretString;
use serde_json::Value;

use super::Board;
use super::book::Rows;
use crate::channels::exec::Exec;
use crate::channels::http::Http;
use crate::channels::telegram::Telegram;
use crate::channels::{BadSettings, Channel};
use crate::model::channel::ChannelKind;

/// The secret that a channel of this kind cannot be without, for people.
pub fn needs(kind: ChannelKind) -> Option<&'static str> {
    match kind {
        ChannelKind::Telegram => Some("the bot's token"),
        ChannelKind::Exec | ChannelKind::Http => None,
    }
}

/// Whether programs call it, by webhooks and keys.
pub fn is_for_programs(kind: ChannelKind) -> bool {
    match kind {
        ChannelKind::Http => true,
        ChannelKind::Telegram | ChannelKind::Exec => false,
    }
}

/// Why a channel does not run that has no secret any more, and what to do.
pub(super) fn has_no_secret(name: &str, kind: ChannelKind) -> String {
    let add = format!("cofferdam channel add {name} {}", kind.as_str());
    let how = match kind {
        ChannelKind::Telegram => format!("`{add}` asks for it"),
        ChannelKind::Exec | ChannelKind::Http => {
            format!("`{add} --secret-file FILE` gives it again; --no-secret goes on without")
        }
    };
    format!("its secret is not here, as no backup has one; its settings are. {how}")
}

/// Makes a channel; touches nothing yet.
pub(super) fn make(
    board: &Board,
    (name, kind): (&str, ChannelKind),
    settings: Value,
    secret: Option<SecretString>,
) -> Result<Arc<dyn Channel>, BadSettings> {
    match kind {
        ChannelKind::Telegram => {
            let token = secret.ok_or_else(|| BadSettings("a Telegram channel needs its bot's token".to_owned()))?;
            Ok(Arc::new(Telegram::new(name, settings, token, &board.trust)?))
        }
        ChannelKind::Exec => {
            let state = board.home.data().join("channels").join(name);
            Ok(Arc::new(Exec::new(name, settings, secret, state)?))
        }
        ChannelKind::Http => {
            let book = Arc::new(Rows::new(name, board.stores.clone(), board.secrets.clone()));
            Ok(Arc::new(Http::new(name, settings, book, &board.trust)?))
        }
    }
}
