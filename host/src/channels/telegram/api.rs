//! Calls of the Bot API: bounded, and without the token in any error.
//!
//! The parameters' types are `frankenstein`'s. Its client is not used: it reads answers of any size, takes a page of HTML for
//! a wrong token, cannot read a pause of more than 65,535 s, and a single update that it does not understand costs the whole
//! batch.

use std::time::Duration;

use reqwest::multipart::{Form, Part};
use reqwest::{Client, RequestBuilder, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::failure::{Failure, No};
use crate::channels::BadSettings;
use crate::trust::Trust;

/// The longest that connecting takes.
const CONNECT: Duration = Duration::from_secs(10);
/// The largest answer, in bytes: a hundred updates, each as large as any that Telegram makes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// The longest text of Telegram's that is shown, in characters.
const MAX_WORDS: usize = 300;

/// A bot at its API.
pub(super) struct Api {
    client: Client,
    base: Url,
    token: SecretString,
}

/// What the API answers, whatever the method.
#[derive(Deserialize)]
struct Answer<T> {
    ok: bool,
    result: Option<T>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    error_code: i64,
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

impl Api {
    pub(super) fn new(base: Url, token: SecretString, trust: &Trust) -> Result<Self, BadSettings> {
        let client = trust.client(&base).connect_timeout(CONNECT).build();
        let client = client.map_err(|error| BadSettings(crate::error_chain(&error.without_url())))?;
        Ok(Self { client, base, token })
    }

    /// Calls a method; gives up after `limit`.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: &(impl Serialize + Sync),
        limit: Duration,
    ) -> Result<T, Failure> {
        let url = self.url(&[&format!("bot{}", self.token.expose_secret()), method]);
        self.answer(self.client.post(url).json(params).timeout(limit)).await
    }

    /// Calls a method with a file in its field.
    pub(super) async fn upload<T: DeserializeOwned>(
        &self,
        method: &str,
        fields: Vec<(&'static str, String)>,
        (field, part): (&'static str, Part),
        limit: Duration,
    ) -> Result<T, Failure> {
        let form = fields.into_iter().fold(Form::new(), |form, (name, text)| form.text(name, text));
        let url = self.url(&[&format!("bot{}", self.token.expose_secret()), method]);
        self.answer(self.client.post(url).multipart(form.part(field, part)).timeout(limit)).await
    }

    /// Begins to read a file that [`getFile`](https://core.telegram.org/bots/api#getfile) gave a path for.
    pub(super) async fn file(&self, path: &str, limit: Duration) -> Result<Response, Failure> {
        let bot = format!("bot{}", self.token.expose_secret());
        let parts = ["file", &bot].into_iter().chain(path.split('/')).collect::<Vec<_>>();
        let request = self.client.get(self.url(&parts)).timeout(limit);
        let response = request.send().await.map_err(|error| self.broken(error))?;
        match response.status().as_u16() {
            200 => Ok(response),
            status @ (404 | 410) => {
                Err(Failure::Never(format!("Telegram does not have the file (status {status})")))
            }
            status => Err(Failure::Trouble(status)),
        }
    }

    /// What broke while a file was read.
    pub(super) fn broken(&self, error: reqwest::Error) -> Failure {
        let (connecting, late) = (error.is_connect(), error.is_timeout());
        let why = if late { "no answer in time".to_owned() } else { crate::error_chain(&error.without_url()) };
        let why = self.words(&why);
        if connecting { Failure::Away(why) } else { Failure::Broken(why) }
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        // Only addresses without a host have none, and those were refused.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let response = request.send().await.map_err(|error| self.broken(error))?;
        let status = response.status().as_u16();
        if status >= 500 {
            return Err(Failure::Trouble(status));
        }
        let body = self.body(response).await?;
        let answer: Answer<T> = match serde_json::from_slice(&body) {
            Ok(answer) => answer,
            // A page of something between Telegram and us, which took nothing.
            Err(_) if status >= 400 && serde_json::from_slice::<Value>(&body).is_err() => {
                return Err(Failure::Trouble(status));
            }
            // The error's own words have parts of the answer.
            Err(error) => {
                return Err(Failure::Unreadable(format!("line {}, column {}", error.line(), error.column())));
            }
        };
        match answer {
            Answer { ok: true, result: Some(result), .. } => Ok(result),
            Answer { ok: true, .. } => Err(Failure::Unreadable("it has no result".to_owned())),
            refusal => Err(self.refusal(status, refusal)),
        }
    }

    fn refusal<T>(&self, status: u16, answer: Answer<T>) -> Failure {
        let code = if answer.error_code == 0 { status.into() } else { answer.error_code };
        let (after, moved_to) = answer.parameters.map_or((None, None), |p| (p.retry_after, p.migrate_to_chat_id));
        let description = self.words(&answer.description);
        Failure::No(No { code, description, after: after.map(Duration::from_secs), moved_to })
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(error))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(Failure::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// A text from outside, short, on one line and without the token.
    fn words(&self, text: &str) -> String {
        let text = text.replace(self.token.expose_secret(), "[token]");
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS).collect()
    }
}
