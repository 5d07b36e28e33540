//! Writes down calls that are over, behind everybody's back.
//!
//! Calls go through a queue that is never waited for: when the disk is so slow that it is full, calls are not written down, and
//! that is counted and logged. What ended in the last moments before the process dies is lost with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cofferdam_protocol::ids::Folder;
use futures_util::future::join_all;
use jiff::tz::TimeZone;
use tokio::sync::{mpsc, oneshot};

use crate::config::group::GroupConfig;
use crate::config::home::Home;
use crate::config::zone::{local_day, zone};
use crate::error_chain;
use crate::store::Stores;
use crate::store::group::usage::CallRow;

/// Calls that wait to be written; each takes about a kilobyte.
const QUEUE: usize = 1024;
/// How long a group's disk may take for a batch, before the others go on without it.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most that are taken at once.
const BATCH: usize = 256;

enum Note {
    Call(Folder, Box<CallRow>),
    /// Answered when all before it were written.
    Settle(oneshot::Sender<()>),
}

/// Where calls are written down. Clones are handles to the same.
#[derive(Clone)]
pub struct Ledger {
    queue: mpsc::Sender<Note>,
    lost: Arc<AtomicU64>,
}

impl Ledger {
    /// Writes to the groups' databases, until the last handle is dropped.
    pub fn start(stores: Stores, home: Home) -> Self {
        let (ledger, queue) = Self::new();
        tokio::spawn(keep(stores, home, queue));
        ledger
    }

    fn new() -> (Self, mpsc::Receiver<Note>) {
        let (queue, notes) = mpsc::channel(QUEUE);
        (Self { queue, lost: Arc::default() }, notes)
    }

    /// Notes a call that is over; waits for nothing.
    pub(super) fn note(&self, group: &Folder, call: CallRow) {
        if self.queue.try_send(Note::Call(group.clone(), Box::new(call))).is_err() {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            // The 1st, 2nd, 4th, 8th …: the log may be on the same disk.
            if lost.is_power_of_two() {
                tracing::warn!(%group, lost, "model calls are not written down: the disk is too slow");
            }
        }
    }

    /// Waits until what was noted is written, or given up; not for a disk that hangs.
    pub async fn settle(&self) {
        let (done, settled) = oneshot::channel();
        let all = async {
            if self.queue.send(Note::Settle(done)).await.is_ok() {
                let _ = settled.await;
            }
        };
        let _ = tokio::time::timeout(2 * PATIENCE, all).await;
    }
}

async fn keep(stores: Stores, home: Home, mut queue: mpsc::Receiver<Note>) {
    let mut notes = Vec::new();
    while queue.recv_many(&mut notes, BATCH).await > 0 {
        let (mut calls, mut waiting) = (BTreeMap::<Folder, Vec<CallRow>>::new(), Vec::new());
        for note in notes.drain(..) {
            match note {
                Note::Call(group, call) => calls.entry(group).or_default().push(*call),
                Note::Settle(done) => waiting.push(done),
            }
        }
        join_all(calls.into_iter().map(|(group, calls)| write(&stores, &home, group, calls))).await;
        for done in waiting {
            let _ = done.send(());
        }
    }
}

async fn write(stores: &Stores, home: &Home, group: Folder, calls: Vec<CallRow>) {
    let count = calls.len();
    let work = async {
        let zone = zone_of(home, &group).await;
        let dated = calls.into_iter().map(|call| (local_day(call.at, &zone).to_string(), call)).collect();
        stores.group(&group).await?.note_calls(dated).await
    };
    // One group's disk that hangs is not the others'.
    let Ok(written) = tokio::time::timeout(PATIENCE, work).await else {
        tracing::warn!(%group, count, "the disk takes too long; model calls may not be written down");
        return;
    };
    match written {
        Ok(()) => {}
        // Somebody replaces or removes the group, or has to restore it first: its state is not ours to change.
        Err(error) if error.is_set_aside() => {
            tracing::debug!(%group, count, error = %error_chain(&error), "model calls are not written down");
        }
        Err(error) => {
            tracing::warn!(%group, count, error = %error_chain(&error), "model calls are not written down");
        }
    }
}

/// Where the group's people live, as its file says now; the host's zone when that cannot be read.
async fn zone_of(home: &Home, group: &Folder) -> TimeZone {
    let (home, group) = (home.clone(), group.clone());
    let loaded = tokio::task::spawn_blocking(move || GroupConfig::load(&home, &group)).await;
    loaded.ok().and_then(Result::ok).map_or_else(|| zone(None), |loaded| loaded.config.zone())
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::admin::{CallOutcome, UsageBy};

    use super::*;

    fn call() -> CallRow {
        CallRow {
            at: 1_795_303_800_000, // 2026-11-21 23:30 UTC
            session: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            account: Some("work".parse().unwrap()),
            missed: Vec::new(),
            model: None,
            route: "responses".into(),
            outcome: CallOutcome::Completed,
            why: None,
            millis: 1,
            tokens: None,
        }
    }

    async fn fixture() -> (tempfile::TempDir, Home, Stores, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        let stores = Stores::open(home.clone()).unwrap();
        let group: Folder = "demo".parse().unwrap();
        stores.central().put_group(&group, "{}".into(), String::new()).await.unwrap();
        (dir, home, stores, group)
    }

    /// Nobody waits, nothing grows, and what had room is written when the disk comes back.
    #[tokio::test]
    async fn a_disk_that_does_not_answer_costs_what_has_no_room() {
        let (_dir, home, stores, group) = fixture().await;
        let (ledger, queue) = Ledger::new();
        (0..QUEUE + 7).for_each(|_| ledger.note(&group, call()));
        assert_eq!(ledger.lost.load(Ordering::Relaxed), 7);
        tokio::spawn(keep(stores.clone(), home, queue));
        ledger.settle().await;
        let rows = stores.group(&group).await.unwrap().usage(UsageBy::Group, None).await.unwrap();
        assert_eq!(rows[0].sum.calls, QUEUE as u64);
    }

    #[tokio::test]
    async fn a_call_counts_for_the_day_of_its_group() {
        let (_dir, home, stores, group) = fixture().await;
        std::fs::create_dir_all(home.group(&group)).unwrap();
        std::fs::write(home.container_json(&group), r#"{"time_zone": "Europe/Berlin"}"#).unwrap();
        let ledger = Ledger::start(stores.clone(), home);
        ledger.note(&group, call());
        ledger.settle().await;
        let rows = stores.group(&group).await.unwrap().usage(UsageBy::Day, None).await.unwrap();
        assert_eq!(rows[0].day.as_deref(), Some("2026-11-22"));
    }

    /// Neither a group that is gone nor one that nobody knows gets a database by a call that ends late.
    #[tokio::test]
    async fn a_call_of_a_group_that_is_not_there_makes_none() {
        let (_dir, home, stores, group) = fixture().await;
        let gone: Folder = "gone".parse().unwrap();
        let ledger = Ledger::start(stores.clone(), home.clone());
        ledger.note(&gone, call());
        ledger.note(&group, call());
        ledger.settle().await;
        assert!(!home.group_db(&gone).exists() && home.group_db(&group).exists());
    }
}
