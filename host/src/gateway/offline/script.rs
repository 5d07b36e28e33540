//! The directives of a message: lines that start with `!` and a letter.

use std::time::Duration;

use serde_json::Value;

use super::failure::Failure;

/// The longest `!wait`, in seconds.
const MAX_WAIT_SECS: f64 = 3600.0;
/// The slowest and the fastest `!stream`, in characters per second.
const PACE: std::ops::RangeInclusive<f64> = 0.1..=1_000_000.0;

/// Every directive, as a reply lists them.
pub(super) const DIRECTIVES: &str = "\
!run COMMAND              run a shell command in the container and show its output
!tool NAME {json}         call any tool with these arguments
!say TEXT                 answer with this text; several give several messages
!usage INPUT_TOKENS       report so many input tokens, from here on
!wait SECONDS             be silent first, 3600 at most
!stream CHARS_PER_SECOND  the pace of the text, from here on
!fail STATUS [CODE]       fail: 400 to 599, with the vendor's code for it
!cut                      end the stream in the middle of a message";

/// One directive.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Run a shell command.
    Run(String),
    /// Call a tool.
    Tool {
        /// Its name.
        name: String,
        /// Its arguments: an object for a function, a text for a free-form tool.
        arguments: Value,
    },
    /// Say a text.
    Say(String),
    /// Report so many input tokens.
    Usage(u64),
    /// Be silent.
    Wait(Duration),
    /// Characters per second.
    Stream(f64),
    /// Fail.
    Fail(Failure),
    /// End the stream in the middle of a message.
    Cut,
}

impl Step {
    /// Whether the step leaves an item in the conversation, by which it is known to be served.
    pub(super) fn leaves_item(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Tool { .. } | Self::Say(_))
    }
}

/// Why a message's directives cannot be followed, for the person who wrote them.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    /// No such directive.
    #[error("I do not know the directive '!{0}'.")]
    Unknown(String),
    /// Its words do not fit.
    #[error("'!{name}' needs {needs}.")]
    Words {
        /// The directive.
        name: &'static str,
        /// What it needs.
        needs: &'static str,
    },
}

/// The directives of a message, in order; none of them is followed when one is wrong.
pub(super) fn parse(message: &str) -> Result<Vec<Step>, Problem> {
    message.lines().map(str::trim).filter_map(directive).map(|(name, words)| step(name, words)).collect()
}

fn directive(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix('!').filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()))?;
    let (name, words) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    Some((name, words.trim()))
}

fn step(name: &str, words: &str) -> Result<Step, Problem> {
    let needs = |name, needs| Problem::Words { name, needs };
    match name {
        "run" if words.is_empty() => Err(needs("run", "a command")),
        "run" => Ok(Step::Run(words.to_owned())),
        "say" if words.is_empty() => Err(needs("say", "a text")),
        "say" => Ok(Step::Say(words.to_owned())),
        "tool" => {
            tool(words).ok_or(needs("tool", "a tool's name and its arguments as JSON, such as {\"path\": \"x\"}"))
        }
        "usage" => words.parse().map(Step::Usage).map_err(|_| needs("usage", "a number of tokens")),
        "wait" => number(words)
            .filter(|n| (0.0..=MAX_WAIT_SECS).contains(n))
            .map(|n| Step::Wait(Duration::from_secs_f64(n)))
            .ok_or(needs("wait", "a number of seconds, 3600 at most")),
        "stream" => number(words)
            .filter(|n| PACE.contains(n))
            .map(Step::Stream)
            .ok_or(needs("stream", "a number of characters per second, from 0.1 to 1000000")),
        "fail" => fail(words).ok_or(needs("fail", "a status from 400 to 599, and at most one code after it")),
        "cut" if words.is_empty() => Ok(Step::Cut),
        "cut" => Err(needs("cut", "nothing after it")),
        other => Err(Problem::Unknown(other.chars().take(40).collect())),
    }
}

fn number(words: &str) -> Option<f64> {
    words.parse().ok().filter(|n: &f64| n.is_finite())
}

fn tool(words: &str) -> Option<Step> {
    let (name, json) = words.split_once(char::is_whitespace).unwrap_or((words, "{}"));
    let arguments: Value = serde_json::from_str(json).ok()?;
    let usable = !name.is_empty() && (arguments.is_object() || arguments.is_string());
    usable.then(|| Step::Tool { name: name.to_owned(), arguments })
}

fn fail(words: &str) -> Option<Step> {
    let mut words = words.split_whitespace();
    let status = words.next()?.parse().ok()?;
    let code = words.next();
    if words.next().is_some() {
        return None;
    }
    Failure::new(status, code).map(Step::Fail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn directives_are_read_in_order_and_other_lines_are_not() {
        let message = "Please:\n!wait 0.5\n  !run echo \"a  b\" | cat\n! no\n!!no\nwow!\n!tool t {\"a\": 1}\n!say hi there\n!cut";
        let steps = parse(message).unwrap();
        let expected = [
            Step::Wait(Duration::from_millis(500)),
            Step::Run("echo \"a  b\" | cat".into()),
            Step::Tool { name: "t".into(), arguments: json!({"a": 1}) },
            Step::Say("hi there".into()),
            Step::Cut,
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn wrong_directives_say_what_they_need() {
        for wrong in [
            "!run",
            "!say ",
            "!tool",
            "!tool x {",
            "!tool x 5",
            "!usage many",
            "!usage -1",
            "!wait",
            "!wait -1",
            "!wait 3601",
            "!wait NaN",
            "!stream 0",
            "!stream inf",
            "!fail",
            "!fail 200",
            "!fail 429 a b",
            "!cut 5",
        ] {
            let name = wrong[1..].split(' ').next().unwrap();
            let problem = parse(wrong).unwrap_err();
            assert!(matches!(problem, Problem::Words { name: n, .. } if n == name), "{wrong}: {problem}");
        }
        assert_eq!(parse("!frobnicate x"), Err(Problem::Unknown("frobnicate".into())));
    }

    #[test]
    fn every_directive_is_listed() {
        for name in ["run", "tool", "say", "usage", "wait", "stream", "fail", "cut"] {
            assert!(DIRECTIVES.lines().any(|line| line[1..].split(' ').next() == Some(name)), "{name}");
        }
        assert!(DIRECTIVES.lines().all(|line| !matches!(parse(line), Err(Problem::Unknown(_)))));
    }

    proptest! {
        #[test]
        fn no_message_breaks_the_parser(message in "(\\PC|\n|!){0,200}") {
            let _ = parse(&message);
        }

        #[test]
        fn a_command_is_kept_as_written(command in "[!-~][ -~]{0,60}[!-~]") {
            prop_assert_eq!(parse(&format!("!run {command}")), Ok(vec![Step::Run(command)]));
        }
    }
}
