//! What stands before a chunk: indentation, signs of lists and quotes, and the space to the chunk before it.

use super::Flavour;

/// From here on deeper nesting is not shown: lines would have no room.
const MAX_SHOWN: usize = 6;

enum Container {
    /// The number of its next item, if it has numbers.
    List {
        next: Option<u64>,
        items: usize,
    },
    Item,
    Quote,
    Footnote,
}

/// The containers around a chunk.
#[derive(Default)]
pub struct Lead {
    open: Vec<Container>,
    lists: usize,
    quotes: usize,
    /// Signs of items that have no text yet.
    marker: String,
    /// How many lists these belong to.
    marked: usize,
    /// The next chunk is further from the one before it than items are.
    apart: bool,
}

impl Lead {
    pub fn open_quote(&mut self) {
        self.quotes += 1;
        self.apart |= self.lists == 0;
        self.open.push(Container::Quote);
    }

    pub fn open_list(&mut self, next: Option<u64>) {
        self.lists += 1;
        self.open.push(Container::List { next, items: 0 });
    }

    pub fn open_item(&mut self) {
        let mut sign = "• ".to_owned();
        if let Some(Container::List { next, items }) = self.open.last_mut() {
            *items += 1;
            self.apart |= *items == 1 && self.lists == 1;
            if let Some(number) = next {
                sign = format!("{number}. ");
                *number = number.saturating_add(1);
            }
        }
        self.marker += &sign;
        self.marked += 1;
        self.open.push(Container::Item);
    }

    pub fn open_footnote(&mut self, label: &str) {
        self.marker += &format!("[{label}] ");
        self.open.push(Container::Footnote);
    }

    /// Ends the innermost container.
    pub fn close(&mut self) {
        match self.open.pop() {
            Some(Container::List { .. }) => self.lists -= 1,
            Some(Container::Quote) => self.quotes -= 1,
            Some(Container::Item | Container::Footnote) | None => {}
        }
    }

    /// A paragraph of its own, which items have when there are empty lines between them.
    pub fn paragraph(&mut self) {
        self.apart = true;
    }

    /// The item is a task.
    pub fn task(&mut self, done: bool) {
        if self.marker.ends_with("• ") {
            self.marker.truncate(self.marker.len() - "• ".len());
        }
        self.marker += if done { "☑ " } else { "☐ " };
    }

    pub fn has_marker(&self) -> bool {
        !self.marker.is_empty()
    }

    pub fn is_quoted(&self) -> bool {
        self.quotes > 0
    }

    /// How many newlines stand between the next chunk and the one before it.
    pub fn gap(&mut self) -> usize {
        let apart = std::mem::take(&mut self.apart);
        if apart || self.lists == 0 { 2 } else { 1 }
    }

    /// What stands before the next chunk's first line, and before its others.
    pub fn take(&mut self, flavour: Flavour) -> (String, String) {
        // Telegram shows one level of quotes by itself.
        let signs = match flavour {
            Flavour::Telegram => self.quotes.saturating_sub(1),
            Flavour::Plain => self.quotes,
        };
        let quotes = "> ".repeat(signs.min(MAX_SHOWN));
        let marker = std::mem::take(&mut self.marker);
        let outer = self.lists.saturating_sub(std::mem::take(&mut self.marked)).min(MAX_SHOWN);
        let inner = self.lists.min(MAX_SHOWN);
        (quotes.clone() + &"  ".repeat(outer) + &marker, quotes + &"  ".repeat(inner))
    }
}
