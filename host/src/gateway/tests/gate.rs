use futures_util::{FutureExt, StreamExt};
use serde_json::json;

use super::*;

#[tokio::test]
async fn calls_that_do_not_exist_are_404_and_counted() {
    let gateway = offline();
    let paths = [
        "/v1/chat/completions",
        "/v1/files",
        "/v1/responses/",
        "/v1/responses/resp_1",
        "/v1",
        "/",
        "/v1/../v1/responses",
        "/v1/models",
    ];
    for path in paths {
        let response = gateway.handle(&caller(), post(path, "{}")).await;
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(error_of(response).await["code"], "unknown_url");
    }
    let get = Request::get("/v1/responses").body(Body::empty()).unwrap();
    assert_eq!(gateway.handle(&caller(), get).await.status(), 404);
    assert_eq!(gateway.refused(), paths.len() as u64 + 1);
}

#[tokio::test]
async fn websocket_upgrades_are_refused_with_426() {
    let upgrade = Request::get("/v1/responses").header("upgrade", "websocket").body(Body::empty()).unwrap();
    assert_eq!(offline().handle(&caller(), upgrade).await.status(), 426);
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let piece = Bytes::from(vec![b' '; 1024 * 1024]);
    let pieces = std::iter::repeat_n(piece, MAX_REQUEST_BYTES / (1024 * 1024) + 1).map(Ok::<_, std::io::Error>);
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    let response = offline().handle(&caller(), post("/v1/responses", body)).await;
    assert_eq!(response.status(), 413);
    assert_eq!(error_of(response).await["code"], "request_too_large");
}

/// The error for a body of which a piece comes each time so much passed.
async fn slow(pause: Duration) -> Value {
    let pieces = futures_util::stream::repeat(()).then(move |()| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, std::io::Error>(Bytes::from_static(b" "))
    });
    let body = Body::from_stream(pieces);
    let response = offline().handle(&caller(), post("/v1/responses", body)).await;
    assert_eq!(response.status(), 408);
    error_of(response).await
}

#[tokio::test(start_paused = true)]
async fn a_body_that_makes_no_progress_is_given_up_and_one_that_never_ends_too() {
    let begun = tokio::time::Instant::now();
    let stalled = slow(Duration::from_secs(11)).await;
    assert_eq!((stalled["code"].as_str(), begun.elapsed().as_secs()), (Some("request_stalled"), 10));
    assert!(stalled["message"].as_str().unwrap().contains("nothing more of it came for 10 s"));
    let begun = tokio::time::Instant::now();
    assert_eq!(slow(Duration::from_secs(9)).await["code"], "request_timeout");
    assert_eq!(begun.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn slow_bodies_of_hostile_groups_hold_up_no_ordinary_call_and_give_their_room_back() {
    let gateway = offline();
    let chunked = |group: &str| {
        let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let mut request = post("/v1/responses", body);
        request.headers_mut().insert(header::TRANSFER_ENCODING, "chunked".parse().unwrap());
        let caller = Caller { group: group.parse().unwrap(), ..caller() };
        let gateway = gateway.clone();
        tokio::spawn(async move { gateway.handle(&caller, request).await.status() })
    };
    let hostile: Vec<_> = ["a", "b", "c", "d", "e"].map(chunked).into();
    tokio::task::yield_now().await;
    let begun = tokio::time::Instant::now();
    let call = gateway.handle(&caller(), post("/v1/responses", r#"{"input": "hi"}"#)).await;
    assert_eq!((call.status(), begun.elapsed()), (StatusCode::OK, Duration::ZERO));
    for one in hostile {
        assert_eq!(one.await.unwrap(), 408);
    }
    assert_eq!(begun.elapsed().as_secs(), 20, "the fifth waited for the first four");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_never_answered_keeps_no_room() {
    let gateway = offline();
    let call = |body: String| {
        let mut request = post("/v1/responses", body);
        request.headers_mut().insert(header::TRANSFER_ENCODING, "chunked".parse().unwrap());
        request
    };
    let hangs = json!({"input": "hi\n!hang"}).to_string();
    let caller = caller();
    let mut first = Box::pin(gateway.handle(&caller, call(hangs)));
    assert!(first.as_mut().now_or_never().is_none());
    let second = gateway.handle(&caller, call(r#"{"input": "hi"}"#.to_owned())).now_or_never();
    assert_eq!(second.expect("there is room").status(), 200);
}
