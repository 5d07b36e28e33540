//! What one call of the offline model says. Pure: the same request gives the same plan.

use std::time::Duration;

use serde_json::Value;

use super::MARK;
use super::conversation::{After, Compaction, Conversation};
use super::failure::Failure;
use super::recap::{Recap, short};
use super::script::{self, DIRECTIVES, Problem, Step, Verdict};
use super::tools::{ToolCall, Toolbox, step_of};

/// The most characters of a message that an answer repeats.
const ECHO_CHARS: usize = 300;
/// The most characters of a tool's output that an answer shows.
const OUTPUT_CHARS: usize = 48_000;

/// What a call says, in order.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// The parts of the answer.
    pub(super) acts: Vec<Act>,
    /// Input tokens to report.
    pub(super) input_tokens: u64,
}

/// A part of an answer.
#[derive(Debug, PartialEq)]
pub(super) enum Act {
    /// Silence.
    Pause(Duration),
    /// A message.
    Say(Speech),
    /// A tool call.
    Call(ToolCall),
    /// A summary as the vendor's item.
    Compaction(Value),
    /// Half of a message, then the end of the stream. The last act.
    Cut(Speech),
    /// A failure. The last act.
    Fail(Failure),
    /// Nothing, until the client goes. The last act.
    Hang,
}

/// A text and its pace.
#[derive(Debug, PartialEq)]
pub(super) struct Speech {
    /// The text.
    pub(super) text: String,
    /// Characters per second; none is at once.
    pub(super) pace: Option<f64>,
    /// Whether it is progress rather than an answer.
    pub(super) commentary: bool,
    /// Whether it is the answer, and nothing comes after it.
    pub(super) is_final: bool,
}

impl Plan {
    /// The plan for a request whose size is `input_tokens`.
    pub(super) fn make(conversation: &Conversation, tools: &Toolbox, input_tokens: u64) -> Self {
        match conversation.compaction {
            Some(how) => Self { acts: vec![summary(conversation, how)], input_tokens },
            None => {
                Writer { conversation, tools, pace: None, plan: Self { acts: Vec::new(), input_tokens } }.write()
            }
        }
    }
}

fn summary(conversation: &Conversation, how: Compaction) -> Act {
    match &conversation.verdict {
        Verdict::Ok => {}
        Verdict::Fail(failure) => return Act::Fail(failure.clone()),
        Verdict::Hang => return Act::Hang,
    }
    let recap = Recap::of(conversation);
    match how {
        Compaction::Message => {
            Act::Say(Speech { text: recap.text(), pace: None, commentary: false, is_final: false })
        }
        Compaction::Item => Act::Compaction(recap.item()),
    }
}

/// How far a script has been served.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The next step.
    pub(super) next: usize,
    /// Tools' answers by their step, in order; polled commands have several.
    pub(super) outputs: Vec<(usize, String)>,
    /// The newest answer as it came, when nothing followed it.
    newest: Option<(usize, String)>,
}

impl Progress {
    /// Follows the items after the message.
    pub(super) fn of(steps: &[Step], after: &[After]) -> Self {
        let mut this = Self::default();
        for item in after {
            match item {
                After::Recap(recap) => {
                    this = Self { next: recap.step, outputs: recap.outputs.clone(), newest: None };
                }
                After::Said => {
                    let next = (this.next..steps.len()).find(|&i| steps[i].leaves_item());
                    if let Some(said) = next.filter(|&i| steps[i].is_text()) {
                        this.next = said + 1;
                    }
                }
                After::Called(id) => {
                    this.next = step_of(id).map_or(this.next, |step| this.next.max(step.saturating_add(1)));
                }
                // Whoever was interrupted in a silence does not want the same again.
                After::Interrupted => {
                    let silence =
                        (this.next..steps.len()).take_while(|&i| steps[i].is_setting() || steps[i].is_silence());
                    this.next = silence.last().map_or(this.next, |last| last + 1);
                }
                After::Output { id, text } => {
                    if let Some(step) = step_of(id) {
                        this.outputs.push((step, readable(text)));
                        this.newest = Some((step, text.clone()));
                    }
                }
            }
        }
        this
    }
}

/// A tool's answer without the lines that codex puts before a command's output.
fn readable(text: &str) -> String {
    let wrapped =
        ["Chunk ID: ", "Wall time: ", "Exit code: ", "Script "].iter().any(|start| text.starts_with(start));
    let Some((head, output)) = text.split_once("\nOutput:\n").filter(|_| wrapped) else {
        return text.to_owned();
    };
    // In code mode the answer has two parts, joined by a line break.
    let output = output.strip_prefix('\n').unwrap_or(output);
    let marks = ["Process exited with code ", "Exit code: "];
    let code = head.lines().find_map(|line| marks.iter().find_map(|mark| line.strip_prefix(mark)));
    match code {
        Some(code) if code != "0" => format!("{}\n(exit code {code})", output.trim_end()),
        _ => output.to_owned(),
    }
}

struct Writer<'a> {
    conversation: &'a Conversation,
    tools: &'a Toolbox,
    pace: Option<f64>,
    plan: Plan,
}

impl Writer<'_> {
    fn write(mut self) -> Plan {
        let steps = match script::parse(&self.conversation.newest) {
            Ok(steps) => steps,
            Err(problem) => {
                self.say(&wrong(&problem));
                return self.plan;
            }
        };
        let progress = Progress::of(&steps, &self.conversation.after);
        if let Some((step, output)) = &progress.newest
            && let Some(poll) = self.tools.poll(*step, output)
        {
            self.plan.acts.push(Act::Call(poll));
            return self.plan;
        }
        for (at, step) in steps.iter().enumerate() {
            if self.step(at, step, at < progress.next) {
                return self.plan;
            }
        }
        let ends_in_say = matches!(steps.iter().rfind(|step| step.leaves_item()), Some(Step::Say(_)));
        let said = self.plan.acts.iter().any(|act| matches!(act, Act::Say(speech) if !speech.commentary));
        if !(ends_in_say && said) {
            self.say(&self.closing(&steps, &progress));
        }
        if let Some(Act::Say(last)) = self.plan.acts.last_mut() {
            last.is_final = !last.commentary;
        }
        self.plan
    }

    /// Adds a step to the plan; true when the call ends with it. A served step only keeps its settings.
    fn step(&mut self, at: usize, step: &Step, served: bool) -> bool {
        match step {
            Step::Usage(tokens) => self.plan.input_tokens = *tokens,
            Step::Stream(pace) => self.pace = Some(*pace),
            Step::Compaction(_) => {}
            _ if served => {}
            Step::Wait(pause) => self.plan.acts.push(Act::Pause(*pause)),
            Step::Say(text) => self.say(text),
            Step::Commentary(text) => self.speak(text, true),
            Step::Run(command) => self.call(self.tools.run(at, command), "run commands"),
            Step::Async(text) => self.call(self.tools.tell(at, text), "speak asynchronously"),
            Step::Plan(steps) => self.call(self.tools.plan(at, steps), "show a plan"),
            Step::Tool { name, arguments } => self.plan.acts.push(Act::Call(self.tools.call(at, name, arguments))),
            Step::Fail(failure) => self.plan.acts.push(Act::Fail(failure.clone())),
            Step::Cut => {
                let text = format!("{MARK}This message is cut off in its middle, as the directive !cut asks.");
                self.plan.acts.push(Act::Cut(Speech { text, pace: self.pace, commentary: false, is_final: false }));
            }
            Step::Hang => self.plan.acts.push(Act::Hang),
        }
        matches!(self.plan.acts.last(), Some(Act::Call(_) | Act::Fail(_) | Act::Cut(_) | Act::Hang))
    }

    /// Adds a call, or says that the request offers no tool for `what`.
    fn call(&mut self, call: Option<ToolCall>, what: &str) {
        match call {
            Some(call) => self.plan.acts.push(Act::Call(call)),
            None => self.say(&format!("I cannot {what}: this request offers no tool for it.")),
        }
    }

    fn say(&mut self, text: &str) {
        self.speak(text, false);
    }

    fn speak(&mut self, text: &str, commentary: bool) {
        let text = format!("{MARK}{text}");
        self.plan.acts.push(Act::Say(Speech { text, pace: self.pace, commentary, is_final: false }));
    }

    fn closing(&self, steps: &[Step], progress: &Progress) -> String {
        if progress.outputs.is_empty() {
            return self.greeting();
        }
        let mut text = String::new();
        let mut shown = None;
        for (at, output) in &progress.outputs {
            if shown != Some(at) {
                let title = match steps.get(*at) {
                    Some(Step::Run(command)) => format!("$ {command}\n"),
                    Some(Step::Tool { name, .. }) => format!("{name} answered:\n"),
                    Some(Step::Async(_)) => "!async was answered:\n".to_owned(),
                    Some(Step::Plan(_)) => "!plan was answered:\n".to_owned(),
                    _ => String::new(),
                };
                text = format!("{}\n{title}", text.trim_end());
                shown = Some(at);
            }
            text.push_str(output);
        }
        short(text.trim(), OUTPUT_CHARS)
    }

    fn greeting(&self) -> String {
        let Conversation { messages, first, newest, images, .. } = self.conversation;
        let images = match images {
            0 => String::new(),
            count => format!("\nWith it came {count} image(s)."),
        };
        let place = if *messages > 1 {
            format!("This is message {messages} of this conversation; the first was: {}", short(first, ECHO_CHARS))
        } else {
            "This is the first message of this conversation.".to_owned()
        };
        format!(
            "You wrote: {}{images}\n{place}\nI am a script, not a real model: lines that start with !run, !say or another directive tell me what to do. \
             For a real one: `cofferdam account login` on the host, or OPENAI_API_KEY (and OPENAI_BASE_URL) in its environment.",
            short(newest, ECHO_CHARS)
        )
    }
}

fn wrong(problem: &Problem) -> String {
    format!("{problem} These are the directives, each on a line of its own:\n{DIRECTIVES}")
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
