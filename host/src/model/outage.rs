//! Ends that are nobody's fault, as far as one can tell: the engine or the whole host ended and took a turn with it, or
//! the daemon ended while it handed a reply over. They cost no try. But what *brings* the engine, the host or the daemon
//! down looks just the same, and would do it for ever: so they are counted, and come to an end too.

use super::backoff::Backoff;

/// Ends that are met by going on at once. An engine that is upgraded, or a machine that starts again, takes one or two.
pub const AT_ONCE: u32 = 3;
/// The end that is the last.
pub const MOST: u32 = 10;

/// The pauses after those: from 15 s, so that the others are served between two ends, to a quarter of an hour; 40 minutes
/// in all.
const PAUSES: Backoff = Backoff { first: 15_000, longest: 900_000, tries: MOST - AT_ONCE };

/// Whose doing the end of a container was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoneBy {
    /// Its own, as far as one can tell: it costs the turn's messages a try.
    Itself,
    /// The engine or the host ended with it: counted apart.
    Outage,
    /// Ours or a person's: counted nowhere.
    Plan,
}

/// Who wants a container's end. It is written down before the container is told: if the daemon is gone before it sees the
/// end, the next one knows that it was no outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedBy {
    /// Its turn is over, and says so.
    Person,
    /// The daemon ends; its turn goes on in another container.
    Daemon,
}

/// When to go on after so many ends, in ms since 1970; `now` is at once, none is never.
pub fn next(ends: u32, now: i64, chance: f64) -> Option<i64> {
    if ends <= AT_ONCE { Some(now) } else { PAUSES.next(ends - AT_ONCE, now, chance) }
}

/// Why a reply that the daemon ended over so often is given up, for people.
pub fn words(lost: u32) -> String {
    format!("the daemon ended {lost} times while it was handed over; it may have arrived")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ends_cost_nothing_then_pauses_grow_and_the_tenth_is_the_last() {
        let pauses: Vec<_> = (1..=11).map(|ends| next(ends, 0, 0.0).map(|at| at / 1_000)).collect();
        let all = [0, 0, 0, 15, 45, 135, 405, 900, 900].map(Some);
        assert_eq!(pauses, [&all[..], &[None, None]].concat());
    }
}
