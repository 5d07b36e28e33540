//! Replies as a chat client sees them.

use cofferdam_protocol::admin::ChatEvent;

use crate::model::action::Action;
use crate::model::reply::{Outbound, ReplyKind};

/// The event that shows a reply.
pub(super) fn of(outbound: Outbound) -> ChatEvent {
    let Outbound { turn, id: reply, text, action, kind, .. } = outbound;
    match (kind, action) {
        (ReplyKind::Notice, _) | (ReplyKind::Reply, Some(Action::Close(_))) => {
            ChatEvent::Notice { turn, reply, text }
        }
        (ReplyKind::Reply, None) => ChatEvent::Reply { turn, reply, text },
        (ReplyKind::Reply, Some(Action::File(file))) => ChatEvent::File {
            turn,
            reply,
            name: file.name,
            path: file.path,
            bytes: file.bytes,
            caption: file.caption,
        },
        (ReplyKind::Reply, Some(Action::Edit { reply: edited })) => {
            ChatEvent::Edited { turn, edit: reply, reply: edited, text }
        }
        (ReplyKind::Reply, Some(Action::React { message, emoji, .. })) => {
            ChatEvent::Reacted { turn, reply, message, emoji }
        }
        (ReplyKind::Reply, Some(Action::Question(asked))) => ChatEvent::Question {
            turn,
            reply,
            question: asked.question,
            options: asked.options,
            expires_at: asked.expires_at,
        },
    }
}
