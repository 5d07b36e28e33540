//! One login under many callers, whose access token is refused, or at its end, for all of them at once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cofferdam::vault::Tokens;
use cofferdam_tests::issuer::Issuer;
use cofferdam_tests::vendor::Vendor;
use futures_util::future::{join_all, try_join_all};
use futures_util::stream::{StreamExt, TryStreamExt, iter};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use tokio::sync::Barrier;

use crate::calls::Caller;
use crate::daemon::{BenchHome, Daemon};
use crate::report::{Goal, Row, progress};
use crate::stats::Samples;
use crate::{Bench, Trouble};

/// Sessions that live at once.
const SESSIONS: usize = 50;
/// Callers at once: one of each session, and as many as doors let in.
const CALLERS: [usize; 2] = [SESSIONS, 4 * SESSIONS];
/// Containers that start beside each other.
const AT_ONCE: usize = 4;
/// How old a token is that is at its end: the issuer's live ten days, and are renewed five minutes before that.
const AT_ITS_END: Duration = Duration::from_secs(10 * 24 * 3600 - 240);

/// The account's name.
const ACCOUNT: &str = "plan";

/// What happens to the token before all call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Refused,
    AtItsEnd,
}

/// Everything that is played, and the daemon.
struct Stage<'b> {
    bench: &'b Bench,
    issuer: Issuer,
    vendor: Vendor,
    env: Vec<(&'static str, String)>,
    home: BenchHome,
}

/// Figure `refresh-storm`.
pub async fn of_one_login(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let stage = Stage::set(bench).await?;
    stage.log_in(Duration::ZERO)?;
    let daemon = stage.home.up(bench, &stage.env).await?;
    daemon.register("storm").await?;
    let doors = doors(&stage.home, &daemon).await?;
    let mut rows = Vec::new();
    for count in CALLERS {
        progress(&format!("{count} callers"));
        let connected = (0..count).map(|index| Caller::through(&doors[index % SESSIONS]));
        let mut callers = try_join_all(connected).await?;
        for (before, name) in [
            (Before::Nothing, "with a good token (floor)"),
            (Before::Refused, "whose token is refused (401)"),
            (Before::AtItsEnd, "whose token is at its end"),
        ] {
            let (mut times, mut most) = (Samples::default(), 0);
            for _ in 0..bench.samples(10, 3) {
                stage.bring(before)?;
                let refreshes = stage.issuer.refreshes().len();
                let (time, back) = all_call(callers).await?;
                callers = back;
                times.push(time);
                most = most.max(stage.issuer.refreshes().len() - refreshes);
            }
            let wanted = usize::from(before != Before::Nothing);
            let goal = Goal { text: format!("{wanted} refresh a round"), pass: most == wanted };
            let name = format!("{count} callers {name}: all served");
            let note = format!("{most} refreshes at the issuer in the round that had the most");
            rows.push(Row::new("refresh-storm", name, "ms", times.summary()).goal(goal).note(note));
        }
    }
    daemon.down().await?;
    Ok(rows)
}

impl<'b> Stage<'b> {
    async fn set(bench: &'b Bench) -> Result<Self, Trouble> {
        let (issuer, vendor) = (Issuer::start().await, Vendor::start().await);
        let home = BenchHome::hooked(bench)?;
        home.group("storm", "mock")?;
        let env = vec![
            ("COFFERDAM_TEST_ISSUER", issuer.port().to_string()),
            ("COFFERDAM_TEST_CHATGPT", vendor.address().to_owned()),
            ("COFFERDAM_ACCOUNT", ACCOUNT.to_owned()),
            ("COFFERDAM_MAX_SESSIONS", SESSIONS.to_string()),
        ];
        Ok(Self { bench, issuer, vendor, env, home })
    }

    /// Gives the account a login whose tokens are so old.
    fn log_in(&self, age: Duration) -> Result<(), Trouble> {
        let file = self.home.home.root().join("auth.json");
        let login = Tokens { last_refresh: Timestamp::now() - age, ..self.issuer.login() };
        std::fs::write(&file, login.to_auth_json(None).expose_secret())?;
        let words = ["account", "import", &file.to_string_lossy(), "--name", ACCOUNT, "--take-over"];
        self.home.run(self.bench, &self.env, &words)
    }

    /// Brings about what the callers meet.
    fn bring(&self, before: Before) -> Result<(), Trouble> {
        let granted = self.issuer.clone();
        match before {
            Before::Nothing => self.vendor.take_if(move |token| granted.accepts(token)),
            Before::Refused => {
                let last = self.vendor.calls().pop();
                let used = last.and_then(|call| Some(call.headers.get("authorization")?.to_str().ok()?.to_owned()));
                let stale = used.ok_or_else(|| Trouble::Odd("nobody called yet".to_owned()))?;
                self.vendor.take_if(move |token| granted.accepts(token) && !stale.ends_with(token));
            }
            Before::AtItsEnd => {
                self.vendor.take_if(move |token| granted.accepts(token));
                self.log_in(AT_ITS_END)?;
            }
        }
        Ok(())
    }
}

/// The doors of as many sessions.
async fn doors(home: &BenchHome, daemon: &Daemon) -> Result<Vec<PathBuf>, Trouble> {
    let open = |session: usize| async move {
        let thread = format!("t{session}");
        let (_, finished) = daemon.client().await?.turn("storm", Some(&thread), "hello").await?;
        Ok::<_, Trouble>(home.home.door(&finished.session).join("door.sock"))
    };
    iter(0..SESSIONS).map(open).buffer_unordered(AT_ONCE).try_collect().await
}

/// All call at once; milliseconds from the first call to the last answer's end.
async fn all_call(callers: Vec<Caller>) -> Result<(f64, Vec<Caller>), Trouble> {
    let body = Bytes::from(serde_json::json!({ "model": "m", "stream": true, "input": "hello" }).to_string());
    let barrier = Arc::new(Barrier::new(callers.len()));
    let calling: Vec<_> = callers
        .into_iter()
        .map(|mut caller| {
            let (barrier, body) = (barrier.clone(), body.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                let begun = Instant::now();
                caller.call(&body, |_| {}).await.map(|_| (begun, Instant::now(), caller))
            })
        })
        .collect();
    let called = join_all(calling).await.into_iter().map(|called| called?);
    let called = called.collect::<Result<Vec<_>, Trouble>>()?;
    let first = called.iter().map(|(begun, ..)| *begun).min();
    let last = called.iter().map(|(_, ended, _)| *ended).max();
    let time = first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first);
    Ok((time.as_secs_f64() * 1e3, called.into_iter().map(|(.., caller)| caller).collect()))
}
