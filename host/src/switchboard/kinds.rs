//! What channels are made of, and why one of them is not.

use std::sync::Arc;

use secrecy::SecretString;
use serde_json::Value;

use super::book::Rows;
use super::{Board, ChannelError};
use crate::channels::kinds::{self, Kind, Parts};
use crate::channels::{BadSettings, Channel};
use crate::store::channels::ChannelRow;

/// A row's kind.
pub(super) fn of(row: &ChannelRow) -> Result<&'static Kind, ChannelError> {
    kinds::find(&row.kind)
        .ok_or_else(|| ChannelError::UnknownKind { name: row.name.clone(), kind: row.kind.clone() })
}

/// Why a channel does not run that has no secret any more, and what to do.
pub(super) fn has_no_secret(name: &str, kind: &Kind) -> String {
    let add = format!("cofferdam channel add {name} {}", kind.name);
    let how = match kind.needs {
        Some(_) => format!("`{add}` asks for it"),
        None => format!("`{add} --secret-file FILE` gives it again; --no-secret goes on without"),
    };
    format!("its secret is not here, as no backup has one; its settings are. {how}")
}

/// Makes a channel; touches nothing yet.
pub(super) fn make(
    board: &Board,
    (name, kind): (&str, &Kind),
    settings: Value,
    secret: Option<SecretString>,
) -> Result<Arc<dyn Channel>, BadSettings> {
    let parts = Parts {
        name,
        settings,
        secret,
        state_dir: board.home.data().join("channels").join(name),
        trust: &board.trust,
        book: &|| Arc::new(Rows::new(name, board.stores.clone(), board.secrets.clone())),
    };
    (kind.make)(parts)
}
