//! The account that a chat chose among those that may serve it.

use super::command::Choice;

/// What `/account` does: the choice to keep, if it changes, and the words for it. `known` are the accounts of the group's
/// pool, by preference; `nearest` finds the one that was meant.
pub fn obey(
    choice: &Choice,
    known: &[String],
    pinned: Option<&str>,
    nearest: impl Fn(&str, &[String]) -> Option<String>,
) -> (Option<Option<String>>, String) {
    match choice {
        Choice::Show => (None, words(known, pinned)),
        Choice::Default => (Some(None), format!("From the next turn on {} again.", whoever(known))),
        Choice::Named(wish) => match known.iter().find(|name| name.eq_ignore_ascii_case(wish)) {
            Some(name) => {
                let words =
                    format!("From the next turn on the account {name} serves this conversation, and no other.");
                (Some(Some(name.clone())), words)
            }
            None => {
                let meant = nearest(wish, known).map(|near| format!(" Did you mean {near}?")).unwrap_or_default();
                (None, format!("The account {wish} does not serve this group.{meant} {}", list(known)))
            }
        },
    }
}

fn words(known: &[String], pinned: Option<&str>) -> String {
    let now = match pinned.filter(|pinned| known.iter().any(|name| name == pinned)) {
        Some(pinned) => format!("The account {pinned} serves this conversation (chosen here with /account)."),
        None if known.len() == 1 => {
            return format!("The account {} serves this group; nobody stands in for it.", known[0]);
        }
        None => format!("It is served by {}.", whoever(known)),
    };
    format!("{now} {} /account NAME chooses one, /account default takes the choice back.", list(known))
}

fn whoever(known: &[String]) -> String {
    match known {
        [only] => format!("the account {only}"),
        _ => "whichever account of the pool can".to_owned(),
    }
}

fn list(known: &[String]) -> String {
    format!("It may be: {}.", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<String> {
        ["work", "home"].map(str::to_owned).to_vec()
    }

    fn none(_: &str, _: &[String]) -> Option<String> {
        None
    }

    #[test]
    fn one_of_the_pool_is_chosen_and_taken_back() {
        let (keep, words) = obey(&Choice::Named("HOME".into()), &known(), None, none);
        assert_eq!(keep, Some(Some("home".into())));
        assert_eq!(words, "From the next turn on the account home serves this conversation, and no other.");
        let (keep, words) = obey(&Choice::Default, &known(), Some("home"), none);
        assert_eq!(
            (keep, words.as_str()),
            (Some(None), "From the next turn on whichever account of the pool can again.")
        );
    }

    #[test]
    fn another_account_of_the_host_is_not_to_be_had() {
        let (keep, words) = obey(&Choice::Named("boss".into()), &known(), None, |_, _| Some("home".into()));
        assert_eq!(keep, None);
        assert_eq!(words, "The account boss does not serve this group. Did you mean home? It may be: work, home.");
    }

    #[test]
    fn how_it_stands_is_told() {
        let show = |known: &[String], pinned| obey(&Choice::Show, known, pinned, none).1;
        assert_eq!(show(&known()[..1], None), "The account work serves this group; nobody stands in for it.");
        assert!(show(&known(), None).starts_with("It is served by whichever account of the pool can. It may be"));
        assert!(show(&known(), Some("home")).starts_with("The account home serves this conversation"));
        assert!(show(&known(), Some("gone")).starts_with("It is served by whichever"), "it left the pool");
    }
}
