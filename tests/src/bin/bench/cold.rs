//! First messages: nothing runs yet.

use std::time::Instant;

use cofferdam_protocol::admin::Finished;

use crate::daemon::BenchHome;
use crate::floor::{Floor, Parts, codex_home_of};
use crate::report::{Goal, Row, progress};
use crate::stats::Samples;
use crate::{Bench, Trouble};

/// What a cold message may take, as a multiple of the floor.
const OVER_FLOOR: f64 = 1.3;
/// Sessions that start at once.
const AT_ONCE: usize = 10;
/// Milliseconds that they may take together.
const AT_ONCE_MS: f64 = 4000.0;

/// Figure `cold`. A bare start, a new session's first message and the next message of a session whose container was
/// stopped take turns.
pub async fn one(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let home = BenchHome::new(bench)?;
    home.group("cold", "codex")?;
    let daemon = home.up(bench, &[]).await?;
    daemon.register("cold").await?;
    let mut client = daemon.client().await?;
    let (_, first) = client.turn("cold", None, "hello").await?;
    let codex = codex_home_of(&home.home, "cold", &first.session)?;
    let container = first.container.clone().ok_or_else(|| Trouble::Odd("no container".to_owned()))?;
    let floor = Floor::after(bench, &container, &codex).await?;
    let main = first.session.to_string();
    client.stop(&main).await?;
    let (mut bare, mut fresh, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..bench.samples(30, 10) {
        progress(&format!("cold {index}"));
        bare.push(floor.cold().await?);
        let thread = format!("new-{index}");
        let (reply_ms, finished) = client.turn("cold", Some(&thread), "hello").await?;
        client.stop(finished.session.as_str()).await?;
        fresh.push((reply_ms, finished));
        let (reply_ms, finished) = client.turn("cold", None, "hello").await?;
        client.stop(&main).await?;
        again.push((reply_ms, finished));
    }
    drop(client);
    daemon.down().await?;
    let total: Samples = bare.iter().map(Parts::total).collect();
    let part = |of: fn(&Parts) -> f64| bare.iter().map(of).collect::<Samples>().p50();
    let limit = total.p50() * OVER_FLOOR;
    let note = format!(
        "medians: container {:.0}, initialize {:.0}, thread {:.0}, turn {:.0} ms",
        part(|p| p.container),
        part(|p| p.initialize),
        part(|p| p.thread),
        part(|p| p.turn)
    );
    Ok(vec![
        row("a new session's first message", &fresh, limit, total.p50()),
        row("next message, container was stopped", &again, limit, total.p50()),
        Row::new("cold", "bare container, app-server and turn (floor)", "ms", total.summary()).note(note),
    ])
}

fn row(name: &str, turns: &[(f64, Finished)], limit: f64, floor: f64) -> Row {
    let samples: Samples = turns.iter().map(|(reply_ms, _)| *reply_ms).collect();
    let part = |of: fn(&Finished) -> Option<f64>| {
        turns.iter().filter_map(|(_, finished)| of(finished)).collect::<Samples>().p50()
    };
    let note = format!(
        "{:.2} x the floor; medians: container {:.0}, runner's start to provider ready {:.0}, turn {:.0} ms",
        samples.p50() / floor,
        part(|f| f.timings_ms.container_start),
        part(|f| f.timings_ms.provider_ready),
        part(|f| f.timings_ms.provider)
    );
    let goal = Goal::at_most(samples.p50(), limit, format!("p50 ≤ 1.3 x floor = {limit:.0} ms"));
    Row::new("cold", name, "ms", samples.summary()).goal(goal).note(note)
}

/// Figure `ten-cold`: new sessions of one group, all messages sent together.
pub async fn ten(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let home = BenchHome::new(bench)?;
    home.group("ten", "codex")?;
    let daemon = home.up(bench, &[("COFFERDAM_MAX_SESSIONS", AT_ONCE.to_string())]).await?;
    daemon.register("ten").await?;
    let (mut last, mut each) = (Samples::default(), Samples::default());
    for round in 0..bench.samples(10, 3) {
        progress(&format!("ten cold, round {round}"));
        let mut clients = Vec::new();
        for _ in 0..AT_ONCE {
            clients.push(daemon.client().await?);
        }
        let begun = Instant::now();
        let mut chats = Vec::new();
        for (index, mut client) in clients.into_iter().enumerate() {
            let thread = format!("r{round}-{index}");
            chats.push(tokio::spawn(async move {
                let (_, finished) = client.turn("ten", Some(&thread), "hello").await?;
                let at = begun.elapsed().as_secs_f64() * 1e3;
                Ok::<_, Trouble>((at, client, finished))
            }));
        }
        let mut latest = 0.0_f64;
        let mut stops = Vec::new();
        for chat in chats {
            let (at, mut client, finished) = chat.await??;
            latest = latest.max(at);
            each.push(at);
            stops.push((
                finished.session.to_string(),
                client.call(hyper::Method::GET, "/v1/status").await.map(|_| client)?,
            ));
        }
        last.push(latest);
        for (session, mut client) in stops {
            client.stop(&session).await?;
        }
    }
    daemon.down().await?;
    let goal = Goal::at_most(last.p50(), AT_ONCE_MS, "p50 ≤ 4 s");
    Ok(vec![
        Row::new("ten-cold", "first message sent → last reply", "ms", last.summary()).goal(goal),
        Row::new("ten-cold", "each reply", "ms", each.summary()),
    ])
}
