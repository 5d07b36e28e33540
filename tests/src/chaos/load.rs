//! Sends the plan's messages, at its times or as fast as they are answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::course::Course;
use super::plan::{Message, numbers};
use crate::platform::Platform;

/// Messages of one chat that wait for their outcome, before the next is sent.
const MOST_WAITING: usize = 6;
/// The longest that the next one waits for that.
const PATIENCE: Duration = Duration::from_secs(5);

/// A message that was sent.
#[derive(Debug, Clone)]
pub struct Posted {
    /// When.
    pub at: Instant,
    /// Its chat.
    pub chat: String,
    /// Its number in the chat.
    pub number: usize,
    /// The platform's id of it.
    pub id: String,
}

/// What was sent, and what is known to be answered while the run goes on.
#[derive(Default)]
pub struct Load {
    posted: Mutex<Vec<Posted>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Of the platform's record.
    looked_at: usize,
    /// The newest number that was answered, for each chat. Those before it have their outcome too.
    answered: HashMap<String, usize>,
}

impl Load {
    /// What was sent so far.
    pub fn posted(&self) -> Vec<Posted> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many were sent, and how many of them have their outcome for certain.
    pub fn counts(&self, platform: &Platform) -> (usize, usize) {
        let posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner).len();
        (posted, self.look(platform, |seen| seen.answered.values().sum()))
    }

    fn look<T>(&self, platform: &Platform, with: impl FnOnce(&mut Seen) -> T) -> T {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let new = platform.taken_since(seen.looked_at);
        seen.looked_at += new.len();
        for taken in new.into_iter().filter(|taken| taken.agent) {
            let newest = numbers(&taken.text).max().unwrap_or(0);
            let answered = seen.answered.entry(taken.chat).or_default();
            *answered = newest.max(*answered);
        }
        with(&mut seen)
    }

    /// Sends all of them, each chat's by itself: one that waits holds up no other.
    pub async fn send(
        self: Arc<Self>,
        chats: Vec<String>,
        messages: Vec<Message>,
        platform: Arc<Platform>,
        course: Arc<Course>,
    ) {
        let mut each: Vec<Vec<Message>> = chats.iter().map(|_| Vec::new()).collect();
        for message in messages {
            each[message.chat].push(message);
        }
        let sending = chats.iter().zip(each).map(|(chat, messages)| self.write(&course, chat, messages, &platform));
        join_all(sending).await;
    }

    async fn write(&self, course: &Course, chat: &str, messages: Vec<Message>, platform: &Platform) {
        let mut taken = platform.watch();
        for message in messages {
            course.reach(message.at).await;
            let room = async {
                let waiting =
                    || self.look(platform, |seen| message.number - 1 - seen.answered.get(chat).unwrap_or(&0));
                while waiting() >= MOST_WAITING && taken.changed().await.is_ok() {}
            };
            // What ended in a notice is not seen to be answered before the next answer.
            let _ = tokio::time::timeout(PATIENCE, room).await;
            let id = platform.post(chat, &message.text);
            let posted = Posted { at: Instant::now(), chat: chat.to_owned(), number: message.number, id };
            self.posted.lock().unwrap_or_else(PoisonError::into_inner).push(posted);
        }
    }
}
