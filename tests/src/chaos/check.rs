//! Whether every message has exactly one outcome, and whether that outcome reached its chat, in order.
//!
//! Twice: by the rows, message by message (`outcome` tells what ended it), and by what the platform took alone: what of a
//! chat no reply answers is named by its notices, each message once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Instant;

use super::explained::Noticed;
use super::load::Posted;
use super::outcome::{Books, Cause, letters_named};
use super::plan::numbers;
use super::rows::{MessageRow, Rows};
use crate::platform::Taken;

/// What became of the messages.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Ended in the agent's reply.
    pub answered: usize,
    /// Those that ended in a notice.
    pub noticed: Vec<Noticed>,
    /// Have no outcome, or one that did not reach the chat.
    pub lost: usize,
    /// Have another outcome beside theirs, or their reply was delivered twice without a recorded doubt.
    pub doubled: usize,
    /// Replies delivered again with the doubt recorded, as they must be where the platform knows no keys.
    pub in_doubt: usize,
    /// Dead letters of messages and of replies.
    pub dead_letters: (usize, usize),
    /// What each message's outcome was, and when.
    pub ends: Vec<Ended>,
    /// What is wrong, in words.
    pub wrong: Vec<String>,
}

/// A message that has its outcome.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its chat.
    pub chat: String,
    /// Its session.
    pub session: String,
    /// Its number in the chat.
    pub number: usize,
    /// The platform's id of it.
    pub id: String,
    /// When it was sent.
    pub posted: Instant,
    /// When its outcome reached the chat.
    pub reached: Instant,
    /// Why it was a notice; none: it was answered.
    pub notice: Option<Cause>,
}

/// Why a message has not exactly one outcome.
enum Not {
    /// It has none.
    One(String),
    /// It has more.
    Once(String),
}

/// What the platform took.
struct Record<'a> {
    /// By chat and number: when it came first, and how often it came.
    replies: HashMap<(&'a str, i64), (Instant, usize)>,
    /// By chat and number of the message: the agent's replies that answer it.
    answers: HashMap<(&'a str, usize), BTreeSet<i64>>,
    /// By chat: the dead letters that its notices say its messages are kept as, and in which notice.
    letters: HashMap<&'a str, BTreeSet<(i64, String, i64)>>,
}

impl<'a> Record<'a> {
    fn of(taken: &'a [Taken]) -> Self {
        let mut record = Self { replies: HashMap::new(), answers: HashMap::new(), letters: HashMap::new() };
        for taken in taken {
            let chat = taken.chat.as_str();
            record.replies.entry((chat, taken.reply)).or_insert((taken.at, 0)).1 += 1;
            if taken.agent {
                for number in numbers(&taken.text) {
                    record.answers.entry((chat, number)).or_default().insert(taken.reply);
                }
            } else {
                let letters = letters_named(&taken.text).into_iter();
                let named = letters.map(|(group, letter)| (taken.reply, group, letter));
                record.letters.entry(chat).or_default().extend(named);
            }
        }
        record
    }

    fn get(&self, chat: &'a str, reply: i64) -> Option<(Instant, usize)> {
        self.replies.get(&(chat, reply)).copied()
    }

    fn answers(&self, chat: &'a str, number: usize) -> Vec<i64> {
        self.answers.get(&(chat, number)).into_iter().flatten().copied().collect()
    }
}

/// Judges a run by what was sent, what the platform has, and what the databases say.
pub fn judge<'a>(posted: &'a [Posted], taken: &'a [Taken], groups: &'a [Rows]) -> Verdict {
    let mut verdict = Verdict::default();
    let record = Record::of(taken);
    let books: Vec<Books<'_>> = groups.iter().map(Books::of).collect();
    for (rows, books) in groups.iter().zip(&books) {
        verdict.dead_letters.0 += rows.letters.len();
        verdict.dead_letters.1 += rows.dead_replies;
        verdict.replies(rows, books, &record);
    }
    verdict.messages(posted, groups, &books, &record);
    verdict.by_the_platform(posted, &record);
    verdict.order(taken);
    verdict
}

impl Verdict {
    /// Every reply reached its chat, once or with a doubt, and every notice that ends something ended it.
    fn replies<'a>(&mut self, rows: &'a Rows, books: &Books<'_>, record: &Record<'a>) {
        for reply in &rows.replies {
            let at = format!("{}/{}", reply.chat, reply.id);
            if !reply.agent && books.is_astray(reply) {
                self.doubled += 1;
                self.wrong.push(format!("notice {at} ended nothing that is at its end: {}", reply.text));
            }
            let Some((_, times)) = record.get(&reply.chat, reply.id) else {
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
    fn messages<'a>(&mut self, posted: &'a [Posted], groups: &'a [Rows], books: &[Books<'a>], record: &Record<'a>) {
        let mut rows: HashMap<(&str, &str), Vec<(&Books<'a>, &MessageRow)>> = HashMap::new();
        for (group, books) in groups.iter().zip(books) {
            for message in &group.messages {
                rows.entry((&message.chat, &message.platform_id)).or_default().push((books, message));
            }
        }
        for posted in posted {
            let found = rows.get(&(posted.chat.as_str(), posted.id.as_str())).map_or(&[][..], Vec::as_slice);
            let outcome = match found {
                [(books, message)] => outcome(posted, books, message, record),
                [] => Err(Not::One("is in no inbox".to_owned())),
                many => Err(Not::Once(format!("was accepted {} times", many.len()))),
            };
            let why = match outcome {
                Ok((ended, noticed)) => {
                    self.answered += usize::from(noticed.is_none());
                    self.noticed.extend(noticed);
                    self.ends.push(ended);
                    continue;
                }
                Err(Not::One(why)) => {
                    self.lost += 1;
                    why
                }
                Err(Not::Once(why)) => {
                    self.doubled += 1;
                    why
                }
            };
            self.wrong.push(format!("message {} (#{} of {}) {why}", posted.id, posted.number, posted.chat));
        }
    }

    /// In each chat the messages that no reply answers are those that its notices name, as many of them. Those that ended
    /// without a dead letter are named by none; how many that are the rows say.
    fn by_the_platform<'a>(&mut self, posted: &'a [Posted], record: &Record<'a>) {
        let mut open: BTreeMap<&str, usize> = BTreeMap::new();
        for posted in posted {
            let answered = record.answers.contains_key(&(posted.chat.as_str(), posted.number));
            *open.entry(&posted.chat).or_default() += usize::from(!answered);
        }
        for (chat, open) in open {
            let letters = record.letters.get(chat).into_iter().flatten();
            let mut named: Vec<_> = letters.map(|(_, group, letter)| (group, letter)).collect();
            let all = named.len();
            named.sort();
            named.dedup();
            let unkept = |ended: &&Ended| ended.chat == chat && ended.notice == Some(Cause::Unkept);
            let unnamed = self.ends.iter().filter(unkept).count();
            if named.len() < all {
                self.doubled += all - named.len();
                self.wrong.push(format!("{chat}: {} notices name a dead letter again", all - named.len()));
            }
            if named.len() + unnamed != open {
                let named = named.len();
                self.wrong.push(format!(
                    "{chat}: {open} messages have no answer, {named} are named in notices, {unnamed} ended in others"
                ));
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
                if next < *number {
                    self.wrong
                        .push(format!("{}: #{next} was answered after #{number}, in reply {reply}", taken.chat));
                }
                *number = next.max(*number);
            }
        }
    }
}

/// A message's one outcome, which its chat has.
fn outcome<'a>(
    posted: &'a Posted,
    books: &Books<'a>,
    message: &'a MessageRow,
    record: &Record<'a>,
) -> Result<(Ended, Option<Noticed>), Not> {
    if message.state != "done" {
        return Err(Not::One(format!("is {}", message.state)));
    }
    let answers = record.answers(&posted.chat, posted.number);
    let letters: Vec<i64> = books.letters(message.id).iter().map(|letter| letter.number).collect();
    let (reply, notice) = match (answers.as_slice(), books.last_notice(message)) {
        ([answer], None) if letters.is_empty() => {
            let (of, turn) = (books.reply(*answer).and_then(|reply| reply.turn), message.turn);
            if of != turn || turn.and_then(|turn| books.turn(turn)).is_none_or(|turn| turn.state != "completed") {
                return Err(Not::Once(format!("was answered by turn {of:?}, and its row names {turn:?}")));
            }
            (*answer, None)
        }
        ([], Some(notice)) if letters.len() < 2 => (notice.id, Some(books.cause(message))),
        ([], None) => {
            return Err(Not::One(format!("ended in turn {:?}, of which the chat knows nothing", message.turn)));
        }
        (answers, notice) => {
            let notice = notice.map(|notice| notice.id);
            return Err(Not::Once(format!(
                "has the answers {answers:?}, the dead letters {letters:?} and ends in notice {notice:?}"
            )));
        }
    };
    let Some((reached, _)) = record.get(&message.chat, reply) else {
        return Err(Not::One(format!("ended in reply {reply}, which nobody got")));
    };
    let group = posted.chat.split('.').next().unwrap_or_default().to_owned();
    let session = message.session.clone();
    let noticed = notice.map(|cause| Noticed { session: session.clone(), cause, notice: (group, reply) });
    let (chat, number, id) = (posted.chat.clone(), posted.number, posted.id.clone());
    Ok((Ended { chat, session, number, id, posted: posted.at, reached, notice }, noticed))
}

#[cfg(test)]
mod tests {
    use cofferdam::model::notice;

    use super::super::rows::{Letter, ReplyRow, TurnRow};
    use super::*;

    fn posted(number: usize) -> Posted {
        Posted { at: Instant::now(), chat: "g.0".into(), number, id: format!("m{number}") }
    }

    fn taken(reply: i64, text: &str) -> Taken {
        let (chat, key) = ("g.0".to_owned(), format!("key {reply}"));
        Taken { at: Instant::now(), chat, agent: text.starts_with('#'), text: text.into(), key, reply }
    }

    /// A group's rows, and what its one chat took of them.
    #[derive(Default)]
    struct Run {
        rows: Rows,
        taken: Vec<Taken>,
    }

    impl Run {
        /// A message that ended with this turn.
        fn message(mut self, number: usize, turn: Option<i64>) -> Self {
            let (chat, platform_id) = ("g.0".into(), format!("m{number}"));
            let id = i64::try_from(number).unwrap();
            let message = MessageRow { id, chat, platform_id, state: "done".into(), turn, ..MessageRow::default() };
            self.rows.messages.push(message);
            self
        }

        /// A message that ended in a notice without a turn.
        fn noticed(self, number: usize, notice: i64) -> Self {
            let mut run = self.message(number, None);
            run.rows.messages.last_mut().unwrap().notice = Some(notice);
            run
        }

        fn turn(mut self, id: i64, state: &str) -> Self {
            self.rows.turns.push(TurnRow { id, state: state.into(), ..TurnRow::default() });
            self
        }

        fn letter(mut self, number: i64, message: i64) -> Self {
            self.rows.letters.push(Letter { number, message, cause: "container".into() });
            self
        }

        /// A reply that was delivered; the agent's begin with a number.
        fn said(mut self, id: i64, turn: Option<i64>, text: &str) -> Self {
            let (chat, state, agent) = ("g.0".into(), "delivered".into(), text.starts_with('#'));
            self.rows.replies.push(ReplyRow {
                id,
                turn,
                chat,
                state,
                agent,
                text: text.to_owned(),
                ..ReplyRow::default()
            });
            self.taken.push(taken(id, text));
            self
        }

        /// Message N answered by turn N in reply N.
        fn answered(self, number: usize) -> Self {
            let id = i64::try_from(number).unwrap();
            self.message(number, Some(id)).turn(id, "completed").said(id, Some(id), &format!("#{number}"))
        }

        fn judged(self, messages: usize) -> Verdict {
            let posted: Vec<Posted> = (1..=messages).map(posted).collect();
            judge(&posted, &self.taken, &[self.rows])
        }
    }

    fn given_up(letters: &[i64]) -> String {
        notice::with_letters(&notice::container_gone("exit code 137"), "g", letters)
    }

    /// Answered, ended in notices, lost, doubled.
    fn counts(verdict: &Verdict) -> (usize, usize, usize, usize) {
        (verdict.answered, verdict.noticed.len(), verdict.lost, verdict.doubled)
    }

    #[test]
    fn two_messages_answered_in_order_are_in_order() {
        let verdict = Run::default().answered(1).answered(2).judged(2);
        assert_eq!((counts(&verdict), &verdict.wrong), ((2, 0, 0, 0), &Vec::new()));
    }

    #[test]
    fn what_is_nowhere_or_whose_reply_is_nowhere_is_lost() {
        let run = Run::default().message(1, Some(1)).turn(1, "completed").said(1, Some(1), "#7");
        let verdict = run.judged(2);
        assert_eq!(counts(&verdict), (0, 0, 2, 0), "{:?}", verdict.wrong);
    }

    #[test]
    fn what_is_not_done_is_lost() {
        let mut run = Run::default().answered(1);
        run.rows.messages[0].state = "pending".into();
        assert_eq!(counts(&run.judged(1)), (0, 0, 1, 0));
    }

    #[test]
    fn a_reply_that_came_twice_needs_a_doubt() {
        let with = |doubt| {
            let mut run = Run::default().answered(1);
            run.taken.push(taken(1, "#1"));
            run.rows.replies[0].doubt = doubt;
            run.judged(1)
        };
        assert_eq!((with(0).doubled, with(0).in_doubt), (1, 0));
        assert_eq!((with(1).doubled, with(1).in_doubt, with(1).wrong.len()), (0, 1, 0));
    }

    #[test]
    fn a_message_that_is_answered_twice_is_doubled() {
        let run = Run::default().answered(1).turn(2, "completed").said(2, Some(2), "#1");
        assert_eq!(counts(&run.judged(1)), (0, 0, 0, 1));
    }

    #[test]
    fn replies_out_of_order_are_told() {
        let mut run = Run::default().answered(1).answered(2);
        run.taken.reverse();
        let verdict = run.judged(2);
        assert_eq!(verdict.wrong.len(), 2, "{:?}", verdict.wrong);
    }

    #[test]
    fn a_notice_is_an_outcome() {
        let of_turn = Run::default().message(1, Some(1)).turn(1, "abandoned").letter(3, 1);
        let verdict = of_turn.said(1, Some(1), &given_up(&[3])).judged(1);
        assert_eq!((counts(&verdict), &verdict.wrong), ((0, 1, 0, 0), &Vec::new()));
        let of_none = Run::default().noticed(1, 1).noticed(2, 1).letter(3, 1).letter(4, 2);
        let verdict = of_none.said(1, None, &given_up(&[3, 4])).judged(2);
        assert_eq!((counts(&verdict), &verdict.wrong), ((0, 2, 0, 0), &Vec::new()));
    }

    #[test]
    fn what_is_said_on_the_way_is_no_outcome() {
        let run = Run::default().turn(1, "failed").said(1, Some(1), "It is tried again");
        let run = run.said(2, None, &notice::waits("the engine is away", "it answers"));
        let run = run.said(3, Some(4), "The thread was lost");
        let verdict = run.message(1, Some(4)).turn(4, "completed").said(4, Some(4), "#1").judged(1);
        assert_eq!((counts(&verdict), &verdict.wrong), ((1, 0, 0, 0), &Vec::new()));
    }

    /// Its row knows the newest end only. What was said before tells.
    #[test]
    fn a_message_that_ended_in_a_notice_and_was_answered_is_doubled() {
        let abandoned = Run::default().answered(1).turn(8, "abandoned").said(8, Some(8), "ended");
        let mut verdict = abandoned.judged(1);
        assert_eq!(verdict.doubled, 1, "{:?}", verdict.wrong);
        let unnamed = Run::default().answered(1).said(8, None, "The session does not start");
        assert_eq!(unnamed.judged(1).doubled, 1);
        let failed = Run::default().answered(1).turn(8, "failed").letter(3, 1).said(8, Some(8), "failed");
        verdict = failed.judged(1);
        assert_eq!(verdict.doubled, 1, "{:?}", verdict.wrong);
    }

    #[test]
    fn a_message_that_ended_in_two_notices_is_doubled() {
        let run = Run::default().turn(1, "failed").said(1, Some(1), &given_up(&[3])).letter(3, 1).letter(4, 1);
        let verdict = run.message(1, Some(2)).turn(2, "failed").said(2, Some(2), &given_up(&[4])).judged(1);
        assert_eq!(counts(&verdict), (0, 0, 0, 1), "{:?}", verdict.wrong);
    }

    /// Without a look at the rows' dead letters.
    #[test]
    fn what_the_platform_took_tells_of_a_second_outcome_by_itself() {
        let answered = Run::default().answered(1).turn(5, "failed").said(5, Some(5), &given_up(&[3]));
        let verdict = answered.judged(1);
        assert_eq!(verdict.wrong.len(), 1, "{:?}", verdict.wrong);
        let again = Run::default().message(1, Some(1)).turn(1, "abandoned").letter(3, 1).turn(5, "failed");
        let again = again.said(1, Some(1), &given_up(&[3])).said(5, Some(5), &given_up(&[3]));
        assert_eq!(again.judged(1).doubled, 1);
    }
}
