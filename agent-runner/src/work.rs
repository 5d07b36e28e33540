//! Whether the agent's processes work, though they say nothing: a build without output is no silence.
//!
//! Read from `/proc`: the CPU time and the bytes of everything below the provider's own process, and, while one of its
//! commands runs, of what a command has detached from it (a build daemon). The provider's process does not count: it
//! beats also when it only waits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A look's CPU time that is no work, as a share of the time since the last look: what a loop of `sleep 1` and a test
/// takes is a third of it, what compiles takes a hundred times more.
const IDLE_CPU: f64 = 0.01;
/// The same for bytes read and written, for each second: a slow download has more, a loop that waits less.
const IDLE_BYTES: f64 = 32.0 * 1024.0;
/// How long the kernel's ticks are: USER_HZ is 100 wherever this runs.
const TICK: Duration = Duration::from_millis(10);

/// Looks at the processes below one, again and again.
#[derive(Debug)]
pub struct Work {
    provider: u32,
    at: Instant,
    /// Below the provider.
    below: Sum,
    /// Detached from it.
    detached: Sum,
}

/// What processes have used since they began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    ticks: u64,
    bytes: u64,
}

impl Work {
    /// Begins to look at what is below this process.
    pub fn below(provider: u32) -> Self {
        let (below, detached) = sums(provider);
        Self { provider, at: Instant::now(), below, detached }
    }

    /// Whether they worked since the last look. What is detached counts only while a command runs: a server that an
    /// earlier turn left behind says nothing of this one.
    pub fn moved(&mut self, command_runs: bool) -> bool {
        let (below, detached) = sums(self.provider);
        let since = self.at.elapsed();
        let moved = below.is_work_since(self.below, since)
            || (command_runs && detached.is_work_since(self.detached, since));
        *self = Self { provider: self.provider, at: Instant::now(), below, detached };
        moved
    }
}

impl Sum {
    /// Less than before is when a process ended: then nothing is known, which is no work.
    fn is_work_since(self, before: Self, time: Duration) -> bool {
        let ticks = u32::try_from(self.ticks.saturating_sub(before.ticks)).unwrap_or(u32::MAX);
        let cpu = TICK * ticks;
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let bytes = self.bytes.saturating_sub(before.bytes) as f64;
        // One tick alone may be a matter of rounding.
        (ticks > 1 && cpu > time.mul_f64(IDLE_CPU)) || bytes > IDLE_BYTES * time.as_secs_f64()
    }

    fn add(&mut self, other: Self) {
        self.ticks = self.ticks.saturating_add(other.ticks);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// A process, as `/proc/PID/stat` has it; times in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    own: u64,
    /// Of children that ended.
    children: u64,
}

impl Stat {
    fn parse(line: &str) -> Option<Self> {
        // The name before may have blanks and brackets.
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(number(1)?).ok()?,
            own: number(11)?.saturating_add(number(12)?),
            children: number(13)?.saturating_add(number(14)?),
        })
    }
}

fn sums(provider: u32) -> (Sum, Sum) {
    let processes = processes();
    let ours = below(provider, &processes);
    let detached = detached(provider, &ours, &processes);
    (sum_below(provider, &ours, &processes), total(&detached, &processes))
}

fn sum_below(provider: u32, below: &BTreeSet<u32>, processes: &BTreeMap<u32, Stat>) -> Sum {
    let mut sum = total(below, processes);
    // What ended is counted where it was waited for.
    sum.ticks += processes.get(&provider).map_or(0, |stat| stat.children);
    sum
}

fn processes() -> BTreeMap<u32, Stat> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let read = |pid| Some((pid, Stat::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?));
    pids.filter_map(read).collect()
}

fn below(root: u32, processes: &BTreeMap<u32, Stat>) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut to_see = vec![root];
    while let Some(parent) = to_see.pop() {
        let children = processes.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid);
        to_see.extend(children.filter(|child| found.insert(*child)));
    }
    found
}

/// In a container of our own: everything that is neither the provider's, nor its init, nor we.
fn detached(provider: u32, below: &BTreeSet<u32>, processes: &BTreeMap<u32, Stat>) -> BTreeSet<u32> {
    let us = std::process::id();
    if us != 1 && std::os::unix::process::parent_id() != 1 {
        return BTreeSet::new();
    }
    let others = processes.keys().copied().filter(|pid| ![1, us, provider].contains(pid));
    others.filter(|pid| !below.contains(pid)).collect()
}

fn total(of: &BTreeSet<u32>, processes: &BTreeMap<u32, Stat>) -> Sum {
    let mut sum = Sum::default();
    for (pid, stat) in of.iter().filter_map(|pid| Some((pid, processes.get(pid)?))) {
        sum.add(Sum { ticks: stat.own.saturating_add(stat.children), bytes: bytes(*pid) });
    }
    sum
}

/// What a process and its ended children have read and written; nothing where the kernel does not say.
fn bytes(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let counted = text.lines().filter_map(|line| {
        let count = line.strip_prefix("rchar: ").or_else(|| line.strip_prefix("wchar: "))?;
        count.parse::<u64>().ok()
    });
    counted.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A program below a process that takes the provider's place, and ends with it.
    struct Below(Child);

    impl Below {
        fn run(script: &str) -> Self {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("{script} & wait")]).stdin(Stdio::null()).stdout(Stdio::null());
            Self(shell.spawn().unwrap())
        }

        fn sum(&self) -> Sum {
            sums(self.0.id()).0
        }

        /// Waits until it has used what is work in a second.
        fn works(&self, what: &str) {
            let (before, begun) = (self.sum(), Instant::now());
            while !self.sum().is_work_since(before, Duration::from_secs(1)) {
                assert!(begun.elapsed() < Duration::from_secs(60), "{what} is no work");
                std::thread::yield_now();
            }
        }
    }

    impl Drop for Below {
        fn drop(&mut self) {
            for pid in below(self.0.id(), &processes()) {
                let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn what_computes_or_copies_works() {
        Below::run("(while :; do :; done)").works("a busy loop");
        Below::run("dd if=/dev/zero of=/dev/null bs=64k").works("a copy");
        // None of its processes lives long.
        Below::run("(while :; do sh -c 'i=0; while [ $i -lt 9999 ]; do i=$((i+1)); done'; done)").works("many");
    }

    #[test]
    fn what_only_is_there_does_not_work() {
        // Numbers that no process has, so that none has read anything.
        const PROVIDER: u32 = u32::MAX - 10;
        let sum = |others: &[u64]| {
            let child = |own| Stat { parent: PROVIDER, own, children: 0 };
            let mut processes = BTreeMap::from([(PROVIDER, Stat { parent: 1, own: 5, children: 0 })]);
            processes.extend((PROVIDER + 1..).zip(others.iter().copied().map(child)));
            sum_below(PROVIDER, &below(PROVIDER, &processes), &processes)
        };
        // One has worked much before, another has not.
        let before = sum(&[5000, 3]);
        let moved = |now: Sum| now.is_work_since(before, Duration::from_secs(10));
        assert!(!moved(sum(&[5000, 3])), "they only are there");
        assert!(!moved(sum(&[5001, 4])), "they look at the time now and then");
        assert!(!moved(sum(&[5000, 3, 1])), "one begins, and waits");
        assert!(moved(sum(&[5000, 3, 11])), "one begins, and works");
    }

    #[test]
    fn the_process_itself_does_not_count_and_what_ended_below_it_does() {
        // Numbers that no process has, so that none has read anything.
        const PROVIDER: u32 = u32::MAX - 10;
        let sum = |own: u64, ended: u64, below_it: u64| {
            let provider = Stat { parent: 1, own, children: ended };
            let child = Stat { parent: PROVIDER, own: below_it, children: 0 };
            let processes = BTreeMap::from([(PROVIDER, provider), (PROVIDER + 1, child)]);
            sum_below(PROVIDER, &below(PROVIDER, &processes), &processes)
        };
        let before = sum(5, 7, 9);
        let moved = |now: Sum| now.is_work_since(before, Duration::from_secs(10));
        assert!(!moved(sum(5000, 7, 9)), "it beats also when it waits");
        assert!(moved(sum(5, 7000, 9)) && moved(sum(5, 7, 9000)));
    }

    #[test]
    fn a_hundredth_of_a_core_is_the_bound() {
        let ticks = |ticks| Sum { ticks, bytes: 0 };
        let after = |secs, now: Sum| now.is_work_since(ticks(100), Duration::from_secs(secs));
        assert!(!after(10, ticks(110)) && after(10, ticks(111)));
        assert!(!after(0, ticks(101)), "one tick may be rounding");
        assert!(!after(10, ticks(50)), "something ended");
        let bytes = |bytes| Sum { ticks: 100, bytes };
        assert!(!after(10, bytes(327_680)) && after(10, bytes(327_681)));
    }

    #[test]
    fn a_stat_is_read_whatever_the_program_is_called() {
        let line = "7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 3 4 10 20 300 400 20 0 1 0 5 6 7";
        assert_eq!(Stat::parse(line), Some(Stat { parent: 3, own: 30, children: 700 }));
        assert_eq!(Stat::parse("7 (a"), None);
        assert_eq!(Stat::parse("7 (a) S x"), None);
    }
}
