//! A session's model and effort: how they stand, and what may be chosen.

use super::command::is_name;

/// Where a setting comes from; the first that has one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Chosen in the chat.
    Chat,
    /// The group's `container.json`.
    Group,
    /// The account's default.
    Account,
    /// The provider's own default.
    Provider,
}

/// A setting as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// `model` or `effort`, as the command is called.
    pub what: &'static str,
    /// Its value; none when it is the provider's and nobody knows it.
    pub now: Option<String>,
    /// Where that comes from.
    pub origin: Origin,
    /// What it may be; empty when that is not known.
    pub known: Vec<String>,
}

impl Setting {
    /// How it stands, in words.
    pub fn words(&self) -> String {
        let Self { what, origin, .. } = self;
        let origin = match origin {
            Origin::Chat => format!("chosen here with /{what}"),
            Origin::Group => "from the group's container.json".to_owned(),
            Origin::Account => "the account's default".to_owned(),
            Origin::Provider => "the provider's default".to_owned(),
        };
        let first = match &self.now {
            Some(now) => format!("The {what} is {now} ({origin})."),
            None => format!("The {what} is {origin}."),
        };
        if self.known.is_empty() {
            return format!("{first} Which others there are is known once the agent has started.");
        }
        let lines = self.known.iter().map(|name| {
            let mark = if Some(name) == self.now.as_ref() { " ← now" } else { "" };
            format!("• {name}{mark}\n")
        });
        format!(
            "{first} Known are:\n{}/{what} NAME chooses one, /{what} default takes the choice back.",
            lines.collect::<String>()
        )
    }

    /// The name to keep for a wish, and the words for it; or why not. `nearest` finds the known name that was meant.
    pub fn choose(
        &self,
        wish: &str,
        nearest: impl Fn(&str, &[String]) -> Option<String>,
    ) -> Result<(String, String), String> {
        let what = self.what;
        if let Some(name) = self.known.iter().find(|name| name.eq_ignore_ascii_case(wish)) {
            return Ok((name.clone(), format!("From the next turn on the {what} is {name}.")));
        }
        if !is_name(wish) {
            return Err(format!("That cannot be the name of a {what}. {}", self.words()));
        }
        if self.known.is_empty() {
            let words = format!(
                "From the next turn on the {what} is {wish}. Whether there is such a {what} is not known yet; \
                 /{what} default takes it back."
            );
            return Ok((wish.to_owned(), words));
        }
        let meant = nearest(wish, &self.known).map(|near| format!(" Did you mean {near}?")).unwrap_or_default();
        Err(format!("There is no {what} {wish}.{meant} Known are: {}.", self.known.join(", ")))
    }

    /// The words for a choice that was taken back; `self` is how it stands without it.
    pub fn back(&self) -> String {
        let default = match (&self.now, self.origin) {
            (Some(now), _) => now.clone(),
            (None, _) => "the provider's default".to_owned(),
        };
        format!("From the next turn on the {} is {default} again.", self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(known: &[&str]) -> Setting {
        Setting {
            what: "model",
            now: Some("sol".into()),
            origin: Origin::Group,
            known: known.iter().map(|&name| name.into()).collect(),
        }
    }

    fn none(_: &str, _: &[String]) -> Option<String> {
        None
    }

    #[test]
    fn the_list_marks_the_present_one_and_says_where_it_is_from() {
        assert_eq!(
            model(&["sol", "luna"]).words(),
            "The model is sol (from the group's container.json). Known are:\n• sol ← now\n• luna\n\
             /model NAME chooses one, /model default takes the choice back."
        );
        let unknown = Setting { now: None, origin: Origin::Provider, ..model(&[]) };
        assert!(unknown.words().starts_with("The model is the provider's default."));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_and_the_list() {
        let near = |_: &str, known: &[String]| known.first().cloned();
        assert_eq!(
            model(&["sol", "luna"]).choose("soll", near).unwrap_err(),
            "There is no model soll. Did you mean sol? Known are: sol, luna."
        );
        assert_eq!(model(&["sol"]).choose("SOL", none).unwrap().0, "sol");
    }

    #[test]
    fn a_name_is_taken_with_a_word_while_no_list_is_known_unless_it_cannot_be_one() {
        let (name, words) = model(&[]).choose("new-one", none).unwrap();
        assert!(name == "new-one" && words.contains("not known yet"), "{words}");
        let refusal = model(&[]).choose("a\u{1b}[2J", none).unwrap_err();
        assert!(!refusal.contains('\u{1b}'), "{refusal}");
    }
}
