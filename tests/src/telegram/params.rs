//! A call's parameters, in each of the forms that the Bot API takes them in.

use std::collections::HashMap;

use axum::body::Bytes;
use serde_json::Value;

use super::answer::No;

/// A call's parameters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params {
    pub(crate) values: HashMap<String, Value>,
    /// By field: the name, and what is in it.
    pub(crate) files: HashMap<String, (String, Bytes)>,
}

impl Params {
    /// Reads a query, and a body of this type.
    pub(crate) async fn read(query: &str, content_type: &str, body: Bytes) -> Result<Self, No> {
        let mut params = Self::default();
        params.form(query);
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json" if !body.is_empty() => {
                let Ok(Value::Object(object)) = serde_json::from_slice(&body) else {
                    return Err(No::bad("Can't parse request JSON object"));
                };
                params.values.extend(object.into_iter().filter(|(_, value)| !value.is_null()));
            }
            "application/x-www-form-urlencoded" => params.form(&String::from_utf8_lossy(&body)),
            "multipart/form-data" => params.multipart(content_type, body).await?,
            _ => {}
        }
        Ok(params)
    }

    fn form(&mut self, text: &str) {
        let url = reqwest::Url::parse(&format!("http://form/?{text}")).expect("an address");
        let pairs = url.query_pairs().map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())));
        self.values.extend(pairs);
    }

    async fn multipart(&mut self, content_type: &str, body: Bytes) -> Result<(), No> {
        let bad = |_| No::bad("can't parse multipart form data");
        let boundary = multer::parse_boundary(content_type).map_err(bad)?;
        let body = futures_util::stream::once(async { Ok::<_, std::io::Error>(body) });
        let mut parts = multer::Multipart::new(body, boundary);
        while let Some(part) = parts.next_field().await.map_err(bad)? {
            let (name, file) = (part.name().unwrap_or_default().to_owned(), part.file_name().map(str::to_owned));
            match file {
                Some(file) => drop(self.files.insert(name, (file, part.bytes().await.map_err(bad)?))),
                None => drop(self.values.insert(name, Value::String(part.text().await.map_err(bad)?))),
            }
        }
        Ok(())
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        match self.values.get(name)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// A parameter that is an object or a list, or its JSON as a text.
    pub(crate) fn json(&self, name: &str) -> Option<Value> {
        match self.values.get(name)? {
            Value::String(text) => serde_json::from_str(text).ok(),
            other => Some(other.clone()),
        }
    }

    /// All of them, for tests to look at.
    pub(crate) fn shown(&self) -> Value {
        self.values.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(query: &str, content_type: &str, body: &'static str) -> Params {
        Params::read(query, content_type, Bytes::from_static(body.as_bytes())).await.expect("parameters")
    }

    #[tokio::test]
    async fn every_form_says_the_same() {
        let multipart = "--x\r\nContent-Disposition: form-data; name=\"chat_id\"\r\n\r\n-5\r\n--x\r\nContent-Disposition: \
                         form-data; name=\"text\"\r\n\r\na b\r\n--x--\r\n";
        for params in [
            read("chat_id=-5&text=a%20b", "", "").await,
            read("", "application/json", r#"{"chat_id": -5, "text": "a b", "parse_mode": null}"#).await,
            read("", "application/x-www-form-urlencoded", "chat_id=-5&text=a+b").await,
            read("", "multipart/form-data; boundary=x", multipart).await,
        ] {
            assert_eq!(
                (params.int("chat_id"), params.text("text").as_deref()),
                (Some(-5), Some("a b")),
                "{params:?}"
            );
            assert_eq!(params.values.len(), 2);
        }
    }
}
