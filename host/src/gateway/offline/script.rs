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
!commentary TEXT          say this as progress, not as an answer
!async TEXT               say this at once, through the request's tool for it
!plan STEP; STEP          show a plan, through the request's tool for it
!usage INPUT_TOKENS       report so many input tokens, from here on
!wait SECONDS             be silent first, 3600 at most
!stream CHARS_PER_SECOND  the pace of the text, from here on
!fail STATUS [CODE]       fail: 400 to 599, with the vendor's code for it
!cut                      end the stream in the middle of a message
!hang                     accept and say nothing more, until the client goes
!compaction fail STATUS   fail the calls that compact this conversation; also: hang, ok";

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
    /// Say a text as progress.
    Commentary(String),
    /// Say a text at once, through a tool.
    Async(String),
    /// Show the steps of a plan.
    Plan(Vec<String>),
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
    /// Accept, and say nothing more.
    Hang,
    /// How compaction calls are answered.
    Compaction(Verdict),
}

/// How the calls that compact a conversation are answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Verdict {
    /// With a summary.
    #[default]
    Ok,
    /// With a failure.
    Fail(Failure),
    /// Not at all.
    Hang,
}

impl Step {
    /// Whether the step leaves an item in the conversation, by which it is known to be served.
    pub(super) fn leaves_item(&self) -> bool {
        self.is_text() || matches!(self, Self::Run(_) | Self::Tool { .. } | Self::Async(_) | Self::Plan(_))
    }

    /// Whether the item is a message.
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Say(_) | Self::Commentary(_))
    }

    /// Whether the step is only silence.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::Wait(_) | Self::Hang)
    }

    /// Whether the step only says how others are served.
    pub(super) fn is_setting(&self) -> bool {
        matches!(self, Self::Usage(_) | Self::Stream(_) | Self::Compaction(_))
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

/// The last word of a message on compaction; none when it has none, or its directives are not followed.
pub(super) fn verdict(message: &str) -> Option<Verdict> {
    parse(message).ok()?.into_iter().rev().find_map(|step| match step {
        Step::Compaction(verdict) => Some(verdict),
        _ => None,
    })
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
        "commentary" if words.is_empty() => Err(needs("commentary", "a text")),
        "commentary" => Ok(Step::Commentary(words.to_owned())),
        "async" if words.is_empty() => Err(needs("async", "a text")),
        "async" => Ok(Step::Async(words.to_owned())),
        "plan" => plan(words).ok_or(needs("plan", "its steps, with ';' between them")),
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
        "fail" => fail(words)
            .map(Step::Fail)
            .ok_or(needs("fail", "a status from 400 to 599, and at most one code after it")),
        "cut" if words.is_empty() => Ok(Step::Cut),
        "cut" => Err(needs("cut", "nothing after it")),
        "hang" if words.is_empty() => Ok(Step::Hang),
        "hang" => Err(needs("hang", "nothing after it")),
        "compaction" => compaction(words).ok_or(needs("compaction", "'ok', 'hang', or 'fail' with a status")),
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

fn plan(words: &str) -> Option<Step> {
    let steps: Vec<_> =
        words.split(';').map(|step| step.trim().to_owned()).filter(|step| !step.is_empty()).collect();
    (!steps.is_empty()).then_some(Step::Plan(steps))
}

fn compaction(words: &str) -> Option<Step> {
    let (how, rest) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    let verdict = match how {
        "ok" if rest.is_empty() => Verdict::Ok,
        "hang" if rest.is_empty() => Verdict::Hang,
        "fail" => Verdict::Fail(fail(rest)?),
        _ => return None,
    };
    Some(Step::Compaction(verdict))
}

fn fail(words: &str) -> Option<Failure> {
    let mut words = words.split_whitespace();
    let status = words.next()?.parse().ok()?;
    let code = words.next();
    if words.next().is_some() {
        return None;
    }
    Failure::new(status, code)
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
            "!commentary",
            "!async ",
            "!plan ; ;",
            "!hang 5",
            "!compaction",
            "!compaction fail",
            "!compaction fail 200",
            "!compaction ok 5",
            "!compaction never",
        ] {
            let name = wrong[1..].split(' ').next().unwrap();
            let problem = parse(wrong).unwrap_err();
            assert!(matches!(problem, Problem::Words { name: n, .. } if n == name), "{wrong}: {problem}");
        }
        assert_eq!(parse("!frobnicate x"), Err(Problem::Unknown("frobnicate".into())));
    }

    #[test]
    fn every_directive_is_listed() {
        for name in [
            "run",
            "tool",
            "say",
            "commentary",
            "async",
            "plan",
            "usage",
            "wait",
            "stream",
            "fail",
            "cut",
            "hang",
            "compaction",
        ] {
            assert!(DIRECTIVES.lines().any(|line| line[1..].split(' ').next() == Some(name)), "{name}");
        }
        assert!(DIRECTIVES.lines().all(|line| !matches!(parse(line), Err(Problem::Unknown(_)))));
    }

    #[test]
    fn the_last_word_on_compaction_counts() {
        assert_eq!(verdict("!compaction hang\n!say x\n!compaction ok"), Some(Verdict::Ok));
        assert_eq!(verdict("!compaction fail 429"), Some(Verdict::Fail(Failure::new(429, None).unwrap())));
        assert_eq!(verdict("hello"), None);
        assert_eq!(verdict("!compaction hang\n!nonsense"), None);
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
