//! The time zone that a group's people live in.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected};

/// The zone of that IANA name; without a name, the host's own.
pub fn zone(name: Option<&str>) -> TimeZone {
    // The name was checked while it was read; a zone that the host has lost since is no reason to fail.
    name.and_then(|name| TimeZone::get(name).ok()).unwrap_or_else(TimeZone::system)
}

/// A time as people and agents read it, to the minute, with its zone: `2026-11-21 14:03 Europe/Berlin`. `ms` are
/// milliseconds since 1970; one that no calendar has is shown as the nearest that one has.
pub fn local_time(ms: i64, zone: &TimeZone) -> String {
    let time = Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX });
    let local = time.to_zoned(zone.clone());
    let name = zone.iana_name().map_or_else(|| local.strftime("%:z").to_string(), str::to_owned);
    format!("{} {name}", local.strftime("%Y-%m-%d %H:%M"))
}

/// The day of a time there, such as `2026-11-21`. `ms` are milliseconds since 1970.
pub fn local_day(ms: i64, zone: &TimeZone) -> Date {
    let time = Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX });
    time.to_zoned(zone.clone()).date()
}

/// A zone's IANA name that this host knows.
pub(super) fn name<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    let Some(name) = Option::<String>::deserialize(d)? else { return Ok(None) };
    let plain = name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || "/_+-".contains(c));
    match TimeZone::get(&name) {
        Ok(_) if plain => Ok(Some(name)),
        _ => {
            let shown: String = name.chars().take(80).collect();
            Err(D::Error::invalid_value(Unexpected::Str(&shown), &"a time zone such as `Europe/Berlin`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_the_groups_zone_also_in_summer() {
        let berlin = zone(Some("Europe/Berlin"));
        assert_eq!(local_time(1_795_266_209_000, &berlin), "2026-11-21 14:03 Europe/Berlin");
        assert_eq!(local_time(1_782_046_980_000, &berlin), "2026-06-21 15:03 Europe/Berlin");
        assert_eq!(local_time(1_795_266_209_000, &TimeZone::UTC), "2026-11-21 13:03 UTC");
    }

    #[test]
    fn a_day_is_the_zones() {
        let late = 1_795_303_800_000; // 2026-11-21 23:30 UTC
        assert_eq!(local_day(late, &TimeZone::UTC).to_string(), "2026-11-21");
        assert_eq!(local_day(late, &zone(Some("Europe/Berlin"))).to_string(), "2026-11-22");
    }

    #[test]
    fn a_zone_without_a_name_is_told_by_its_offset_and_no_time_is_too_odd() {
        let fixed = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(local_time(0, &fixed), "1970-01-01 02:00 +02:00");
        assert!(local_time(i64::MAX, &TimeZone::UTC).starts_with("9999-12-3"));
        assert!(local_time(i64::MIN, &TimeZone::UTC).ends_with("UTC"));
    }
}
