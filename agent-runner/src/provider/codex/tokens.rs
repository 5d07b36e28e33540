//! Tokens out of running totals that can be repeated, resumed and go down: of one turn, and since the last compaction.

use cofferdam_protocol::runner::{ContextMeter, Usage};

use super::protocol::{TokenUsage, Tokens};

/// Sums what a thread's total grows by.
#[derive(Debug, Default)]
pub struct Meter {
    /// The total as last seen; none after a resume, until it is heard.
    last: Option<Tokens>,
    turn: Option<Usage>,
    context: ContextMeter,
    compactions: u32,
}

impl Meter {
    /// For a thread that has turns, with what was kept of it.
    pub fn resumed(context: ContextMeter) -> Self {
        Self { context, ..Self::default() }
    }

    /// For a thread without turns.
    pub fn fresh() -> Self {
        let context = ContextMeter { since_compaction: 0, last_total: Some(0) };
        Self { last: Some(Tokens::default()), context, ..Self::default() }
    }

    /// A count of another turn, such as the one that a resume repeats: it belongs to the conversation, but not to the
    /// running turn.
    pub fn rebase(&mut self, usage: &TokenUsage) {
        self.add_to_context(usage.total, usage.total);
        self.last = Some(usage.total);
    }

    /// A count of the running turn; the answer is whether the total grew, which is a model call's end.
    pub fn count(&mut self, usage: &TokenUsage) -> bool {
        let before = self.last.unwrap_or_else(|| minus(usage.total, usage.last));
        self.add_to_context(usage.total, before);
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

    /// The conversation was compacted; the answer is its input tokens since the compaction before.
    pub fn compacted(&mut self) -> u64 {
        self.compactions += 1;
        std::mem::take(&mut self.context.since_compaction)
    }

    /// The turn's sum until now.
    pub fn so_far(&self) -> Option<Usage> {
        self.turn
    }

    /// The turn's sum, for its end; the next one begins with nothing.
    pub fn take(&mut self) -> Option<Usage> {
        self.turn.take()
    }

    /// What is kept over restarts.
    pub fn context(&self) -> ContextMeter {
        self.context
    }

    /// Compactions that were seen on this thread; another number after each.
    pub fn compactions(&self) -> u32 {
        self.compactions
    }

    /// Output tokens over the thread's life, as far as they were heard.
    pub fn total_output(&self) -> u64 {
        self.last.map_or(0, |total| positive(total.output_tokens))
    }

    fn add_to_context(&mut self, total: Tokens, before: Tokens) {
        let total = positive(total.input_tokens);
        let before = self.context.last_total.unwrap_or_else(|| positive(before.input_tokens));
        self.context.since_compaction += total.saturating_sub(before);
        self.context.last_total = Some(total);
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

    fn since(meter: &Meter) -> u64 {
        meter.context().since_compaction
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
        assert_eq!(meter.context(), ContextMeter { since_compaction: 3500, last_total: Some(3500) });
    }

    #[test]
    fn a_resumed_thread_does_not_count_its_past() {
        let mut meter = Meter::resumed(ContextMeter::default());
        meter.count(&usage(90_000, 1000));
        assert_eq!(meter.take().unwrap().input, 1000);
        assert_eq!(since(&meter), 1000);
        let mut meter = Meter::resumed(ContextMeter::default());
        meter.rebase(&usage(90_000, 1000));
        meter.count(&usage(90_000, 1000));
        assert_eq!(meter.take(), Some(Usage::default()));
        assert_eq!(since(&meter), 0);
    }

    #[test]
    fn a_resumed_thread_goes_on_from_what_was_kept_and_counts_what_was_missed() {
        let kept = ContextMeter { since_compaction: 5_000, last_total: Some(90_000) };
        let mut meter = Meter::resumed(kept);
        meter.rebase(&usage(90_000, 1000));
        assert_eq!(meter.context(), kept);
        // A turn that died before it could say what it had used.
        let mut meter = Meter::resumed(kept);
        meter.rebase(&usage(92_000, 1000));
        assert_eq!((since(&meter), meter.take()), (7_000, None));
        meter.count(&usage(93_000, 1000));
        assert_eq!((since(&meter), meter.take().unwrap().input), (8_000, 1_000));
    }

    #[test]
    fn a_decrease_is_a_new_baseline() {
        let mut meter = Meter::fresh();
        meter.count(&usage(9000, 9000));
        assert!(!meter.count(&usage(100, 100)));
        meter.count(&usage(300, 200));
        assert_eq!(meter.take().unwrap().input, 9200);
        assert_eq!(meter.context(), ContextMeter { since_compaction: 9200, last_total: Some(300) });
    }

    #[test]
    fn a_compaction_zeroes_what_came_before_it_only() {
        let mut meter = Meter::fresh();
        meter.count(&usage(9000, 9000));
        assert_eq!((meter.compacted(), since(&meter), meter.compactions()), (9000, 0, 1));
        meter.count(&usage(9000, 9000));
        meter.count(&usage(9500, 500));
        assert_eq!(since(&meter), 500);
        assert_eq!(meter.take().unwrap().input, 9500, "the turn's own sum goes on");
    }
}
