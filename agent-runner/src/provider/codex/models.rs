//! The models that codex knows, and what "the default" means for a thread that keeps what it was told.
//!
//! Model and effort that a turn names stay for all later turns of its thread, over a resume too, and codex has no
//! word for "none". So the default is said by its name, once something else was set.

use std::time::Duration;

use cofferdam_protocol::runner::{Model, TurnOptions};
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::protocol::ThreadAnswer;
use super::{method, told};

/// How long the list may take; a start does not fail for it.
const LIMIT: Duration = Duration::from_secs(5);

/// What codex knows of models.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// Those that people may choose, best first.
    listed: Vec<Model>,
    /// What threads begin with when they are not told otherwise.
    default: Option<String>,
}

/// What codex knows of models, and what its thread was told.
#[derive(Debug, Default)]
pub struct Models {
    catalogue: Catalogue,
    /// What the thread's next turn uses.
    model: Option<String>,
    /// What was set for it; none when nothing ever was.
    effort: Option<String>,
}

/// What a turn says of its model; none keeps what the thread has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The model.
    pub model: Option<String>,
    /// The effort.
    pub effort: Option<String>,
}

impl Catalogue {
    /// Asks a process that has just begun; `configured` is the model that the settings name.
    pub async fn ask(client: &Client, configured: Option<&str>) -> Self {
        let all = client.request::<ModelsAnswer>(method::MODEL_LIST, &NoParams {}, LIMIT);
        let config = client.request::<ConfigAnswer>(method::CONFIG_READ, &NoParams {}, LIMIT);
        let (all, config) = tokio::join!(all, config);
        let all = all.unwrap_or_else(|error| {
            tracing::warn!(error = told(&error), "the models are not known");
            ModelsAnswer { data: Vec::new() }
        });
        let config = config.map(|answer| answer.config.model).unwrap_or_else(|error| {
            tracing::warn!(error = told(&error), "codex's configuration is not known");
            None
        });
        let of_catalogue = || all.data.iter().find(|model| model.is_default).map(|model| model.model.clone());
        let default = configured.map(str::to_owned).or(config).or_else(of_catalogue);
        let listed = all.data.into_iter().filter(|model| !model.hidden).map(model).collect();
        Self { listed, default }
    }
}

impl Models {
    /// Takes in what a process that has just begun knows. One that said nothing leaves what was known.
    pub fn know(&mut self, catalogue: Catalogue) {
        if !catalogue.listed.is_empty() {
            self.catalogue = catalogue;
        }
    }

    /// Those that people may choose, best first; empty when codex did not say.
    pub fn listed(&self) -> &[Model] {
        &self.catalogue.listed
    }

    /// Takes in what a thread that was opened has.
    pub fn opened(&mut self, thread: &ThreadAnswer) {
        self.model.clone_from(&thread.model);
        self.effort.clone_from(&thread.reasoning_effort);
    }

    /// What to say for a turn with these options. The thread keeps it.
    pub fn choose(&mut self, options: &TurnOptions) -> Choice {
        let Catalogue { listed, default } = &self.catalogue;
        let model = options.model.clone().or_else(|| default.clone().filter(|_| self.model != *default));
        let runs = model.as_ref().or(self.model.as_ref());
        let own = listed.iter().find(|known| Some(&known.name) == runs);
        let own = own.and_then(|known| known.default_effort.clone());
        let changed = model.is_some() && model != self.model;
        let effort = match (&options.effort, &self.effort) {
            (Some(named), _) => Some(named.clone()),
            // Never set, and the model's own is in force.
            (None, None) if !changed => None,
            (None, set) => own.filter(|own| Some(own) != set.as_ref()),
        };
        if options.effort.is_none() && effort.is_none() && self.effort.is_some() && changed {
            tracing::info!(
                model,
                effort = self.effort,
                "this model's default effort is not known; it keeps the set one"
            );
        }
        self.model = model.clone().or(self.model.take());
        self.effort = effort.clone().or(self.effort.take());
        Choice { model, effort }
    }
}

fn model(listed: ListedModel) -> Model {
    Model {
        name: listed.model,
        efforts: listed.supported_reasoning_efforts.into_iter().map(|effort| effort.reasoning_effort).collect(),
        default_effort: Some(listed.default_reasoning_effort),
        default: listed.is_default,
    }
}

/// Parameters of [`method::MODEL_LIST`] and [`method::CONFIG_READ`]: all of it.
#[derive(Debug, Serialize)]
pub struct NoParams {}

/// The answer to [`method::MODEL_LIST`].
#[derive(Debug, Deserialize)]
pub struct ModelsAnswer {
    /// The models, best first.
    pub data: Vec<ListedModel>,
}

/// A model of codex's catalogue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedModel {
    /// Its name.
    pub model: String,
    /// Whether it is not meant to be chosen.
    pub hidden: bool,
    /// The efforts that it takes, least first.
    pub supported_reasoning_efforts: Vec<ListedEffort>,
    /// What it uses when none is named.
    pub default_reasoning_effort: String,
    /// Whether codex uses it when none is named.
    pub is_default: bool,
}

/// An effort of a model.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedEffort {
    /// Its name.
    pub reasoning_effort: String,
}

/// The answer to [`method::CONFIG_READ`].
#[derive(Debug, Deserialize)]
pub struct ConfigAnswer {
    /// What the configuration's layers come to.
    pub config: EffectiveConfig,
}

/// The part of the configuration that is read.
#[derive(Debug, Deserialize)]
pub struct EffectiveConfig {
    /// The model of threads for which none is named.
    pub model: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(model: Option<&str>, effort: Option<&str>) -> Models {
        let known = |name: &str, effort: &str| Model {
            name: name.into(),
            efforts: vec!["low".into(), "high".into()],
            default_effort: Some(effort.into()),
            default: name == "one",
        };
        let listed = vec![known("one", "low"), known("two", "medium")];
        Models {
            catalogue: Catalogue { listed, default: Some("one".into()) },
            model: model.map(str::to_owned),
            effort: effort.map(str::to_owned),
        }
    }

    fn choose(models: &mut Models, model: Option<&str>, effort: Option<&str>) -> (Option<String>, Option<String>) {
        let (model, effort) = (model.map(str::to_owned), effort.map(str::to_owned));
        let choice = models.choose(&TurnOptions { model, effort, output_schema: None });
        (choice.model, choice.effort)
    }

    fn said(model: Option<&str>, effort: Option<&str>) -> (Option<String>, Option<String>) {
        (model.map(str::to_owned), effort.map(str::to_owned))
    }

    #[test]
    fn a_thread_that_was_told_nothing_is_left_as_it_is() {
        assert_eq!(choose(&mut models(Some("one"), None), None, None), said(None, None));
        assert_eq!(choose(&mut Models::default(), None, None), said(None, None));
    }

    #[test]
    fn the_default_is_said_by_its_name_after_something_else() {
        let mut models = models(Some("one"), None);
        assert_eq!(choose(&mut models, Some("two"), Some("high")), said(Some("two"), Some("high")));
        assert_eq!(choose(&mut models, Some("two"), Some("high")), said(Some("two"), Some("high")), "each turn");
        assert_eq!(choose(&mut models, Some("two"), None), said(Some("two"), Some("medium")));
        assert_eq!(choose(&mut models, None, None), said(Some("one"), Some("low")));
        assert_eq!(choose(&mut models, None, None), said(None, None));
    }

    #[test]
    fn what_a_resumed_thread_kept_is_taken_back() {
        assert_eq!(choose(&mut models(Some("two"), Some("high")), None, None), said(Some("one"), Some("low")));
        assert_eq!(choose(&mut models(Some("one"), Some("high")), None, None), said(None, Some("low")));
    }

    #[test]
    fn another_model_gets_its_own_effort_and_an_unknown_one_none() {
        assert_eq!(choose(&mut models(Some("one"), None), Some("two"), None), said(Some("two"), Some("medium")));
        assert_eq!(choose(&mut models(Some("one"), Some("low")), Some("own"), None), said(Some("own"), None));
    }
}
