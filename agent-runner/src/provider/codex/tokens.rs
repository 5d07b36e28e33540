//! Tokens of one turn out of running totals that can be repeated, resumed and go down.

use cofferdam_protocol::runner::Usage;

use super::protocol::{TokenUsage, Tokens};

/// Sums what a thread's total grows by.
#[derive(Debug, Default)]
pub struct Meter {
    /// The total as last seen; none after a resume, until it is heard.
    last: Option<Tokens>,
    turn: Option<Usage>,
}

impl Meter {
    /// For a thread whose total is not known.
    pub fn resumed() -> Self {
        Self::default()
    }

    /// For a thread without turns.
    pub fn fresh() -> Self {
        Self { last: Some(Tokens::default()), turn: None }
    }

    /// A count of another turn: only moves the baseline.
    pub fn rebase(&mut self, usage: &TokenUsage) {
        self.last = Some(usage.total);
    }

    /// A count of the running turn; the answer is whether the total grew, which is a model call's end.
    pub fn count(&mut self, usage: &TokenUsage) -> bool {
        let before = self.last.unwrap_or_else(|| minus(usage.total, usage.last));
        self.last = Some(usage.total);
        let grown = minus(usage.total, before);
        // A decrease is a new baseline (an overflow of the model's window resets it).
        if grown.input_tokens < 0 || grown.output_tokens < 0 {
            return false;
        }
        let turn = self.turn.get_or_insert_default();
        turn.input += positive(grown.input_tokens);
        turn.cached_input += positive(grown.cached_input_tokens);
        turn.output += positive(grown.output_tokens);
        turn.reasoning += positive(grown.reasoning_output_tokens);
        grown != Tokens::default()
    }

    /// The turn's sum, for its end; the next one begins with nothing.
    pub fn take(&mut self) -> Option<Usage> {
        self.turn.take()
    }
}

fn minus(a: Tokens, b: Tokens) -> Tokens {
    Tokens {
        input_tokens: a.input_tokens - b.input_tokens,
        cached_input_tokens: a.cached_input_tokens - b.cached_input_tokens,
        output_tokens: a.output_tokens - b.output_tokens,
        reasoning_output_tokens: a.reasoning_output_tokens - b.reasoning_output_tokens,
    }
}

fn positive(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(total: i64, last: i64) -> TokenUsage {
        let tokens = |count| Tokens { input_tokens: count, output_tokens: count / 10, ..Tokens::default() };
        TokenUsage { total: tokens(total), last: tokens(last) }
    }

    #[test]
    fn repeated_counts_are_counted_once_and_turns_apart() {
        let mut meter = Meter::fresh();
        assert!(meter.count(&usage(1000, 1000)));
        assert!(!meter.count(&usage(1000, 1000)));
        assert!(meter.count(&usage(3000, 2000)));
        assert_eq!(meter.take(), Some(Usage { input: 3000, output: 300, ..Usage::default() }));
        assert_eq!(meter.take(), None);
        meter.count(&usage(3500, 500));
        assert_eq!(meter.take().unwrap().input, 500);
    }

    #[test]
    fn a_resumed_thread_does_not_count_its_past() {
        let mut meter = Meter::resumed();
        meter.count(&usage(90_000, 1000));
        assert_eq!(meter.take().unwrap().input, 1000);
        let mut meter = Meter::resumed();
        meter.rebase(&usage(90_000, 1000));
        meter.count(&usage(90_000, 1000));
        assert_eq!(meter.take(), Some(Usage::default()));
    }

    #[test]
    fn a_decrease_is_a_new_baseline() {
        let mut meter = Meter::fresh();
        meter.count(&usage(9000, 9000));
        assert!(!meter.count(&usage(100, 100)));
        meter.count(&usage(300, 200));
        assert_eq!(meter.take().unwrap().input, 9200);
    }
}
