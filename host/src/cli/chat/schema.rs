//! `chat --schema FILE`: the JSON Schema that an answer must follow.

use std::io::Read;
use std::path::Path;

use cofferdam_protocol::admin::MAX_SCHEMA_BYTES;
use serde_json::Value;

use crate::cli::error::CliError;

/// Reads it; a wrong one is found before anything is sent.
pub(super) fn read(path: &Path) -> Result<Value, CliError> {
    let unreadable = |error| CliError::io(format_args!("the schema {} cannot be read", path.display()), &error);
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_SCHEMA_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let wrong = |problem: String| {
        CliError::usage(format!("the schema {} {problem}", path.display()))
            .with_hint("a schema is a JSON object, such as {\"type\": \"object\", \"properties\": {}}")
    };
    if bytes.len() > MAX_SCHEMA_BYTES {
        return Err(wrong(format!("has more than {MAX_SCHEMA_BYTES} bytes")));
    }
    let schema: Value = serde_json::from_slice(&bytes).map_err(|error| wrong(format!("is not JSON: {error}")))?;
    if schema.is_object() { Ok(schema) } else { Err(wrong("is not a JSON object".to_owned())) }
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::admin::ErrorKind;

    use super::*;

    fn of(text: &str) -> Result<Value, CliError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path())
    }

    #[test]
    fn only_an_object_of_reasonable_size_is_a_schema() {
        assert_eq!(of(r#"{"type": "object"}"#).unwrap()["type"], "object");
        for wrong in ["", "{", "[1]", "\"x\"", &format!("{{\"a\": \"{}\"}}", "x".repeat(MAX_SCHEMA_BYTES))] {
            let error = of(wrong).unwrap_err();
            assert!(error.kind() == ErrorKind::Usage && error.hint().is_some(), "{error:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_not_found() {
        assert_eq!(read(Path::new("/no/such/schema")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
