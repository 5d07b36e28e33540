//! Texts on their way to the host, cut to what it takes.

use cofferdam_protocol::runner::Finish;

/// The most text of one turn's replies, and of one that goes out at once, in bytes.
pub const MAX_REPLIES: usize = 2 * 1024 * 1024;
/// The longest line of an activity, in characters.
pub const MAX_LINE: usize = 400;
/// The most lines of an activity.
pub const MAX_LINES: usize = 40;

/// The text on one line, cut to `limit` characters.
pub fn one_line(text: &str, limit: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut cut: String = line.chars().filter(|c| !c.is_control()).take(limit).collect();
    if line.chars().count() > limit {
        cut.push('…');
    }
    cut
}

/// The text's lines, each short, and not too many of them.
pub fn short_lines(text: &str) -> String {
    let mut lines: Vec<_> = text.lines().take(MAX_LINES).map(|line| one_line(line, MAX_LINE)).collect();
    let more = text.lines().count() - lines.len();
    if more > 0 {
        lines.push(format!("… {more} more"));
    }
    lines.join("\n")
}

/// Cuts what is too long, and says so in the text.
pub fn cut(text: &mut String, room: usize) {
    if text.len() > room {
        let total = text.len();
        text.truncate(text.floor_char_boundary(room));
        let kept = text.len();
        text.push_str(&format!("\n[cut: {} of {total} bytes were too much]", total - kept));
    }
}

/// The same end with replies that the host can take; a cut is said in the text.
pub fn bounded(mut finish: Finish) -> Finish {
    let mut room = MAX_REPLIES;
    for reply in &mut finish.replies {
        let long = reply.len();
        cut(reply, room);
        room = room.saturating_sub(long);
    }
    finish
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_activity_is_one_short_line() {
        assert_eq!(one_line("a\n  b\tc", 400), "a b c");
        assert_eq!(one_line("äöü", 2), "äö…");
    }

    #[test]
    fn a_plan_keeps_its_lines_up_to_a_bound() {
        assert_eq!(short_lines("[x] a  b\n[ ] c"), "[x] a b\n[ ] c");
        let many = short_lines(&"[ ] step\n".repeat(50));
        assert_eq!((many.lines().count(), many.lines().last()), (MAX_LINES + 1, Some("… 10 more")));
    }
}
