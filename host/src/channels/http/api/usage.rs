//! What an answer took, in either API's words. What the provider did not say is none: clients want numbers.

use cofferdam_protocol::runner::Usage;
use serde_json::{Value, json};

/// A completion's.
pub(super) fn of_completion(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": total(usage),
        "prompt_tokens_details": {"cached_tokens": usage.cached_input},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}

/// A response's.
pub(super) fn of_response(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input, "input_tokens_details": {"cached_tokens": usage.cached_input},
        "output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": total(usage),
    })
}

fn total(usage: Usage) -> u64 {
    usage.input.saturating_add(usage.output)
}
