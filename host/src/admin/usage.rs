//! What model calls cost, and what became of the newest.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use cofferdam_protocol::admin::{ErrorKind, MAX_ACTIVITY, ModelCall, UsageBy, UsageReport, UsageRow, UsageSum};
use cofferdam_protocol::ids::Folder;
use jiff::civil::Date;
use jiff::{Span, tz::TimeZone};
use serde::Deserialize;

use super::Admin;
use super::answers::{Answer, load, parse, registered};
use super::error::Failed;
use crate::config::zone::{local_day, zone};
use crate::store::group::usage::CallRow;
use crate::store::{now_ms, rfc3339};

/// Calls that are shown when nobody says how many.
const FEW: u32 = 20;

#[derive(Deserialize)]
pub(super) struct UsageQuery {
    group: Option<String>,
    by: Option<UsageBy>,
    /// The first day.
    since: Option<String>,
    /// So many days, today with them.
    days: Option<u32>,
}

/// The days that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Days {
    All,
    Since(Date),
    Last(u32),
}

impl Days {
    /// The first, where people live in this zone.
    fn first(self, now: i64, zone: &TimeZone) -> Option<Date> {
        match self {
            Self::All => None,
            Self::Since(day) => Some(day),
            Self::Last(days) => {
                let back = Span::new().try_days(i64::from(days.saturating_sub(1))).ok();
                // Before the calendar's beginning there is nothing.
                back.and_then(|back| local_day(now, zone).checked_sub(back).ok())
            }
        }
    }
}

pub(super) async fn usage(State(admin): State<Arc<Admin>>, Query(query): Query<UsageQuery>) -> Answer<UsageReport> {
    let days = match (query.since, query.days) {
        (Some(_), Some(_)) => {
            return Err(Failed::new(ErrorKind::Usage, "both days and a first day are named", "name one of them"));
        }
        (Some(day), None) => Days::Since(day_of(&day)?),
        (None, Some(days)) => Days::Last(days),
        (None, None) => Days::All,
    };
    let by = query.by.unwrap_or(if query.group.is_some() { UsageBy::Day } else { UsageBy::Group });
    admin.gateway.settle().await;
    let mut sums = Sums::default();
    if let Some(folder) = &query.group {
        let folder = registered(&admin, &parse(folder)?).await?.folder;
        add_usage(&admin, &folder, by, days, &mut sums).await?;
    } else {
        for row in admin.stores.central().groups().await? {
            if let Err(Failed(error)) = add_usage(&admin, &row.folder, by, days, &mut sums).await {
                // One group's trouble does not hide what the others cost.
                tracing::warn!(group = %row.folder, error = %error.message, "its usage cannot be read");
            }
        }
    }
    let since = days.first(now_ms(), &zone(None)).map(|day| day.to_string());
    Ok(Json(sums.report(by, since)))
}

fn day_of(text: &str) -> Result<Date, Failed> {
    text.parse().map_err(|_| Failed::new(ErrorKind::Usage, "the first day is no day", "write it like 2026-11-21"))
}

/// A group that was never talked to has no database, and gets none by being looked at.
async fn add_usage(admin: &Admin, folder: &Folder, by: UsageBy, days: Days, sums: &mut Sums) -> Result<(), Failed> {
    if !admin.home.has_state(folder) {
        return Ok(());
    }
    let people = load(admin, folder).await.map_or_else(|_| zone(None), |loaded| loaded.config.zone());
    let first = days.first(now_ms(), &people).map(|day| day.to_string());
    let rows = admin.stores.group(folder).await?.usage(by, first).await?;
    rows.into_iter().for_each(|row| sums.add(by, folder, row));
    Ok(())
}

/// Lines of several groups; those of one account, model or day are one line.
#[derive(Default)]
struct Sums(BTreeMap<(String, String), UsageRow>);

impl Sums {
    fn add(&mut self, by: UsageBy, folder: &Folder, mut row: UsageRow) {
        if matches!(by, UsageBy::Group | UsageBy::Session) {
            row.group = Some(folder.clone());
        }
        let text = |value: Option<String>| value.unwrap_or_default();
        let within = text(row.session.as_ref().map(ToString::to_string));
        let key = match by {
            UsageBy::Group | UsageBy::Session => folder.to_string(),
            UsageBy::Account => text(row.account.as_ref().map(ToString::to_string)),
            UsageBy::Model => text(row.model.clone()),
            UsageBy::Day => text(row.day.clone()),
        };
        let sum = row.sum;
        let line = self.0.entry((key, within)).or_insert(UsageRow { sum: UsageSum::default(), ..row });
        line.sum.add(&sum);
    }

    fn report(self, by: UsageBy, since: Option<String>) -> UsageReport {
        let rows: Vec<UsageRow> = self.0.into_values().collect();
        let mut total = UsageSum::default();
        rows.iter().for_each(|row| total.add(&row.sum));
        UsageReport { by, since, rows, total }
    }
}

#[derive(Deserialize)]
pub(super) struct ActivityQuery {
    limit: Option<u32>,
}

pub(super) async fn activity(
    State(admin): State<Arc<Admin>>,
    Path(folder): Path<String>,
    Query(query): Query<ActivityQuery>,
) -> Answer<Vec<ModelCall>> {
    let folder = registered(&admin, &parse(&folder)?).await?.folder;
    if !admin.home.has_state(&folder) {
        return Ok(Json(Vec::new()));
    }
    admin.gateway.settle().await;
    let limit = query.limit.unwrap_or(FEW).min(MAX_ACTIVITY);
    let calls = admin.stores.group(&folder).await?.activity(limit).await?;
    Ok(Json(calls.into_iter().map(view).collect()))
}

fn view(call: CallRow) -> ModelCall {
    ModelCall {
        at: rfc3339(call.at),
        session: call.session,
        account: call.account,
        missed: call.missed,
        model: call.model,
        route: call.route,
        outcome: call.outcome,
        why: call.why,
        millis: call.millis,
        tokens: call.tokens,
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::admin::Tokens;

    use super::*;

    #[test]
    fn the_last_days_end_with_today_where_the_group_is() {
        let late = 1_795_303_800_000; // 2026-11-21 23:30 UTC
        let berlin = zone(Some("Europe/Berlin"));
        let first = |days: Days, zone: &TimeZone| days.first(late, zone).map(|day| day.to_string());
        assert_eq!(first(Days::Last(1), &berlin).as_deref(), Some("2026-11-22"));
        assert_eq!(first(Days::Last(1), &TimeZone::UTC).as_deref(), Some("2026-11-21"));
        assert_eq!(first(Days::Last(7), &TimeZone::UTC).as_deref(), Some("2026-11-15"));
        assert_eq!(first(Days::Last(u32::MAX), &TimeZone::UTC), None);
        assert_eq!(first(Days::All, &TimeZone::UTC), None);
    }

    #[test]
    fn one_account_of_two_groups_is_one_line_and_their_sessions_are_two() {
        let row = |input_tokens| UsageRow {
            account: Some("work".parse().unwrap()),
            sum: UsageSum { calls: 1, tokens: Tokens { input_tokens, ..Tokens::default() } },
            ..UsageRow::default()
        };
        let both = |by| {
            let mut sums = Sums::default();
            sums.add(by, &"a".parse().unwrap(), row(5));
            sums.add(by, &"b".parse().unwrap(), row(7));
            sums.report(by, None)
        };
        let accounts = both(UsageBy::Account);
        assert_eq!((accounts.rows.len(), accounts.rows[0].sum.tokens.input_tokens), (1, 12));
        let groups = both(UsageBy::Group);
        assert_eq!((groups.rows.len(), groups.total), (2, accounts.total));
    }
}
