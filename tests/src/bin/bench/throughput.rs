//! Many sessions that are never idle.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Barrier;

use crate::client::Client;
use crate::daemon::{BenchHome, Daemon};
use crate::report::{Goal, Row, progress};
use crate::stats::Samples;
use crate::{Bench, Trouble, procs};

/// Sessions that live at once.
const SESSIONS: usize = 40;
/// Messages a second.
const GOAL: f64 = 1500.0;
/// Closed-loop traffic before the part that counts.
const WARM_UP: Duration = Duration::from_secs(2);

/// Figure `throughput`: forty threads of one group, whose state is one database, and the same over four groups.
pub async fn closed_loop(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let mut rows = Vec::new();
    for groups in [1, 4] {
        progress(&format!("{SESSIONS} sessions in {groups} groups"));
        rows.extend(spread_over(bench, groups).await?);
    }
    Ok(rows)
}

async fn spread_over(bench: &Bench, groups: usize) -> Result<Vec<Row>, Trouble> {
    let home = BenchHome::new(bench)?;
    let names: Vec<String> = (0..groups).map(|index| format!("busy-{index}")).collect();
    for name in &names {
        home.group(name, "mock")?;
    }
    let daemon = home.up(bench, &[("COFFERDAM_MAX_SESSIONS", SESSIONS.to_string())]).await?;
    for name in &names {
        daemon.register(name).await?;
    }
    let length = Duration::from_secs(bench.samples(20, 10) as u64);
    let barrier = Arc::new(Barrier::new(SESSIONS + 1));
    let mut loops = Vec::new();
    for index in 0..SESSIONS {
        let mut client = daemon.client().await?;
        let group = names[index % groups].clone();
        let thread = format!("t{index}");
        client.turn(&group, Some(&thread), "hello").await?;
        loops.push(tokio::spawn(session(client, group, thread, barrier.clone(), length)));
    }
    barrier.wait().await;
    tokio::time::sleep(WARM_UP).await;
    let before = Usage::now(&daemon)?;
    let begun = Instant::now();
    tokio::time::sleep(length).await;
    let used = Usage::now(&daemon)?.since(&before, begun.elapsed());
    let (mut latencies, mut seconds) = (Samples::default(), vec![0_u32; length.as_secs() as usize]);
    for ended in loops {
        for (at, latency) in ended.await?? {
            if let Some(second) = seconds.get_mut(at.as_secs() as usize) {
                *second += 1;
                latencies.push(latency);
            }
        }
    }
    daemon.down().await?;
    let rate = f64::from(seconds.iter().sum::<u32>()) / length.as_secs_f64();
    let rates: Samples = seconds.iter().map(|count| f64::from(*count)).collect();
    let goal = Goal::at_least(rate, GOAL, "≥ 1,500 messages/s");
    let name = |what: &str| format!("{what}, {SESSIONS} sessions in {groups} group(s)");
    Ok(vec![
        Row::new("throughput", name("messages in each second"), "/s", rates.summary())
            .goal(goal)
            .note(format!("{rate:.0}/s over {} s; {used}", length.as_secs())),
        Row::new("throughput", name("message sent → reply read"), "ms", latencies.summary()),
    ])
}

/// One session: sends the next message when the last one's reply was handed over. Answers when after the warm-up
/// each reply came, and its latency.
async fn session(
    mut client: Client,
    group: String,
    thread: String,
    barrier: Arc<Barrier>,
    length: Duration,
) -> Result<Vec<(Duration, f64)>, Trouble> {
    let mut replies = Vec::new();
    barrier.wait().await;
    let begun = Instant::now();
    while begun.elapsed() < WARM_UP + length {
        let chat = client.chat(&group, Some(&thread), "hello").await?;
        if let Some(at) = begun.elapsed().checked_sub(WARM_UP) {
            replies.push((at, chat.reply_ms));
        }
    }
    Ok(replies)
}

/// Processor time, in seconds.
struct Usage {
    daemon: f64,
    client: f64,
    machine: f64,
}

impl Usage {
    fn now(daemon: &Daemon) -> Result<Self, Trouble> {
        Ok(Self {
            daemon: procs::cpu_seconds(daemon.pid())?,
            client: procs::cpu_seconds(std::process::id())?,
            machine: procs::machine_busy_seconds()?,
        })
    }

    fn since(&self, before: &Self, time: Duration) -> String {
        let share = |now: f64, before: f64| (now - before) / time.as_secs_f64();
        let daemon = share(self.daemon, before.daemon);
        let client = share(self.client, before.client);
        let machine = share(self.machine, before.machine);
        format!(
            "cores used: daemon {daemon:.2}, this client {client:.2}, runners and the rest {:.2}",
            (machine - daemon - client).max(0.0)
        )
    }
}
