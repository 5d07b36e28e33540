//! All messages that the provider sends and reads, compared.

use cofferdam_agent_runner::provider::codex::method;

use crate::compare::{Change, Comparison, Side};
use crate::schema::{Schemas, Union};
use crate::words::Words;

/// The methods of a client.
pub(crate) struct Methods<'a> {
    /// What it asks.
    pub(crate) requests: &'a [&'a str],
    /// What it reads.
    pub(crate) read: &'a [&'a str],
    /// What it answers.
    pub(crate) answered: &'a [&'a str],
    /// What it does not want to be told.
    pub(crate) opt_out: &'a [&'a str],
}

impl Methods<'static> {
    /// The provider's.
    pub(crate) const OURS: Self = Self {
        requests: &method::REQUESTS,
        read: &method::READ,
        answered: &method::ANSWERED,
        opt_out: &method::OPT_OUT,
    };
}

/// What changed in the messages of these methods, as far as the words name their parts.
pub(crate) fn survey(old: &Schemas, new: &Schemas, methods: &Methods<'_>, words: &Words) -> Vec<Change> {
    let mut survey = Survey { old, new, comparison: Comparison::new(words) };
    // First what is read all the time: a type is reported where it is met first.
    for name in methods.read {
        survey.params(Union::ServerNotification, Side::Received, name, name);
    }
    for name in methods.requests {
        survey.params(Union::ClientRequest, Side::Sent, name, &format!("{name} params"));
        survey.answer(Union::ClientRequest, Side::Received, name);
    }
    for name in methods.answered {
        survey.params(Union::ServerRequest, Side::Received, name, &format!("{name} params"));
        survey.answer(Union::ServerRequest, Side::Sent, name);
    }
    survey.strangers(methods);
    survey.comparison.changes
}

struct Survey<'a> {
    old: &'a Schemas,
    new: &'a Schemas,
    comparison: Comparison<'a>,
}

impl Survey<'_> {
    fn params(&mut self, union: Union, side: Side, method: &str, message: &str) {
        match (self.old.params(union, method), self.new.params(union, method)) {
            (Some(old), Some(new)) => self.comparison.message(side, message, old, new),
            (Some(_), None) => self.comparison.note(true, method, "is gone"),
            (None, Some(_)) => self.comparison.note(false, method, "is new"),
            (None, None) => self.comparison.note(true, method, "is in neither version"),
        }
    }

    fn answer(&mut self, union: Union, side: Side, method: &str) {
        // A request without parameters has no type by whose name its answer could be found.
        let old = self.old.params(union, method).and_then(|params| self.old.answer(params));
        let new = self.new.params(union, method).and_then(|params| self.new.answer(params));
        if let (Some(old), Some(new)) = (old, new) {
            self.comparison.message(side, &format!("{method} answer"), old, new);
        }
    }

    /// Names that came and went.
    fn strangers(&mut self, methods: &Methods<'_>) {
        let (told, tells) =
            (self.old.methods(Union::ServerNotification), self.new.methods(Union::ServerNotification));
        for name in methods.opt_out.iter().filter(|name| told.contains(*name) && !tells.contains(*name)) {
            self.comparison.note(false, name, "is gone (nothing is left to opt out of)");
        }
        let known = self.old.methods(Union::ServerRequest);
        for name in self.new.methods(Union::ServerRequest) {
            if !known.contains(name) && !methods.answered.contains(&name) {
                self.comparison.note(true, name, "is a new question of Codex, and would be refused");
            }
        }
    }
}
