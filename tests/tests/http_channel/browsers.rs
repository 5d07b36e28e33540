//! Browsers: whose pages may call the API.

use cofferdam::channels::http::Limits;
use reqwest::{Method, Response};
use serde_json::json;

use super::world::World;

const PAGE: &str = "http://localhost:3000";

async fn preflight(world: &World, path: &str, origin: &str) -> Response {
    let call = world.client.request(Method::OPTIONS, format!("{}{path}", world.url)).header("origin", origin);
    let call = call.header("access-control-request-method", "POST").header(
        "access-control-request-headers",
        "authorization,content-type,idempotency-key,x-stainless-lang,x-stainless-retry-count",
    );
    call.send().await.expect("an answer")
}

fn header(answer: &Response, name: &str) -> String {
    let all = answer.headers().get_all(name).iter();
    all.map(|value| value.to_str().expect("text")).collect::<Vec<_>>().join(", ").to_lowercase()
}

fn lets(answer: &Response) -> String {
    header(answer, "access-control-allow-origin")
}

#[tokio::test]
async fn a_page_of_an_origin_that_is_named_may_call_the_api() {
    let world = World::with(Limits::default(), json!({"origins": ["https://chat.example.org", PAGE]})).await;
    let key = world.agent.key("k");
    for path in ["/v1/chat/completions", "/v1/responses", "/v1/responses/resp_a_0", "/v1/models", "/v1/nothing"] {
        let answer = preflight(&world, path, PAGE).await;
        assert!(answer.status().is_success(), "{path}");
        assert_eq!(lets(&answer), PAGE, "{path}");
        let allowed = header(&answer, "access-control-allow-headers");
        for name in
            ["authorization", "content-type", "idempotency-key", "x-stainless-lang", "x-stainless-retry-count"]
        {
            assert!(allowed.contains(name), "{path}: {allowed}");
        }
        assert_eq!(header(&answer, "access-control-allow-methods"), "get,post");
        assert!(header(&answer, "vary").contains("origin"), "{path}");
        assert_eq!(header(&answer, "access-control-allow-credentials"), "");
    }
    let body = json!({"model": "demo", "input": "hello"});
    for (key, path, status) in
        [(key.as_str(), "responses", 200), ("cfd_wrong", "responses", 401), (&key, "embeddings", 404)]
    {
        let answer = world.api(key, path, &body).header("origin", PAGE).send().await.expect("an answer");
        assert_eq!((answer.status().as_u16(), lets(&answer).as_str()), (status, PAGE), "{path}");
        assert!(header(&answer, "vary").contains("origin"));
        assert!(header(&answer, "access-control-expose-headers").contains("retry-after"));
    }
}

#[tokio::test]
async fn no_other_page_may_and_none_may_call_webhooks() {
    let world = World::with(Limits::default(), json!({"origins": [PAGE]})).await;
    let key = world.agent.key("k");
    world.agent.hook("ci", cofferdam::channels::http::book::HookFormat::Plain);
    for origin in ["http://localhost:3001", "https://localhost:3000", "http://localhost:3000.example.org", "null"] {
        assert_eq!(lets(&preflight(&world, "/v1/responses", origin).await), "", "{origin}");
        let call = world.api(&key, "responses", &json!({"model": "demo", "input": "hello"}));
        let answer = call.header("origin", origin).send().await.expect("an answer");
        assert_eq!((lets(&answer).as_str(), header(&answer, "vary").contains("origin")), ("", true), "{origin}");
    }
    for path in ["/hooks/ci", "/hooks/nobody", "/hooks", "/", "/v2/responses"] {
        let answer = preflight(&world, path, PAGE).await;
        assert!(answer.status().is_client_error(), "{path}: {}", answer.status());
        assert_eq!(lets(&answer), "", "{path}");
    }
}

#[tokio::test]
async fn without_origins_no_page_may() {
    let world = World::start().await;
    let answer = preflight(&world, "/v1/responses", PAGE).await;
    assert_eq!((answer.status().as_u16(), lets(&answer).as_str()), (405, ""));
}
