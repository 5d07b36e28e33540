//! The HTTP side: who calls what, and what goes wrong with it.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::answer::{Fault, No};
use super::params::Params;
use super::state::{Call, Inside};
use super::{media, messages, updates};

/// The largest call: a file of 50 MB, and what is around it.
const MAX_CALL: usize = 52 * 1024 * 1024;

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed")]
struct Closed;

/// Takes connections until it is dropped, and they with it.
pub(crate) async fn accept(listener: TcpListener, inside: Arc<Inside>) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                open.spawn(connection(stream, inside.clone()));
            }
            Some(_) = open.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, inside: Arc<Inside>) {
    let service = service_fn(move |request| answer(inside.clone(), request));
    // Closed ones are meant.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(inside: Arc<Inside>, request: Request<Incoming>) -> Result<Response<Body>, Closed> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let (is_file, rest) = match path.strip_prefix("/file/bot") {
        Some(rest) => (true, rest),
        None => (false, path.strip_prefix("/bot").unwrap_or_default()),
    };
    let (token, rest) = rest.split_once('/').unwrap_or((rest, ""));
    if let Err(no) = known(&inside, token) {
        return Ok(refused(&no));
    }
    if is_file {
        return Ok(media::download(&inside, rest));
    }
    let Ok(body) = to_bytes(Body::new(body), MAX_CALL).await else {
        return Ok(refused(&No::new(413, "Request Entity Too Large")));
    };
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match Params::read(parts.uri.query().unwrap_or_default(), kind, body).await {
        Ok(params) => called(inside, rest, params).await,
        Err(no) => Ok(refused(&no)),
    }
}

/// Whether this is the bot's token. What cannot be one is not even found.
fn known(inside: &Inside, token: &str) -> Result<(), No> {
    if token == inside.state().token {
        return Ok(());
    }
    match token.split_once(':') {
        Some((id, secret)) if id.parse::<u64>().is_ok() && !secret.is_empty() => Err(No::new(401, "Unauthorized")),
        _ => Err(No::new(404, "Not Found")),
    }
}

/// A call, with whatever is to go wrong with it.
async fn called(inside: Arc<Inside>, method: &str, params: Params) -> Result<Response<Body>, Closed> {
    let fault = {
        let mut state = inside.state();
        state.calls.push(Call { method: method.to_owned(), params: params.shown() });
        state.faults.get_mut(method).and_then(std::collections::VecDeque::pop_front)
    };
    inside.change();
    match fault {
        None => Ok(done(&inside, method, params).await),
        Some(Fault::Held(go)) => {
            go.notified().await;
            Ok(done(&inside, method, params).await)
        }
        Some(Fault::No(code, description)) => Ok(refused(&No::new(code, description))),
        Some(Fault::TooMany(seconds)) => {
            let chat = params.int("chat_id").unwrap_or_default();
            let no = inside.state().meter.pause(chat, seconds, Instant::now());
            Ok(refused(&no))
        }
        Some(Fault::Page(status)) => Ok(page(status)),
        Some(Fault::Result(result)) => Ok(json_response(200, &json!({"ok": true, "result": result}))),
        Some(Fault::Body(body)) => Ok(response(200, "application/json", Body::from(body))),
        Some(Fault::Closed) => Err(Closed),
        Some(Fault::Dead) => std::future::pending().await,
        Some(after) => {
            let answer = done(&inside, method, params).await;
            match after {
                Fault::Malformed => Ok(response(200, "application/json", Body::from("{\"ok\":true,\"res"))),
                Fault::Cut => Ok(cut(answer)),
                Fault::DoneAndClosed => Err(Closed),
                _ => std::future::pending().await,
            }
        }
    }
}

async fn done(inside: &Arc<Inside>, method: &str, params: Params) -> Response<Body> {
    let result = match method {
        "getUpdates" => updates::get(inside, &params).await,
        method => at_once(inside, method, &params),
    };
    inside.change();
    match result {
        Ok(result) => json_response(200, &json!({"ok": true, "result": result})),
        Err(no) => refused(&no),
    }
}

fn at_once(inside: &Arc<Inside>, method: &str, params: &Params) -> Result<Value, No> {
    if let Some(chat) = params.int("chat_id") {
        inside.state().meter.call(method, chat, Instant::now())?;
    }
    match method {
        "getMe" => Ok(messages::me(inside)),
        "setMyCommands" => messages::commands(inside, params),
        "sendMessage" => messages::send(inside, params),
        "editMessageText" => messages::edit(inside, params),
        "deleteMessage" => messages::delete(inside, params),
        "sendChatAction" => messages::action(inside, params),
        "setMessageReaction" => messages::react(inside, params),
        "answerCallbackQuery" => messages::answer_press(inside, params),
        "sendDocument" => media::send(inside, params, "document"),
        "sendPhoto" => media::send(inside, params, "photo"),
        "sendVoice" => media::send(inside, params, "voice"),
        "sendAudio" => media::send(inside, params, "audio"),
        "sendVideo" => media::send(inside, params, "video"),
        "getFile" => media::get(inside, params),
        "setWebhook" => updates::set_webhook(inside, params),
        "deleteWebhook" => updates::delete_webhook(inside, params),
        "getWebhookInfo" => Ok(updates::webhook_info(inside)),
        _ => Err(No::new(404, "Not Found")),
    }
}

fn refused(no: &No) -> Response<Body> {
    json_response(no.code, &no.json())
}

fn json_response(status: u16, body: &Value) -> Response<Body> {
    response(status, "application/json", Body::from(body.to_string()))
}

fn page(status: u16) -> Response<Body> {
    response(status, "text/html", Body::from(format!("<html><body><h1>{status}</h1></body></html>")))
}

pub(crate) fn response(status: u16, kind: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert(header::CONTENT_TYPE, kind.parse().expect("a type"));
    response
}

/// The same answer, broken off.
fn cut(answer: Response<Body>) -> Response<Body> {
    let first: Result<Bytes, std::io::Error> = Ok(Bytes::from_static(b"{\"ok\":true,\"result\":{\"mess"));
    let body = futures_util::stream::iter([first, Err(std::io::Error::other("cut"))]);
    answer.map(|_| Body::from_stream(body))
}
