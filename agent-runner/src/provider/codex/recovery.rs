//! What of a batch's messages the thread already has: looked up before they are sent a second time.
//!
//! Every message that is given to codex carries [`client_id`], and a thread's history shows it again. There is no
//! other trustworthy sign: an answer to `turn/start` can be lost with the process, and a turn can be in the history
//! without its input. The model sees each message once; a turn that was cut is gone on with, not repeated.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cofferdam_protocol::ids::{MessageId, TurnId};
use cofferdam_protocol::runner::{Batch, BatchMessage};

use super::client::{Client, RequestError};
use super::history::{PastItem, PastTurn, TurnsAnswer, TurnsParams};
use super::method;
use super::protocol::TurnStatus;
use super::said::Manner;
use super::thread::says;

/// How long a page of the history may take; it is read from the disk.
const PAGE_LIMIT: Duration = Duration::from_secs(60);
/// Turns of one page.
const PAGE: u32 = 5;
/// How many pages are looked at: a message is mostly tried again at once, but a person may have it tried again after a long
/// time. These are 1,000 turns; they took 1.7 s, and it grows with their number (measured: 500 turns, a quarter of them with
/// 40 KB of a command's output, 0.8 to 0.9 s).
const PAGES: usize = 200;
/// How long may be looked, whatever is in the turns.
const LOOK_LIMIT: Duration = Duration::from_secs(20);

/// The id under which messages are given to codex: `m:1,2`.
pub fn client_id<'a>(messages: impl IntoIterator<Item = &'a BatchMessage>) -> Option<String> {
    let ids: Vec<_> = messages.into_iter().map(|message| message.id.0.to_string()).collect();
    (!ids.is_empty()).then(|| format!("m:{}", ids.join(",")))
}

/// The messages that an id names.
fn named(client_id: Option<&str>) -> BTreeSet<MessageId> {
    let ids = client_id.and_then(|id| id.strip_prefix("m:")).unwrap_or_default();
    ids.split(',').filter_map(|id| id.parse().ok().map(MessageId)).collect()
}

/// What to do with a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Messages that the thread does not have.
    pub missing: BTreeSet<MessageId>,
    /// Messages that it has.
    pub given: BTreeSet<MessageId>,
    /// Messages of no batch that a turn over ours has, in order: they steered it.
    pub steered: Vec<MessageId>,
    /// What the agent has said to those, complete, also at once. The host knows which of it the chat has.
    pub replies: Vec<String>,
    /// Whether it was done with them.
    pub answered: bool,
    /// Whether the last turn over them failed, in contrast to one that was cut.
    pub failed: bool,
    /// Whether they were given together with others, which does not count: now they go by themselves.
    pub with_others: bool,
    /// Whether other messages came after them, in turns of their own: they are given again, since to go on would be to go on
    /// with those.
    pub buried: bool,
    /// Whether there is more of the thread than was looked at: what is missing may be in it.
    pub unsure: bool,
}

impl Plan {
    /// Nothing was given yet.
    pub fn all<'a>(messages: impl IntoIterator<Item = &'a BatchMessage>) -> Self {
        Self { missing: messages.into_iter().map(|message| message.id).collect(), ..Self::default() }
    }

    /// From the thread's latest turns, oldest first. A turn that was given one of `steered` is ours too. For a batch that
    /// goes `apart` only turns over it alone are: what follows one over several is nobody's in particular.
    pub fn decide<'a>(
        messages: impl IntoIterator<Item = &'a BatchMessage>,
        apart: bool,
        steered: &BTreeSet<MessageId>,
        turns: &[PastTurn],
    ) -> Self {
        let mut plan = Self::all(messages);
        let mut commentary = None;
        // Whether a turn over other messages did not come to its end. Going on after it may be theirs: to ask the
        // model once more is better than to give one chat the answer to another.
        let mut others_open = false;
        for turn in turns {
            let with_messages = turn.items.iter().any(|item| matches!(item, PastItem::UserMessage { .. }));
            let is_ours =
                |id: &MessageId| plan.missing.contains(id) || plan.given.contains(id) || steered.contains(id);
            let told: BTreeSet<_> = turn.items.iter().flat_map(told).collect();
            let ours = told.iter().any(is_ours);
            if apart && ours && !told.iter().all(is_ours) {
                plan.with_others = true;
                continue;
            }
            // One without messages goes on with one before.
            if ours || (!with_messages && !others_open && !plan.given.is_empty()) {
                plan.take_turn(turn, &mut commentary);
                plan.buried = false;
            } else if with_messages {
                others_open |= turn.status != TurnStatus::Completed;
                plan.buried = !plan.given.is_empty();
            } else if others_open {
                others_open = turn.status != TurnStatus::Completed;
            }
        }
        plan.buried &= !plan.answered;
        if plan.buried {
            plan.missing.append(&mut plan.given);
        }
        if plan.answered && plan.replies.is_empty() {
            plan.replies.extend(commentary);
        }
        plan
    }

    /// Whether the model need not be asked at all.
    pub fn is_done(&self) -> bool {
        self.answered && self.missing.is_empty()
    }

    /// What the model is told when it goes on with a turn that did not come to its end, and of what it may have seen.
    pub fn note(&self) -> Option<String> {
        let doubt = (self.unsure && !self.missing.is_empty()).then(|| {
            format!(
                "The messages with these ids were tried before, and may be in the conversation already, further back than \
                 could be looked: {}. If you find that you have answered one, do not do its work again: say what came of it.",
                listed(&self.missing)
            )
        });
        let notes: Vec<_> = self.going_on().into_iter().chain(doubt).collect();
        (!notes.is_empty()).then(|| notes.join("\n"))
    }

    fn going_on(&self) -> Option<String> {
        if self.given.is_empty() && self.with_others {
            return Some(format!(
                "What comes now (id {}) was in the conversation before, together with other messages, in a turn that did \
                 not come to its end. It comes again by itself: answer it, and none of those others. Do not repeat work \
                 that was done: check its effects first.",
                listed(&self.missing)
            ));
        }
        if self.buried {
            return Some(format!(
                "What comes now (ids {}) was in the conversation before, in a turn that did not come to its end; other \
                 messages came since. It comes again: answer it now. Do not repeat work that was done: check its effects \
                 first.",
                listed(&self.missing)
            ));
        }
        if self.given.is_empty() || self.answered {
            return None;
        }
        let why = if self.failed {
            "The turn before failed because the connection to the model was lost."
        } else {
            "The process that ran this conversation was restarted in the middle of the turn before; a command or tool \
             that ran at that moment may have been cut, or may have done its work without your seeing the result."
        };
        Some(format!(
            "{why} The messages with these ids are in the conversation already and still need their answer: {}. Go on \
             from where you were. Do not repeat work that was done: check its effects first.",
            listed(&self.given)
        ))
    }

    fn take_turn(&mut self, turn: &PastTurn, commentary: &mut Option<String>) {
        let mut said = false;
        for item in &turn.items {
            match item {
                PastItem::UserMessage { .. } => {
                    let told: BTreeSet<_> = told(item).collect();
                    let others = told.iter().filter(|id| !self.missing.contains(id) && !self.given.contains(id));
                    self.steered.extend(others);
                    let (given, missing) = self.missing.iter().partition(|id| told.contains(*id));
                    self.missing = missing;
                    self.given.extend::<BTreeSet<_>>(given);
                    self.answered = false;
                    said = true;
                }
                PastItem::AgentMessage { text, phase, delivery } => {
                    said = true;
                    match Manner::of(phase.as_deref(), delivery.as_deref()) {
                        Manner::Commentary => *commentary = Some(text.clone()),
                        Manner::Reply | Manner::Async if text.trim().is_empty() => {}
                        Manner::Reply | Manner::Async => self.replies.push(text.clone()),
                    }
                    // Other phases may be followed by more.
                    self.answered |= phase.as_deref() == Some("final_answer");
                }
                PastItem::ContextCompaction {} | PastItem::Other => {}
            }
        }
        // A compaction between turns is a turn of its own, and no answer.
        let only_compacts = !said && turn.items.iter().any(|item| matches!(item, PastItem::ContextCompaction {}));
        if only_compacts {
            return;
        }
        self.answered |= turn.status == TurnStatus::Completed;
        self.failed = turn.status == TurnStatus::Failed;
    }
}

fn listed(ids: &BTreeSet<MessageId>) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn told(item: &PastItem) -> impl Iterator<Item = MessageId> + use<> {
    let id = match item {
        PastItem::UserMessage { client_id } => client_id.as_deref(),
        _ => None,
    };
    named(id).into_iter()
}

/// The key of [`Plan::note`] among a turn's context.
pub fn note_key(turn: TurnId) -> String {
    format!("cofferdam_resume_{turn}")
}

/// Looks up what the thread has of a batch, whose turn was also sent `steered`.
pub async fn look(
    client: &Client,
    thread: &str,
    batch: &Batch,
    steered: &BTreeSet<MessageId>,
) -> Result<Plan, RequestError> {
    let mut turns = Vec::new();
    let (mut cursor, mut missed) = (None, false);
    let begun = Instant::now();
    for page in 0.. {
        if page == PAGES || begun.elapsed() > LOOK_LIMIT {
            tracing::warn!(turns = turns.len(), "the thread has more turns than are looked at");
            missed = true;
            break;
        }
        let params = TurnsParams { thread_id: thread.to_owned(), limit: PAGE, items_view: "full", cursor };
        let page = match client.request::<TurnsAnswer>(method::TURNS_LIST, &params, PAGE_LIMIT).await {
            Ok(page) => page,
            // A thread that never had a turn has no history either.
            Err(error) if says(&error, "no rollout found") || says(&error, "not materialized") => break,
            Err(error) => return Err(error),
        };
        turns.extend(page.data);
        cursor = page.next_cursor;
        if cursor.is_none() || finds_all(&batch.messages, &turns) {
            break;
        }
    }
    turns.reverse();
    Ok(Plan { unsure: missed, ..Plan::decide(&batch.messages, batch.apart, steered, &turns) })
}

fn finds_all(messages: &[BatchMessage], turns: &[PastTurn]) -> bool {
    let told: BTreeSet<_> = turns.iter().flat_map(|turn| &turn.items).flat_map(told).collect();
    messages.iter().all(|message| told.contains(&message.id))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn message(id: i64) -> BatchMessage {
        let empty = String::new;
        BatchMessage { id: MessageId(id), sender: empty(), time: empty(), text: empty(), files: Vec::new() }
    }

    fn decide(ids: &[i64], turns: Value) -> Plan {
        decide_steered(ids, &[], turns)
    }

    fn decide_steered(ids: &[i64], steered: &[i64], turns: Value) -> Plan {
        let messages: Vec<_> = ids.iter().copied().map(message).collect();
        let steered = steered.iter().copied().map(MessageId).collect();
        Plan::decide(&messages, false, &steered, &serde_json::from_value::<Vec<PastTurn>>(turns).unwrap())
    }

    fn turn(status: &str, items: &[Value]) -> Value {
        json!({"id": "t", "status": status, "error": null, "items": items})
    }

    fn user(id: &str) -> Value {
        json!({"type": "userMessage", "id": "i", "clientId": id, "content": []})
    }

    fn agent(text: &str, phase: Value) -> Value {
        json!({"type": "agentMessage", "id": "i", "text": text, "phase": phase, "delivery": null})
    }

    fn ids(ids: &[i64]) -> BTreeSet<MessageId> {
        ids.iter().copied().map(MessageId).collect()
    }

    #[test]
    fn ids_go_there_and_back() {
        assert_eq!(client_id(&[message(4), message(12)]).unwrap(), "m:4,12");
        assert_eq!(named(Some("m:4,12")), ids(&[4, 12]));
        assert_eq!(client_id(&[]), None);
        for strange in [None, Some(""), Some("m:"), Some("m:x"), Some("turn-4"), Some("4")] {
            assert!(named(strange).is_empty(), "{strange:?}");
        }
    }

    #[test]
    fn what_the_thread_does_not_have_is_sent() {
        let other = turn("completed", &[user("m:1"), agent("a", json!(null))]);
        // The input of a turn that was lost right after it was accepted.
        let empty = turn("interrupted", &[]);
        for turns in [json!([]), json!([other, empty])] {
            let plan = decide(&[2, 3], turns);
            assert_eq!(plan, Plan { missing: ids(&[2, 3]), ..Plan::default() });
            assert_eq!((plan.is_done(), plan.note()), (false, None));
        }
    }

    #[test]
    fn an_answer_of_a_completed_turn_is_delivered() {
        let turns = json!([
            turn("completed", &[user("m:1"), agent("old", json!(null))]),
            turn("completed", &[user("m:2,3"), agent("looking", json!("commentary")), agent("a", json!(null))]),
            turn("completed", &[json!({"type": "contextCompaction", "id": "c"})]),
        ]);
        let plan = decide(&[2, 3], turns);
        assert!(plan.is_done());
        assert_eq!(plan.replies, ["a"]);
    }

    #[test]
    fn what_was_said_at_once_is_found_too_since_it_may_have_been_lost_on_its_way() {
        let now =
            json!({"type": "agentMessage", "id": "i", "text": "now", "phase": "commentary", "delivery": "async"});
        let plan = decide(&[2], json!([turn("completed", &[user("m:2"), agent("hm", json!("commentary")), now])]));
        assert!(plan.is_done());
        assert_eq!(plan.replies, ["now"]);
    }

    #[test]
    fn a_completed_turn_with_commentary_only_is_answered_by_it_and_one_with_nothing_by_nothing() {
        let turns = json!([turn("completed", &[user("m:2"), agent("so", json!("commentary"))])]);
        assert_eq!(decide(&[2], turns).replies, ["so"]);
        let plan = decide(&[2], json!([turn("completed", &[user("m:2")])]));
        assert!(plan.is_done() && plan.replies.is_empty());
    }

    #[test]
    fn a_cut_turn_is_gone_on_with() {
        let turns = json!([turn("interrupted", &[user("m:2"), agent("working on it", json!(null))])]);
        let plan = decide(&[2], turns);
        assert!(!plan.is_done() && plan.missing.is_empty());
        assert_eq!(plan.replies, ["working on it"]);
        let note = plan.note().unwrap();
        assert!(note.contains("restarted") && note.contains("answer: 2."), "{note}");
        let failed = decide(&[2], json!([turn("failed", &[user("m:2")])]));
        assert!(failed.note().unwrap().contains("connection to the model was lost"), "{failed:?}");
    }

    #[test]
    fn a_final_answer_in_a_cut_turn_is_an_answer_unless_more_was_asked_after_it() {
        let answered = [user("m:2"), agent("a", json!("final_answer"))];
        let plan = decide(&[2], json!([turn("interrupted", &answered)]));
        assert!(plan.is_done());
        assert_eq!(plan.replies, ["a"]);
        let [asked, answer] = answered;
        let plan = decide(&[2, 3], json!([turn("interrupted", &[asked, answer, user("m:3")])]));
        assert!(!plan.is_done() && plan.missing.is_empty());
    }

    #[test]
    fn going_on_belongs_to_the_turn_before_it_and_a_compaction_does_not() {
        let cut = turn("interrupted", &[user("m:2")]);
        let compacted = turn("completed", &[json!({"type": "contextCompaction", "id": "c"})]);
        assert!(!decide(&[2], json!([cut, compacted])).answered);
        let went_on = turn("completed", &[agent("a", json!(null))]);
        let plan = decide(&[2], json!([cut, compacted, went_on]));
        assert!(plan.is_done());
        assert_eq!(plan.replies, ["a"]);
        assert!(decide(&[2], json!([cut, turn("completed", &[])])).is_done());
    }

    #[test]
    fn what_others_came_after_is_given_again() {
        let (failed, others) =
            (turn("failed", &[user("m:2")]), turn("completed", &[user("m:7"), agent("7", json!(null))]));
        let plan = decide(&[2], json!([failed, others]));
        assert_eq!((plan.missing.clone(), plan.given.len(), plan.is_done()), (ids(&[2]), 0, false));
        let note = plan.note().unwrap();
        assert!(note.contains("(ids 2)") && note.contains("comes again"), "{note}");
        assert_eq!(plan.replies, Vec::<String>::new(), "what answered the other is not ours");
        let again = turn("completed", &[user("m:2"), agent("2", json!(null))]);
        let plan = decide(&[2], json!([failed, others, again]));
        assert!(plan.is_done() && plan.note().is_none());
        assert_eq!(plan.replies, ["2"]);
    }

    #[test]
    fn going_on_that_was_steered_is_ours_still() {
        let command = json!({"type": "commandExecution", "id": "c"});
        let turns = json!([
            turn("failed", &[user("m:2")]),
            turn("completed", &[command, user("m:5"), agent("to both", json!(null))]),
        ]);
        let plan = decide_steered(&[2], &[5], turns.clone());
        assert!(plan.is_done());
        assert_eq!((plan.replies, plan.steered), (vec!["to both".to_owned()], vec![MessageId(5)]));
        assert!(!decide(&[2], turns).is_done(), "of another turn");
    }

    #[test]
    fn a_part_that_was_answered_is_not_asked_again_with_the_rest() {
        let plan = decide(&[2, 3], json!([turn("completed", &[user("m:2"), agent("a", json!(null))])]));
        assert_eq!((plan.missing.clone(), plan.note()), (ids(&[3]), None));
        assert_eq!(plan.replies, ["a"]);
        assert!(!plan.is_done());
        let plan = decide(&[2, 3], json!([turn("failed", &[user("m:2")])]));
        assert_eq!(plan.missing, ids(&[3]));
        assert!(plan.note().is_some());
    }

    #[test]
    fn a_turn_of_other_messages_in_between_does_not_count() {
        let turns = json!([
            turn("failed", &[user("m:2")]),
            turn("completed", &[user("m:9"), agent("to nine", json!(null))]),
        ]);
        let plan = decide(&[2], turns);
        assert!(!plan.is_done());
        assert!(plan.replies.is_empty());
        // What goes on after it is the other's if the other was cut, else ours.
        let between = |status: &str| {
            let last = turn("completed", &[agent("late", json!(null))]);
            json!([turn("failed", &[user("m:2")]), turn(status, &[user("from elsewhere")]), last])
        };
        assert!(!decide(&[2], between("interrupted")).is_done());
        assert_eq!(decide(&[2], between("completed")).replies, ["late"]);
        // Two were cut: whose turn goes on is not known, and so nobody's answer is delivered.
        let late = turn("completed", &[agent("to two", json!(null))]);
        let plan = decide(&[9], json!([turn("failed", &[user("m:2")]), turn("failed", &[user("m:9")]), late]));
        assert!(!plan.is_done() && plan.replies.is_empty() && plan.note().is_some());
    }
    fn decide_apart(id: i64, turns: Value) -> Plan {
        Plan::decide(
            &[message(id)],
            true,
            &BTreeSet::new(),
            &serde_json::from_value::<Vec<PastTurn>>(turns).unwrap(),
        )
    }

    #[test]
    fn what_may_be_further_back_than_was_looked_is_said_to_be_so() {
        let unsure = |plan: Plan| Plan { unsure: true, ..plan }.note();
        let cut = turn("interrupted", &[user("m:2")]);
        let note = unsure(decide(&[2, 3], json!([cut]))).unwrap();
        assert!(note.contains("restarted") && note.contains("further back than could be looked: 3."), "{note}");
        assert!(unsure(decide(&[3], json!([]))).unwrap().contains("looked: 3."));
        assert!(!unsure(decide(&[2], json!([cut]))).unwrap().contains("further back"), "nothing is missing");
    }

    #[test]
    fn what_goes_by_itself_is_given_again_after_a_turn_over_several() {
        let together = turn("interrupted", &[user("m:2,3")]);
        let steered = turn("interrupted", &[user("m:2"), user("m:3")]);
        let went_on = turn("interrupted", &[agent("hm", json!(null))]);
        for turns in [json!([together]), json!([steered, went_on])] {
            let plan = decide_apart(2, turns);
            assert_eq!((plan.missing.clone(), plan.is_done(), plan.replies.len()), (ids(&[2]), false, 0));
            assert!(plan.note().unwrap().contains("(id 2)"), "{plan:?}");
        }
    }

    #[test]
    fn what_goes_by_itself_is_never_answered_by_the_answer_to_another() {
        let together = turn("interrupted", &[user("m:2,3")]);
        let two = turn("completed", &[user("m:2"), agent("to two", json!(null))]);
        let cut = turn("interrupted", &[user("m:2")]);
        let late = turn("completed", &[agent("to two, late", json!(null))]);
        assert_eq!(decide_apart(2, json!([together, two])).replies, ["to two"]);
        assert!(decide_apart(2, json!([together, cut])).note().unwrap().contains("restarted"));
        assert_eq!(decide_apart(2, json!([together, cut, late])).replies, ["to two, late"]);
        for turns in [json!([together, two]), json!([together, cut, late])] {
            let plan = decide_apart(3, turns);
            assert!(plan.missing == ids(&[3]) && plan.replies.is_empty() && !plan.answered, "{plan:?}");
        }
    }
}
