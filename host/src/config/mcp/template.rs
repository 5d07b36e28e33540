//! Texts with `${NAME}` in them, which the host's values fill in.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::config::host_values::is_name;

/// A text as the file has it. `${NAME}` stands for a value of the host, `$${` for the two characters `${`; any other
/// `$` is itself. Shows the text, never a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template(String);

/// A piece of a template.
#[derive(Debug, PartialEq)]
enum Part<'t> {
    Text(&'t str),
    Value(&'t str),
}

/// Why a text is no template. Does not repeat the text, which may hold what should have been a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadTemplate(&'static str);

impl fmt::Display for BadTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; a value is written `${{NAME}}`, and the characters `${{` themselves `$${{`", self.0)
    }
}

impl TryFrom<String> for Template {
    type Error = BadTemplate;

    fn try_from(text: String) -> Result<Self, BadTemplate> {
        if text.contains('\0') {
            return Err(BadTemplate("it has a NUL"));
        }
        parts(&text)?;
        Ok(Self(text))
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.0
    }
}

impl JsonSchema for Template {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

impl Template {
    /// The text as the file has it.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The names of the values that it needs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        parts(&self.0).into_iter().flatten().filter_map(|part| match part {
            Part::Value(name) => Some(name),
            Part::Text(_) => None,
        })
    }

    /// The text with the values in it. The error is the name of one that `get` does not have.
    pub fn fill(&self, get: impl Fn(&str) -> Option<SecretString>) -> Result<SecretString, &str> {
        let mut filled = String::with_capacity(self.0.len());
        // Checked when it was made.
        for part in parts(&self.0).unwrap_or_default() {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Value(name) => filled.push_str(get(name).ok_or(name)?.expose_secret()),
            }
        }
        Ok(filled.into())
    }
}

fn parts(text: &str) -> Result<Vec<Part<'_>>, BadTemplate> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            // `$${`: without the first `$` it is the text that was meant.
            parts.extend([Part::Text(&rest[..at - 1]), Part::Text(&rest[at..at + 2])]);
            rest = &rest[at + 2..];
            continue;
        }
        let after = &rest[at + 2..];
        let Some(end) = after.find('}') else { return Err(BadTemplate("a `${` has no `}`")) };
        if !is_name(&after[..end]) {
            return Err(BadTemplate(
                "between `${` and `}` is no name of letters, digits and `_` that begins with no digit",
            ));
        }
        parts.extend([Part::Text(&rest[..at]), Part::Value(&after[..end])]);
        rest = &after[end + 1..];
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(text: &str) -> String {
        let get = |name: &str| (name != "NONE").then(|| SecretString::from(format!("<{name}>")));
        let template = Template::try_from(text.to_owned()).unwrap();
        template.fill(get).unwrap().expose_secret().to_owned()
    }

    #[test]
    fn values_are_filled_in_and_doubled_dollars_are_text() {
        assert_eq!(filled("Bearer ${TOKEN}"), "Bearer <TOKEN>");
        assert_eq!(filled("${A}${_b1}"), "<A><_b1>");
        assert_eq!(filled("$${A} $$ $x ${A}$"), "${A} $$ $x <A>$");
        assert_eq!(filled("$$${A}"), "$${A}");
        assert_eq!(filled("}{$"), "}{$");
    }

    #[test]
    fn a_missing_value_is_named() {
        let template = Template::try_from("a ${NONE}".to_owned()).unwrap();
        assert_eq!(template.fill(|_| None).unwrap_err(), "NONE");
        assert_eq!(template.names().collect::<Vec<_>>(), ["NONE"]);
    }

    #[test]
    fn what_is_no_name_is_refused_without_repeating_it() {
        for bad in ["${", "${}", "${A", "${A B}", "${1}", "${ghp-secret}", "a\0"] {
            let error = Template::try_from(bad.to_owned()).unwrap_err().to_string();
            assert!(!error.contains("ghp"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_written_by_doubling(text in "[${}A-B ]{0,12}") {
            // A `$` before a `${` cannot be told from an escape; all else can.
            prop_assume!(!text.contains("$${"));
            prop_assert_eq!(filled(&text.replace("${", "$${")), text);
        }
    }
}
