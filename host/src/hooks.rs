//! Where tests reach into the program: points at which it kills itself, and nudges that get lost.
//!
//! Compiled in with the feature `test-hooks` only, which the tests' crate asks for. Without it every function here is
//! empty, and no variable is read.
//!
//! | variable | what it does |
//! |---|---|
//! | `COFFERDAM_CRASH_AT` | `POINT` or `POINT:N`: the process kills itself when it reaches that point for the first (or Nth) time |
//! | `COFFERDAM_PANIC_AT` | the same, but the task that reaches it panics |
//! | `COFFERDAM_LOSE_NUDGES` | the share of nudges that are lost, in percent |
//! | `COFFERDAM_SWEEP_MS` | ms between two looks through the rows for what lost nudges left, instead of the usual time |
//! | `COFFERDAM_TEST_PLATFORM` | the socket of a chat platform that the test plays: `channels::platform` |
//! | `COFFERDAM_TEST_ISSUER` | the port on loopback of an issuer that the test plays: `vault::issuer` |
//! | `COFFERDAM_TEST_CHATGPT` | the address, IP and port, of the ChatGPT backend that the test plays: `gateway` |
//! | `COFFERDAM_TEST_LIMITS` | `NAME=MS,…`: other limits of patience than the usual, by the names that [`limit`] is asked for |
//! | `COFFERDAM_CLOCK` | a file with the ms by which the wall clock is off; read at each look, so that a test can set it |

use std::time::Duration;

/// Every point at which the process can be killed, in the order of a message's way. `before_commit` is the last thing
/// inside the write: it is undone. `after_commit` is the first thing after it: it stands, and nobody was told.
pub const POINTS: &[&str] = &[
    // ① accept.
    "mark_busy.before_commit",
    "mark_busy.after_commit",
    "accept.before_commit",
    "accept.after_commit",
    // A container.
    "attempt.before_commit",
    "attempt.after_commit",
    "start.before_create",
    "start.between_create_and_start",
    "start.after_start",
    "container.before_commit",
    "container.after_commit",
    "hello.before_commit",
    "hello.after_commit",
    // ② claim.
    "claim.before_commit",
    "claim.after_commit",
    // ③ ready.
    "ready.before_commit",
    "ready.after_commit",
    // ④ finish.
    "finish.before_commit",
    "finish.after_commit",
    // ⑤ lease; the channel takes it; ⑥ delivered.
    "lease.before_commit",
    "lease.after_commit",
    "sent",
    "delivered.before_commit",
    "delivered.after_commit",
    // A container's end.
    "ended.before_commit",
    "ended.after_commit",
];

/// Where the end of a container with a turn can be killed: noted but not told, and told but not seen.
pub const OF_END: &[&str] = &["end.noted", "end.told"];
/// Where a message that waited for its sender's pace can be killed: taken in, and not forgotten where it waited.
pub const OF_LATE: &[&str] = &["late.taken"];
/// Where the restore of a group can be killed: with everything copied, and with the places exchanged.
pub const OF_RESTORE: &[&str] = &["restore.before_exchange", "restore.after_exchange"];
/// Where the move of a chat that got another id can be killed: before and after it is noted, and with one group's rows moved
/// while the note still stands.
pub const OF_MOVE: &[&str] = &["move.before_commit", "move.after_commit", "move.of_group"];
/// Where a backup can be killed: with the databases of all groups copied, and nothing said to be complete.
pub const OF_BACKUP: &[&str] = &["backup.before_manifest"];

/// Where a refresh of a login can be killed: with its intent on the disk; with the issuer's answer in memory; and with the new
/// tokens on the disk, but nobody told.
pub const OF_REFRESH: &[&str] = &["refresh.intent", "refresh.answered", "refresh.saved"];

/// Where a rotation of the vault's key can be killed: before and after the file has both keys, after everything is sealed
/// again, and before and after the old key is given up.
pub const OF_ROTATION: &[&str] = &[
    "rotate.before_both",
    "rotate.after_both",
    "rotate.before_commit",
    "rotate.after_commit",
    "rotate.before_one",
    "rotate.after_one",
];

/// Where the life of a key in the keyring can be killed besides: with the first key there and nothing written down; in a
/// rotation, with the mark in the file, and with the entry put.
pub const OF_KEYRING: &[&str] = &["first_key.in_keyring", "rotate.marked", "rotate.put"];

/// Where a move of the vault's key into the keyring can be killed: with both in the file, with the entry put, and at its end.
pub const OF_KEY_IN: &[&str] = &["key_in.noted", "key_in.put", "key_in.done"];
/// Where a move into the file can be killed: with both in the file, with the entry removed, and at its end.
pub const OF_KEY_OUT: &[&str] = &["key_out.noted", "key_out.emptied", "key_out.done"];

/// Reaches a point at which a test may want the process dead, as `kill -9` would have it.
#[inline]
pub fn crash_point(name: &str) {
    debug_assert!(
        [
            POINTS,
            OF_END,
            OF_LATE,
            OF_RESTORE,
            OF_MOVE,
            OF_BACKUP,
            OF_REFRESH,
            OF_ROTATION,
            OF_KEYRING,
            OF_KEY_IN,
            OF_KEY_OUT
        ]
        .iter()
        .any(|points| points.contains(&name)),
        "{name} is in no list of points"
    );
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

/// The time between two looks of the sweep: `usual` unless a test wants another.
#[inline]
pub fn sweep_every(usual: Duration) -> Duration {
    #[cfg(feature = "test-hooks")]
    return pulled::sweep_every().unwrap_or(usual);
    #[cfg(not(feature = "test-hooks"))]
    usual
}

/// How long something is waited for: `usual` unless a test wants another patience.
#[inline]
pub fn limit(name: &str, usual: Duration) -> Duration {
    #[cfg(feature = "test-hooks")]
    return pulled::limit(name).unwrap_or(usual);
    #[cfg(not(feature = "test-hooks"))]
    {
        let _ = name;
        usual
    }
}

/// By how many ms the wall clock is set off.
#[inline]
pub fn clock_offset_ms() -> i64 {
    #[cfg(feature = "test-hooks")]
    return pulled::clock_offset_ms();
    #[cfg(not(feature = "test-hooks"))]
    0
}

/// The port of an issuer that a test plays.
#[inline]
pub fn issuer_port() -> Option<u16> {
    #[cfg(feature = "test-hooks")]
    return std::env::var("COFFERDAM_TEST_ISSUER").ok()?.parse().ok();
    #[cfg(not(feature = "test-hooks"))]
    None
}

/// The address of the ChatGPT backend that a test plays.
#[inline]
pub fn chatgpt_address() -> Option<std::net::SocketAddr> {
    #[cfg(feature = "test-hooks")]
    // One that is no address must not lead to the vendor.
    return std::env::var("COFFERDAM_TEST_CHATGPT").ok().map(|text| text.parse().expect("an IP and a port"));
    #[cfg(not(feature = "test-hooks"))]
    None
}

/// The socket of the chat platform that a test plays.
#[cfg(feature = "test-hooks")]
pub fn platform_socket() -> Option<std::path::PathBuf> {
    std::env::var_os("COFFERDAM_TEST_PLATFORM").map(Into::into)
}

#[cfg(feature = "test-hooks")]
mod pulled {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    /// What is wanted of a point, and how often it is passed before.
    struct Wanted {
        point: String,
        left: AtomicU64,
    }

    impl Wanted {
        fn read(variable: &str) -> Option<Self> {
            let text = std::env::var(variable).ok()?;
            let (point, nth) = text.split_once(':').unwrap_or((&text, "1"));
            let left = AtomicU64::new(nth.parse().ok()?);
            Some(Self { point: point.to_owned(), left })
        }

        fn is_now(&self, name: &str) -> bool {
            self.point == name && self.left.fetch_sub(1, Ordering::AcqRel) == 1
        }
    }

    pub(super) fn crash_point(name: &str) {
        static CRASH: OnceLock<Option<Wanted>> = OnceLock::new();
        static PANIC: OnceLock<Option<Wanted>> = OnceLock::new();
        let crash = CRASH.get_or_init(|| Wanted::read("COFFERDAM_CRASH_AT"));
        if crash.as_ref().is_some_and(|crash| crash.is_now(name)) {
            let _ = kill_process(getpid(), Signal::KILL);
            // The signal is on its way: nothing after this point may happen.
            loop {
                std::thread::park();
            }
        }
        let panic = PANIC.get_or_init(|| Wanted::read("COFFERDAM_PANIC_AT"));
        assert!(!panic.as_ref().is_some_and(|panic| panic.is_now(name)), "a test wants a panic at {name}");
    }

    /// A timer of no time cannot be made.
    pub(super) fn sweep_every() -> Option<Duration> {
        let ms = std::env::var("COFFERDAM_SWEEP_MS").ok()?.parse().ok()?;
        Some(Duration::from_millis(ms)).filter(|every| !every.is_zero())
    }

    pub(super) fn limit(name: &str) -> Option<Duration> {
        let text = std::env::var("COFFERDAM_TEST_LIMITS").ok()?;
        let of = |part: &str| part.split_once('=').filter(|(key, _)| *key == name)?.1.parse().ok();
        text.split(',').find_map(of).map(Duration::from_millis)
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
