//! The JSON Schema that an answer must follow.

use cofferdam_protocol::admin::{ErrorKind, MAX_SCHEMA_BYTES};
use serde_json::Value;

use super::error::Failed;

/// The schema as it is kept, if it can be one.
pub(super) fn checked(schema: Option<Value>) -> Result<Option<String>, Failed> {
    let Some(schema) = schema else { return Ok(None) };
    let refused = |problem: &str| {
        let message = format!("the schema of the answer {problem}");
        Err(Failed::new(ErrorKind::Usage, message, "send a JSON Schema, such as {\"type\": \"object\"}"))
    };
    if !schema.is_object() {
        return refused("is not a JSON object");
    }
    let text = schema.to_string();
    if text.len() > MAX_SCHEMA_BYTES {
        return refused(&format!("is over {MAX_SCHEMA_BYTES} bytes"));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_an_object_of_reasonable_size_is_a_schema() {
        assert_eq!(checked(None).unwrap(), None);
        assert_eq!(checked(Some(json!({"type": "object"}))).unwrap().as_deref(), Some(r#"{"type":"object"}"#));
        assert!(checked(Some(json!([1]))).is_err() && checked(Some(json!("x"))).is_err());
        assert!(checked(Some(json!({"description": "x".repeat(MAX_SCHEMA_BYTES)}))).is_err());
    }
}
