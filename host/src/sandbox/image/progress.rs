//! How a long step is shown to the person who waits for it.

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Told about the steps of a build, one after the other.
pub trait Progress: Send + Sync {
    /// A step begins; `total` is in bytes where it is known.
    fn step(&self, name: &str, total: Option<u64>);
    /// `n` more bytes of the step are done.
    fn advance(&self, n: u64);
    /// The step is done.
    fn done(&self, took: Duration);
}

/// Says nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _name: &str, _total: Option<u64>) {}
    fn advance(&self, _n: u64) {}
    fn done(&self, _took: Duration) {}
}

/// On stderr: bars on a terminal, else one line for each finished step.
#[derive(Debug)]
pub struct Bars {
    terminal: bool,
    now: Mutex<Option<(String, ProgressBar)>>,
}

impl Default for Bars {
    fn default() -> Self {
        Self::new()
    }
}

impl Bars {
    /// Looks once whether stderr is a terminal.
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), now: Mutex::new(None) }
    }

    fn now(&self) -> MutexGuard<'_, Option<(String, ProgressBar)>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bar(name: &str, total: Option<u64>) -> ProgressBar {
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total),
                "  {spinner} {msg:<44} {bar:24} {bytes:>10} of {total_bytes} {bytes_per_sec}",
            ),
            None => (ProgressBar::new_spinner(), "  {spinner} {msg:<44} {elapsed}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}

impl Progress for Bars {
    fn step(&self, name: &str, total: Option<u64>) {
        let bar = if self.terminal { Self::bar(name, total) } else { ProgressBar::hidden() };
        if let Some((_, abandoned)) = self.now().replace((name.to_owned(), bar)) {
            abandoned.finish_and_clear();
        }
    }

    fn advance(&self, n: u64) {
        if let Some((_, bar)) = &*self.now() {
            bar.inc(n);
        }
    }

    fn done(&self, took: Duration) {
        if let Some((name, bar)) = self.now().take() {
            bar.finish_and_clear();
            eprintln!("  {name:<46} {:>6.1} s", took.as_secs_f64());
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        if let Some((_, bar)) = self.now().take() {
            bar.finish_and_clear();
        }
    }
}
