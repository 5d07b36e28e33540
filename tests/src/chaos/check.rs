//! Whether every message has exactly one outcome, and whether that outcome reached its chat, in order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use super::load::Posted;
use super::plan::numbers;
use super::rows::{MessageRow, Rows};
use crate::platform::Taken;

/// What became of the messages.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Ended in the agent's reply.
    pub answered: usize,
    /// Ended in a notice.
    pub notices: usize,
    /// Have no outcome, or one that did not reach the chat.
    pub lost: usize,
    /// Were answered twice, or their reply was delivered twice without a recorded doubt.
    pub doubled: usize,
    /// Replies delivered again with the doubt recorded, as they must be where the platform knows no keys.
    pub in_doubt: usize,
    /// Dead letters of messages and of replies.
    pub dead_letters: (usize, usize),
    /// When each message's outcome reached its chat: chat, sent, reached.
    pub outcomes: Vec<(String, Instant, Instant)>,
    /// Chats by session.
    pub sessions: HashMap<String, String>,
    /// What is wrong, in words.
    pub wrong: Vec<String>,
}

/// What the platform took of each reply.
struct Record<'a> {
    /// By chat and number: when it came first, how often it came, and what it said.
    replies: HashMap<(&'a str, i64), (Instant, usize, &'a Taken)>,
}

impl<'a> Record<'a> {
    fn of(taken: &'a [Taken]) -> Self {
        let mut replies: HashMap<(&str, i64), (Instant, usize, &Taken)> = HashMap::new();
        for taken in taken {
            replies.entry((&taken.chat, taken.reply)).or_insert((taken.at, 0, taken)).1 += 1;
        }
        Self { replies }
    }

    fn get(&self, chat: &'a str, reply: i64) -> Option<&(Instant, usize, &'a Taken)> {
        self.replies.get(&(chat, reply))
    }
}

/// Judges a run by what was sent, what the platform has, and what the databases say.
pub fn judge<'a>(posted: &[Posted], taken: &'a [Taken], groups: &'a [Rows]) -> Verdict {
    let mut verdict = Verdict::default();
    let record = Record::of(taken);
    for rows in groups {
        verdict.sessions.extend(rows.sessions.iter().cloned());
        verdict.dead_letters.0 += rows.dead_letters.0;
        verdict.dead_letters.1 += rows.dead_letters.1;
        verdict.replies(rows, &record);
    }
    verdict.messages(posted, groups, &record);
    verdict.order(taken);
    verdict
}

impl Verdict {
    /// Every reply reached its chat, once or with a doubt.
    fn replies<'a>(&mut self, rows: &'a Rows, record: &Record<'a>) {
        for reply in &rows.replies {
            let at = format!("{}/{}", reply.chat, reply.id);
            let Some((_, times, _)) = record.get(&reply.chat, reply.id) else {
                self.wrong.push(format!("reply {at} is {} and the platform does not have it", reply.state));
                continue;
            };
            if reply.state != "delivered" {
                self.wrong.push(format!("reply {at} is {} and the platform has it", reply.state));
            }
            let again = times - 1;
            if again > usize::try_from(reply.doubt).unwrap_or(0) {
                self.doubled += 1;
                self.wrong.push(format!("reply {at} was delivered {times} times with {} doubts", reply.doubt));
            } else {
                self.in_doubt += again;
            }
        }
    }

    /// Every message has one row, and one outcome that the chat has.
    fn messages<'a>(&mut self, posted: &[Posted], groups: &'a [Rows], record: &Record<'a>) {
        let mut rows: HashMap<(&str, &str), Vec<(&Rows, &MessageRow)>> = HashMap::new();
        for group in groups {
            for message in &group.messages {
                rows.entry((&message.chat, &message.platform_id)).or_default().push((group, message));
            }
        }
        for posted in posted {
            let found = rows.get(&(posted.chat.as_str(), posted.id.as_str())).map_or(&[][..], Vec::as_slice);
            let outcome = match found {
                [(group, message)] => outcome(posted, group, message, record),
                [] => Err("is in no inbox".to_owned()),
                many => Err(format!("was accepted {} times", many.len())),
            };
            match outcome {
                Ok((agent, at)) => {
                    *(if agent { &mut self.answered } else { &mut self.notices }) += 1;
                    self.outcomes.push((posted.chat.clone(), posted.at, at));
                }
                Err(why) => {
                    self.lost += 1;
                    self.wrong.push(format!("message {} (#{} of {}) {why}", posted.id, posted.number, posted.chat));
                }
            }
        }
    }

    /// In each chat the replies came as the outbox has them, and their numbers only grow.
    fn order(&mut self, taken: &[Taken]) {
        let mut chats: BTreeMap<&str, (i64, usize, HashSet<i64>)> = BTreeMap::new();
        for taken in taken {
            let (newest, number, known) = chats.entry(&taken.chat).or_default();
            let reply = taken.reply;
            if !known.insert(reply) {
                continue;
            }
            if reply < *newest {
                self.wrong.push(format!("{}: reply {reply} came after {newest}", taken.chat));
            }
            *newest = reply.max(*newest);
            for next in numbers(&taken.text).filter(|_| taken.agent) {
                if next == *number {
                    self.doubled += 1;
                    self.wrong.push(format!("{}: #{next} was answered again, in reply {reply}", taken.chat));
                } else if next < *number {
                    self.wrong
                        .push(format!("{}: #{next} was answered after #{number}, in reply {reply}", taken.chat));
                }
                *number = next.max(*number);
            }
        }
    }
}

/// Whether the outcome is the agent's, and when it reached the chat.
fn outcome(
    posted: &Posted,
    rows: &Rows,
    message: &MessageRow,
    record: &Record<'_>,
) -> Result<(bool, Instant), String> {
    if message.state != "done" {
        return Err(format!("is {}", message.state));
    }
    if let Some(notice) = message.notice {
        let (at, ..) =
            record.get(&message.chat, notice).ok_or_else(|| format!("has a notice {notice} that nobody got"))?;
        return Ok((false, *at));
    }
    let Some((turn, state)) = &message.turn else { return Err("is done without an outcome".to_owned()) };
    let answers = state == "completed";
    if state == "running" {
        return Err(format!("is done, and its turn {turn} runs"));
    }
    let replies = rows.replies.iter().filter(|reply| reply.turn == Some(*turn));
    let mut got = replies.filter_map(|reply| record.get(&reply.chat, reply.id));
    let says = |taken: &Taken| {
        if answers {
            taken.agent && numbers(&taken.text).any(|number| number == posted.number)
        } else {
            !taken.agent
        }
    };
    got.find(|(.., taken)| says(taken))
        .map(|(at, ..)| (answers, *at))
        .ok_or_else(|| format!("ended in turn {turn}, {state}, of which the chat knows nothing"))
}

#[cfg(test)]
mod tests {
    use super::super::rows::ReplyRow;
    use super::*;

    fn posted(number: usize) -> Posted {
        Posted { at: Instant::now(), chat: "g.0".into(), number, id: format!("m{number}") }
    }

    fn taken(reply: i64, text: &str) -> Taken {
        let (chat, key) = ("g.0".to_owned(), format!("key {reply}"));
        Taken { at: Instant::now(), chat, agent: true, text: text.into(), key, reply }
    }

    fn message(number: usize, turn: i64) -> MessageRow {
        let (chat, platform_id) = ("g.0".into(), format!("m{number}"));
        MessageRow { chat, platform_id, state: "done".into(), turn: Some((turn, "completed".into())), notice: None }
    }

    fn reply(id: i64, doubt: i64) -> ReplyRow {
        ReplyRow { id, turn: Some(id), chat: "g.0".into(), state: "delivered".into(), doubt }
    }

    fn rows(messages: Vec<MessageRow>, replies: Vec<ReplyRow>) -> Vec<Rows> {
        vec![Rows { messages, replies, ..Rows::default() }]
    }

    #[test]
    fn two_messages_answered_in_order_are_in_order() {
        let verdict = judge(
            &[posted(1), posted(2)],
            &[taken(1, "#1"), taken(2, "#2")],
            &rows(vec![message(1, 1), message(2, 2)], vec![reply(1, 0), reply(2, 0)]),
        );
        assert_eq!((verdict.answered, verdict.wrong), (2, Vec::new()));
    }

    #[test]
    fn what_is_nowhere_or_whose_reply_is_nowhere_is_lost() {
        let verdict = judge(
            &[posted(1), posted(2)],
            &[taken(1, "something else")],
            &rows(vec![message(1, 1)], vec![reply(1, 0)]),
        );
        assert_eq!((verdict.lost, verdict.wrong.len()), (2, 2), "{:?}", verdict.wrong);
    }

    #[test]
    fn what_is_not_done_is_lost() {
        let waiting = MessageRow { state: "pending".into(), ..message(1, 1) };
        let verdict = judge(&[posted(1)], &[taken(1, "#1")], &rows(vec![waiting], vec![reply(1, 0)]));
        assert_eq!(verdict.lost, 1);
    }

    #[test]
    fn a_reply_that_came_twice_needs_a_doubt() {
        let twice = [taken(1, "#1"), taken(1, "#1")];
        let with = |doubt| judge(&[posted(1)], &twice, &rows(vec![message(1, 1)], vec![reply(1, doubt)]));
        assert_eq!((with(0).doubled, with(0).in_doubt), (1, 0));
        assert_eq!((with(1).doubled, with(1).in_doubt, with(1).wrong.len()), (0, 1, 0));
    }

    #[test]
    fn a_message_that_is_answered_twice_is_doubled() {
        let replies = vec![reply(1, 0), reply(2, 0)];
        let verdict = judge(&[posted(1)], &[taken(1, "#1"), taken(2, "#1")], &rows(vec![message(1, 1)], replies));
        assert_eq!(verdict.doubled, 1);
    }

    #[test]
    fn replies_out_of_order_are_told() {
        let verdict = judge(
            &[posted(1), posted(2)],
            &[taken(2, "#2"), taken(1, "#1")],
            &rows(vec![message(1, 1), message(2, 2)], vec![reply(1, 0), reply(2, 0)]),
        );
        assert_eq!(verdict.wrong.len(), 2, "{:?}", verdict.wrong);
    }
}
