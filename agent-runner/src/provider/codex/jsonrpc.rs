//! Framing of the app-server's dialect: JSON lines without a `"jsonrpc"` field, requests in both directions.
//! Plain data; no I/O.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// "Method not found".
pub const METHOD_NOT_FOUND: i64 = -32601;

/// A line from the server, by its shape.
#[derive(Debug)]
pub enum Incoming {
    /// The answer to a request of ours.
    Response {
        /// Our request's number.
        id: u64,
        /// What came of it.
        result: Result<Box<RawValue>, RpcError>,
    },
    /// Something happened.
    Notification(Notification),
    /// The server wants an answer.
    Request {
        /// Its id, to be sent back as it came.
        id: Box<RawValue>,
        /// What it wants.
        method: String,
        /// On what.
        params: Option<Box<RawValue>>,
    },
}

/// Something happened.
#[derive(Debug)]
pub struct Notification {
    /// What.
    pub method: String,
    /// The details, unread.
    pub params: Box<RawValue>,
}

/// An error answer.
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct RpcError {
    /// JSON-RPC's number.
    pub code: i64,
    /// The server's words.
    pub message: String,
}

/// Why a line cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadLine {
    /// Not JSON of a known shape.
    #[error("not a message")]
    Json(#[from] serde_json::Error),
    /// Neither request, response nor notification.
    #[error("a message of no known shape")]
    Shape,
}

#[derive(Deserialize)]
struct Line {
    id: Option<Box<RawValue>>,
    method: Option<String>,
    params: Option<Box<RawValue>>,
    result: Option<Box<RawValue>>,
    error: Option<RpcError>,
}

/// Reads a line.
pub fn read(line: &[u8]) -> Result<Incoming, BadLine> {
    let line: Line = serde_json::from_slice(line)?;
    match line {
        Line { id: Some(id), method: Some(method), params, .. } => Ok(Incoming::Request { id, method, params }),
        Line { method: Some(method), params, .. } => {
            let params = params.unwrap_or_else(|| RawValue::NULL.to_owned());
            Ok(Incoming::Notification(Notification { method, params }))
        }
        Line { id: Some(id), error: Some(error), .. } => {
            Ok(Incoming::Response { id: number(&id)?, result: Err(error) })
        }
        Line { id: Some(id), result, .. } => {
            let result = result.unwrap_or_else(|| RawValue::NULL.to_owned());
            Ok(Incoming::Response { id: number(&id)?, result: Ok(result) })
        }
        _ => Err(BadLine::Shape),
    }
}

fn number(id: &RawValue) -> Result<u64, BadLine> {
    Ok(serde_json::from_str(id.get())?)
}

/// A request's line.
pub fn request(id: u64, method: &str, params: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    line(&serde_json::json!({"id": id, "method": method, "params": params}))
}

/// A notification's line.
pub fn notification(method: &str) -> serde_json::Result<Vec<u8>> {
    line(&serde_json::json!({"method": method}))
}

/// The line of an answer to a server request.
pub fn response(id: &RawValue, result: Result<&serde_json::Value, RpcError>) -> serde_json::Result<Vec<u8>> {
    match result {
        Ok(result) => line(&serde_json::json!({"id": id, "result": result})),
        Err(error) => line(&serde_json::json!({"id": id, "error": error})),
    }
}

fn line(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// Requests of ours that wait for their answers, each with what is to be told.
#[derive(Debug)]
pub struct Pending<T> {
    next: u64,
    waiting: HashMap<u64, T>,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self { next: 1, waiting: HashMap::new() }
    }
}

impl<T> Pending<T> {
    /// Notes a request; the answer is its number.
    pub fn register(&mut self, waiter: T) -> u64 {
        let id = self.next;
        self.next += 1;
        self.waiting.insert(id, waiter);
        id
    }

    /// Takes who waits for this number; none when nobody does, or no longer.
    pub fn complete(&mut self, id: u64) -> Option<T> {
        self.waiting.remove(&id)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_shapes_are_told_apart() {
        let answer = read(br#"{"id":7,"result":{"a":1}}"#).unwrap();
        assert!(matches!(answer, Incoming::Response { id: 7, result: Ok(raw) } if raw.get() == r#"{"a":1}"#));
        let error = read(br#"{"id":7,"error":{"code":-32600,"message":"no"}}"#).unwrap();
        assert!(matches!(error, Incoming::Response { result: Err(RpcError { code: -32600, .. }), .. }));
        let notification = read(br#"{"method":"x","params":{}}"#).unwrap();
        assert!(matches!(notification, Incoming::Notification(Notification { method, .. }) if method == "x"));
        let request = read(br#"{"id":"s-1","method":"y"}"#).unwrap();
        assert!(matches!(request, Incoming::Request { id, .. } if id.get() == "\"s-1\""));
        for bad in ["", "[]", "{}", "{\"id\":\"x\",\"result\":1}", "null"] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn written_lines_have_no_jsonrpc_field_and_end_in_one_newline() {
        let text = String::from_utf8(request(1, "m", &serde_json::json!({"t": "a\nb"})).unwrap()).unwrap();
        assert_eq!(text, "{\"id\":1,\"method\":\"m\",\"params\":{\"t\":\"a\\nb\"}}\n");
        let id: Box<RawValue> = serde_json::from_str("\"q\"").unwrap();
        let text = String::from_utf8(response(&id, Ok(&1.into())).unwrap()).unwrap();
        assert_eq!(text, "{\"id\":\"q\",\"result\":1}\n");
    }

    #[test]
    fn an_answer_finds_its_request_once() {
        let mut pending = Pending::default();
        let (a, b) = (pending.register("a"), pending.register("b"));
        assert_eq!(pending.complete(b), Some("b"));
        assert_eq!(pending.complete(b), None);
        assert_eq!(pending.complete(a), Some("a"));
    }
}
