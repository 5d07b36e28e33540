use serde_json::{Value, json};

use super::*;

const METHODS: Methods<'static> =
    Methods { requests: &["ask"], read: &["tell"], answered: &["question"], opt_out: &["noise"] };

/// Schemas of one request, one notification, one server request; the parameters' types are these.
fn schemas(ask: Value, tell: Value, question: Value) -> Schemas {
    let union = |method: &str, definition: &str, schema: &Value| {
        let params = json!({"allOf": [{"$ref": format!("#/definitions/{definition}")}], "description": "words"});
        let member = json!({"properties": {"method": {"enum": [method]}, "params": params}});
        json!({"oneOf": [member], "definitions": {definition: schema}})
    };
    let mut notifications = union("tell", "TellNotification", &tell);
    notifications["oneOf"].as_array_mut().unwrap().push(json!({"properties": {"method": {"enum": ["noise"]}}}));
    Schemas::default()
        .with("ClientRequest", union("ask", "AskParams", &ask))
        .with("ServerNotification", notifications)
        .with("ServerRequest", union("question", "QuestionParams", &question))
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "required": required, "properties": properties})
}

fn empty() -> Value {
    object(&[], json!({}))
}

fn words() -> Words {
    let mut words = Words::default();
    words.add("struct Told { thread_id: String, item: Item, used: bool } enum Item { AgentMessage } // comment");
    words.add("\"low\"");
    words
}

fn lines(old: &Schemas, new: &Schemas) -> Vec<String> {
    survey(old, new, &METHODS, &words()).iter().map(ToString::to_string).collect()
}

/// What changed between two forms of the parameters that we send, and between the same forms when they are read.
fn both_sides(old: &Value, new: &Value) -> (Vec<String>, Vec<String>) {
    let sent = |schema: &Value| schemas(schema.clone(), empty(), empty());
    let read = |schema: &Value| schemas(empty(), schema.clone(), empty());
    (lines(&sent(old), &sent(new)), lines(&read(old), &read(new)))
}

#[test]
fn the_same_schema_has_no_changes() {
    let one = schemas(object(&["used"], json!({"used": {"type": "boolean"}})), empty(), empty());
    assert_eq!(lines(&one, &one), [""; 0]);
}

#[test]
fn names_are_the_same_however_they_are_cased_and_comments_do_not_count() {
    let words = words();
    assert!(words.know("threadId") && words.know("agentMessage") && words.know("thread_id"));
    assert!(!words.know("comment") && !words.know("thread"));
}

#[test]
fn new_fields_are_told_and_only_a_required_one_that_we_must_send_may_break() {
    let old = empty();
    let new = object(&["b"], json!({"a": {"type": "string"}, "b": {"type": "string"}}));
    let (sent, read) = both_sides(&old, &new);
    assert_eq!(sent, ["~ ask params: + a (optional)", "! ask params: + b (required)"]);
    assert_eq!(read, ["~ tell: + a (optional)", "~ tell: + b (required)"]);
}

#[test]
fn fields_that_go_matter_when_the_provider_names_them() {
    let old = object(&[], json!({"used": {"type": "boolean"}, "strange": {"type": "boolean"}}));
    assert_eq!(both_sides(&old, &empty()), (vec!["! ask params: - used".into()], vec!["! tell: - used".into()]));
}

#[test]
fn a_field_that_becomes_required_matters_to_the_sender_and_one_that_becomes_optional_to_the_reader() {
    let field = json!({"used": {"type": "boolean"}});
    let (optional, required) = (object(&[], field.clone()), object(&["used"], field));
    let (sent, read) = both_sides(&optional, &required);
    assert_eq!(
        (sent, read),
        (vec!["! ask params: used is required now".into()], vec!["~ tell: used is always there now".into()])
    );
    let (sent, read) = both_sides(&required, &optional);
    assert_eq!(sent, ["~ ask params: used is optional now"]);
    assert_eq!(read, ["! tell: used is not always there now"]);
}

#[test]
fn another_type_may_break_and_another_way_to_write_it_down_is_no_change() {
    let of = |schema: Value| object(&[], json!({"used": schema}));
    let (sent, read) = both_sides(&of(json!({"type": "string"})), &of(json!({"type": "integer"})));
    assert_eq!(sent, ["! ask params: used: - type string", "~ ask params: used: + type integer"]);
    assert_eq!(read, ["~ tell: used: - type string", "! tell: used: + type integer"]);
    let (listed, union) =
        (json!({"type": ["string", "null"]}), json!({"anyOf": [{"type": "null"}, {"type": "string"}]}));
    assert_eq!(both_sides(&of(listed), &of(union)), (vec![], vec![]));
}

#[test]
fn words_and_kinds_come_and_go() {
    let kind = |name: &str, more: Value| {
        let mut properties = json!({"type": {"enum": [name], "type": "string"}});
        properties.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object(&["type"], properties)
    };
    let old = json!({"oneOf": [kind("agentMessage", json!({})), kind("strange", json!({}))]});
    let new =
        json!({"oneOf": [kind("agentMessage", json!({"phase": {"type": "string"}})), kind("other", json!({}))]});
    let of = |schema: &Value| object(&[], json!({"item": schema}));
    let read = both_sides(&of(&old), &of(&new)).1;
    assert_eq!(read, ["~ tell: item<agentMessage>: + phase (optional)", "~ tell: item: + kind other"]);
    let (low, high) = (of(&json!({"enum": ["low", "odd"]})), of(&json!({"enum": ["high", "odd"]})));
    let (sent, read) = both_sides(&low, &high);
    assert_eq!(sent, ["! ask params: item: - \"low\"", "~ ask params: item: + \"high\""]);
    assert_eq!(read, ["! tell: item: - \"low\"", "~ tell: item: + \"high\""]);
}

#[test]
fn properties_beside_a_union_belong_to_it_and_a_shared_type_is_told_once() {
    let kind = object(&["type"], json!({"type": {"enum": ["agentMessage"]}}));
    let of = |base: Value| {
        let item = json!({"anyOf": [{"$ref": "#/definitions/Item"}, {"type": "null"}]});
        let mut notifications = json!({"oneOf": [{"properties": {"method": {"enum": ["tell"]}, "params": {"$ref": "#/definitions/Tell"}}}]});
        notifications["definitions"] = json!({
            "Item": {"type": "object", "properties": base, "oneOf": [kind]},
            "Tell": object(&[], json!({"item": item, "used": {"type": "array", "items": item}})),
        });
        schemas(empty(), empty(), empty()).with("ServerNotification", notifications)
    };
    let found = lines(&of(json!({})), &of(json!({"startedAtMs": {"type": "integer"}})));
    assert_eq!(found, ["~ tell: item: + startedAtMs (optional)"]);
}

#[test]
fn lists_and_maps_are_looked_into_and_parts_that_nobody_names_are_not() {
    let of = |inner: Value| {
        let list = json!({"type": "array", "items": {"type": "object", "additionalProperties": inner}});
        object(&[], json!({"item": list, "strange": inner}))
    };
    let read = both_sides(&of(json!({"type": "string"})), &of(json!({"type": "integer"}))).1;
    assert_eq!(read, ["~ tell: item[]{}: - type string", "! tell: item[]{}: + type integer"]);
}

#[test]
fn types_that_contain_themselves_end() {
    let own = |extra: Value| {
        let mut properties = json!({"item": {"$ref": "#/definitions/TellNotification"}});
        properties.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        schemas(empty(), object(&[], properties), empty())
    };
    assert_eq!(lines(&own(json!({})), &own(json!({"x": {}}))), ["~ tell: + x (optional)"]);
}

#[test]
fn answers_are_compared_from_the_side_that_reads_them() {
    let answers = |schema: &Value| {
        schemas(empty(), empty(), empty())
            .with("AskResponse", schema.clone())
            .with("QuestionResponse", schema.clone())
    };
    let new = object(&["used"], json!({"used": {"type": "boolean"}}));
    let found = lines(&answers(&empty()), &answers(&new));
    assert_eq!(found, ["~ ask answer: + used (required)", "! question answer: + used (required)"]);
}

#[test]
fn methods_that_come_and_go_are_told() {
    let whole = schemas(empty(), empty(), empty());
    let none = Schemas::default();
    let found = lines(&whole, &none);
    assert_eq!(
        found,
        [
            "! tell: is gone",
            "! ask: is gone",
            "! question: is gone",
            "~ noise: is gone (nothing is left to opt out of)"
        ]
    );
    assert!(lines(&none, &whole).contains(&"~ ask: is new".to_owned()));
    let stranger = json!({"oneOf": [
        {"properties": {"method": {"enum": ["question"]}, "params": {"type": "null"}}},
        {"properties": {"method": {"enum": ["stranger"]}, "params": {"type": "null"}}}]});
    let more = schemas(empty(), empty(), empty()).with("ServerRequest", stranger);
    let found = lines(&whole, &more);
    assert!(
        found.contains(&"! stranger: is a new question of Codex, and would be refused".to_owned()),
        "{found:?}"
    );
}

#[test]
fn the_providers_own_methods_and_names_are_found() {
    let words = Words::of_sources(Path::new(PROVIDER)).unwrap();
    assert!(["threadId", "clientUserMessageId", "agentMessage", "exitCode"].iter().all(|name| words.know(name)));
    assert!(Methods::OURS.requests.contains(&"turn/start") && Methods::OURS.read.contains(&"turn/completed"));
}
