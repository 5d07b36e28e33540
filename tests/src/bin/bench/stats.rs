//! Samples and what is said of them.

use serde::Serialize;

/// Measured values in one unit.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

/// Median, 95th and 99th percentile, and maximum.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Summary {
    /// How many samples.
    pub n: usize,
    /// Half of them are at or below.
    pub p50: f64,
    /// Nineteen in twenty are at or below.
    pub p95: f64,
    /// Ninety-nine in a hundred are at or below.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Samples {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub fn p50(&self) -> f64 {
        self.summary().p50
    }

    pub fn summary(&self) -> Summary {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |q| rank(&sorted, q);
        Summary { n: sorted.len(), p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1.0) }
    }

    /// How far the medians of ten consecutive blocks lie apart: what a median moves by itself in this run.
    pub fn drift(&self) -> f64 {
        let size = (self.0.len() / 10).max(1);
        let medians: Vec<f64> = self.0.chunks(size).map(|block| Self(block.to_vec()).p50()).collect();
        let most = medians.iter().copied().fold(f64::MIN, f64::max);
        let least = medians.iter().copied().fold(f64::MAX, f64::min);
        most - least
    }
}

/// The value that a share `q` (0 to 1) of sorted samples is at or below: nearest rank, so a value that was measured.
fn rank(sorted: &[f64], q: f64) -> f64 {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let summary = (1..=100).map(f64::from).collect::<Samples>().summary();
        assert_eq!((summary.p50, summary.p95, summary.p99, summary.max), (50.0, 95.0, 99.0, 100.0));
        let one = [3.0].into_iter().collect::<Samples>().summary();
        assert_eq!((one.p50, one.p95, one.p99, one.max), (3.0, 3.0, 3.0, 3.0));
    }
}
