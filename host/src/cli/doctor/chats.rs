//! The checks of what chats need: channels with their secrets, and somebody who can be asked.

use cofferdam_protocol::admin::{Channel, Status};

use super::Check;
use crate::cli::client::Client;
use crate::cli::connect::{self, Mode};
use crate::config::home::Home;

/// What of channels, hooks and approvals waits for a person, if anything.
pub(super) async fn chats(home: &Home, configured: bool) -> Vec<Check> {
    if !configured || !home.central_db().exists() {
        return Vec::new();
    }
    let status = async |client: &Client| Ok(client.get::<Status>("/v1/status").await?);
    // A database that cannot be used is told by another check.
    let Ok(status) = connect::with(home, Mode::Query, status).await else { return Vec::new() };
    let stopped = status.channels.iter().filter(|channel| matches!(channel.state.as_str(), "stopped" | "waiting"));
    let mut checks: Vec<Check> = stopped.map(channel).collect();
    checks.extend(status.lost_secrets.iter().map(|lost| Check::warning("channels", &lost.what, &lost.mend)));
    checks.extend(approvals(status.people.unasked));
    checks
}

fn channel(channel: &Channel) -> Check {
    let why = channel.why.as_deref().unwrap_or("it stopped");
    let mend = format!("see `cofferdam channel show {}`", channel.name);
    Check::warning("channels", format!("{}: {why}", channel.name), mend)
}

fn approvals(unasked: u64) -> Option<Check> {
    let detail = format!("{unasked} wait that nobody could be asked about: no owner or admin has a direct chat");
    let mend =
        "`cofferdam pair` makes a code; who shows it to the bot is asked. `cofferdam approval list` decides here";
    (unasked > 0).then(|| Check::warning("approvals", detail, mend))
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn approvals_that_nobody_was_asked_about_say_what_to_do() {
        assert!(approvals(0).is_none());
        let check = approvals(2).unwrap();
        assert_eq!(check.outcome, Outcome::Warning);
        assert!(check.detail.contains("2 wait") && check.mend.unwrap().contains("cofferdam pair"));
    }
}
