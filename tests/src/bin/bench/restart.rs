//! A daemon that is killed while turns run, and the next one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cofferdam_protocol::admin::{ChatEvent, ChatOutcome, Finished};
use cofferdam_protocol::ids::{Attempt, ReplyId, TurnId};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::client::{Sent, message};
use crate::daemon::{BenchHome, Daemon};
use crate::report::{Goal, Row, progress};
use crate::stats::Samples;
use crate::{Bench, Trouble};

/// How long the shortest turn takes: time for all of them to begin.
const SHORTEST: Duration = Duration::from_secs(2);
/// How much longer each takes than the one before: from the kill on, one ends in each such time.
const STEP: Duration = Duration::from_millis(50);
/// Within how many ms a daemon has to serve again.
const GOAL_MS: f64 = 1000.0;

/// Figure `restart`: `kill -9` and `up`, with a turn running in each container. A group each, so that as many databases
/// are opened as there can be.
pub async fn with_live_containers(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let (sessions, rounds) = (bench.samples(40, 10), bench.samples(10, 3));
    let home = BenchHome::new(bench)?;
    home.configure(&format!("max_sessions = {sessions}\n"))?;
    let groups: Vec<String> = (0..sessions).map(|index| format!("restart-{index}")).collect();
    for group in &groups {
        home.group(group, "mock")?;
    }
    let mut daemon = home.up(bench, &[]).await?;
    for group in &groups {
        daemon.register(group).await?;
        daemon.client().await?.turn(group, None, "hello").await?;
    }
    let mut seen = Seen::default();
    for round in 0..rounds {
        progress(&format!("restart with {sessions} live containers, round {}", round + 1));
        // The first turn was the one above.
        daemon = seen.round(bench, &home, daemon, &groups, round + 2).await?;
    }
    daemon.down().await?;
    let all = sessions * rounds;
    let note = format!(
        "{} of {all} turns ran at the kill; {} answered once, {} by the container they began in; {} replies were shown again",
        seen.adopted, seen.once, seen.kept, seen.again
    );
    let within = |samples: &Samples| Goal::at_most(samples.p50(), GOAL_MS, "p50 ≤ 1 s");
    let once = Goal::at_least(seen.once.min(seen.kept) as f64, all as f64, "all answered once, none anew");
    let name = |what: &str| format!("`up` after kill -9, {sessions} live containers → {what}");
    Ok(vec![
        Row::new("restart", name("the admin socket answers"), "ms", seen.socket.summary())
            .goal(within(&seen.socket)),
        Row::new("restart", name("first reply of a turn that ran"), "ms", seen.first.summary())
            .goal(within(&seen.first)),
        Row::new("restart", "each such reply later than its turn's end, or than `up`", "ms", seen.late.summary())
            .goal(once)
            .note(note),
    ])
}

/// What all rounds showed.
#[derive(Default)]
struct Seen {
    /// Ms until the socket answers.
    socket: Samples,
    /// Ms until the first reply of a turn that ran at the kill.
    first: Samples,
    /// Ms by which such replies are later than they could be.
    late: Samples,
    /// Turns that ran at the kill.
    adopted: usize,
    /// Messages that were answered by exactly one reply, of the turn that comes next in their session.
    once: usize,
    /// Messages that were answered by the very turn that had begun, in the attempt (so the container) in which it began.
    kept: usize,
    /// Replies that came a second time: the daemon died before it knew that they were delivered.
    again: usize,
}

impl Seen {
    async fn round(
        &mut self,
        bench: &Bench,
        home: &BenchHome,
        daemon: Daemon,
        groups: &[String],
        nth: usize,
    ) -> Result<Daemon, Trouble> {
        let begun = Instant::now();
        let mut running = Vec::new();
        for (index, group) in (0_u32..).zip(groups) {
            running.push(Turn::begin(&daemon, group, SHORTEST + STEP * index).await?);
        }
        tokio::time::sleep_until((begun + SHORTEST).into()).await;
        daemon.kill()?;
        let up = Instant::now();
        let daemon = home.up(bench, &[]).await?;
        self.socket.push(up.elapsed().as_secs_f64() * 1e3);
        let mut followed = Vec::new();
        for turn in running {
            let mut turn = turn.await??;
            let ran = turn.replies.is_empty() && turn.finished.is_none();
            let mut client = daemon.client().await?;
            followed.push(tokio::spawn(async move {
                if turn.finished.is_none() {
                    let mut sent = client.post(&turn.message).await?;
                    turn.follow(&mut sent).await?;
                }
                Ok::<_, Trouble>((ran, turn))
            }));
        }
        let mut first = f64::INFINITY;
        for turn in followed {
            let (ran, turn) = turn.await??;
            if let Some(at) = turn.replied.filter(|_| ran) {
                first = first.min((at - up).as_secs_f64() * 1e3);
                self.late.push(at.saturating_duration_since(turn.due.max(up)).as_secs_f64() * 1e3);
            }
            self.judge(ran, &turn, nth)?;
        }
        if first.is_infinite() {
            return Err(Trouble::Odd("every turn had ended before the daemon was killed".to_owned()));
        }
        self.first.push(first);
        Ok(daemon)
    }

    fn judge(&mut self, ran: bool, turn: &Turn, nth: usize) -> Result<(), Trouble> {
        let Some(finished) = &turn.finished else {
            return Err(Trouble::NoReply("the second daemon's answer ended early".to_owned()));
        };
        if finished.outcome != ChatOutcome::Replied {
            return Err(Trouble::NoReply(format!("{:?}", finished.outcome)));
        }
        self.adopted += usize::from(ran);
        self.again += turn.shown - turn.replies.len();
        // The mock counts its turns: one that had been run twice would show in this round or the next.
        self.once += usize::from(turn.replies.len() == 1 && turn.text.ends_with(&format!("(turn {nth})")));
        self.kept += usize::from((finished.turn, finished.attempt) == (Some(turn.id), turn.attempt));
        Ok(())
    }
}

/// A message, and what its sender was told of it by both daemons.
struct Turn {
    message: Value,
    /// When its turn ends by itself.
    due: Instant,
    id: TurnId,
    attempt: Attempt,
    replies: BTreeSet<ReplyId>,
    shown: usize,
    text: String,
    replied: Option<Instant>,
    finished: Option<Finished>,
}

impl Turn {
    /// Sends a message whose turn takes so long, waits until that runs, and follows it until it or the daemon ends.
    async fn begin(
        daemon: &Daemon,
        group: &str,
        takes: Duration,
    ) -> Result<JoinHandle<Result<Self, Trouble>>, Trouble> {
        let message = message(group, None, &format!("hello\n!wait {}", takes.as_secs_f64()));
        let mut client = daemon.client().await?;
        let mut sent = client.post(&message).await?;
        let (id, attempt) = loop {
            match sent.event().await? {
                Some(ChatEvent::Started { turn, attempt, .. }) => break (turn, attempt),
                Some(_) => {}
                None => return Err(Trouble::NoReply("the answer ended before the turn began".to_owned())),
            }
        };
        let due = Instant::now() + takes;
        let (replies, text) = Default::default();
        let mut turn = Self { message, due, id, attempt, replies, shown: 0, text, replied: None, finished: None };
        Ok(tokio::spawn(async move {
            let (_open, followed) = (client, turn.follow(&mut sent).await);
            match followed {
                // So ends a connection to one that is killed.
                Ok(()) | Err(Trouble::Http(_)) => Ok(turn),
                Err(error) => Err(error),
            }
        }))
    }

    async fn follow(&mut self, sent: &mut Sent) -> Result<(), Trouble> {
        while let Some(event) = sent.event().await? {
            match event {
                ChatEvent::Reply { reply, text, .. } => {
                    self.replied.get_or_insert_with(Instant::now);
                    self.replies.insert(reply);
                    self.shown += 1;
                    self.text = text;
                }
                ChatEvent::Finished(finished) => self.finished = Some(finished),
                ChatEvent::Notice { text, .. } => return Err(Trouble::NoReply(text)),
                _ => {}
            }
        }
        Ok(())
    }
}
