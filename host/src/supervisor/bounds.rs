//! How much of a runner's events is believed. An honest runner stays below all of it; what is kept and shown is bounded
//! whatever a runner says.

use cofferdam_protocol::runner::{ActivityKind, CompactionOutcome, EventBody, Finish, McpState, Model, Outcome};

use crate::door::Refused;

/// The text of a turn's replies together, and of one early reply, in bytes: the runner's 2 MiB and its words on a cut.
const REPLIES: usize = 2 * 1024 * 1024 + 1024;
/// Replies with a turn's end; those after are joined to the last.
const REPLY_COUNT: usize = 100;
/// A piece of the answer, in bytes: all that waits in a runner.
const DELTA: usize = 384 * 1024;
/// A line of an activity, in characters: the runner's 400 and its mark of a cut.
const LINE: usize = 401;
/// Lines of a plan: the runner's 40 and how many more there are.
const LINES: usize = 41;
/// A failure's words, in characters.
const FAILURE: usize = 1000;
/// Why a thread was lost, in characters: a part of a notice.
const LOST_THREAD: usize = 300;
/// Why a compaction or an MCP server failed, in characters.
const ERROR: usize = 500;
/// The provider's name of a thread, in bytes. A cut one would be another.
const CONTINUATION: usize = 256;
/// Models; a provider has a dozen.
const MODELS: usize = 100;
/// A model's name, in characters.
const MODEL_NAME: usize = 128;
/// Efforts of one model.
const EFFORTS: usize = 20;
/// An effort's name, in characters.
const EFFORT_NAME: usize = 32;
/// Messages that one event says are taken.
const STEERED: usize = 1000;

/// The event within its bounds.
pub(super) fn bounded(mut body: EventBody) -> Result<EventBody, Refused> {
    match &mut body {
        EventBody::Ready { continuation, models, .. } => {
            check_continuation(continuation)?;
            bound_models(models);
        }
        EventBody::Delta { text } => cut_bytes(text, DELTA),
        EventBody::Activity { kind, text } => bound_activity(*kind, text),
        EventBody::Reply { text } => cut_bytes(text, REPLIES),
        EventBody::Steered { messages } => messages.truncate(STEERED),
        EventBody::Compacted(compaction) => {
            if let CompactionOutcome::Failed { message } = &mut compaction.outcome {
                cut(message, ERROR);
            }
        }
        EventBody::Mcp(McpState { error, .. }) => {
            if let Some(error) = error {
                cut(error, ERROR);
            }
        }
        EventBody::Finish(finish) => bound_finish(finish)?,
    }
    Ok(body)
}

fn bound_finish(finish: &mut Finish) -> Result<(), Refused> {
    if let Some(continuation) = finish.thread.as_ref().and_then(|thread| thread.continuation.as_ref()) {
        check_continuation(continuation)?;
    }
    if let Some(why) = &mut finish.lost_thread {
        cut(why, LOST_THREAD);
    }
    if let Outcome::Failed(failure) = &mut finish.outcome {
        cut(&mut failure.message, FAILURE);
    }
    let (mut room, mut at, mut found) = (REPLIES, 0, 0);
    let replies = &mut finish.replies;
    replies.retain_mut(|reply| {
        cut_bytes(reply, room);
        room -= reply.len();
        let stays = !reply.trim().is_empty();
        found += usize::from(stays && at < finish.found);
        at += 1;
        stays
    });
    finish.found = found;
    if replies.len() > REPLY_COUNT {
        // What is joined to another is not found any more, and better said twice than never.
        finish.found = found.min(REPLY_COUNT - 1);
        let rest = replies.split_off(REPLY_COUNT - 1);
        replies.push(rest.join("\n\n"));
    }
    // The diff has its bound where it is kept.
    Ok(())
}

fn bound_models(models: &mut Vec<Model>) {
    let short = |text: &str, most: usize| text.chars().nth(most).is_none();
    // What is too long is left out: a cut name would be another one.
    models.retain(|model| short(&model.name, MODEL_NAME));
    models.truncate(MODELS);
    for model in models {
        model.efforts.retain(|effort| short(effort, EFFORT_NAME));
        model.efforts.truncate(EFFORTS);
        model.default_effort.take_if(|effort| !short(effort, EFFORT_NAME));
    }
}

fn bound_activity(kind: ActivityKind, text: &mut String) {
    if kind != ActivityKind::Plan {
        return cut(text, LINE);
    }
    let lines = text.lines().take(LINES).map(|line| line.chars().take(LINE).collect::<String>());
    *text = lines.collect::<Vec<_>>().join("\n");
}

fn check_continuation(continuation: &str) -> Result<(), Refused> {
    if continuation.len() > CONTINUATION {
        return Err(Refused::Malformed(format!("a thread's name of {} bytes", continuation.len())));
    }
    Ok(())
}

/// Cuts to so many characters.
fn cut(text: &mut String, most: usize) {
    if let Some((at, _)) = text.char_indices().nth(most) {
        text.truncate(at);
    }
}

/// Cuts to so many bytes.
fn cut_bytes(text: &mut String, most: usize) {
    text.truncate(text.floor_char_boundary(most));
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::ids::MessageId;
    use cofferdam_protocol::runner::{
        Compaction, CompactionCause, ContextMeter, Failure, FailureKind, McpStatus, Thread,
    };

    use super::*;

    const HUGE: usize = 4 * 1024 * 1024;

    fn huge() -> String {
        "\u{fc}\n".repeat(HUGE / 3)
    }

    fn ready(continuation: String, models: Vec<Model>) -> EventBody {
        EventBody::Ready { generation: 0, continuation, millis: 0, models }
    }

    /// The event's size in bytes within its bounds.
    fn size(body: EventBody) -> usize {
        serde_json::to_vec(&bounded(body).unwrap()).unwrap().len()
    }

    #[test]
    fn no_event_is_larger_than_its_bound_whatever_a_runner_says() {
        let activity = |kind| EventBody::Activity { kind, text: huge() };
        let compaction = Compaction {
            cause: CompactionCause::Threshold,
            outcome: CompactionOutcome::Failed { message: huge() },
            before: 0,
            meter: ContextMeter::default(),
            millis: 0,
        };
        let mcp = McpState { name: "a".into(), status: McpStatus::Failed, error: Some(huge()) };
        let model = |name: String| Model {
            name,
            efforts: vec!["low".into(); HUGE / 1024],
            default_effort: Some("x".repeat(EFFORT_NAME + 1)),
            default: false,
        };
        let end = Finish {
            lost_thread: Some(huge()),
            ..Finish::new(Outcome::Failed(Failure::new(FailureKind::Other, huge())))
        };
        for (body, most) in [
            (EventBody::Reply { text: huge() }, 3 * REPLIES),
            (EventBody::Delta { text: huge() }, 3 * DELTA),
            (activity(ActivityKind::CommandStarted), 4 * LINE),
            (activity(ActivityKind::Plan), 4 * LINE * LINES),
            (EventBody::Steered { messages: vec![MessageId(1); HUGE / 8] }, 4 * STEERED),
            (EventBody::Compacted(compaction), 4 * ERROR),
            (EventBody::Mcp(mcp), 4 * ERROR),
            (EventBody::Finish(Box::new(end)), 4 * (FAILURE + LOST_THREAD)),
            (ready("t".into(), vec![model("m".into()); 300]), MODELS * (EFFORTS * EFFORT_NAME + 300)),
            (ready("t".into(), vec![model(huge())]), 200),
        ] {
            let name = format!("{:?}", std::mem::discriminant(&body));
            let size = size(body);
            assert!(size <= most, "{name}: {size}");
        }
    }

    #[test]
    fn what_an_honest_runner_says_stays_as_it_is() {
        let text = format!("{}[cut: 3 of 4 bytes were too much]", "x".repeat(2 * 1024 * 1024));
        let finish = Finish { replies: vec![text.clone()], ..Finish::new(Outcome::Completed) };
        let EventBody::Finish(end) = bounded(EventBody::Finish(Box::new(finish))).unwrap() else { panic!() };
        assert_eq!(end.replies, [text]);
    }

    #[test]
    fn many_replies_become_few_and_none_is_lost() {
        let mut replies: Vec<_> = (0..250).map(|n| format!("part {n}")).collect();
        replies.insert(3, " \n".into());
        let finish = Finish { replies, ..Finish::new(Outcome::Completed) };
        let finish = Finish { found: 6, ..finish };
        let EventBody::Finish(end) = bounded(EventBody::Finish(Box::new(finish))).unwrap() else { panic!() };
        assert_eq!(end.found, 5, "less the blank one");
        assert_eq!((end.replies.len(), end.replies[3].as_str()), (REPLY_COUNT, "part 3"));
        assert!(end.replies[99].starts_with("part 99\n\npart 100") && end.replies[99].ends_with("part 249"));
    }

    #[test]
    fn a_threads_name_is_not_cut_but_refused() {
        let long = "x".repeat(CONTINUATION + 1);
        assert!(bounded(ready(long[1..].to_owned(), Vec::new())).is_ok());
        assert!(matches!(bounded(ready(long.clone(), Vec::new())), Err(Refused::Malformed(_))));
        let thread = Thread { continuation: Some(long), ..Thread::default() };
        let end = Finish { thread: Some(thread), ..Finish::new(Outcome::Completed) };
        assert!(matches!(bounded(EventBody::Finish(Box::new(end))), Err(Refused::Malformed(_))));
    }
}
