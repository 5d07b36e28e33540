use cofferdam::{
    config::{home::Home, host::HostConfig},
    daemon::{Daemon, Mode},
};
#[tokio::main]
async fn main() {
    tracing_subscriber::fmt()
        .with_env_filter(std::env::var("LOG").unwrap_or("info".into()))
        .with_writer(std::io::stderr)
        .init();
    let home = Home::new(std::path::Path::new(&std::env::args().nth(1).unwrap())).unwrap();
    let t = std::time::Instant::now();
    let config = HostConfig::load(&home, &|n| std::env::var(n).ok()).unwrap();
    let d = Daemon::start(home, config, Mode::Serve).await.unwrap();
    eprintln!("started in {:?}", t.elapsed());
    d.run_until_signal().await.unwrap();
}
