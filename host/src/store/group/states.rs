//! Every step of a row's state: read, through its machine's one transition function, written. An illegal one is an error
//! and writes nothing. No other file of the store writes a state, live, in recovery or in salvage; a test holds that.

use cofferdam_protocol::ids::{MessageId, ReplyId, TurnId};
use rusqlite::{Connection, ToSql, params};

use crate::model::IllegalTransition;
use crate::model::dead_letter::{DeadLetterEvent, DeadLetterState};
use crate::model::message::{MessageEvent, MessageState};
use crate::model::question::{QuestionEvent, QuestionState};
use crate::model::reply::{ReplyEvent, ReplyState};
use crate::model::tool_call::{CallEvent, CallState};
use crate::model::turn::{TurnEvent, TurnState};
use crate::store::StoreError;

/// A machine's place in SQL.
struct Kept<S: 'static> {
    /// For errors.
    what: &'static str,
    read: &'static str,
    write: &'static str,
    parse: fn(&str) -> Option<S>,
    text: fn(S) -> &'static str,
}

impl<S: Copy> Kept<S> {
    fn read(&self, tx: &Connection, key: &[&dyn ToSql]) -> Result<S, StoreError> {
        let text: String = tx.prepare_cached(self.read)?.query_row(key, |row| row.get(0))?;
        (self.parse)(&text).ok_or(StoreError::Unknown { what: self.what, value: text })
    }

    fn step(
        &self,
        tx: &Connection,
        key: &[&dyn ToSql],
        next: impl FnOnce(S) -> Result<S, IllegalTransition>,
    ) -> Result<S, StoreError> {
        let state = next(self.read(tx, key)?)?;
        let mut all: Vec<&dyn ToSql> = key.to_vec();
        let text = (self.text)(state);
        all.push(&text);
        tx.prepare_cached(self.write)?.execute(all.as_slice())?;
        Ok(state)
    }
}

const MESSAGE: Kept<MessageState> = Kept {
    what: "message state",
    read: "SELECT state FROM inbox WHERE id = ?1",
    write: "UPDATE inbox SET state = ?2 WHERE id = ?1",
    parse: MessageState::parse,
    text: MessageState::as_str,
};

const TURN: Kept<TurnState> = Kept {
    what: "turn state",
    read: "SELECT state FROM turns WHERE id = ?1",
    write: "UPDATE turns SET state = ?2 WHERE id = ?1",
    parse: TurnState::parse,
    text: TurnState::as_str,
};

const REPLY: Kept<ReplyState> = Kept {
    what: "reply state",
    read: "SELECT state FROM outbox WHERE id = ?1",
    write: "UPDATE outbox SET state = ?2 WHERE id = ?1",
    parse: ReplyState::parse,
    text: ReplyState::as_str,
};

const LETTER: Kept<DeadLetterState> = Kept {
    what: "dead letter's state",
    read: "SELECT state FROM dead_letters WHERE id = ?1",
    write: "UPDATE dead_letters SET state = ?2 WHERE id = ?1",
    parse: DeadLetterState::parse,
    text: DeadLetterState::as_str,
};

const QUESTION: Kept<QuestionState> = Kept {
    what: "question state",
    read: "SELECT state FROM questions WHERE id = ?1",
    write: "UPDATE questions SET state = ?2 WHERE id = ?1",
    parse: QuestionState::parse,
    text: QuestionState::as_str,
};

const CALL: Kept<CallState> = Kept {
    what: "call state",
    read: "SELECT state FROM tool_calls WHERE turn = ?1 AND call_id = ?2",
    write: "UPDATE tool_calls SET state = ?3 WHERE turn = ?1 AND call_id = ?2",
    parse: CallState::parse,
    text: CallState::as_str,
};

/// Where a message is.
pub(super) fn message_state(tx: &Connection, id: MessageId) -> Result<MessageState, StoreError> {
    MESSAGE.read(tx, params![id.0])
}

/// A message's step.
pub(in crate::store) fn step_message(
    tx: &Connection,
    id: MessageId,
    event: MessageEvent,
) -> Result<MessageState, StoreError> {
    MESSAGE.step(tx, params![id.0], |state| state.next(event))
}

/// The same step of several messages; an illegal one of any fails all.
pub(super) fn step_messages(tx: &Connection, ids: &[MessageId], event: MessageEvent) -> Result<(), StoreError> {
    ids.iter().try_for_each(|id| step_message(tx, *id, event).map(drop))
}

/// A turn's end.
pub(in crate::store) fn step_turn(
    tx: &Connection,
    id: TurnId,
    event: TurnEvent<'_>,
) -> Result<TurnState, StoreError> {
    TURN.step(tx, params![id.0], |state| state.next(event))
}

/// A reply's step.
pub(super) fn step_reply(tx: &Connection, id: ReplyId, event: ReplyEvent) -> Result<ReplyState, StoreError> {
    REPLY.step(tx, params![id.0], |state| state.next(event))
}

/// A person's decision about a dead letter.
pub(super) fn step_letter(tx: &Connection, id: i64, event: DeadLetterEvent) -> Result<DeadLetterState, StoreError> {
    LETTER.step(tx, params![id], |state| state.next(event))
}

/// A question's end.
pub(super) fn step_question(tx: &Connection, id: i64, event: QuestionEvent) -> Result<QuestionState, StoreError> {
    QUESTION.step(tx, params![id], |state| state.next(event))
}

/// The end of a call that waited.
pub(super) fn step_call(
    tx: &Connection,
    turn: TurnId,
    call_id: &str,
    event: CallEvent,
) -> Result<CallState, StoreError> {
    CALL.step(tx, params![turn.0, call_id], |state| state.next(event))
}

/// The messages that a running turn has, in order.
pub(super) fn claimed(tx: &Connection, turn: TurnId) -> Result<Vec<MessageId>, StoreError> {
    let mut statement =
        tx.prepare_cached("SELECT id FROM inbox WHERE turn = ?1 AND state = 'claimed' ORDER BY id")?;
    let rows = statement.query_map([turn.0], |row| Ok(MessageId(row.get(0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && name != "tests" {
                sources(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") && !name.ends_with("tests") {
                found.push(path);
            }
        }
    }

    /// What each `SET` of a source assigns, up to its condition or the end of its text.
    fn assignments(text: &str) -> Vec<String> {
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let ends = |rest: &str| [" WHERE ", "\""].iter().filter_map(|end| rest.find(end)).min();
        flat.split(" SET ").skip(1).map(|rest| rest[..ends(rest).unwrap_or(rest.len())].to_owned()).collect()
    }

    /// The code of a source, without its tests.
    fn code(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap().split("#[cfg(test)]").next().unwrap().to_owned()
    }

    fn sets_a_state(assignment: &str) -> bool {
        assignment
            .split(',')
            .any(|one| one.trim().strip_prefix("state").is_some_and(|rest| rest.trim().starts_with('=')))
    }

    #[test]
    fn no_other_file_of_the_host_writes_a_state() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        sources(&root, &mut files);
        let here = files.iter().filter(|path| assignments(&code(path)).iter().any(|set| sets_a_state(set)));
        let here: Vec<_> = here.map(|path| path.strip_prefix(&root).unwrap().to_owned()).collect();
        let mut here = here;
        here.sort();
        assert_eq!(here, ["store/group/states.rs", "store/own_states.rs"].map(Path::new));
    }

    /// Rows begin where their machine begins, and by its word for that.
    #[test]
    fn no_row_is_made_with_a_state_that_is_spelled_out() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
        let mut files = Vec::new();
        sources(&root, &mut files);
        let words = MessageState::ALL.iter().map(|state| state.as_str());
        let words = words.chain(TurnState::ALL.iter().map(|state| state.as_str()));
        let words = words.chain(ReplyState::ALL.iter().map(|state| state.as_str()));
        let words = words.chain(DeadLetterState::ALL.iter().map(|state| state.as_str()));
        let words = words.chain(QuestionState::ALL.iter().map(|state| state.as_str()));
        let words: Vec<_> = words.chain(CallState::ALL.iter().map(|state| state.as_str())).collect();
        let mut rows = 0;
        for path in files {
            // Its values, or what they are selected from; to the end of the statement.
            for insert in code(&path).split("INSERT ").skip(1) {
                let Some((_, values)) = insert.split_once("VALUES (").or_else(|| insert.split_once("SELECT "))
                else {
                    continue;
                };
                let values = values.split(['"', ';']).next().unwrap();
                let values = values.split(" WHERE ").next().unwrap();
                assert!(!words.iter().any(|word| values.contains(&format!("'{word}'"))), "{path:?}: {values}");
                rows += 1;
            }
        }
        assert!(rows >= 5, "they were looked at");
    }

    #[test]
    fn an_assignment_is_found_wherever_it_stands() {
        let sets = |sql: &str| assignments(&format!("\"{sql}\"")).iter().any(|set| sets_a_state(set));
        assert!(sets("UPDATE inbox SET state = ?1 WHERE id = ?2"));
        assert!(sets("UPDATE inbox SET turn = 1, state='done' WHERE id = 2"));
        assert!(sets("UPDATE inbox SET turn = 1,\n    state = 'done'\n WHERE id = 2"));
        assert!(!sets("UPDATE inbox SET turn = 1 WHERE state = 'pending'"));
        assert!(!sets("UPDATE inbox SET turn = 1,\n tries = 2\n WHERE id = 5 AND state = 'pending'"));
    }

    /// The CHECK of each table has the machine's states, no more and no less.
    #[test]
    fn the_tables_know_the_same_states() {
        let schema = include_str!("../expected/group.sql");
        let of = |table: &str| {
            let table = schema.split(&format!("CREATE TABLE {table} (")).nth(1).unwrap();
            let states = table.split("CHECK (state IN (").nth(1).unwrap().split(')').next().unwrap();
            states.split(',').map(|state| state.trim().trim_matches('\'').to_owned()).collect::<Vec<_>>()
        };
        fn names<S: Copy>(all: &[S], text: fn(S) -> &'static str) -> Vec<&'static str> {
            all.iter().map(|state| text(*state)).collect()
        }
        assert_eq!(of("inbox"), names(MessageState::ALL, MESSAGE.text));
        assert_eq!(of("turns"), names(TurnState::ALL, TURN.text));
        assert_eq!(of("outbox"), names(ReplyState::ALL, REPLY.text));
        assert_eq!(of("dead_letters"), names(DeadLetterState::ALL, LETTER.text));
        assert_eq!(of("questions"), names(QuestionState::ALL, QUESTION.text));
        assert_eq!(of("tool_calls"), names(CallState::ALL, CALL.text));
    }

    #[test]
    fn an_illegal_step_is_an_error_and_writes_nothing() {
        let mut conn = rusqlite::Connection::open_in_memory().unwrap();
        conn.execute_batch(
            "CREATE TABLE inbox (id INTEGER PRIMARY KEY, state TEXT); INSERT INTO inbox VALUES (1, 'done')",
        )
        .unwrap();
        let tx = conn.savepoint().unwrap();
        let step = |event| step_message(&tx, MessageId(1), event);
        for event in [MessageEvent::Claim, MessageEvent::Finish, MessageEvent::Release, MessageEvent::Answer] {
            assert!(matches!(step(event), Err(StoreError::Illegal(_))), "{event:?}");
            assert_eq!(message_state(&tx, MessageId(1)).unwrap(), MessageState::Done);
        }
        assert_eq!(step(MessageEvent::Revive).unwrap(), MessageState::Pending);
        assert_eq!(message_state(&tx, MessageId(1)).unwrap(), MessageState::Pending);
    }
}
