//! Rows on their way from one database into another of the same schema.

use super::*;

/// A table whose rows are copied.
pub(super) struct Copying {
    table: &'static str,
    /// Only those where this column has this value.
    only: Option<(&'static str, Value)>,
}

/// A row.
pub(super) struct Line {
    table: &'static str,
    columns: Vec<(String, Value)>,
}

impl Copying {
    /// All rows of a table.
    pub(super) fn of(table: &'static str) -> Self {
        Self { table, only: None }
    }

    /// Those where a column has this value.
    pub(super) fn some(table: &'static str, column: &'static str, value: impl Into<Value>) -> Self {
        Self { table, only: Some((column, value.into())) }
    }

    /// Reads them one after the other, in the order of their keys.
    pub(super) fn each(
        self,
        from: &Connection,
        mut with: impl FnMut(Line) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Self { table, only } = self;
        let which = only.as_ref().map(|(column, _)| format!(" WHERE {column} = ?1")).unwrap_or_default();
        let mut statement = from.prepare(&format!("SELECT * FROM {table}{which}"))?;
        let names: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
        let mut rows = statement.query(params_from_iter(only.map(|(_, value)| value)))?;
        while let Some(row) = rows.next()? {
            let value = |(at, name): (usize, &String)| Ok((name.clone(), row.get(at)?));
            let columns = names.iter().enumerate().map(value).collect::<rusqlite::Result<_>>()?;
            with(Line { table, columns })?;
        }
        Ok(())
    }

    /// Takes those that are wanted, as they are; one in whose place another stands is left out.
    pub(super) fn all(
        self,
        from: &Connection,
        tx: &Savepoint<'_>,
        wanted: impl Fn(&Line) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        self.each(from, |line| if wanted(&line)? { line.put(tx).map(drop) } else { Ok(()) })
    }
}

impl Line {
    fn get(&self, column: &str) -> &Value {
        self.columns.iter().find(|(name, _)| name == column).map_or(&Value::Null, |(_, value)| value)
    }

    /// A text; empty where there is none.
    pub(super) fn text(&self, column: &str) -> &str {
        self.maybe(column).unwrap_or_default()
    }

    /// A text, if there is one.
    pub(super) fn maybe(&self, column: &str) -> Option<&str> {
        match self.get(column) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number; 0 where there is none.
    pub(super) fn number(&self, column: &str) -> i64 {
        self.maybe_number(column).unwrap_or_default()
    }

    /// A number, if there is one.
    pub(super) fn maybe_number(&self, column: &str) -> Option<i64> {
        match self.get(column) {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// Another value.
    pub(super) fn set(&mut self, column: &str, value: impl Into<Value>) {
        if let Some((_, old)) = self.columns.iter_mut().find(|(name, _)| name == column) {
            *old = value.into();
        }
    }

    /// The table's own default.
    pub(super) fn unset(&mut self, column: &str) {
        self.columns.retain(|(name, _)| name != column);
    }

    /// Puts it in, unless one stands in its place. Answers whether it did.
    pub(super) fn put(&self, tx: &Savepoint<'_>) -> Result<bool, StoreError> {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        let marks = vec!["?"; names.len()].join(", ");
        let sql = format!("INSERT OR IGNORE INTO {} ({}) VALUES ({marks})", self.table, names.join(", "));
        let values = self.columns.iter().map(|(_, value)| value);
        Ok(tx.prepare_cached(&sql)?.execute(params_from_iter(values))? > 0)
    }

    /// Puts in a row with a number: its own, or where that is taken another one. Answers its number; none: one stands in its place.
    pub(super) fn put_numbered(&mut self, tx: &Savepoint<'_>) -> Result<Option<i64>, StoreError> {
        let own = self.number("id");
        let taken = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE id = ?1)", self.table);
        if tx.prepare_cached(&taken)?.query_row([own], |row| row.get(0))? {
            self.unset("id");
        }
        Ok(self.put(tx)?.then(|| tx.last_insert_rowid()))
    }
}
