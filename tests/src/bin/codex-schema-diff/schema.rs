//! The schema files that Codex writes, and what is where in them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Stands where nothing is said, in a schema that is missing or says `true`.
static ANYTHING: Value = Value::Bool(true);

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// It cannot be read.
    #[error("cannot read {0}: {1}")]
    File(PathBuf, io::Error),
    /// It is not JSON.
    #[error("{0} is not JSON: {1}")]
    Json(PathBuf, serde_json::Error),
}

impl Unreadable {
    /// For `map_err`.
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        |error| Self::File(path, error)
    }
}

/// The schema of one version.
#[derive(Debug, Default)]
pub(crate) struct Schemas {
    /// By their names without folder and extension, such as `TurnStartResponse`.
    files: BTreeMap<String, Value>,
}

/// A schema and the file that its references are about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'a> {
    root: &'a Value,
    /// The schema itself.
    pub(crate) here: &'a Value,
    /// The name of the type, where a reference led here.
    pub(crate) type_name: Option<&'a str>,
}

impl Schemas {
    /// Reads the unions of messages and the answers to requests.
    pub(crate) fn open(directory: &Path) -> Result<Self, Unreadable> {
        let mut this = Self::default();
        // The newest form of a type comes first and stays.
        for folder in ["v2", "v1", ""] {
            let folder = directory.join(folder);
            for entry in std::fs::read_dir(&folder).map_err(Unreadable::file(&folder))? {
                let path = entry.map_err(Unreadable::file(&folder))?.path();
                let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json"));
                let wanted = |name: &&str| name.ends_with("Response") || Union::NAMES.contains(name);
                let Some(name) = name.filter(wanted).map(str::to_owned) else { continue };
                let text = std::fs::read(&path).map_err(Unreadable::file(&path))?;
                let value = serde_json::from_slice(&text).map_err(|error| Unreadable::Json(path, error))?;
                this.files.entry(name).or_insert(value);
            }
        }
        Ok(this)
    }

    /// Adds a file.
    #[cfg(test)]
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.files.insert(name.to_owned(), value);
        self
    }

    /// The methods of a union.
    pub(crate) fn methods(&self, union: Union) -> BTreeSet<&str> {
        self.members(union).filter_map(method_of).collect()
    }

    /// The parameters of a method; none when there is no such method.
    pub(crate) fn params(&self, union: Union, method: &str) -> Option<Node<'_>> {
        let member = self.members(union).find(|member| method_of(member) == Some(method))?;
        let root = self.files.get(union.name())?;
        let here = member["properties"].get("params").unwrap_or(&ANYTHING);
        Some(Node { root, here, type_name: None })
    }

    /// The answer to a method with these parameters, found by the name of their type.
    pub(crate) fn answer(&self, params: Node<'_>) -> Option<Node<'_>> {
        let root = self.files.get(&format!("{}Response", params.name()?.strip_suffix("Params")?))?;
        Some(Node { root, here: root, type_name: None })
    }

    fn members(&self, union: Union) -> impl Iterator<Item = &Value> {
        self.files.get(union.name()).and_then(|file| file["oneOf"].as_array()).into_iter().flatten()
    }
}

fn method_of(member: &Value) -> Option<&str> {
    member["properties"]["method"]["enum"][0].as_str()
}

/// A union of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Union {
    /// What a client asks.
    ClientRequest,
    /// What Codex tells.
    ServerNotification,
    /// What Codex asks.
    ServerRequest,
}

impl Union {
    const NAMES: [&str; 3] = ["ClientRequest", "ServerNotification", "ServerRequest"];

    fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl<'a> Node<'a> {
    /// The name of the type that it refers to.
    pub(crate) fn name(self) -> Option<&'a str> {
        self.sole().here.get("$ref")?.as_str()?.rsplit('/').next()
    }

    /// What it refers to, or itself.
    pub(crate) fn resolved(mut self) -> Self {
        loop {
            self = self.sole();
            let target = self.here.get("$ref").and_then(Value::as_str);
            match target.and_then(|target| self.root.pointer(target.trim_start_matches('#'))) {
                Some(target) => self = Self { here: target, type_name: self.name(), ..self },
                None => return self,
            }
        }
    }

    /// Another schema of the same file.
    pub(crate) fn at(self, here: &'a Value) -> Self {
        Self { here, type_name: None, ..self }
    }

    /// The property of that name.
    pub(crate) fn property(self, name: &str) -> Option<Self> {
        self.here.get("properties")?.get(name).map(|here| self.at(here))
    }

    /// The names of its properties.
    pub(crate) fn properties(self) -> BTreeSet<&'a str> {
        self.here
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(name, _)| &**name)
            .collect()
    }

    /// Whether the property must be there.
    pub(crate) fn requires(self, name: &str) -> bool {
        self.list("required").any(|required| required == name)
    }

    /// The schemas or values of a list.
    pub(crate) fn list(self, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.here.get(key).and_then(Value::as_array).into_iter().flatten()
    }

    /// Whether it offers several forms.
    pub(crate) fn is_union(self) -> bool {
        ["oneOf", "anyOf"].iter().any(|key| self.here.get(key).is_some())
    }

    /// Without the `null` that it may also be, and whether it may.
    pub(crate) fn without_null(self) -> (Self, bool) {
        let members: Vec<_> = self.sole().list("anyOf").collect();
        let null = |member: &Value| member.get("type").is_some_and(|kind| kind == "null");
        match members.as_slice() {
            [one, other] if null(other) => (self.at(one), true),
            [other, one] if null(other) => (self.at(one), true),
            _ => (self, false),
        }
    }

    /// A reference with a description is wrapped in a list of one.
    fn sole(self) -> Self {
        match self.here.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
            Some([one]) => self.at(one).sole(),
            _ => self,
        }
    }
}
