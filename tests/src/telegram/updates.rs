//! Updates: asked for, or posted to a webhook.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::answer::No;
use super::params::Params;
use super::state::{Inside, Webhook, now_s};

/// The pause before an update that was not taken is posted again. Telegram's are longer.
const AGAIN: Duration = Duration::from_millis(50);
/// How long a webhook may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn get(inside: &Arc<Inside>, params: &Params) -> Result<Value, No> {
    let limit = params.int("limit").unwrap_or(100).clamp(1, 100);
    let timeout = Duration::from_secs(params.int("timeout").unwrap_or(0).clamp(0, 50).unsigned_abs());
    let mut changed = inside.changed.subscribe();
    let me = begin(inside, params)?;
    inside.change();
    let over = tokio::time::sleep(timeout);
    tokio::pin!(over);
    loop {
        changed.borrow_and_update();
        {
            let state = inside.state();
            if state.webhook.is_some() {
                return Err(No::new(409, "Conflict: terminated by setWebhook request"));
            }
            if state.poller != me {
                let rival = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
                return Err(No::new(409, rival));
            }
            let first = state.updates.iter().take(limit.unsigned_abs() as usize);
            let batch: Vec<Value> = first.map(|update| update.json.clone()).collect();
            if !batch.is_empty() || over.is_elapsed() || timeout.is_zero() {
                return Ok(batch.into());
            }
        }
        tokio::select! {
            _ = changed.changed() => {}
            () = &mut over => {}
        }
    }
}

/// Forgets what is confirmed, and ends an older poll. Answers the number of this one.
fn begin(inside: &Inside, params: &Params) -> Result<u64, No> {
    let mut state = inside.state();
    if state.webhook.is_some() {
        let active = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first";
        return Err(No::new(409, active));
    }
    allow(&mut state.allowed, params);
    let offset = params.int("offset").unwrap_or(0);
    if offset > 0 {
        state.updates.retain(|update| update.id >= offset);
    } else {
        // So many of the newest; all before are forgotten.
        let kept = if offset == 0 { usize::MAX } else { usize::try_from(-offset).unwrap_or(usize::MAX) };
        while state.updates.len() > kept {
            state.updates.pop_front();
        }
    }
    state.poller += 1;
    Ok(state.poller)
}

/// Which kinds are wanted holds until it is said anew.
fn allow(allowed: &mut Vec<String>, params: &Params) {
    if let Some(Value::Array(kinds)) = params.json("allowed_updates") {
        *allowed = kinds.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    }
}

pub(crate) fn set_webhook(inside: &Arc<Inside>, params: &Params) -> Result<Value, No> {
    let url = params.text("url").unwrap_or_default();
    if url.is_empty() {
        return delete_webhook(inside, params);
    }
    // Telegram takes https only; here also this machine.
    if !url.starts_with("https://") && !url.starts_with("http://127.0.0.1:") {
        return Err(No::bad("bad webhook: An HTTPS URL must be provided for webhook"));
    }
    let secret = params.text("secret_token").unwrap_or_default();
    let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
    if secret.len() > 256 || !secret.bytes().all(plain) {
        return Err(No::bad("secret token contains unallowed characters"));
    }
    let mut state = inside.state();
    allow(&mut state.allowed, params);
    state.webhook = Some(Webhook { url: url.clone(), secret: secret.clone() });
    state.failed = None;
    tokio::spawn(post_all(inside.clone(), url, secret));
    Ok(true.into())
}

pub(crate) fn delete_webhook(inside: &Inside, params: &Params) -> Result<Value, No> {
    let mut state = inside.state();
    state.webhook = None;
    if params.text("drop_pending_updates").as_deref() == Some("true") {
        state.updates.clear();
    }
    Ok(true.into())
}

pub(crate) fn webhook_info(inside: &Inside) -> Value {
    let state = inside.state();
    let url = state.webhook.as_ref().map(|webhook| webhook.url.clone()).unwrap_or_default();
    let mut info =
        json!({"url": url, "has_custom_certificate": false, "pending_update_count": state.updates.len()});
    if let Some((date, message)) = &state.failed {
        info["last_error_date"] = (*date).into();
        info["last_error_message"] = message.clone().into();
    }
    info
}

/// Posts one update after the other, each until it is taken, for as long as the webhook is this one. Telegram itself posts
/// those of different chats at the same time.
async fn post_all(inside: Arc<Inside>, url: String, secret: String) {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
    let mut changed = inside.changed.subscribe();
    loop {
        changed.borrow_and_update();
        let first = {
            let state = inside.state();
            if !state.webhook.as_ref().is_some_and(|webhook| webhook.url == url && webhook.secret == secret) {
                return;
            }
            state.updates.front().cloned()
        };
        let Some(update) = first else {
            if changed.changed().await.is_err() {
                return;
            }
            continue;
        };
        let post = client.post(&url).header("X-Telegram-Bot-Api-Secret-Token", &secret).json(&update.json);
        match post.send().await {
            Ok(answer) if answer.status().is_success() => {
                inside.state().updates.retain(|waiting| waiting.id != update.id);
                inside.change();
            }
            failed => {
                let why = match failed {
                    Ok(answer) => format!("Wrong response from the webhook: {}", answer.status()),
                    Err(_) => "Connection refused".to_owned(),
                };
                inside.state().failed = Some((now_s(), why));
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}
