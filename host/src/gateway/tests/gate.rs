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

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_408() {
    let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    assert_eq!(offline().handle(&caller(), post("/v1/responses", body)).await.status(), 408);
}
