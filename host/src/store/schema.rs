//! The migrations of both kinds of database. A new one is a new file under `migrations/` and a line here.

use rusqlite_migration::{M, Migrations};

const CENTRAL: &[M<'static>] = &[
    M::up(include_str!("../../../migrations/central/0001_init.sql")),
    M::up(include_str!("../../../migrations/central/0002_progress.sql")),
    M::up(include_str!("../../../migrations/central/0003_set_aside.sql")),
    M::up(include_str!("../../../migrations/central/0004_accounts.sql")),
    M::up(include_str!("../../../migrations/central/0005_pools.sql")),
    M::up(include_str!("../../../migrations/central/0006_chats.sql")),
    M::up(include_str!("../../../migrations/central/0007_late.sql")),
    M::up(include_str!("../../../migrations/central/0008_kept.sql")),
    M::up(include_str!("../../../migrations/central/0009_hook_calls.sql")),
    M::up(include_str!("../../../migrations/central/0010_again.sql")),
    M::up(include_str!("../../../migrations/central/0011_same_roles.sql")),
    M::up(include_str!("../../../migrations/central/0012_late_chat.sql")),
    M::up(include_str!("../../../migrations/central/0013_keys.sql")),
    M::up(include_str!("../../../migrations/central/0014_identities.sql")),
    M::up(include_str!("../../../migrations/central/0015_kinds.sql")),
];
const GROUP: &[M<'static>] = &[
    M::up(include_str!("../../../migrations/group/0001_init.sql")),
    M::up(include_str!("../../../migrations/group/0002_conversations.sql")),
    M::up(include_str!("../../../migrations/group/0003_resilience.sql")),
    M::up(include_str!("../../../migrations/group/0004_blameless.sql")),
    M::up(include_str!("../../../migrations/group/0005_wanted_end.sql")),
    M::up(include_str!("../../../migrations/group/0006_pin.sql")),
    M::up(include_str!("../../../migrations/group/0007_usage.sql")),
    M::up(include_str!("../../../migrations/group/0008_chats.sql")),
    M::up(include_str!("../../../migrations/group/0009_questions.sql")),
];

/// Which schema a database has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `central.db`.
    Central,
    /// A group's `state.db`.
    Group,
}

impl Kind {
    /// The migrations, oldest first.
    pub fn migrations(self) -> Migrations<'static> {
        match self {
            Self::Central => Migrations::from_slice(CENTRAL),
            Self::Group => Migrations::from_slice(GROUP),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn schema_of(conn: &Connection) -> String {
        let mut statement = conn
            .prepare(
                "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY name",
            )
            .unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.map(|sql| sql.unwrap() + ";\n").collect()
    }

    /// Every file under `migrations/` is in the list, in order, and nothing else is.
    #[test]
    fn the_list_is_the_folder() {
        for (folder, count) in [("central", CENTRAL.len()), ("group", GROUP.len())] {
            let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/").to_owned() + folder;
            let mut names: Vec<String> =
                std::fs::read_dir(root).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            assert_eq!(names.len(), count, "{folder}: {names:?}");
            for (index, name) in names.iter().enumerate() {
                assert!(name.starts_with(&format!("{:04}_", index + 1)) && name.ends_with(".sql"), "{name}");
            }
        }
    }

    /// The sum of the migrations is the schema that `expected/` shows to people, and running them twice is harmless.
    #[test]
    fn migrations_add_up_to_the_schema() {
        for (kind, expected) in [
            (Kind::Central, include_str!("expected/central.sql")),
            (Kind::Group, include_str!("expected/group.sql")),
        ] {
            let mut conn = Connection::open_in_memory().unwrap();
            kind.migrations().to_latest(&mut conn).unwrap();
            kind.migrations().to_latest(&mut conn).unwrap();
            let file = match kind {
                Kind::Central => "central",
                Kind::Group => "group",
            };
            if std::env::var_os("UPDATE_SCHEMA").is_some() {
                let path = format!("{}/src/store/expected/{file}.sql", env!("CARGO_MANIFEST_DIR"));
                std::fs::write(path, schema_of(&conn)).unwrap();
                continue;
            }
            assert_eq!(schema_of(&conn), expected, "run with UPDATE_SCHEMA=1 after adding a migration");
        }
    }

    /// A database left at any earlier version opens and ends at the same schema.
    #[test]
    fn a_database_of_every_earlier_version_opens() {
        for (kind, versions) in [(Kind::Central, CENTRAL.len()), (Kind::Group, GROUP.len())] {
            let mut latest = Connection::open_in_memory().unwrap();
            kind.migrations().to_latest(&mut latest).unwrap();
            for version in 0..=versions {
                let mut conn = Connection::open_in_memory().unwrap();
                kind.migrations().to_version(&mut conn, version).unwrap();
                kind.migrations().to_latest(&mut conn).unwrap();
                assert_eq!(schema_of(&conn), schema_of(&latest), "{kind:?} from version {version}");
            }
        }
    }
}
