//! Where tests reach into the program: points at which it kills itself, and nudges that get lost.
//!
//! Compiled in with the feature `test-hooks` only, which the tests' crate asks for. Without it every function here is
//! empty, and no variable is read.
//!
//! | variable | what it does |
//! |---|---|
//! | `COFFERDAM_CRASH_AT` | `POINT` or `POINT:N`: the process kills itself when it reaches that point for the first (or Nth) time |
//! | `COFFERDAM_LOSE_NUDGES` | the share of nudges that are lost, in percent |
//! | `COFFERDAM_CLOCK` | a file with the ms by which the wall clock is off; read at each look, so that a test can set it |

/// Reaches a point at which a test may want the process dead, as `kill -9` would have it.
#[inline]
pub fn crash_point(name: &str) {
    #[cfg(feature = "test-hooks")]
    pulled::crash_point(name);
    #[cfg(not(feature = "test-hooks"))]
    let _ = name;
}

/// Whether this nudge gets lost.
#[inline]
pub fn nudge_is_lost() -> bool {
    #[cfg(feature = "test-hooks")]
    return pulled::nudge_is_lost();
    #[cfg(not(feature = "test-hooks"))]
    false
}

/// By how many ms the wall clock is set off.
#[inline]
pub fn clock_offset_ms() -> i64 {
    #[cfg(feature = "test-hooks")]
    return pulled::clock_offset_ms();
    #[cfg(not(feature = "test-hooks"))]
    0
}

#[cfg(feature = "test-hooks")]
mod pulled {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    struct Crash {
        point: String,
        left: AtomicU64,
    }

    pub(super) fn crash_point(name: &str) {
        static CRASH: OnceLock<Option<Crash>> = OnceLock::new();
        let wanted = CRASH.get_or_init(|| {
            let text = std::env::var("COFFERDAM_CRASH_AT").ok()?;
            let (point, nth) = text.split_once(':').unwrap_or((&text, "1"));
            let left = AtomicU64::new(nth.parse().ok()?);
            Some(Crash { point: point.to_owned(), left })
        });
        let Some(crash) = wanted.as_ref().filter(|crash| crash.point == name) else { return };
        if crash.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _ = kill_process(getpid(), Signal::KILL);
            // The signal is on its way: nothing after this point may happen.
            loop {
                std::thread::park();
            }
        }
    }

    pub(super) fn clock_offset_ms() -> i64 {
        static FILE: OnceLock<Option<std::ffi::OsString>> = OnceLock::new();
        let Some(file) = FILE.get_or_init(|| std::env::var_os("COFFERDAM_CLOCK")) else { return 0 };
        std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    pub(super) fn nudge_is_lost() -> bool {
        static PERCENT: OnceLock<u64> = OnceLock::new();
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let read = || std::env::var("COFFERDAM_LOSE_NUDGES").ok()?.parse().ok();
        let percent = *PERCENT.get_or_init(|| read().unwrap_or(0));
        // Spread evenly, so that a run can be repeated.
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        (nth + 1) * percent / 100 > nth * percent / 100
    }
}
