//! Values that are refused while they are read, so that the error knows its line.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};

/// A whole number from `MIN` to `MAX`.
pub(super) fn within<'de, const MIN: u64, const MAX: u64, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    d.deserialize_u64(Within::<MIN, MAX>)
}

struct Within<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Visitor<'_> for Within<MIN, MAX> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {MIN} to {MAX}")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
        if (MIN..=MAX).contains(&value) {
            Ok(value)
        } else {
            Err(E::invalid_value(Unexpected::Unsigned(value), &self))
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<u64, E> {
        Err(E::invalid_value(Unexpected::Float(value), &self))
    }
}

/// The number of sessions in `cofferdam.toml`.
pub(super) fn sessions<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    within::<1, 512, D>(d).map(Some)
}

/// A struct that is written as an object; serde by itself would take a list of its fields too.
pub(super) fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
    d.deserialize_map(Object(PhantomData))
}

struct Object<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Cores, from 0.05 to 1024.
pub(super) fn cpus<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    d.deserialize_f64(Cpus)
}

struct Cpus;

impl Visitor<'_> for Cpus {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of cores from 0.05 to 1024")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
        if (0.05..=1024.0).contains(&value) {
            Ok(value)
        } else {
            Err(E::invalid_value(Unexpected::Float(value), &self))
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
        if (1..=1024).contains(&value) {
            Ok(value as f64)
        } else {
            Err(E::invalid_value(Unexpected::Unsigned(value), &self))
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
        }
    }
}

/// A model's name: 1 to 128 printable characters without spaces or quotes.
pub(super) fn model<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._:/@+-".contains(c);
    word(d, good, &"a model's name: 1 to 128 letters, digits and `._:/@+-`", 128)
}

/// An image reference: 1 to 255 of its characters, starting with a letter or digit.
pub(super) fn image<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._:/@-".contains(c);
    word(d, good, &"an image reference such as `name:tag`", 255)
}

fn word<'de, D: Deserializer<'de>>(
    d: D,
    good: impl Fn(char) -> bool,
    expected: &dyn serde::de::Expected,
    max: usize,
) -> Result<Option<String>, D::Error> {
    let Some(text) = Option::<String>::deserialize(d)? else { return Ok(None) };
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts && text.len() <= max && text.chars().all(good) {
        Ok(Some(text))
    } else {
        Err(D::Error::invalid_value(Unexpected::Str(&text.chars().take(80).collect::<String>()), expected))
    }
}

/// The largest value of one variable, in bytes; Linux refuses arguments and variables over 128 KiB.
const MAX_VALUE: usize = 32 * 1024;

/// Variables that are Cofferdam's own business in the container, with the reason.
const RESERVED: &[(&str, &str)] = &[
    ("HOME", "Cofferdam sets it to the agent's home in the container"),
    ("PATH", "Cofferdam sets it so that the agent's own tools are found; a custom `image` can set another one"),
    ("HTTP_PROXY", "traffic leaves the container through Cofferdam's door only"),
    ("HTTPS_PROXY", "traffic leaves the container through Cofferdam's door only"),
    ("ALL_PROXY", "traffic leaves the container through Cofferdam's door only"),
    ("NO_PROXY", "traffic leaves the container through Cofferdam's door only"),
];

/// Prefixes of such variables.
const RESERVED_PREFIXES: &[(&str, &str)] = &[
    ("COFFERDAM_", "names with COFFERDAM_ are for Cofferdam itself"),
    ("CODEX_", "Cofferdam configures Codex; use the keys `model` and `effort`"),
    ("OPENAI_", "credentials stay on the host; put them into its environment or `.env`"),
];

/// Names and values of environment variables for the container.
pub(super) fn environment<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<String, String>, D::Error> {
    d.deserialize_map(Environment)
}

struct Environment;

impl<'de> Visitor<'de> for Environment {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of names and text values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut variables = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            check_name(&name).map_err(A::Error::custom)?;
            if variables.contains_key(&name) {
                return Err(A::Error::custom(format!("duplicate field `{name}`")));
            }
            let value: String = map.next_value()?;
            if value.contains('\0') || value.len() > MAX_VALUE {
                return Err(A::Error::custom(format!(
                    "the value of {name} has a NUL or more than {MAX_VALUE} bytes"
                )));
            }
            variables.insert(name, value);
        }
        Ok(variables)
    }
}

/// Values by names that `check` takes; its error completes "NAME …". No name comes twice.
pub(super) fn named<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    d: D,
    expected: &'static str,
    check: fn(&str) -> Result<(), String>,
) -> Result<BTreeMap<String, T>, D::Error> {
    d.deserialize_map(Named { expected, check, value: PhantomData })
}

struct Named<T> {
    expected: &'static str,
    check: fn(&str) -> Result<(), String>,
    value: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Named<T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let shown: String = name.chars().take(80).collect();
            (self.check)(&name).map_err(|why| A::Error::custom(format!("{shown:?} {why}")))?;
            if values.contains_key(&name) {
                return Err(A::Error::custom(format!("duplicate field `{name}`")));
            }
            values.insert(name, map.next_value()?);
        }
        Ok(values)
    }
}

/// Whether it can be the name of an environment variable.
pub(super) fn is_variable(name: &str) -> bool {
    name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn check_name(name: &str) -> Result<(), String> {
    if !is_variable(name) {
        let name: String = name.chars().take(60).collect();
        return Err(format!(
            "{name:?} is not a variable's name: letters, digits and `_`, not starting with a digit"
        ));
    }
    let upper = name.to_ascii_uppercase();
    let whole = RESERVED.iter().find(|(reserved, _)| upper == *reserved);
    let prefix = || RESERVED_PREFIXES.iter().find(|(prefix, _)| upper.starts_with(prefix));
    match whole.or_else(prefix) {
        Some((_, why)) => Err(format!("{name} cannot be set here: {why}")),
        None => Ok(()),
    }
}
