//! A question's buttons.

use cofferdam_protocol::ids::QuestionId;
use frankenstein::types::{InlineKeyboardButton, InlineKeyboardMarkup};

use super::words::cut;
use crate::model::action::Asked;

/// The longest label that phones show on one line, in characters.
const LABEL: usize = 40;
/// The most buttons below a message (Telegram's own limit).
const MOST: usize = 100;

/// The buttons, one below the other; none for a free answer.
pub(super) fn keyboard(asked: &Asked) -> Option<InlineKeyboardMarkup> {
    let row = |(number, option): (usize, &String)| {
        let label = cut(option.trim(), LABEL);
        let label = if label.is_empty() { (number + 1).to_string() } else { label };
        vec![InlineKeyboardButton::builder().text(label).callback_data(button_data(asked.id, number)).build()]
    };
    let rows: Vec<_> = asked.options.iter().take(MOST).enumerate().map(row).collect();
    if rows.is_empty() { None } else { Some(InlineKeyboardMarkup::builder().inline_keyboard(rows).build()) }
}

/// Whether the buttons say everything.
pub(super) fn are_short(options: &[String]) -> bool {
    let short = |option: &String| (1..=LABEL).contains(&option.trim().chars().count());
    options.len() <= MOST && options.iter().all(short)
}

/// What comes back when the option with this number, from 0, is pressed. At most 64 bytes.
fn button_data(id: QuestionId, number: usize) -> String {
    format!("q:{id}:{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(options: &[&str]) -> Asked {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Asked { id: QuestionId(i64::MAX), question: "?".into(), options, expires_at: 0 }
    }

    #[test]
    fn each_option_has_a_button_with_what_telegram_allows() {
        assert!(keyboard(&asked(&[])).is_none(), "a free answer has none");
        let long = "long ".repeat(50);
        let keyboard = keyboard(&asked(&["Red", "", &long])).unwrap();
        let buttons: Vec<_> = keyboard.inline_keyboard.into_iter().flatten().collect();
        let labels: Vec<_> = buttons.iter().map(|button| button.text.chars().count()).collect();
        assert_eq!(labels, [3, 1, 40]);
        assert!(buttons.iter().all(|button| (1..=64).contains(&button.callback_data.as_ref().unwrap().len())));
        assert_eq!(buttons[0].callback_data.as_deref(), Some("q:9223372036854775807:0"));
        assert!(are_short(&asked(&["Red"]).options) && !are_short(&asked(&[&long]).options));
    }
}
