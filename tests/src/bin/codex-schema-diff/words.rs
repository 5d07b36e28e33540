//! The names that the provider's code speaks.

use std::collections::BTreeSet;
use std::path::Path;

use crate::schema::Unreadable;

/// Names, without regard to how they are cased: `thread_id`, `threadId` and `ThreadId` are one.
#[derive(Debug, Default)]
pub(crate) struct Words(BTreeSet<String>);

impl Words {
    /// All names in the Rust files of a directory and those below it; comments do not count.
    pub(crate) fn of_sources(directory: &Path) -> Result<Self, Unreadable> {
        let mut this = Self::default();
        this.directory(directory)?;
        Ok(this)
    }

    /// Adds the names of a source text.
    pub(crate) fn add(&mut self, source: &str) {
        for line in source.lines() {
            let code = line.split("//").next().unwrap_or_default();
            let names = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            self.0.extend(names.filter(|name| !name.is_empty()).map(plain));
        }
    }

    /// Whether the code speaks the name.
    pub(crate) fn know(&self, name: &str) -> bool {
        self.0.contains(&plain(name))
    }

    fn directory(&mut self, directory: &Path) -> Result<(), Unreadable> {
        for entry in std::fs::read_dir(directory).map_err(Unreadable::file(directory))? {
            let path = entry.map_err(Unreadable::file(directory))?.path();
            if path.is_dir() {
                self.directory(&path)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                self.add(&std::fs::read_to_string(&path).map_err(Unreadable::file(&path))?);
            }
        }
        Ok(())
    }
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()
}
