//! The gateway as the door uses it, over both upstreams.

mod compatible;
mod gate;
mod offline;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::Value;

use super::*;

fn caller() -> Caller {
    Caller {
        group: "demo".parse().unwrap(),
        session: "0123456789abcdef0123456789abcdef".parse().unwrap(),
        serving: Serving::default(),
    }
}

fn offline() -> Gateway {
    Gateway::new(Account::Offline).unwrap()
}

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).header("content-type", "application/json").body(body.into()).unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn error_of(response: Response<Body>) -> Value {
    let body: Value = serde_json::from_str(&text(response).await).unwrap();
    let error = &body["error"];
    assert!(error["message"].is_string() && error["type"].is_string() && error["code"].is_string(), "{body}");
    error.clone()
}
