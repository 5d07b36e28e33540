//! `make bench`: measures what `docs/benchmarks.md` describes, prints a table and writes `results.json`.

mod burst;
mod calls;
mod client;
mod cold;
mod daemon;
mod desk;
mod floor;
mod gateway;
mod history;
mod live;
mod machine;
mod model;
mod procs;
mod report;
mod rest;
mod restart;
mod stats;
mod storm;
mod streams;
mod throughput;
mod warm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use bollard::Docker;
use clap::{Parser, ValueEnum};
use cofferdam::config::home::Home;
use cofferdam::sandbox::docker::connect;
use cofferdam::sandbox::image::{ImageBuilder, Silent};

use machine::Machine;
use report::{Report, Row, progress};

/// Measures Cofferdam on this machine.
#[derive(Debug, Parser)]
struct Args {
    /// Only these figures.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Figure>,
    /// Fewer samples, to try it out; the goals are judged all the same.
    #[arg(long)]
    quick: bool,
    /// The program to measure; the one beside this one unless given.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// The figures, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Figure {
    WarmMock,
    WarmCodex,
    Cold,
    Gateway,
    RefreshStorm,
    Rest,
    Live,
    Throughput,
    TenCold,
    History,
    Burst,
    Overload,
    Restart,
    Desk,
}

/// What all figures need.
pub struct Bench {
    /// The engine.
    pub docker: Docker,
    /// The program to measure.
    pub program: PathBuf,
    /// The static runner that is in the image.
    pub runner: PathBuf,
    /// Where the cache is.
    pub source: Home,
    /// Our image.
    pub image: String,
    /// The seeded codex home.
    pub seed: PathBuf,
    /// Where homes are made: a real disk, the one that the build is on.
    pub dir: PathBuf,
    /// Fewer samples.
    pub quick: bool,
}

impl Bench {
    /// `full` samples, or `quick` ones when there is no time.
    pub fn samples(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

/// Why a figure could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A file or a socket.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A connection to a socket.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// A request of ours.
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
    /// An answer.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] bollard::errors::Error),
    /// The engine, through the host.
    #[error(transparent)]
    Sandbox(#[from] cofferdam::sandbox::SandboxError),
    /// The image.
    #[error(transparent)]
    Image(#[from] cofferdam::sandbox::image::ImageError),
    /// The gateway.
    #[error(transparent)]
    Gateway(#[from] cofferdam::gateway::GatewayError),
    /// The store.
    #[error(transparent)]
    Store(#[from] cofferdam::store::StoreError),
    /// The database of old messages.
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    /// A task of ours.
    #[error("a task broke")]
    Task(#[from] tokio::task::JoinError),
    /// A message that did not end in a reply.
    #[error("a message got no reply: {0}")]
    NoReply(String),
    /// The daemon; its log.
    #[error("the daemon failed: {0}")]
    Daemon(String),
    /// Figures that could not be measured.
    #[error("not measured: {0}")]
    Figures(String),
    /// Anything else.
    #[error("unexpected: {0}")]
    Odd(String),
}

fn main() -> ExitCode {
    if std::env::var_os(daemon::AS_PROGRAM).is_some() {
        return cofferdam::cli::main();
    }
    measured()
}

#[tokio::main]
async fn measured() -> ExitCode {
    match run(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        // The figures are there; whoever reads them decides.
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            eprintln!("bench: {}", cofferdam::error_chain(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<bool, Trouble> {
    let bench = prepare(&args).await?;
    let machine = Machine::look(&bench.docker, &bench.dir).await?;
    println!("{}", machine.describe());
    let (mut rows, mut troubles) = (Vec::new(), Vec::new());
    for figure in Figure::value_variants() {
        if args.only.is_empty() || args.only.contains(figure) {
            match measure(*figure, &bench).await {
                Ok(measured) => rows.extend(measured),
                // The other figures are worth having.
                Err(error) => troubles.push(format!("{figure:?}: {}", cofferdam::error_chain(&error))),
            }
        }
    }
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let report = Report { at, quick: args.quick, machine, rows };
    print!("{}", report.table());
    let results = bench.dir.join("results.json");
    report.write(&results)?;
    println!("written to {}", results.display());
    if troubles.is_empty() { Ok(report.all_pass()) } else { Err(Trouble::Figures(troubles.join("; "))) }
}

async fn measure(figure: Figure, bench: &Bench) -> Result<Vec<Row>, Trouble> {
    progress(figure.to_possible_value().as_ref().map_or("", |value| value.get_name()));
    match figure {
        Figure::WarmMock => warm::mock(bench).await,
        Figure::WarmCodex => warm::codex(bench).await,
        Figure::Cold => cold::one(bench).await,
        Figure::Gateway => gateway::all(bench).await,
        Figure::RefreshStorm => storm::of_one_login(bench).await,
        Figure::Rest => rest::at_rest(bench).await,
        Figure::Live => live::sessions(bench).await,
        Figure::Throughput => throughput::closed_loop(bench).await,
        Figure::TenCold => cold::ten(bench).await,
        Figure::History => history::lengths(bench).await,
        Figure::Burst => burst::into_a_live_session(bench).await,
        Figure::Overload => burst::over_many_groups(bench).await,
        Figure::Restart => restart::with_live_containers(bench).await,
        Figure::Desk => desk::arrivals(bench).await,
    }
}

/// Everything that is there before anything is measured: the program, the image, the seed.
async fn prepare(args: &Args) -> Result<Bench, Trouble> {
    let env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let program = daemon::program(args.program.clone())?;
    let runner = env("COFFERDAM_RUNNER")
        .ok_or_else(|| Trouble::Odd("COFFERDAM_RUNNER is not set: use `make bench`".to_owned()))?;
    let runner = std::path::absolute(runner)?;
    let source = Home::new(&env("COFFERDAM_TEST_HOME").unwrap_or_else(|| ".".into()))?;
    let docker = connect(None).await?;
    let builder = ImageBuilder::new(docker.clone(), source.clone(), Some(runner.clone()));
    floor::sweep(&docker).await?;
    progress("image");
    let image = builder.ensure(&Silent).await?;
    let seed = builder.ensure_seed(&image, &Silent).await?;
    let target = env("CARGO_TARGET_DIR").unwrap_or_else(|| Path::new("target").to_owned());
    let dir = std::path::absolute(target)?.join("bench");
    std::fs::create_dir_all(&dir)?;
    let image = image.as_str().to_owned();
    Ok(Bench { docker, program, runner, source, image, seed, dir, quick: args.quick })
}
