//! Changing one key of a `container.json`, keeping the order of the others.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use cofferdam_protocol::ids::Folder;
use serde_json::{Map, Value};

use super::group::{GroupConfig, MAX_BYTES};
use super::home::Home;
use super::{ConfigError, read};

/// The text of a `container.json` with `key_path` (such as `limits.memory_mb`) set to `value`, or removed when that
/// is none. The result is valid, or there is none.
pub fn set(text: &str, path: &Path, key_path: &str, value: Option<Value>) -> Result<String, ConfigError> {
    let unusable = |error: serde_json::Error| {
        let parsed = GroupConfig::parse(text, path).err();
        parsed.unwrap_or_else(|| ConfigError::new(path, error.to_string()))
    };
    let mut root: Map<String, Value> = serde_json::from_str(text).map_err(unusable)?;
    if let Err(error) = GroupConfig::parse(text, path)
        && error.problem.starts_with("duplicate")
    {
        return Err(error); // reading it into a map has already dropped one of the two
    }
    let (parents, key) = match key_path.rsplit_once('.') {
        Some((parents, key)) => (Some(parents), key),
        None => (None, key_path),
    };
    if key.is_empty() {
        return Err(ConfigError::new(path, format!("{key_path:?} is not a key")));
    }
    let mut object = &mut root;
    for parent in parents.into_iter().flat_map(|parents| parents.split('.')) {
        object = match object.entry(parent).or_insert_with(|| Value::Object(Map::new())) {
            Value::Object(inner) => inner,
            _ => return Err(ConfigError::new(path, "it has no keys below it").with_key(parent)),
        };
    }
    match value {
        Some(value) => drop(object.insert(key.to_owned(), value)),
        None => drop(object.shift_remove(key)),
    }
    let mut new = format!("{:#}", Value::Object(root));
    new.push('\n');
    // The places are those of a text that nobody has seen.
    GroupConfig::parse(&new, path).map_err(|error| ConfigError { at: None, ..error })?;
    Ok(new)
}

/// Sets a key of a group's file from a word of the command line, read as JSON where that is valid and as text
/// otherwise; `None` removes the key. The file is replaced at once and keeps its permissions. False when it says so already,
/// and is left as it is.
pub fn set_in_file(home: &Home, folder: &Folder, key_path: &str, word: Option<&str>) -> Result<bool, ConfigError> {
    let path = home.container_json(folder);
    let Some(text) = read::text_file(&path, MAX_BYTES)? else {
        return GroupConfig::load(home, folder).map(|_| false);
    };
    let new = match word {
        None => set(&text, &path, key_path, None)?,
        Some(word) => {
            let as_text = || set(&text, &path, key_path, Some(Value::from(word)));
            match serde_json::from_str(word) {
                // `environment.PORT 8080` means the text.
                Ok(value) => {
                    set(&text, &path, key_path, Some(value)).or_else(|error| as_text().map_err(|_| error))?
                }
                Err(_) => as_text()?,
            }
        }
    };
    let same = |old: &str| serde_json::from_str::<Value>(old).ok() == serde_json::from_str::<Value>(&new).ok();
    if same(&text) {
        return Ok(false);
    }
    let replaced = replace(&path, &new);
    replaced.map(|()| true).map_err(|error| ConfigError::new(&path, format!("cannot be written: {error}")))
}

fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().ok_or(std::io::ErrorKind::NotFound)?;
    let old = std::fs::symlink_metadata(path)?;
    let mut file = tempfile::Builder::new().prefix(".container.json.").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    if old.uid() != file.as_file().metadata()?.uid() {
        std::os::unix::fs::fchown(file.as_file(), Some(old.uid()), Some(old.gid()))?;
    }
    file.as_file().set_permissions(std::fs::Permissions::from_mode(old.permissions().mode() & 0o7777))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn edited(text: &str, key: &str, value: Option<Value>) -> Result<String, ConfigError> {
        set(text, Path::new("c"), key, value)
    }

    #[test]
    fn the_order_of_the_keys_is_kept() {
        let text = r#"{"timeouts": {"idle_secs": 5}, "model": "a", "provider": "mock"}"#;
        let new = edited(text, "model", Some(json!("b"))).unwrap();
        assert_eq!(
            new,
            "{\n  \"timeouts\": {\n    \"idle_secs\": 5\n  },\n  \"model\": \"b\",\n  \"provider\": \"mock\"\n}\n"
        );
        let new = edited(&new, "timeouts", None).unwrap();
        assert_eq!(new, "{\n  \"model\": \"b\",\n  \"provider\": \"mock\"\n}\n");
    }

    #[test]
    fn a_key_below_is_set_and_its_parents_are_made() {
        let new = edited("{}", "limits.memory_mb", Some(json!(128))).unwrap();
        assert_eq!(GroupConfig::parse(&new, Path::new("c")).unwrap().limits.memory_mb, 128);
    }

    #[test]
    fn what_would_not_be_valid_is_refused() {
        for (key, value) in [
            ("limits.memory_mb", json!(0)),
            ("x", json!(1)),
            ("a.b.c", json!(1)),
            ("", json!(1)),
            ("model.x", json!(1)),
        ] {
            assert!(edited(r#"{"model":"a"}"#, key, Some(value)).is_err(), "{key}");
        }
        assert!(edited(r#"{"model":"a","model":"b"}"#, "effort", Some(json!("low"))).is_err());
    }

    #[test]
    fn a_file_is_replaced_with_its_permissions_kept_and_left_alone_on_error() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        let folder: Folder = "g".parse().unwrap();
        let path = home.container_json(&folder);
        std::fs::create_dir_all(home.group(&folder)).unwrap();
        std::fs::write(&path, "{}").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        set_in_file(&home, &folder, "environment.PORT", Some("8080")).unwrap();
        set_in_file(&home, &folder, "limits.cpus", Some("0.5")).unwrap();
        let config = GroupConfig::load(&home, &folder).unwrap().config;
        assert_eq!((config.environment["PORT"].as_str(), config.limits.cpus), ("8080", 0.5));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let before = std::fs::read(&path).unwrap();
        assert!(set_in_file(&home, &folder, "limits.cpus", Some("many")).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(std::fs::read_dir(home.group(&folder)).unwrap().count(), 1, "no temporary file is left");
    }
}
