//! A Unix socket in front of the machine's engine that misbehaves on command. The engine itself is not touched.
//!
//! One call per connection: the proxy asks the engine to close after its answer, so that each call is seen. Calls that take
//! the connection over, such as attach, are passed on as they are.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What happens to a call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It is taken and not answered, until the fault is over.
    Hang,
    /// It is made, and the engine's answer is held back until the fault is over.
    HangAfter,
    /// It is not made, and answered with this status and message.
    Answer(u16, &'static str),
    /// It is made so much later.
    Delay(Duration),
    /// Its connection ends without an answer.
    Close,
}

/// The proxy. Dropping it ends all connections.
pub struct EngineProxy {
    path: PathBuf,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    upstream: PathBuf,
    rules: watch::Sender<Vec<Rule>>,
    live: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Clone)]
struct Rule {
    /// What the call's first line has to contain, such as `POST` and `/start`.
    words: Vec<String>,
    fault: Fault,
    met: Arc<std::sync::atomic::AtomicUsize>,
    /// How many calls it is for.
    most: usize,
}

impl EngineProxy {
    /// A proxy at `path` for the engine that the tests use.
    pub fn new(path: &Path) -> Self {
        let upstream = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
        let upstream = upstream.strip_prefix("unix://").expect("this test needs an engine on a Unix socket");
        Self::before(path, Path::new(upstream))
    }

    /// A proxy at `path` for the engine at the socket `upstream`.
    pub fn before(path: &Path, upstream: &Path) -> Self {
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            rules: watch::Sender::new(Vec::new()),
            live: Mutex::default(),
        });
        let listener = UnixListener::bind(path).expect("the proxy's socket");
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self { path: path.to_owned(), shared, accepting }
    }

    /// Its address, for `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// From now on calls whose first line (`POST /v1.41/containers/create?… HTTP/1.1`) contains all these words fail so.
    pub fn fault(&self, words: &[&str], fault: Fault) -> Met {
        self.fault_times(words, fault, usize::MAX)
    }

    /// The next so many of these calls fail so.
    pub fn fault_times(&self, words: &[&str], fault: Fault, most: usize) -> Met {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        let rule = Rule { words, fault, met: Arc::default(), most };
        let met = Met(rule.met.clone());
        self.shared.rules.send_modify(|rules| rules.push(rule));
        met
    }

    /// All faults are over: what hangs goes on.
    pub fn normal(&self) {
        self.shared.rules.send_modify(Vec::clear);
    }

    /// Ends all connections, also those that wait for a container's end or keep its output.
    pub fn cut(&self) {
        for connection in lock(&self.shared.live).drain(..) {
            connection.abort();
        }
    }
}

impl Drop for EngineProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

/// How often a fault was met.
pub struct Met(Arc<std::sync::atomic::AtomicUsize>);

impl Met {
    /// Until now.
    pub fn count(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Waits until it was met so often.
    pub async fn at_least(&self, times: usize) {
        crate::eventually("the fault is met", || async { (self.count() >= times).then_some(()) }).await;
    }
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    while let Ok((connection, _)) = listener.accept().await {
        let serving = shared.clone();
        let task = tokio::spawn(async move {
            // A connection that breaks is what this is for.
            let _ = serve(connection, &serving).await;
        });
        let mut live = lock(&shared.live);
        live.retain(|connection| !connection.is_finished());
        live.push(task);
    }
}

async fn serve(mut client: UnixStream, shared: &Shared) -> std::io::Result<()> {
    let (head, rest) = read_head(&mut client).await?;
    let line = head.lines().next().unwrap_or_default().to_owned();
    let fault = shared.rules.borrow().iter().find_map(|rule| rule.meets(&line));
    match &fault {
        Some(Fault::Hang) => over(shared, &line).await,
        Some(Fault::Delay(time)) => tokio::time::sleep(*time).await,
        Some(Fault::Close) => return Ok(()),
        Some(Fault::Answer(status, message)) => return answer(&mut client, *status, message).await,
        Some(Fault::HangAfter) | None => {}
    }
    let mut engine = UnixStream::connect(&shared.upstream).await?;
    engine.write_all(one_call(&head).as_bytes()).await?;
    engine.write_all(&rest).await?;
    if matches!(fault, Some(Fault::HangAfter)) {
        over(shared, &line).await;
    }
    tokio::io::copy_bidirectional(&mut client, &mut engine).await?;
    Ok(())
}

/// Waits until no hanging fault is there for this call any more.
async fn over(shared: &Shared, line: &str) {
    let mut rules = shared.rules.subscribe();
    let hangs = |rules: &Vec<Rule>| {
        rules.iter().any(|rule| rule.is_for(line) && matches!(rule.fault, Fault::Hang | Fault::HangAfter))
    };
    let _ = rules.wait_for(|rules| !hangs(rules)).await;
}

async fn answer(client: &mut UnixStream, status: u16, message: &str) -> std::io::Result<()> {
    let body = serde_json::json!({"message": message}).to_string();
    let head = format!(
        "HTTP/1.1 {status} Fault\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await?;
    client.write_all(body.as_bytes()).await?;
    client.shutdown().await
}

/// A request's head, and what came with it.
async fn read_head(client: &mut UnixStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The head with the wish that the connection ends after the answer, unless it is to become something else.
fn one_call(head: &str) -> String {
    if head.to_ascii_lowercase().contains("\r\nupgrade:") {
        return head.to_owned();
    }
    head.replacen("\r\n", "\r\nConnection: close\r\n", 1)
}

impl Rule {
    fn is_for(&self, line: &str) -> bool {
        self.words.iter().all(|word| line.contains(word.as_str()))
    }

    fn meets(&self, line: &str) -> Option<Fault> {
        if !self.is_for(line) {
            return None;
        }
        let before = self.met.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        (before < self.most).then(|| self.fault.clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
