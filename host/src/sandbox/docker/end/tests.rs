//! Ends under an engine that is played by the test.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::*;

const VERSION: &str = r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12","Version":"20.10"}"#;
const ID: &str = "0123456789abcdef";

/// What the engine has of the container, and how many events it remembers.
#[derive(Debug, Clone, Copy)]
struct Has {
    runs: bool,
    /// The container's events that it remembers.
    own: &'static [&'static str],
    all: usize,
}

impl Has {
    fn answer(self, head: &str) -> (u16, String) {
        let event = |action: &str| {
            format!(
                r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"{ID}","Attributes":{{"exitCode":"3"}}}}}}"#
            ) + "\n"
        };
        let path = head.lines().next().unwrap_or_default();
        if path.contains("/events") && path.contains("filters") {
            (200, self.own.iter().copied().map(event).collect())
        } else if path.contains("/events") {
            (200, event("exec_start").repeat(self.all))
        } else if path.contains("/containers/") && self.runs {
            (200, r#"{"State":{"Running":true}}"#.to_owned())
        } else if path.contains("/containers/") {
            (404, r#"{"message":"No such container"}"#.to_owned())
        } else {
            (200, VERSION.to_owned())
        }
    }

    fn engine(self) -> (tempfile::TempDir, Link) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.sock");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            while let Ok((mut call, _)) = listener.accept().await {
                let mut head = vec![0; 4096];
                let size = call.read(&mut head).await.unwrap();
                let (status, body) = self.answer(&String::from_utf8_lossy(&head[..size]));
                let size = body.len();
                let head = format!(
                    "HTTP/1.1 {status} As it is\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\
                     Connection: close\r\n\r\n"
                );
                // Who has read enough leaves.
                let _ = call.write_all((head + &body).as_bytes()).await;
            }
        });
        let host = format!("unix://{}", path.display());
        (dir, Link::new(Some(host)))
    }

    async fn is_its_own(self) -> bool {
        let (_dir, link) = self.engine();
        is_started_by(&link, &ContainerId(ID.into())).await.unwrap()
    }

    /// The end of a container that was gone when the way to the engine was there again.
    async fn end(self) -> Exit {
        let (_dir, link) = self.engine();
        told(&link, &ContainerId(ID.into()), None, false, true).await
    }
}

#[tokio::test]
async fn an_engine_that_forgot_the_start_among_much_else_is_the_one_under_which_the_container_runs() {
    let well = Has { runs: true, own: &["start"], all: 10 };
    assert!(well.is_its_own().await);
    assert!(
        Has { own: &[], all: 1000, ..well }.is_its_own().await,
        "its health checks were more than it remembers"
    );
    assert!(!Has { own: &[], ..well }.is_its_own().await, "it remembers all since it began, and no start");
    assert!(!Has { own: &[], all: 1000, runs: false }.is_its_own().await, "it has no such container");
}

#[tokio::test]
async fn an_end_that_an_engine_with_a_full_memory_saw_is_no_outage() {
    let well = Has { runs: false, own: &["start", "die"], all: 10 };
    assert!(!well.end().await.outage);
    let forgot = Has { own: &["die"], all: 1000, ..well }.end().await;
    assert_eq!((forgot.code, forgot.outage), (Some(3), false));
    assert!(Has { own: &["die"], ..well }.end().await.outage, "it ended what another had started");
    assert!(Has { own: &[], all: 1000, ..well }.end().await.outage, "nobody knows");
}
