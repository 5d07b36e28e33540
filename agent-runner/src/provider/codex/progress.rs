//! Plans and diffs as people are shown them, bounded.

use super::protocol::PlanStep;
use crate::bounds::one_line;

/// The longest diff that is kept, in bytes.
const MAX_DIFF: usize = 256 * 1024;
/// The longest step of a plan, in characters.
const MAX_STEP: usize = 200;

/// A line for each step: `[x]` done, `[>]` in progress, `[ ]` open.
pub fn plan_lines(plan: &[PlanStep]) -> String {
    plan.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(step: &PlanStep) -> String {
    let mark = match step.status.as_str() {
        "completed" => "[x]",
        "inProgress" => "[>]",
        _ => "[ ]",
    };
    format!("{mark} {}", one_line(&step.step, MAX_STEP))
}

/// The diff, or as many of its first files as there is room for, and a last line that says so.
pub fn bounded_diff(diff: &str) -> String {
    if diff.len() <= MAX_DIFF {
        return diff.to_owned();
    }
    let room = &diff[..diff.floor_char_boundary(MAX_DIFF)];
    // A first file that is too large by itself is cut at a line.
    let end = room.rfind("\ndiff --git ").or_else(|| room.rfind('\n')).map_or(0, |at| at + 1);
    format!("{}[cut: {} of {} bytes were too much]\n", &diff[..end], diff.len() - end, diff.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, line: &str) -> String {
        format!("diff --git a/{name} b/{name}\n{}", line.repeat(25_000))
    }

    #[test]
    fn a_long_diff_is_cut_between_files() {
        let diff = file("a", "+äöü\n") + &file("b", "+äöü\n");
        let cut = bounded_diff(&diff);
        let note = cut.strip_prefix(&file("a", "+äöü\n")).unwrap();
        assert_eq!(note, format!("[cut: {} of {} bytes were too much]\n", diff.len() / 2, diff.len()));
    }

    #[test]
    fn a_first_file_that_is_too_large_is_cut_at_a_line() {
        let cut = bounded_diff(&file("a", "+äöü+äöü+äöü\n"));
        assert!(cut.len() <= MAX_DIFF + 100 && cut.len() > MAX_DIFF - 100, "{}", cut.len());
        assert!(cut.contains("\n+äöü+äöü+äöü\n[cut: "));
    }

    #[test]
    fn a_short_diff_is_whole() {
        assert_eq!(bounded_diff("diff --git a/f b/f\n+x\n"), "diff --git a/f b/f\n+x\n");
    }
}
