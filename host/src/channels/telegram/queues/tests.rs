//! How much waits of whom.

use std::time::Duration;

use super::super::taking::Beside;
use super::*;
use crate::channels::{Arrival, Content, Sender, Written};
use crate::model::chat::ChatKind;

fn chat(id: &str) -> ChatRef {
    ChatRef { channel: "tg".into(), chat_id: id.into(), thread_id: None }
}

fn item(chat: &ChatRef) -> Item {
    let arrival = Arrival {
        chat: chat.clone(),
        kind: ChatKind::Group,
        title: None,
        platform_id: "1".into(),
        sender: Sender { id: "2".into(), name: "Ada".into() },
        content: Content::Message(Written::default()),
    };
    Item { number: 1, bytes: 1, task: Task::Take(Box::new(arrival), Beside::default()) }
}

impl State {
    fn wrote(&mut self, chat: &ChatRef, count: usize) {
        for _ in 0..count {
            self.push(chat, item(chat));
        }
    }

    /// So many held chats as have all that held ones may.
    fn others_hold_all(&mut self) {
        for number in 0..ALL_HELD.updates / HELD {
            let other = chat(&number.to_string());
            self.wrote(&other, HELD);
            self.hold(&other);
        }
        assert!(self.held.reaches(ALL_HELD, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_others_hold_costs_a_chat_nothing_that_flows_again_nor_its_share() {
    let (mut state, flows, held) = (State::default(), chat("flows"), chat("held"));
    state.wrote(&flows, SHARE.updates * 2);
    state.wrote(&held, 1);
    for chat in [&flows, &held] {
        state.hold(chat);
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    state.others_hold_all();
    assert!(matches!(state.over(&flows), Over::Long { first: true }), "it is held, and has its share");
    state.pop(&flows);
    assert!(matches!(state.over(&flows), Over::No), "one was taken");
    for _ in 1..SHARE.updates {
        assert!(matches!(state.over(&held), Over::No));
        state.wrote(&held, 1);
    }
    assert!(matches!(state.over(&held), Over::Long { first: true }));
}
