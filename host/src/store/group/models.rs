//! The models that the provider knows, and a session's choice among them.

use cofferdam_protocol::ids::SessionId;
use cofferdam_protocol::runner::{Model, TurnOptions};
use rusqlite::{Savepoint, params};

use crate::model::setting::{Origin, Setting};
use crate::store::StoreError;

/// What a session has when nobody chose in its chat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inherited {
    /// The model, from the group or the account.
    pub model: Option<(String, Origin)>,
    /// The effort, from the group.
    pub effort: Option<String>,
    /// The accounts that may serve it, by preference.
    pub accounts: Vec<String>,
}

/// What was chosen in the chat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The model.
    pub model: Option<String>,
    /// The effort.
    pub effort: Option<String>,
    /// The account.
    pub account: Option<String>,
}

/// Keeps what the provider knows, if it said so and it changed.
pub(super) fn keep_models(tx: &Savepoint<'_>, models: &[Model]) -> Result<(), StoreError> {
    if models.is_empty() || read_models(tx)? == models {
        return Ok(());
    }
    tx.execute("DELETE FROM models", [])?;
    let mut insert = tx.prepare_cached(
        "INSERT OR IGNORE INTO models (position, name, efforts, default_effort, is_default) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (position, model) in models.iter().enumerate() {
        let efforts = serde_json::Value::from(model.efforts.clone()).to_string();
        insert.execute(params![position, model.name, efforts, model.default_effort, model.default])?;
    }
    Ok(())
}

/// What the provider knows, best first.
pub(super) fn read_models(tx: &Savepoint<'_>) -> Result<Vec<Model>, StoreError> {
    let mut statement =
        tx.prepare_cached("SELECT name, efforts, default_effort, is_default FROM models ORDER BY position")?;
    let rows = statement.query_map([], |row| {
        let efforts: String = row.get(1)?;
        Ok(Model {
            name: row.get(0)?,
            efforts: serde_json::from_str(&efforts).unwrap_or_default(),
            default_effort: row.get(2)?,
            default: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What was chosen in the chat.
pub(super) fn chosen(tx: &Savepoint<'_>, session: &SessionId) -> Result<Chosen, StoreError> {
    Ok(tx
        .prepare_cached("SELECT model, effort, account FROM sessions WHERE id = ?1")?
        .query_row([session.as_str()], |row| {
            Ok(Chosen { model: row.get(0)?, effort: row.get(1)?, account: row.get(2)? })
        })?)
}

/// How the model stands.
pub(super) fn model_setting(models: &[Model], chosen: &Chosen, inherited: &Inherited) -> Setting {
    let here = chosen.model.clone().map(|name| (name, Origin::Chat));
    let (now, origin) = match here.or_else(|| inherited.model.clone()) {
        Some((name, origin)) => (Some(name), origin),
        None => (models.iter().find(|model| model.default).map(|model| model.name.clone()), Origin::Provider),
    };
    Setting { what: "model", now, origin, known: models.iter().map(|model| model.name.clone()).collect() }
}

/// How the effort stands.
pub(super) fn effort_setting(models: &[Model], chosen: &Chosen, inherited: &Inherited) -> Setting {
    let model = current(models, chosen, inherited);
    let known = model.map(|model| model.efforts.clone()).unwrap_or_default();
    let inherited = inherited.effort.clone().filter(|effort| takes(&known, effort));
    let (now, origin) = match (chosen.effort.clone(), inherited) {
        (Some(effort), _) => (Some(effort), Origin::Chat),
        (None, Some(effort)) => (Some(effort), Origin::Group),
        (None, None) => (model.and_then(|model| model.default_effort.clone()), Origin::Provider),
    };
    Setting { what: "effort", now, origin, known }
}

/// Whether a model with these efforts takes it; one whose efforts are not known is asked.
pub(super) fn takes(known: &[String], effort: &str) -> bool {
    known.is_empty() || known.iter().any(|known| known == effort)
}

fn current<'m>(models: &'m [Model], chosen: &Chosen, inherited: &Inherited) -> Option<&'m Model> {
    let now = model_setting(models, chosen, inherited).now?;
    models.iter().find(|model| model.name == now)
}

/// Model and effort of the next turn. What the provider would choose by itself is left to it.
pub(super) fn options(
    tx: &Savepoint<'_>,
    session: &SessionId,
    inherited: &Inherited,
) -> Result<TurnOptions, StoreError> {
    let (models, chosen) = (read_models(tx)?, chosen(tx, session)?);
    let named = |setting: Setting| setting.now.filter(|_| setting.origin != Origin::Provider);
    Ok(TurnOptions {
        model: named(model_setting(&models, &chosen, inherited)),
        effort: named(effort_setting(&models, &chosen, inherited)),
        output_schema: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models() -> Vec<Model> {
        let model = |name: &str, efforts: &[&str], default| Model {
            name: name.into(),
            efforts: efforts.iter().map(|&effort| effort.into()).collect(),
            default_effort: efforts.first().map(|&effort| effort.into()),
            default,
        };
        vec![model("sol", &["low", "ultra"], true), model("luna", &["low", "high"], false)]
    }

    #[test]
    fn the_chats_choice_is_before_the_groups_and_that_before_the_providers() {
        let inherited = Inherited { model: Some(("luna".into(), Origin::Group)), ..Inherited::default() };
        let chosen = Chosen { model: Some("sol".into()), ..Chosen::default() };
        let origin = |chosen: &Chosen, inherited: &Inherited| {
            let setting = model_setting(&models(), chosen, inherited);
            (setting.now.unwrap(), setting.origin)
        };
        assert_eq!(origin(&chosen, &inherited), ("sol".into(), Origin::Chat));
        assert_eq!(origin(&Chosen::default(), &inherited), ("luna".into(), Origin::Group));
        assert_eq!(origin(&Chosen::default(), &Inherited::default()), ("sol".into(), Origin::Provider));
    }

    #[test]
    fn the_groups_effort_is_left_out_for_a_model_that_does_not_take_it() {
        let inherited = Inherited { effort: Some("ultra".into()), ..Inherited::default() };
        let on = |model: &str| Chosen { model: Some(model.into()), ..Chosen::default() };
        assert_eq!(effort_setting(&models(), &on("sol"), &inherited).origin, Origin::Group);
        assert_eq!(effort_setting(&models(), &on("luna"), &inherited).now.as_deref(), Some("low"));
        assert_eq!(effort_setting(&models(), &on("own"), &inherited).now.as_deref(), Some("ultra"), "nobody knows");
    }
}
