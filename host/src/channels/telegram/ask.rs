//! Buttons below a message.

use frankenstein::types::{InlineKeyboardButton, InlineKeyboardMarkup};

use super::words::cut;
use crate::model::reply::Labelled;

/// The longest label that phones show on one line, in characters.
const LABEL: usize = 40;
/// The most buttons below a message (Telegram's own limit).
const MOST: usize = 100;

/// The buttons, one below the other; none where there are none.
pub(super) fn keyboard(buttons: &[Labelled]) -> Option<InlineKeyboardMarkup> {
    let row = |(number, button): (usize, &Labelled)| {
        let label = cut(button.label.trim(), LABEL);
        let label = if label.is_empty() { (number + 1).to_string() } else { label };
        vec![InlineKeyboardButton::builder().text(label).callback_data(button.data.clone()).build()]
    };
    let rows: Vec<_> = buttons.iter().take(MOST).enumerate().map(row).collect();
    if rows.is_empty() { None } else { Some(InlineKeyboardMarkup::builder().inline_keyboard(rows).build()) }
}

/// Whether the buttons say everything.
pub(super) fn are_short(options: &[String]) -> bool {
    let short = |option: &String| (1..=LABEL).contains(&option.trim().chars().count());
    options.len() <= MOST && options.iter().all(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buttons(labels: &[&str]) -> Vec<Labelled> {
        let button =
            |(at, label): (usize, &&str)| Labelled { label: (*label).to_owned(), data: format!("a:1:{at}") };
        labels.iter().enumerate().map(button).collect()
    }

    #[test]
    fn each_option_has_a_button_with_what_telegram_allows() {
        assert!(keyboard(&buttons(&[])).is_none(), "a free answer has none");
        let long = "long ".repeat(50);
        let keyboard = keyboard(&buttons(&["Red", "", &long])).unwrap();
        let shown: Vec<_> = keyboard.inline_keyboard.into_iter().flatten().collect();
        let labels: Vec<_> = shown.iter().map(|button| button.text.chars().count()).collect();
        assert_eq!(labels, [3, 1, 40]);
        assert_eq!(shown[2].callback_data.as_deref(), Some("a:1:2"));
        assert!(are_short(&["Red".to_owned()]) && !are_short(&[long]));
    }
}
