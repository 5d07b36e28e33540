//! A container's calls of remote MCP servers, with a server on loopback that notes what it gets.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::any;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use super::*;

/// The value that the host adds; looks like nothing else.
const TOKEN: &str = "tok-9b1f77c2e0";

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<(Method, String, HeaderMap, Bytes)>>,
    /// What the next answers are; else an echo.
    answers: Mutex<Vec<Response>>,
}

async fn upstream() -> (Arc<Seen>, String) {
    async fn note(State(seen): State<Arc<Seen>>, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let uri = parts.uri.to_string();
        seen.requests.lock().unwrap().push((parts.method, uri, parts.headers, body.clone()));
        let answer = seen.answers.lock().unwrap().pop();
        answer.unwrap_or_else(|| ([("mcp-session-id", "s1"), ("x-other", "no")], body).into_response())
    }
    let seen = Arc::new(Seen::default());
    let app = Router::new().fallback(any(note)).with_state(seen.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (seen, base)
}

fn remotes(url: &str) -> Remotes {
    let server = RemoteServer {
        name: "far".into(),
        url: url.into(),
        headers: vec![("Authorization".into(), format!("Bearer {TOKEN}").into())],
        secrets: vec![TOKEN.into()],
        wait: Duration::from_secs(30),
    };
    let caller = Caller {
        group: "demo".parse().unwrap(),
        session: "0123456789abcdef0123456789abcdef".parse().unwrap(),
        serving: Default::default(),
    };
    Remotes::new(vec![server], caller, &Trust::MACHINE).unwrap()
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

async fn text(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_transports_headers_pass_and_the_containers_credentials_do_not() {
    let (seen, base) = upstream().await;
    let remotes = remotes(&format!("{base}/mcp"));
    let headers = [
        ("authorization", "Bearer container"),
        ("cookie", "a=b"),
        ("x-api-key", "k"),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-session-id", "s0"),
        ("mcp-protocol-version", "2025-06-18"),
        ("last-event-id", "7"),
    ];
    let answer = remotes.handle(request("POST", "/mcp/far", &headers, "{\"id\":1}")).await;
    assert_eq!(answer.headers()["mcp-session-id"], "s1");
    assert!(!answer.headers().contains_key("x-other"));
    assert_eq!(text(answer).await, (200, "{\"id\":1}".to_owned()));
    let (method, uri, got, body) = seen.requests.lock().unwrap().pop().unwrap();
    assert_eq!((method, uri.as_str(), &body[..]), (Method::POST, "/mcp", &b"{\"id\":1}"[..]));
    assert_eq!(got.get_all("authorization").iter().collect::<Vec<_>>(), [&format!("Bearer {TOKEN}")]);
    for (name, value) in &headers[3..] {
        assert_eq!(got[*name], value, "{name}");
    }
    assert!(!got.contains_key("cookie") && !got.contains_key("x-api-key"), "{got:?}");
}

#[tokio::test]
async fn only_the_configured_address_is_reached_whatever_path_and_query_are_asked_for() {
    let (seen, base) = upstream().await;
    let remotes = remotes(&format!("{base}/a/mcp?own=1"));
    for path in ["/mcp/far", "/mcp/far?", "/mcp/far?y=2", "/mcp/far?own=2&y=/../x"] {
        assert_eq!(remotes.handle(request("GET", path, &[], "")).await.status(), 200, "{path}");
        assert_eq!(seen.requests.lock().unwrap().pop().unwrap().1, "/a/mcp?own=1", "{path}");
    }
    for path in [
        "/mcp/",
        "/mcp/other",
        "/mcp/farther",
        "/mcp//far",
        "/mcp/far/",
        "/mcp/far/sub/x?y=2",
        "/mcp/far/../x",
        "/mcp/far/%2e%2E/x",
        "/mcp/far/.%2e",
        "/mcp/far%2fx",
        "/mcp/far%5c..%5cb",
    ] {
        assert_eq!(remotes.handle(request("GET", path, &[], "")).await.status(), 404, "{path}");
    }
    assert_eq!(remotes.handle(request("PUT", "/mcp/far", &[], "")).await.status(), 405);
    assert!(seen.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn events_stream_as_they_come_and_the_hosts_value_is_taken_out_across_pieces() {
    let (seen, base) = upstream().await;
    let (pieces, source) = mpsc::channel::<String>(1);
    let source = stream::unfold(source, |mut source| async {
        source.recv().await.map(|piece| (Ok::<_, std::io::Error>(piece), source))
    });
    seen.answers.lock().unwrap().push(Response::new(Body::from_stream(source)));
    let answer = remotes(&base).handle(request("GET", "/mcp/far", &[], "")).await;
    let mut body = answer.into_body();
    for (sent, wanted) in [("data: 1\n\n", "data: 1\n\n"), ("x tok-9b1f", "x "), ("77c2e0 y", "[redacted] y")] {
        // One piece at a time: each is there before the next is sent.
        pieces.send(sent.to_owned()).await.unwrap();
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(frame, wanted);
    }
    assert!(body.frame().now_or_never().is_none(), "it stays open");
    drop(pieces);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn refusals_name_the_server_and_what_to_do_and_never_the_value() {
    let (seen, base) = upstream().await;
    let remotes = remotes(&base);
    let refusal = |status: u16| {
        let location = ("location", "http://127.0.0.1:1/stolen");
        (StatusCode::from_u16(status).unwrap(), [location], format!("bad token {TOKEN}")).into_response()
    };
    for (theirs, ours, word) in [
        (401, 403, "credentials"),
        (403, 403, "credentials"),
        (307, 502, "redirect"),
        (404, 404, "[redacted]"),
        (500, 500, "[redacted]"),
    ] {
        seen.answers.lock().unwrap().push(refusal(theirs));
        let (status, body) = text(remotes.handle(request("POST", "/mcp/far", &[], "{}")).await).await;
        assert_eq!(status, ours, "{theirs}: {body}");
        assert!(body.contains(word) && !body.contains(TOKEN), "{theirs}: {body}");
    }
    assert_eq!(seen.requests.lock().unwrap().len(), 5, "no redirect was followed");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/{TOKEN}", gone.local_addr().unwrap());
    drop(gone);
    let (status, body) = text(remotes(&url).handle(request("POST", "/mcp/far", &[], "{}")).await).await;
    assert_eq!(status, 502);
    assert!(body.contains("MCP server far") && !body.contains(TOKEN), "{body}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_after_codex_has() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remotes = remotes(&format!("http://{}", silent.local_addr().unwrap()));
    let calling = remotes.handle(request("POST", "/mcp/far", &[], "{}"));
    let taken = async {
        let connection = silent.accept().await.unwrap();
        tokio::time::pause();
        connection
    };
    let (answer, _connection) = tokio::join!(calling, taken);
    let (status, body) = text(answer).await;
    assert_eq!(status, 504);
    assert!(body.contains("far") && body.contains("35 s"), "{body}");
}

#[tokio::test]
async fn a_request_that_is_too_large_never_leaves() {
    let (seen, base) = upstream().await;
    let large = vec![b' '; MAX_REQUEST + 1];
    let answer = remotes(&base).handle(request("POST", "/mcp/far", &[], large)).await;
    assert_eq!(answer.status(), 413);
    assert!(seen.requests.lock().unwrap().is_empty());
}

#[test]
fn debugging_a_server_shows_no_value() {
    let server = RemoteServer {
        name: "far".into(),
        url: TOKEN.into(),
        headers: vec![("a".into(), TOKEN.into())],
        secrets: vec![TOKEN.into()],
        wait: Duration::ZERO,
    };
    assert!(!format!("{server:?}").contains(TOKEN));
}
