//! Whose form a webhook's calls have, and which of its events are taken. The rows have a form by its name.

/// Whose form a webhook's calls have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HookFormat {
    /// Our own: a text, signed with its time.
    #[default]
    Plain,
    /// GitHub's.
    GitHub,
}

/// The most events that a webhook lists, and the longest name of one.
const MOST_EVENTS: usize = 64;
const MOST_NAME: usize = 64;

impl HookFormat {
    const ALL: [Self; 2] = [Self::Plain, Self::GitHub];

    /// Its name, as rows and people have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::GitHub => "github",
        }
    }

    /// The form of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == name)
    }

    /// Whether its calls are of events, of which some may be chosen.
    pub fn has_events(self) -> bool {
        self == Self::GitHub
    }
}

/// What is wrong with a form or with its events, and what to do; for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadForm {
    /// What is wrong.
    pub why: String,
    /// What to do.
    pub hint: &'static str,
}

/// A webhook's form by its name, and its events, as they are to be: what is not said stays as `before` has it.
pub fn changed(
    before: (String, Vec<String>),
    format: Option<&str>,
    events: Option<&[String]>,
) -> Result<(HookFormat, Vec<String>), BadForm> {
    let name = format.unwrap_or(&before.0);
    let format = HookFormat::parse(name).ok_or_else(|| {
        let name: String = name.chars().take(80).collect();
        BadForm { why: format!("'{name}' is no format of calls"), hint: "say `plain` or `github`" }
    })?;
    let events = match (events, format.has_events()) {
        (Some(events), true) => checked(events)?,
        (None, true) => before.1,
        (None, false) => Vec::new(),
        (Some([]), false) => Vec::new(),
        (Some(_), false) => {
            let why = "only GitHub's calls have events".to_owned();
            return Err(BadForm { why, hint: "add --github, or leave the events out" });
        }
    };
    Ok((format, events))
}

fn checked(events: &[String]) -> Result<Vec<String>, BadForm> {
    let plain = |event: &String| {
        (1..=MOST_NAME).contains(&event.len())
            && event.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    if events.len() <= MOST_EVENTS && events.iter().all(plain) {
        return Ok(events.to_vec());
    }
    let why = "an event's name is none of GitHub's".to_owned();
    Err(BadForm { why, hint: "they are written as in `pull_request`" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(
        before: &str,
        format: Option<&str>,
        events: Option<&[&str]>,
    ) -> Result<(HookFormat, Vec<String>), BadForm> {
        let events = events.map(|events| events.iter().map(|event| (*event).to_owned()).collect::<Vec<_>>());
        changed((before.to_owned(), vec!["issues".to_owned()]), format, events.as_deref())
    }

    #[test]
    fn a_form_is_one_that_there_is_and_only_one_with_events_has_them() {
        assert_eq!(said("github", None, None), Ok((HookFormat::GitHub, vec!["issues".to_owned()])), "it stays");
        assert_eq!(said("github", None, Some(&[])), Ok((HookFormat::GitHub, vec![])), "all of them");
        assert_eq!(said("github", Some("plain"), None), Ok((HookFormat::Plain, vec![])));
        assert_eq!(said("plain", None, Some(&[])), Ok((HookFormat::Plain, vec![])));
        for (before, format, events) in [
            ("plain", None, &["issues"][..]),
            ("plain", Some("of-tomorrow"), &[]),
            ("github", None, &["Issues"]),
            ("github", None, &[""]),
            ("github", None, &["issues"; MOST_EVENTS + 1]),
        ] {
            assert!(said(before, format, Some(events)).is_err(), "{before} {format:?} {events:?}");
        }
        assert!(
            said("of-tomorrow", None, None).is_err(),
            "it does not become another by a change of something else"
        );
    }
}
