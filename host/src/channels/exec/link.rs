//! Which program is there now, and who waits for one.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::calls::Wire;
use super::hello::Hello;
use crate::model::chat::ChatRef;

/// The program that said hello, if there is one.
#[derive(Default)]
pub(super) struct Link(Mutex<State>);

#[derive(Default)]
struct State {
    wire: Option<Arc<Wire>>,
    /// The last program's too: how its messages are made does not change because it is away.
    hello: Option<Hello>,
    /// Chats whose replies wait until we say that somebody is there.
    absent: HashSet<ChatRef>,
}

impl Link {
    /// A program said hello; answers who waited.
    pub(super) fn up(&self, wire: Arc<Wire>, hello: Hello) -> Vec<ChatRef> {
        let mut state = self.state();
        state.wire = Some(wire);
        state.hello = Some(hello);
        state.absent.drain().collect()
    }

    /// It ended, and answers nothing any more.
    pub(super) fn down(&self) {
        let wire = self.state().wire.take();
        if let Some(wire) = wire {
            wire.over();
        }
    }

    /// Everybody can be reached; answers who waited.
    pub(super) fn all_present(&self) -> Vec<ChatRef> {
        self.state().absent.drain().collect()
    }

    /// This chat can; answers whether it waited.
    pub(super) fn present(&self, chat: &ChatRef) -> bool {
        self.state().absent.remove(chat)
    }

    /// What the last hello said.
    pub(super) fn hello(&self) -> Option<Hello> {
        self.state().hello.clone()
    }

    /// The program that is there.
    pub(super) fn there(&self) -> Option<(Arc<Wire>, Hello)> {
        let state = self.state();
        state.wire.clone().zip(state.hello.clone())
    }

    /// The program that is there; or else the chat waits for one.
    pub(super) fn reach(&self, chat: &ChatRef) -> Option<(Arc<Wire>, Hello)> {
        let mut state = self.state();
        let there = state.wire.clone().zip(state.hello.clone());
        if there.is_none() {
            state.absent.insert(chat.clone());
        }
        there
    }

    /// A chat waits, as this program said or because it ended. Answers no when another one is there by now, which would
    /// not be told.
    pub(super) fn waits(&self, chat: &ChatRef, of: &Arc<Wire>) -> bool {
        let mut state = self.state();
        let still = state.wire.as_ref().is_none_or(|wire| Arc::ptr_eq(wire, of));
        if still {
            state.absent.insert(chat.clone());
        }
        still
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
