//! What homes of before had of channels, after the tables were made anew that bounded their kinds.

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::store::schema::Kind;

/// The tables that were made anew, each with what it had.
const TABLES: [(&str, &str); 5] = [
    ("channels", "name, kind, settings, cursor, created_at"),
    ("hooks", "channel, name, chat_id, format, callback, events, created_at"),
    ("hook_calls", "channel, hook, tag, call, at, taken"),
    ("api_keys", "channel, name, chat_id, hash, model, expires_at, revoked_at, used_at, created_at"),
    ("api_threads", "channel, key, fingerprint, thread, at"),
];

/// A database of before, with every kind of channel, several rows of all that refers to them, and values everywhere.
fn of_before(foreign_keys: bool) -> Connection {
    let mut conn = Connection::open_in_memory().unwrap();
    conn.pragma_update(None, "foreign_keys", foreign_keys).unwrap();
    Kind::Central.migrations().to_version(&mut conn, 14).unwrap();
    conn.execute_batch(
        "INSERT INTO channels VALUES ('tg', 'telegram', '{\"a\":1}', '7', 1), ('http', 'http', '{}', NULL, 2),
             ('api', 'http', '{}', NULL, 3), ('irc', 'exec', '{\"command\":[]}', 'c', 4);
         INSERT INTO hooks (channel, name, format, callback, events, created_at, chat_id)
         VALUES ('http', 'ci', 'plain', 'https://a.example/…', '[]', 5, 'hook/ci'),
             ('http', 'gh', 'github', NULL, '[\"issues\"]', 6, 'hook/gh/2'), ('api', 'ci', 'github', NULL, '[]', 7, 'hook/ci');
         INSERT INTO hook_calls (channel, hook, tag, call, at, taken)
         VALUES ('http', 'ci', x'01', 'one', 8, 0), ('http', 'gh', x'02', 'issues two', 9, 1), ('api', 'ci', x'01', 'x', 10, 1);
         INSERT INTO api_keys (channel, name, hash, model, expires_at, revoked_at, used_at, created_at, chat_id)
         VALUES ('http', 'a', x'03', 'demo', 11, 12, 13, 14, 'key/a'), ('api', 'a', x'04', 'x', NULL, NULL, NULL, 15, 'key/a/3');
         INSERT INTO api_threads VALUES ('http', 'key/a', x'05', 't', 16), ('api', 'key/a/3', x'05', 'u', 17);",
    )
    .unwrap();
    conn
}

fn rows(conn: &Connection, table: &str, columns: &str) -> Vec<Vec<Value>> {
    let mut statement = conn.prepare(&format!("SELECT {columns} FROM {table} ORDER BY 1, 2, 3")).unwrap();
    let width = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| (0..width).map(|at| row.get(at)).collect();
    statement.query_map([], row).unwrap().map(Result::unwrap).collect()
}

fn count(conn: &Connection, table: &str) -> i64 {
    conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn homes_of_before_keep_every_row_of_their_channels_and_of_what_refers_to_them() {
    for foreign_keys in [true, false] {
        let mut conn = of_before(foreign_keys);
        let before = TABLES.map(|(table, columns)| rows(&conn, table, columns));
        assert!(before.iter().all(|rows| rows.len() > 1), "there is something to lose");
        Kind::Central.migrations().to_latest(&mut conn).unwrap();
        assert_eq!(TABLES.map(|(table, columns)| rows(&conn, table, columns)), before);
        assert_eq!(count(&conn, "pragma_foreign_key_check"), 0);
        let on: bool = conn.query_row("PRAGMA foreign_keys", [], |row| row.get(0)).unwrap();
        assert_eq!(on, foreign_keys);
    }
}

#[test]
fn what_refers_to_a_channel_still_goes_with_it_and_stands_on_one_that_is_there() {
    let mut conn = of_before(true);
    Kind::Central.migrations().to_latest(&mut conn).unwrap();
    let orphan =
        "INSERT INTO hooks (channel, name, format, events, created_at) VALUES ('gone', 'x', 'plain', '[]', 0)";
    assert!(conn.execute(orphan, []).is_err());
    let orphan = "INSERT INTO hook_calls (channel, hook, tag, call, at) VALUES ('http', 'gone', x'09', 'x', 0)";
    assert!(conn.execute(orphan, []).is_err());
    let twice =
        "INSERT INTO api_keys (channel, name, hash, model, created_at) VALUES ('http', 'b', x'03', 'demo', 0)";
    assert!(conn.execute(twice, []).is_err(), "a key is one channel's");
    conn.execute("DELETE FROM channels WHERE name = 'http'", []).unwrap();
    assert_eq!(TABLES.map(|(table, _)| count(&conn, table)), [3, 1, 1, 1, 1], "the other's are still there");
}

#[test]
fn a_kind_and_a_form_of_tomorrow_need_no_other_schema_and_what_can_name_none_is_refused() {
    let mut conn = of_before(true);
    Kind::Central.migrations().to_latest(&mut conn).unwrap();
    let channel = "INSERT INTO channels (name, kind, settings, created_at) VALUES ('x', ?1, '{}', 0)";
    let hook = "INSERT INTO hooks (channel, name, format, events, created_at) VALUES ('http', 'x', ?1, '[]', 0)";
    for sql in [channel, hook] {
        for bad in ["", "Of", "a b", "a\n", "é", "a'", &"a".repeat(33)] {
            assert!(conn.execute(sql, [bad]).is_err(), "{bad:?}");
        }
        assert_eq!(conn.execute(sql, ["of-tomorrow-2"]).unwrap(), 1);
    }
}
