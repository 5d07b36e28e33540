//! What an account's secret is, its form when it is sealed, and Codex's form of it, `auth.json`.
//!
//! Nothing here prints a secret: not `Debug`, and no error, which is why none has its parser's own words.

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A ChatGPT login.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// A JWT: who logged in, for whom.
    pub id_token: SecretString,
    /// A JWT: what a model call carries.
    pub access_token: SecretString,
    /// Buys the next tokens, once.
    pub refresh_token: SecretString,
    /// The vendor's id of the account (`chatgpt-account-id`).
    pub account_id: Option<String>,
    /// When these tokens came; 1970 when nobody knows.
    pub last_refresh: Timestamp,
}

/// What an account needs to be used.
#[derive(Debug, Clone)]
pub enum Secret {
    /// An API key.
    Key(SecretString),
    /// A login.
    Tokens(Tokens),
}

/// Why a text is no secret of an account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// It is not JSON, or not an object. Also what is found of a file while it is written.
    #[error("it is not a JSON object")]
    NotJson,
    /// A key of it is not there, or not what it should be.
    #[error("its '{0}' is missing or is not a text")]
    Field(&'static str),
    /// It is of a kind of login that only Codex itself can use.
    #[error("it has neither a ChatGPT login nor an API key")]
    NoLogin,
}

impl Tokens {
    /// Whether both have the same access token: one that was refused may have been replaced since.
    pub fn has_access(&self, access_token: &SecretString) -> bool {
        self.access_token.expose_secret() == access_token.expose_secret()
    }

    /// Reads Codex's `auth.json`.
    pub fn from_auth_json(text: &str) -> Result<Self, BadSecret> {
        match Secret::from_auth_json(text)? {
            Secret::Tokens(tokens) => Ok(tokens),
            Secret::Key(_) => Err(BadSecret::NoLogin),
        }
    }

    /// Codex's `auth.json` with this login: everything else of the `old` file stays as it was.
    pub fn to_auth_json(&self, old: Option<&str>) -> SecretString {
        let old = old.and_then(|old| serde_json::from_str(old).ok());
        let mut file: Map<String, Value> = old.unwrap_or_default();
        file.insert("auth_mode".to_owned(), "chatgpt".into());
        file.entry("OPENAI_API_KEY").or_insert(Value::Null);
        let tokens = file.entry("tokens").or_insert_with(|| Map::new().into());
        if !tokens.is_object() {
            *tokens = Map::new().into();
        }
        for (name, secret) in [
            ("id_token", &self.id_token),
            ("access_token", &self.access_token),
            ("refresh_token", &self.refresh_token),
        ] {
            tokens[name] = secret.expose_secret().into();
        }
        tokens["account_id"] = self.account_id.clone().into();
        file.insert("last_refresh".to_owned(), self.last_refresh.to_string().into());
        let mut text = format!("{:#}", Value::Object(file));
        text.push('\n');
        text.into()
    }
}

impl Secret {
    /// The form that is sealed.
    pub fn to_bytes(&self) -> SecretSlice<u8> {
        let written = match self {
            Self::Key(key) => Written::Key(key.expose_secret().to_owned()),
            Self::Tokens(tokens) => Written::Tokens {
                id_token: tokens.id_token.expose_secret().to_owned(),
                access_token: tokens.access_token.expose_secret().to_owned(),
                refresh_token: tokens.refresh_token.expose_secret().to_owned(),
                account_id: tokens.account_id.clone(),
                last_refresh: tokens.last_refresh.to_string(),
            },
        };
        // Texts under fixed names always have a JSON form.
        serde_json::to_vec(&written).unwrap_or_default().into()
    }

    /// Reads [`Self::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadSecret> {
        Ok(match serde_json::from_slice(bytes).map_err(|_| BadSecret::NotJson)? {
            Written::Key(key) => Self::Key(key.into()),
            Written::Tokens { id_token, access_token, refresh_token, account_id, last_refresh } => {
                Self::Tokens(Tokens {
                    id_token: id_token.into(),
                    access_token: access_token.into(),
                    refresh_token: refresh_token.into(),
                    account_id,
                    last_refresh: last_refresh.parse().map_err(|_| BadSecret::Field("last_refresh"))?,
                })
            }
        })
    }

    /// Reads Codex's `auth.json`: a login, or else an API key.
    pub fn from_auth_json(text: &str) -> Result<Self, BadSecret> {
        let file: Map<String, Value> = serde_json::from_str(text).map_err(|_| BadSecret::NotJson)?;
        let some = |value: Option<&Value>| {
            let text = value.and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
            text.map(str::to_owned)
        };
        let mode = file.get("auth_mode").and_then(Value::as_str);
        let key = some(file.get("OPENAI_API_KEY"));
        match (mode, file.get("tokens").and_then(Value::as_object)) {
            (Some("chatgpt") | None, Some(tokens)) => {
                let secret = |name| some(tokens.get(name)).map(Into::into).ok_or(BadSecret::Field(name));
                let last = file.get("last_refresh").and_then(Value::as_str).and_then(|at| at.parse().ok());
                Ok(Self::Tokens(Tokens {
                    id_token: secret("id_token")?,
                    access_token: secret("access_token")?,
                    refresh_token: secret("refresh_token")?,
                    account_id: some(tokens.get("account_id")),
                    last_refresh: last.unwrap_or(Timestamp::UNIX_EPOCH),
                }))
            }
            (Some("apikey") | None, _) => key.map(|key| Self::Key(key.into())).ok_or(BadSecret::NoLogin),
            _ => Err(BadSecret::NoLogin),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Written {
    Key(String),
    Tokens {
        id_token: String,
        access_token: String,
        refresh_token: String,
        account_id: Option<String>,
        last_refresh: String,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tokens() -> Tokens {
        Tokens {
            id_token: "id-secret".into(),
            access_token: "access-secret".into(),
            refresh_token: "refresh-secret".into(),
            account_id: Some("acc-1".to_owned()),
            last_refresh: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        }
    }

    fn texts(tokens: &Tokens) -> [String; 5] {
        [&tokens.id_token, &tokens.access_token, &tokens.refresh_token]
            .map(|secret| secret.expose_secret().to_owned())
            .into_iter()
            .chain([format!("{:?}", tokens.account_id), tokens.last_refresh.to_string()])
            .collect::<Vec<_>>()
            .try_into()
            .unwrap()
    }

    #[test]
    fn what_is_sealed_is_read_as_it_was() {
        let Secret::Tokens(read) = Secret::from_bytes(Secret::Tokens(tokens()).to_bytes().expose_secret()).unwrap()
        else {
            panic!("a login");
        };
        assert_eq!(texts(&read), texts(&tokens()));
        let Secret::Key(key) = Secret::from_bytes(Secret::Key("sk-1".into()).to_bytes().expose_secret()).unwrap()
        else {
            panic!("a key");
        };
        assert_eq!(key.expose_secret(), "sk-1");
    }

    #[test]
    fn auth_json_is_read_as_it_was_written_and_keeps_what_is_not_ours() {
        let old = json!({"tokens": {"id_token": "old", "novel": 1}, "OPENAI_API_KEY": "sk-2", "other": {"a": [1]}});
        let text = tokens().to_auth_json(Some(&old.to_string()));
        assert_eq!(texts(&Tokens::from_auth_json(text.expose_secret()).unwrap()), texts(&tokens()));
        let new: Value = serde_json::from_str(text.expose_secret()).unwrap();
        assert_eq!(
            (&new["other"], &new["tokens"]["novel"], &new["OPENAI_API_KEY"]),
            (&json!({"a": [1]}), &json!(1), &json!("sk-2"))
        );
        let fresh = tokens().to_auth_json(None);
        assert_eq!(texts(&Tokens::from_auth_json(fresh.expose_secret()).unwrap()), texts(&tokens()));
    }

    #[test]
    fn an_api_key_in_auth_json_is_a_key() {
        for file in [json!({"OPENAI_API_KEY": "sk-3"}), json!({"OPENAI_API_KEY": "sk-3", "auth_mode": "apikey"})] {
            let secret = Secret::from_auth_json(&file.to_string());
            assert!(matches!(secret, Ok(Secret::Key(key)) if key.expose_secret() == "sk-3"));
        }
    }

    #[test]
    fn what_is_no_login_is_refused_in_words_without_its_content() {
        let of = |file: Value| Secret::from_auth_json(&file.to_string()).unwrap_err();
        assert_eq!(Secret::from_auth_json("{\"tokens\": {\"id_tok").unwrap_err(), BadSecret::NotJson);
        assert_eq!(of(json!(["x"])), BadSecret::NotJson);
        assert_eq!(of(json!({})), BadSecret::NoLogin);
        assert_eq!(of(json!({"auth_mode": "agentIdentity", "agent_identity": "x"})), BadSecret::NoLogin);
        assert_eq!(of(json!({"tokens": {"id_token": 7}})), BadSecret::Field("id_token"));
        let half = json!({"tokens": {"id_token": "id", "access_token": "hush", "refresh_token": ["hush"]}});
        assert!(!format!("{0} {0:?}", of(half)).contains("hush"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?} {:?}", Secret::Tokens(tokens()), Secret::Key("key-secret".into()));
        assert!(!shown.contains("-secret") && shown.contains("REDACTED"), "{shown}");
    }
}
