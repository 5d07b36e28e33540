use proptest::prelude::*;
use serde_json::json;

use super::*;

fn toolbox() -> Toolbox {
    Toolbox::of(&json!({"tools": [
        {"type": "function", "name": "exec_command"},
        {"type": "function", "name": "write_stdin"},
        {"type": "function", "name": "look"},
        {"type": "function", "name": "update_plan"},
    ]}))
}

fn user(text: &str) -> Value {
    json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
}

fn plan(input: &[Value]) -> Plan {
    Plan::make(&Conversation::read(&json!(input)).unwrap(), &toolbox(), 10)
}

fn texts(plan: &Plan) -> Vec<&str> {
    plan.acts
        .iter()
        .filter_map(|act| if let Act::Say(s) = act { Some(&s.text[MARK.len()..]) } else { None })
        .collect()
}

fn command_output(text: &str) -> String {
    format!(
        "Chunk ID: 1\nWall time: 0.1 seconds\nProcess exited with code 0\nOriginal token count: 1\nOutput:\n{text}"
    )
}

/// Plays both sides until the model asks for nothing more: the calls' names, and the messages.
fn converse(input: &mut Vec<Value>, answer: impl Fn(&Value) -> String) -> (Vec<String>, Vec<String>) {
    let (mut calls, mut said) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let plan = plan(input);
        let mut called = false;
        for act in plan.acts {
            match act {
                Act::Say(speech) => {
                    input.push(json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": speech.text}]}));
                    said.push(speech.text);
                }
                Act::Call(call) => {
                    called = true;
                    calls.push(call.item["name"].as_str().unwrap().to_owned());
                    let output = answer(&call.item);
                    input.push(call.item.clone());
                    input.push(
                        json!({"type": "function_call_output", "call_id": call.item["call_id"], "output": output}),
                    );
                }
                _ => {}
            }
        }
        if !called {
            return (calls, said);
        }
    }
    panic!("the model never stops: {calls:?}");
}

#[test]
fn a_command_is_called_once_and_its_output_is_the_answer() {
    let mut input = vec![user("!run echo hi")];
    let (calls, said) = converse(&mut input, |_| command_output("hi\n"));
    assert_eq!(calls, ["exec_command"]);
    assert_eq!(said, ["[offline model] $ echo hi\nhi"]);
}

#[test]
fn directives_are_served_in_order_across_calls() {
    let mut input = vec![user("!say first\n!run a\n!say second\n!tool look {\"x\":1}\n!say third\n!say fourth")];
    let (calls, said) = converse(&mut input, |_| command_output("ok\n"));
    assert_eq!(calls, ["exec_command", "look"]);
    let said: Vec<_> = said.iter().map(|text| &text[MARK.len()..]).collect();
    assert_eq!(said, ["first", "second", "third", "fourth"]);
}

#[test]
fn a_long_command_is_polled_until_it_ends() {
    let mut input = vec![user("!run slow")];
    let (calls, said) = converse(&mut input, |call| {
        if call["name"] == "exec_command" {
            "Chunk ID: 1\nWall time: 30 seconds\nProcess running with session ID 5\nOutput:\none\n".into()
        } else {
            command_output("two\n")
        }
    });
    assert_eq!(calls, ["exec_command", "write_stdin"]);
    assert_eq!(said, ["[offline model] $ slow\none\ntwo"]);
}

#[test]
fn a_turn_compacted_in_its_middle_goes_on_where_it_was() {
    let mut input = vec![user("before"), user("!run a\n!run b")];
    let Act::Call(call) = plan(&input).acts.remove(0) else { panic!("no call") };
    input.push(call.item.clone());
    input.push(
        json!({"type": "function_call_output", "call_id": call.item["call_id"], "output": command_output("A\n")}),
    );
    input.push(user("You are performing a CONTEXT CHECKPOINT COMPACTION."));
    let asked = plan(&input);
    let Act::Say(summary) = &asked.acts[0] else { panic!("no summary") };
    let mut input = vec![
        user("!run a\n!run b"),
        user(&format!("Another language model started to solve this problem and …:\n{}", summary.text)),
    ];
    let (calls, said) = converse(&mut input, |_| command_output("B\n"));
    assert_eq!(calls.len(), 1);
    assert_eq!(said, ["[offline model] $ a\nA\n$ b\nB"]);
    input.push(user("and now?"));
    assert!(texts(&plan(&input))[0].contains("message 3 of this conversation; the first was: before"));
}

#[test]
fn forged_progress_is_survived() {
    let state = json!({"messages": u64::MAX, "first": "x", "step": usize::MAX, "outputs": [[usize::MAX, "y"]]});
    let forged = format!("Another language model started to solve this problem:\noffline-model-state: {state}");
    let id = format!("call_offline{}_x", usize::MAX);
    let call = json!({"type": "function_call", "call_id": id, "name": "x", "arguments": "{}"});
    let output = json!({"type": "function_call_output", "call_id": id, "output": "z"});
    assert!(!plan(&[user("!run a\n!say b"), user(&forged), call, output]).acts.is_empty());
    assert!(!plan(&[user(&forged), user("hello")]).acts.is_empty());
}

#[test]
fn a_later_message_sees_the_first_one() {
    let plan = plan(&[user("my name is Ada"), json!({"role": "assistant", "content": "x"}), user("who am I?")]);
    let text = texts(&plan)[0];
    assert!(text.contains("You wrote: who am I?"), "{text}");
    assert!(text.contains("message 2 of this conversation; the first was: my name is Ada"), "{text}");
    assert!(text.contains("account login") && text.contains("OPENAI_API_KEY"), "{text}");
}

#[test]
fn usage_and_pace_hold_from_their_line_on_and_by_default_size_counts() {
    assert_eq!(plan(&[user("hi")]).input_tokens, 10);
    let mut input = vec![user("!usage 5000\n!stream 7\n!run a")];
    assert_eq!(plan(&input).input_tokens, 5000);
    converse(&mut input, |_| command_output("x"));
    input.pop();
    let last = plan(&input);
    assert_eq!(last.input_tokens, 5000);
    assert!(matches!(&last.acts[..], [Act::Say(Speech { pace: Some(7.0), .. })]), "{last:?}");
}

#[test]
fn failing_and_cutting_end_the_call_where_they_stand() {
    let failing = plan(&[user("!wait 2\n!fail 429\n!say never")]);
    assert!(matches!(&failing.acts[..], [Act::Pause(_), Act::Fail(_)]), "{failing:?}");
    let cut = plan(&[user("!say a\n!cut\n!say never")]);
    assert!(matches!(&cut.acts[..], [Act::Say(_), Act::Cut(_)]), "{cut:?}");
}

#[test]
fn a_wrong_directive_lists_the_right_ones_and_runs_none() {
    let plan = plan(&[user("!run rm -rf x\n!rum y")]);
    let text = texts(&plan)[0];
    assert_eq!(plan.acts.len(), 1);
    assert!(text.contains("'!rum'") && text.contains("!run COMMAND") && text.contains("!cut"), "{text}");
}

#[test]
fn a_failed_command_shows_its_exit_code() {
    assert_eq!(readable("Chunk ID: 1\nProcess exited with code 3\nOutput:\nno\n"), "no\n(exit code 3)");
    assert_eq!(readable("plain\nOutput:\nx"), "plain\nOutput:\nx");
}

#[test]
fn without_a_tool_for_commands_the_answer_says_so() {
    let conversation = Conversation::read(&json!("!run ls")).unwrap();
    let plan = Plan::make(&conversation, &Toolbox::default(), 1);
    assert!(texts(&plan)[0].contains("cannot run commands"));
}

fn called(input: &[Value]) -> Value {
    match plan(input).acts.pop() {
        Some(Act::Call(call)) => call.item,
        other => panic!("no call: {other:?}"),
    }
}

#[test]
fn commentary_is_no_answer_and_so_an_answer_follows() {
    let plan = plan(&[user("!say a\n!commentary b")]);
    let kinds: Vec<_> = plan.acts.iter().map(|act| matches!(act, Act::Say(speech) if speech.commentary)).collect();
    assert_eq!(kinds, [false, true, false]);
}

#[test]
fn a_plan_is_called_and_the_script_goes_on() {
    let mut input = vec![user("!commentary looking\n!plan look; mend\n!say done")];
    let (calls, said) = converse(&mut input, |_| "Plan updated".into());
    assert_eq!(calls, ["update_plan"]);
    assert_eq!(said, ["[offline model] looking", "[offline model] done"]);
}

#[test]
fn a_script_that_was_interrupted_goes_on_behind_what_was_served() {
    let go_on = user("[cofferdam] The turn was interrupted: go on.");
    let mut input = vec![user("!run a\n!hang\n!run b")];
    let call = called(&input);
    let output = json!({"type": "function_call_output", "call_id": call["call_id"], "output": "aborted"});
    input.extend([call, output]);
    assert_eq!(plan(&input).acts, [Act::Hang]);
    input.push(go_on.clone());
    assert!(called(&input)["arguments"].as_str().unwrap().contains("\"cmd\":\"b\""));
    let (calls, said) = converse(&mut input, |_| command_output("B\n"));
    assert_eq!(calls, ["exec_command"]);
    assert_eq!(said, ["[offline model] $ a\naborted\n$ b\nB"]);
    assert!(texts(&plan(&[user("hello"), go_on]))[0].starts_with("You wrote: hello\nThis is the first message"));
}

#[test]
fn silence_is_passed_by_an_interruption_and_a_failure_is_not() {
    let aborted = user("<turn_aborted>\nThe user interrupted the previous turn on purpose.\n</turn_aborted>");
    let silent = plan(&[user("!usage 5\n!wait 9\n!hang\n!say x"), aborted.clone()]);
    assert_eq!((texts(&silent), silent.input_tokens), (vec!["x"], 5));
    assert!(matches!(&plan(&[user("!fail 500\n!say x"), aborted]).acts[..], [Act::Fail(_)]));
}

#[test]
fn compaction_is_answered_as_the_newest_word_on_it_says() {
    let compact = user("You are performing a CONTEXT CHECKPOINT COMPACTION. Create …");
    let asked = |words: &str| plan(&[user(words), user("later"), compact.clone()]).acts;
    assert!(matches!(&asked("!compaction fail 429")[..], [Act::Fail(_)]));
    assert_eq!(asked("!compaction hang"), [Act::Hang]);
    assert!(matches!(&asked("!compaction hang\n!compaction ok")[..], [Act::Say(_)]));
    assert!(texts(&plan(&[user("!compaction hang")]))[0].starts_with("You wrote: !compaction hang"));
}

#[test]
fn an_image_is_mentioned() {
    let input = json!([{"role": "user", "content": [
        {"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": "data:,"}]}]);
    let plan = Plan::make(&Conversation::read(&input).unwrap(), &toolbox(), 10);
    assert!(texts(&plan)[0].starts_with("You wrote: look\nWith it came 1 image(s)."));
}

proptest! {
    #[test]
    fn every_script_ends_and_serves_each_step_once(steps in proptest::collection::vec(0usize..3, 0..8)) {
        let lines: Vec<_> = steps.iter().enumerate().map(|(i, kind)| match kind {
            0 => format!("!say s{i}"),
            1 => format!("!run r{i}"),
            _ => format!("!tool look {{\"n\":{i}}}"),
        }).collect();
        let mut input = vec![user(&lines.join("\n"))];
        let (calls, said) = converse(&mut input, |_| command_output("out\n"));
        prop_assert_eq!(calls.len(), steps.iter().filter(|&&kind| kind > 0).count());
        let says: Vec<_> = (0..steps.len()).filter(|&i| steps[i] == 0).map(|i| format!("{MARK}s{i}")).collect();
        prop_assert_eq!(&said[..says.len()], &says[..]);
        prop_assert_eq!(said.len(), says.len() + usize::from(steps.last() != Some(&0)));
    }

    #[test]
    fn no_input_breaks_the_model(message in "(\\PC|\n|!){0,80}", id in "\\PC{0,12}", output in "\\PC{0,40}") {
        let input = [
            user(&message),
            json!({"type": "function_call", "call_id": id}),
            json!({"type": "function_call_output", "call_id": id, "output": output}),
        ];
        prop_assert!(!plan(&input).acts.is_empty());
    }
}
