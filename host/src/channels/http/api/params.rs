//! Parameters that an agent cannot follow. Whoever relies on one is told; those that only tune a model are ignored, as are
//! ones that nobody knows yet.

use serde_json::Value;

use super::error::ApiError;

/// Why one is refused when it asks for something.
struct Refused {
    param: &'static str,
    why: &'static str,
    asks: fn(&Value) -> bool,
}

fn always(_: &Value) -> bool {
    true
}

fn more_than_one(value: &Value) -> bool {
    value.as_f64() != Some(1.0)
}

fn is_true(value: &Value) -> bool {
    value != &Value::Bool(false)
}

fn not_zero(value: &Value) -> bool {
    value.as_f64() != Some(0.0)
}

fn not_empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

fn other_than_text(value: &Value) -> bool {
    value.as_array().is_none_or(|kinds| kinds.iter().any(|kind| kind != "text"))
}

fn a_call(value: &Value) -> bool {
    value != "none" && value != "auto"
}

fn has_logprobs(value: &Value) -> bool {
    value
        .as_array()
        .is_none_or(|list| list.iter().any(|what| what.as_str().is_some_and(|w| w.contains("logprobs"))))
}

const OWN_TOOLS: &str = "the agent has its own tools, and calls none of the caller's";
const ONE: &str = "an agent gives one answer";
const NO_TOKENS: &str = "an agent's answer has no token probabilities";
const TEXT: &str = "an agent answers in text";

const REFUSED: &[Refused] = &[
    Refused { param: "n", why: ONE, asks: more_than_one },
    Refused { param: "tools", why: OWN_TOOLS, asks: not_empty },
    Refused { param: "tool_choice", why: OWN_TOOLS, asks: a_call },
    Refused { param: "functions", why: OWN_TOOLS, asks: not_empty },
    Refused { param: "function_call", why: OWN_TOOLS, asks: a_call },
    Refused { param: "web_search_options", why: OWN_TOOLS, asks: always },
    Refused { param: "logprobs", why: NO_TOKENS, asks: is_true },
    Refused { param: "top_logprobs", why: NO_TOKENS, asks: not_zero },
    Refused { param: "logit_bias", why: NO_TOKENS, asks: not_empty },
    Refused { param: "include", why: NO_TOKENS, asks: has_logprobs },
    Refused { param: "audio", why: TEXT, asks: always },
    Refused { param: "modalities", why: TEXT, asks: other_than_text },
    Refused { param: "stop", why: "an agent ends by itself", asks: not_empty },
    Refused { param: "moderation", why: "nothing is moderated here", asks: always },
    Refused {
        param: "background",
        why: "call with a longer wait, or get the response later by its id",
        asks: is_true,
    },
    Refused { param: "conversation", why: "use 'previous_response_id', or 'metadata.thread'", asks: always },
    Refused { param: "prompt", why: "write the prompt into 'input'", asks: always },
];

/// Refuses a request with a parameter that cannot be followed.
pub(super) fn check(request: &Value) -> Result<(), ApiError> {
    for Refused { param, why, asks } in REFUSED {
        if request.get(*param).is_some_and(|value| !value.is_null() && asks(value)) {
            return Err(ApiError::unsupported(param, why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_followed_is_named() {
        for (param, value) in [
            ("n", json!(2)),
            ("tools", json!([{"type": "function"}])),
            ("tool_choice", json!("required")),
            ("logprobs", json!(true)),
            ("top_logprobs", json!(3)),
            ("audio", json!({"voice": "alloy"})),
            ("modalities", json!(["text", "audio"])),
            ("stop", json!(["END"])),
            ("background", json!(true)),
            ("conversation", json!("conv_1")),
            ("include", json!(["message.output_text.logprobs"])),
        ] {
            let mut request = json!({});
            request[param] = value;
            let error = check(&request).unwrap_err();
            assert_eq!((error.param.as_deref(), error.code), (Some(param), Some("unsupported_parameter")));
        }
    }

    #[test]
    fn what_asks_for_nothing_and_what_only_tunes_is_taken() {
        let request = json!({
            "n": 1, "tools": [], "tool_choice": "auto", "logprobs": false, "top_logprobs": 0, "audio": null,
            "modalities": ["text"], "stop": null, "background": false, "include": ["reasoning.encrypted_content"],
            "temperature": 0.2, "max_tokens": 9, "max_completion_tokens": 9, "max_output_tokens": 9, "top_p": 1,
            "user": "u", "metadata": {}, "store": true, "seed": 1, "reasoning_effort": "low", "something_new": [1],
        });
        assert_eq!(check(&request), Ok(()));
    }
}
