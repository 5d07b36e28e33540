//! What time it is, and whether somebody set it.
//!
//! Due times in the store are of the wall clock, since they must outlive the process; waiting for them runs on the
//! monotonic clock. The two part when the wall clock is set, and when the machine slept: a [`Watch`] sees that, and
//! whoever waits looks at its rows again.

use std::time::Duration;

use tokio::time::Instant;

use crate::hooks;

/// How often the clocks are compared; what became due by a jump waits so long at most.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The smallest jump, in ms. Less is what slewing and a busy machine make, and what waiting for a retry can bear.
const JUMP: i64 = 2_000;

/// Milliseconds since 1970, UTC, by the wall clock: it can go back.
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond().saturating_add(hooks::clock_offset_ms())
}

/// How long until a time in ms since 1970; nothing when it has come.
pub fn until(at: i64) -> Duration {
    Duration::from_millis(u64::try_from(at.saturating_sub(now_ms())).unwrap_or(0))
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    wall: i64,
    ticks: Instant,
}

impl Watch {
    /// Begins now.
    pub fn begin() -> Self {
        Self { wall: now_ms(), ticks: Instant::now() }
    }

    /// Waits for the next jump of the wall clock; answers its ms, negative when it went back.
    pub async fn jump(&mut self) -> i64 {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Some(jump) = self.look(now_ms(), Instant::now()) {
                return jump;
            }
        }
    }

    /// By how much the wall clock has moved otherwise than the monotonic one since the last look.
    fn look(&mut self, wall: i64, ticks: Instant) -> Option<i64> {
        let ticked = i64::try_from(ticks.duration_since(self.ticks).as_millis()).unwrap_or(i64::MAX);
        let jump = wall.saturating_sub(self.wall).saturating_sub(ticked);
        *self = Self { wall, ticks };
        (jump.abs() > JUMP).then_some(jump)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn look(watch: &mut Watch, wall: i64, ticks_ms: u64) -> Option<i64> {
        watch.look(watch.wall + wall, watch.ticks + Duration::from_millis(ticks_ms))
    }

    #[test]
    fn a_clock_that_is_set_or_a_machine_that_slept_is_a_jump_and_told_once() {
        let mut watch = Watch::begin();
        assert_eq!(look(&mut watch, 2_000, 2_000), None);
        assert_eq!(look(&mut watch, 3_602_000, 2_000), Some(3_600_000));
        assert_eq!(look(&mut watch, 2_001, 2_000), None);
        assert_eq!(look(&mut watch, -86_398_000, 2_000), Some(-86_400_000));
        assert_eq!(look(&mut watch, 2_000, 2_000), None);
    }

    proptest! {
        /// A machine that is slow to look, or a clock that is slewed, is none.
        #[test]
        fn what_a_busy_machine_does_is_no_jump(late in 0u64..3_600_000, slewed in -1_900i64..1_900) {
            let mut watch = Watch::begin();
            prop_assert_eq!(look(&mut watch, i64::try_from(late).unwrap() + slewed, late), None);
        }
    }

    #[test]
    fn what_has_come_is_not_waited_for() {
        assert_eq!(until(0), Duration::ZERO);
        assert_eq!(until(i64::MIN), Duration::ZERO);
        assert!(until(now_ms() + 60_000) > Duration::from_secs(50));
    }
}
