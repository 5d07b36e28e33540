//! The ways to a ChatGPT login, as a person goes them.

use std::io::{BufRead, IsTerminal};

use cofferdam_protocol::admin::{Credential, ErrorKind, Hidden};
use secrecy::ExposeSecret;
use tokio::sync::mpsc;

use super::args::LoginArgs;
use crate::cli::connect;
use crate::cli::error::CliError;
use crate::cli::terminal;
use crate::config::home::Home;
use crate::error_chain;
use crate::vault::Tokens;
use crate::vault::issuer::{Address, Issuer, IssuerError};
use crate::vault::login::{Browser, Device, LoginError};

/// What a person logs in with; none after Ctrl-C.
pub(super) async fn credential(home: &Home, args: &LoginArgs) -> Result<Option<Credential>, CliError> {
    if args.key_file.is_some() || args.base_url.is_some() {
        return Err(CliError::usage("an account of kind chatgpt has a login, and neither a key nor an address"));
    }
    let trust = connect::trust(home)?;
    let issuer = Issuer::new(Address::of_vendor(), &trust).map_err(|error| failed(&LoginError::Issuer(error)))?;
    let login = async {
        match (args.device, args.paste) {
            (true, _) => device(&issuer).await,
            (_, paste) => browser(&issuer, paste).await,
        }
    };
    tokio::select! {
        tokens = login => Ok(Some(Credential::AuthJson(Hidden(tokens?.to_auth_json(None).expose_secret().to_owned())))),
        _ = tokio::signal::ctrl_c() => Ok(None),
    }
}

async fn device(issuer: &Issuer) -> Result<Tokens, CliError> {
    let device = Device::begin(issuer).await.map_err(|error| failed(&error))?;
    terminal::err(&format!(
        "Open this page on any device and type the code, within {} min. It is for nobody but you.\n\n  {}\n  {}\n",
        device.ends_in().as_secs().div_ceil(60),
        terminal::clean_line(device.page(), 400),
        terminal::clean_line(device.user_code(), 40),
    ));
    device.wait().await.map_err(|error| failed(&error))
}

async fn browser(issuer: &Issuer, paste: bool) -> Result<Tokens, CliError> {
    // Nothing listens for who pastes.
    let mut browser = if paste { Browser::begin_on(issuer, &[]).await } else { Browser::begin(issuer).await };
    for holder in browser.busy() {
        terminal::err(&format!("note: {holder}"));
    }
    terminal::err(&format!("Open this page in a browser and log in:\n\n  {}\n", browser.url()));
    let reads = paste || !browser.listens() || std::io::stdin().is_terminal();
    if reads {
        terminal::err(
            "When it ends at an address of 127.0.0.1 or localhost that does not open, paste that address here, or the code in it.",
        );
    }
    let mut pasted = reads.then(lines);
    let received = loop {
        let listens = browser.listens();
        let line = async {
            match &mut pasted {
                Some(lines) => lines.recv().await,
                None => std::future::pending().await,
            }
        };
        let line = tokio::select! {
            received = browser.received() => break received.map_err(|error| failed(&error))?,
            line = line => line,
        };
        match line {
            Some(line) if line.trim().is_empty() => {}
            Some(line) => match browser.pasted(&line) {
                Ok(received) => break received,
                Err(error) => terminal::err(&format!("{error}; try again")),
            },
            None if listens => pasted = None,
            None => return Err(CliError::usage("nothing usable was pasted").with_hint("begin again")),
        }
    };
    browser.finish(received).await.map_err(|error| failed(&error))
}

/// The lines of standard input. Its thread is left when nobody wants more.
fn lines() -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if send.blocking_send(line).is_err() {
                break;
            }
        }
    });
    lines
}

fn failed(error: &LoginError) -> CliError {
    let hint = match error {
        LoginError::Issuer(IssuerError::Unreachable(_)) => "check this machine's network",
        LoginError::Issuer(_) | LoginError::NotGranted(_) => "begin again; --device and --paste are other ways",
        LoginError::OtherLogin | LoginError::NotACode | LoginError::TooLate => "begin again",
    };
    CliError::new(ErrorKind::Account, error_chain(error)).with_hint(hint)
}
