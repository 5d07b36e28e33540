//! The channel on a real socket.

use std::sync::Arc;

use cofferdam::channels::http::book::Book;
use cofferdam::channels::http::{Http, Limits};
use cofferdam::channels::{Channel, Intake};
use cofferdam::trust::Trust;
use cofferdam_tests::LIMIT;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::agent::{Agent, Inbox, Shelf};

/// A channel that listens.
pub struct World {
    pub agent: Arc<Agent>,
    pub http: Arc<Http>,
    pub url: String,
    pub client: Client,
    /// Ends its intake.
    pub stop: CancellationToken,
}

impl World {
    pub async fn start() -> Self {
        Self::with(Limits::default(), json!({})).await
    }

    pub async fn with(limits: Limits, settings: Value) -> Self {
        let agent = Arc::new(Agent::new());
        let mut listens = json!({"listen": "127.0.0.1:0"});
        settings.as_object().expect("settings").iter().for_each(|(key, value)| listens[key] = value.clone());
        let book = Arc::new(Shelf(agent.clone()));
        let http = Http::with_limits("http", listens, book, &Trust::MACHINE, limits).expect("a channel");
        let http = Arc::new(http);
        assert!(agent.http.set(http.clone()).is_ok());
        let (stop, inbox) = (CancellationToken::new(), Arc::new(Inbox(agent.clone())));
        let (runs, stops) = (http.clone(), stop.clone());
        tokio::spawn(async move { runs.run(inbox, stops).await });
        let address = timeout(LIMIT, http.listening()).await.expect("in time").expect("an address");
        let client = Client::builder().no_proxy().timeout(LIMIT).build().expect("a client");
        Self { agent, http, url: format!("http://{address}"), client, stop }
    }

    pub fn book(&self) -> Arc<dyn Book> {
        Arc::new(Shelf(self.agent.clone()))
    }

    pub fn inbox(&self) -> Arc<dyn Intake> {
        Arc::new(Inbox(self.agent.clone()))
    }

    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").expect("an address")
    }

    /// A call of the API.
    pub fn api(&self, key: &str, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(format!("{}/v1/{path}", self.url)).bearer_auth(key).json(body)
    }

    /// The answer's JSON, whatever its status.
    pub async fn ask(&self, key: &str, path: &str, body: Value) -> (u16, Value) {
        told(self.api(key, path, &body)).await
    }

    /// What the agent says to a chat completion with these messages.
    pub async fn chat(&self, key: &str, messages: Value) -> String {
        let (status, answer) =
            self.ask(key, "chat/completions", json!({"model": "demo", "messages": messages})).await;
        assert_eq!(status, 200, "{answer}");
        answer["choices"][0]["message"]["content"].as_str().expect("a text").to_owned()
    }
}

/// The status and the JSON of a call's answer.
pub async fn told(call: RequestBuilder) -> (u16, Value) {
    let answer = call.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status} {error}: {text}")))
}
