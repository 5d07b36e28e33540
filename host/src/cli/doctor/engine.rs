//! The engine, the image and what goes into it.

use cofferdam_protocol::admin::ErrorKind;

use super::Check;
use crate::cli::engine::Engine;
use crate::config::home::Home;
use crate::config::host::HostConfig;

const BUILD: &str = "`cofferdam image build` makes it";

/// Checks the engine, the pinned Codex, the image and the runner.
pub(super) async fn checks(home: &Home, config: Option<&HostConfig>) -> Vec<Check> {
    let Some(config) = config else {
        return ["engine", "codex", "image"].map(|name| Check::skipped(name, "needs a valid configuration")).into();
    };
    let engine = match Engine::connect(home, config).await {
        Ok(engine) => engine,
        Err(error) => {
            let engine = Check::from_error("engine", &error, "start the Docker engine");
            return vec![engine, Check::skipped("image", "needs the engine")];
        }
    };
    let detail = format!("Docker {}, API {} (agreed on {})", engine.version, engine.api, engine.agreed);
    vec![Check::ok("engine", detail), codex(&engine), image(&engine).await]
}

fn codex(engine: &Engine) -> Check {
    match engine.codex() {
        Ok(version) => Check::ok("codex", format!("{version} is pinned")),
        Err(error) => Check::from_error("codex", &error, "put container/codex.lock back as it was released"),
    }
}

async fn image(engine: &Engine) -> Check {
    match engine.image().await {
        Ok((image, true)) => {
            let codex = match engine.images().await {
                Ok(images) => images.into_iter().find(|found| found.tag == image).and_then(|found| found.codex),
                Err(_) => None,
            };
            Check::ok("image", codex.map_or_else(|| image.clone(), |codex| format!("{image} with Codex {codex}")))
        }
        Ok((image, false)) => Check::failed("image", format!("{image} is not there"), BUILD),
        Err(error) if error.kind() == ErrorKind::Image => {
            Check::from_error("runner", &error, "run `make build`, or set COFFERDAM_RUNNER to the static binary")
        }
        Err(error) => Check::from_error("image", &error, BUILD),
    }
}
