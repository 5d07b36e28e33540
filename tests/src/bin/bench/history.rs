//! Warm messages in groups with a long past.

use cofferdam::model::chat::{ChatRef, SessionMode};
use cofferdam::store::GroupDb;
use cofferdam_protocol::ids::Folder;
use rusqlite::{Connection, params};

use crate::daemon::BenchHome;
use crate::report::{Goal, Row, progress};
use crate::stats::Samples;
use crate::{Bench, Trouble};

/// Old messages, and the group that has them.
const GROUPS: [(&str, u64); 3] = [("past-0", 0), ("past-10k", 10_000), ("past-1m", 1_000_000)];
/// What still counts as the same: medians may differ by this share.
const SAME: f64 = 0.10;

/// Figure `history`. The groups take turns, message by message, so that whatever else the machine does falls on all.
pub async fn lengths(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let home = BenchHome::new(bench)?;
    for (group, messages) in GROUPS {
        progress(&format!("{messages} old messages"));
        home.group(group, "mock")?;
        write_past(&home, group, messages)?;
    }
    let daemon = home.up(bench, &[]).await?;
    let mut client = daemon.client().await?;
    for (group, _) in GROUPS {
        daemon.register(group).await?;
        for _ in 0..20 {
            client.turn(group, None, "hello").await?;
        }
    }
    let mut samples = [const { Vec::new() }; GROUPS.len()];
    for _ in 0..bench.samples(500, 100) {
        for ((group, _), samples) in GROUPS.iter().zip(&mut samples) {
            samples.push(client.turn(group, None, "hello").await?.0);
        }
    }
    drop(client);
    daemon.down().await?;
    let samples = samples.map(|values| values.into_iter().collect::<Samples>());
    let base = samples[0].p50();
    let noise = samples[0].drift();
    let rows = GROUPS.iter().zip(&samples).map(|((_, messages), samples)| {
        let row = Row::new("history", format!("warm mock, {messages} old messages"), "ms", samples.summary());
        if *messages == 0 {
            return row.note(format!("medians of its ten parts lie {noise:.2} ms apart"));
        }
        let text = format!("p50 within {:.0} % of {base:.2}", SAME * 100.0);
        row.goal(Goal::at_most((samples.p50() - base).abs(), SAME * base, text))
    });
    Ok(rows.collect())
}

/// Finished turns of the chat that is then measured, as the daemon would have left them.
fn write_past(home: &BenchHome, group: &str, messages: u64) -> Result<(), Trouble> {
    let folder: Folder = group.parse().map_err(|_| Trouble::Odd(group.to_owned()))?;
    let path = home.home.group_db(&folder);
    // Makes the schema.
    drop(GroupDb::open(folder, &path)?);
    let chat = ChatRef { channel: "terminal".into(), chat_id: group.into(), thread_id: None };
    let session = format!("{:032x}", 0xc0ff_ee00 + messages);
    let mut conn = Connection::open(&path)?;
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    conn.pragma_update(None, "synchronous", "OFF")?;
    let tx = conn.transaction()?;
    tx.execute(
        "INSERT INTO sessions (id, key, channel, chat_id, created_at, active_at) VALUES (?1, ?2, 'terminal', ?3, 1, 1)",
        params![session, SessionMode::PerThread.session_key(&chat), group],
    )?;
    let many = "WITH RECURSIVE n (i) AS (SELECT 1 WHERE ?1 > 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)";
    tx.execute(
        &format!(
            "{many} INSERT INTO turns (session, attempt, state, provider_ms, started_at, finished_at)
             SELECT ?2, 0, 'completed', 0.1, i, i + 1 FROM n"
        ),
        params![messages, session],
    )?;
    tx.execute(
        &format!(
            "{many} INSERT INTO inbox (session, channel, chat_id, platform_id, sender, text, state, turn, tries, accepted_at)
             SELECT ?2, 'terminal', ?3, 'old-' || i, 'bench', 'an old message, number ' || i, 'done', i, 1, i FROM n"
        ),
        params![messages, session, group],
    )?;
    tx.execute(
        &format!(
            "{many} INSERT INTO outbox (session, turn, channel, chat_id, kind, text, state, next_try_at, created_at, delivered_at)
             SELECT ?2, i, 'terminal', ?3, 'reply', 'an old reply, number ' || i, 'delivered', 0, i, i FROM n"
        ),
        params![messages, session, group],
    )?;
    tx.commit()?;
    let kept: u64 =
        conn.query_row("SELECT count(*) FROM inbox WHERE session = ?1", [&session], |row| row.get(0))?;
    if kept == messages { Ok(()) } else { Err(Trouble::Odd(format!("{kept} old messages instead of {messages}"))) }
}
