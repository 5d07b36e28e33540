//! What the door and the gateway add to a model call.

use std::time::Instant;

use bytes::Bytes;
use cofferdam::unix_socket::Reach;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use crate::daemon::BenchHome;
use crate::report::{Goal, Row};
use crate::stats::Samples;
use crate::{Bench, Trouble, model};

/// Bytes of a call: about what Codex sends with its instructions and tools in a young conversation.
const CALL_BYTES: usize = 48 * 1024;

/// Figure `gateway`. A direct call and one through a live session's door take turns.
pub async fn first_byte(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let port = model::streaming().await?;
    let home = BenchHome::new(bench)?;
    home.group("gate", "mock")?;
    let env = [
        ("COFFERDAM_ACCOUNT", "openai".to_owned()),
        ("OPENAI_API_KEY", "sk-bench-0123456789abcdef0123456789abcdef".to_owned()),
        ("OPENAI_BASE_URL", format!("http://127.0.0.1:{port}/v1")),
    ];
    let daemon = home.up(bench, &env).await?;
    daemon.register("gate").await?;
    // A session that lives has a door.
    let (_, finished) = daemon.client().await?.turn("gate", None, "hello").await?;
    let door = home.home.door(&finished.session).join("door.sock");

    let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    tcp.set_nodelay(true)?;
    let mut direct = connect(tcp).await?;
    let mut through = connect(UnixStream::connect(Reach::new(&door)?.path()).await?).await?;
    let filler = "x".repeat(CALL_BYTES);
    let body = Bytes::from(serde_json::json!({ "model": "m", "stream": true, "input": filler }).to_string());
    for _ in 0..20 {
        call(&mut direct, &body).await?;
        call(&mut through, &body).await?;
    }
    let (mut without, mut with, mut added) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..bench.samples(500, 100) {
        let (a, b) = (call(&mut direct, &body).await?, call(&mut through, &body).await?);
        without.push(a);
        with.push(b);
        added.push(b - a);
    }
    daemon.down().await?;
    let goal = Goal::at_most(added.p50(), 1.0, "p50 ≤ 1 ms");
    Ok(vec![
        Row::new("gateway", "added to the first byte", "ms", added.summary()).goal(goal),
        Row::new("gateway", "first byte, directly (floor)", "ms", without.summary()),
        Row::new("gateway", "first byte, door and gateway", "ms", with.summary()),
    ])
}

async fn connect<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, Trouble>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Milliseconds from the call to the first byte of its streamed body; the rest is read too.
async fn call(sender: &mut SendRequest<Full<Bytes>>, body: &Bytes) -> Result<f64, Trouble> {
    let request = Request::post("/v1/responses")
        .header("host", "127.0.0.1")
        .header("content-type", "application/json")
        .header("accept", "text/event-stream")
        .body(Full::new(body.clone()))?;
    sender.ready().await?;
    let begun = Instant::now();
    let mut answer = sender.send_request(request).await?;
    if !answer.status().is_success() {
        return Err(Trouble::Odd(format!("the endpoint answered {}", answer.status())));
    }
    let mut first = None;
    while let Some(frame) = answer.frame().await {
        if frame?.is_data() {
            first.get_or_insert_with(|| begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    first.ok_or_else(|| Trouble::Odd("an empty answer".to_owned()))
}
