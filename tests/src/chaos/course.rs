//! The run's own time: what is due when, which waits while an engine is being started again. Else all that was due meanwhile would
//! strike at once, the more the slower the machine is.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time of a run from its start on, without those in which it was held.
pub struct Course {
    start: Instant,
    held: Mutex<Duration>,
}

impl Course {
    /// Starts now.
    pub fn begin() -> Self {
        Self { start: Instant::now(), held: Mutex::default() }
    }

    /// Waits until so much of it has passed.
    pub async fn reach(&self, at: Duration) {
        loop {
            let due = self.start + at + self.held();
            tokio::time::sleep_until(due.into()).await;
            if due == self.start + at + self.held() {
                return;
            }
        }
    }

    /// It did not pass for so long.
    pub fn hold(&self, long: Duration) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) += long;
    }

    fn held(&self) -> Duration {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_due_waits_while_it_is_held() {
        let course = Course::begin();
        let (at, long) = (Duration::from_millis(20), Duration::from_millis(40));
        let held = async { course.hold(long) };
        tokio::join!(course.reach(at), held);
        assert!(course.start.elapsed() >= at + long);
    }
}
