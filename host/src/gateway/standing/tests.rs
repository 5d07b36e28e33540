use PoolStrategy::{PrimaryFirst, PriorityOrder, QuotaAware, RoundRobin};
use http::StatusCode;
use proptest::prelude::*;

use super::super::rate_limits::Window;
use super::*;

fn name(text: &str) -> AccountName {
    text.parse().unwrap()
}

fn session(number: usize) -> SessionId {
    format!("{number:032x}").parse().unwrap()
}

fn pool(strategy: PoolStrategy) -> Pool {
    Pool::new(&name("own"), strategy, &[name("a"), name("b")]).unwrap()
}

fn at(time: i64) -> Now {
    Now { wall: time, steady: time }
}

fn order(standings: &Standings, pool: &Pool, of: usize, now: i64) -> String {
    order_for(standings, pool, of, None, at(now))
}

fn order_for(standings: &Standings, pool: &Pool, of: usize, model: Option<&str>, now: Now) -> String {
    let order = standings.order(pool, &session(of), model, now);
    let names: Vec<String> = order.ask.iter().map(AccountName::to_string).collect();
    match order.limited_until().filter(|_| names.is_empty()) {
        Some(until) => format!("not before {until}"),
        None => names.join(" "),
    }
}

fn came(miss: Option<Miss>) -> Came<'static> {
    Came { generation: 0, model: None, miss, limits: None, served: miss.is_none() }
}

fn limited(until: Option<i64>) -> Came<'static> {
    came(Some(Miss::Limited { until, whole: true }))
}

fn told(used_percent: f64, resets_at: i64) -> Came<'static> {
    let window = Window { name: "primary", used_percent, minutes: None, resets_at: Some(resets_at) };
    Came { limits: Some(RateLimits { windows: vec![window], seen_at: 0 }), ..came(None) }
}

#[test]
fn what_an_old_credential_met_late_is_not_the_new_ones() {
    let (standings, pool) = (Standings::default(), pool(PriorityOrder));
    let before = standings.generation(&name("own"));
    standings.forget(&name("own"));
    let late = |generation| Came { generation, ..limited(Some(500)) };
    standings.note(&name("own"), &session(1), late(before), at(0));
    assert_eq!(order(&standings, &pool, 1, 0), "own a b");
    standings.note(&name("own"), &session(1), late(standings.generation(&name("own"))), at(0));
    assert_eq!(order(&standings, &pool, 1, 0), "a b");
    assert_eq!(standings.order(&pool, &session(1), None, at(0)).limited, [(name("own"), 500)]);
}

#[test]
fn each_strategy_has_its_order_for_new_sessions() {
    for (strategy, orders) in [
        (PriorityOrder, ["own a b"; 3]),
        (PrimaryFirst, ["own a b", "own b a", "own a b"]),
        (RoundRobin, ["own a b", "a b own", "b own a"]),
        (QuotaAware, ["own a b"; 3]),
    ] {
        let (standings, pool) = (Standings::default(), pool(strategy));
        let got: Vec<String> = (0..3).map(|of| order(&standings, &pool, of, 0)).collect();
        assert_eq!(got, orders, "{strategy:?}");
    }
}

#[test]
fn the_largest_share_that_is_left_goes_first_and_is_whole_after_its_reset() {
    let (standings, pool) = (Standings::default(), pool(QuotaAware));
    standings.note(&name("own"), &session(9), told(60.0, 100), at(0));
    standings.note(&name("a"), &session(9), told(20.0, 900), at(0));
    standings.note(&name("b"), &session(9), told(90.0, 50), at(0));
    assert_eq!(order(&standings, &pool, 1, 0), "a own b");
    assert_eq!(order(&standings, &pool, 2, 50), "b a own");
    assert_eq!(order(&standings, &pool, 3, 100), "own b a", "both are whole, and their own order counts");
}

#[test]
fn a_session_stays_with_its_account_while_that_serves_and_it_makes_calls() {
    let (standings, pool) = (Standings::default(), pool(RoundRobin));
    standings.note(&name("b"), &session(1), came(None), at(0));
    assert_eq!(order(&standings, &pool, 1, STAYS - 1), "b own a");
    assert_eq!(order(&standings, &pool, 2, 0), "own a b", "others go round, and it took no turn");
    assert_eq!(order(&standings, &pool, 1, STAYS), "a b own", "it left");
    standings.note(&name("b"), &session(1), came(Some(Miss::Failing(StatusCode::BAD_GATEWAY))), at(10));
    assert_eq!(order(&standings, &pool, 1, 10), "own a b", "what failed is the last");
    assert_eq!(order(&standings, &pool, 1, 10 + FAILED), "b own a");
}

#[test]
fn whoever_is_at_its_limit_is_not_asked_before_the_reset() {
    let (standings, pool) = (Standings::default(), pool(PriorityOrder));
    standings.note(&name("own"), &session(1), limited(Some(5_000)), at(0));
    assert_eq!(order(&standings, &pool, 1, 4_999), "a b");
    assert_eq!(order(&standings, &pool, 1, 5_000), "own a b");
    for account in ["a", "b"] {
        standings.note(&name(account), &session(1), limited(None), at(0));
    }
    assert_eq!(order(&standings, &pool, 1, 10), "not before 5000");
    standings.forget(&name("a"));
    assert_eq!(order(&standings, &pool, 1, 10), "a", "another credential");
    let alone = Pool::alone(name("b"));
    assert_eq!(order(&standings, &alone, 1, 10), "b", "its vendor says it itself");
}

#[test]
fn a_limit_of_one_model_is_no_other_models_and_what_is_no_answer_ends_no_limit() {
    let (standings, pool) = (Standings::default(), pool(PriorityOrder));
    let of = |model| Came { model: Some(model), ..came(Some(Miss::Limited { until: Some(500), whole: false })) };
    standings.note(&name("own"), &session(1), of("large"), at(0));
    assert_eq!(order_for(&standings, &pool, 1, Some("large"), at(0)), "a b");
    assert_eq!(order_for(&standings, &pool, 1, Some("small"), at(0)), "own a b");
    standings.note(&name("own"), &session(1), limited(Some(90_000)), at(0));
    standings.note(&name("own"), &session(1), came(Some(Miss::Unreachable)), at(0));
    standings.note(&name("own"), &session(1), Came { served: false, ..came(None) }, at(0));
    assert_eq!(order(&standings, &pool, 1, 89_999), "a b", "a list of models, and a shorter miss");
    standings.note(&name("own"), &session(1), came(None), at(1));
    assert_eq!(order(&standings, &pool, 2, 1), "own a b", "it served");
    for number in 0..40 {
        let model = format!("m{number}");
        let miss = Some(Miss::Limited { until: Some(500), whole: false });
        standings.note(&name("own"), &session(1), Came { model: Some(&model), ..came(miss) }, at(1));
    }
    assert_eq!(standings.state().accounts[&name("own")].models.len(), MODELS);
}

#[test]
fn a_clock_that_is_set_makes_no_pause_longer() {
    let (standings, pool) = (Standings::default(), pool(PriorityOrder));
    standings.note(&name("own"), &session(1), limited(None), Now { wall: 86_400_000, steady: 0 });
    assert_eq!(order_for(&standings, &pool, 1, None, Now { wall: 0, steady: LIMITED }), "own a b");
}

fn miss() -> impl Strategy<Value = Option<Miss>> {
    prop_oneof![
        Just(None),
        (0_i64..50_000).prop_map(|until| Some(Miss::Limited { until: Some(until), whole: true })),
        Just(Some(Miss::Unreachable)),
        Just(Some(Miss::NoCredential)),
    ]
}

proptest! {
    /// Whatever happened: nobody is asked twice or for nothing, nobody at its limit is asked, and nobody else is left out.
    #[test]
    fn an_order_has_everybody_who_may_be_asked_once(
        strategy in prop::sample::select(vec![PriorityOrder, PrimaryFirst, RoundRobin, QuotaAware]),
        events in prop::collection::vec((0_usize..3, 0_usize..4, miss(), 0_i64..40_000), 0..40),
    ) {
        let (standings, pool) = (Standings::default(), pool(strategy));
        let mut now = 0;
        for (account, of, miss, pause) in events {
            now += pause;
            standings.note(&pool.accounts[account], &session(of), came(miss), at(now));
            let cools = |account: &AccountName| standings.cooling(account, None, at(now));
            let is_limited = |account: &AccountName| {
                cools(account).is_some_and(|cooling| matches!(cooling.miss, Miss::Limited { .. }))
            };
            let mut may: Vec<AccountName> = pool.accounts.iter().filter(|a| !is_limited(a)).cloned().collect();
            let Order { mut ask, limited } = standings.order(&pool, &session(of), None, at(now));
            prop_assert!(ask.is_sorted_by_key(|account| cools(account).is_some()), "who failed comes last");
            prop_assert_eq!(limited.len(), pool.accounts.len() - may.len());
            prop_assert!(limited.iter().all(|(_, until)| *until > now));
            ask.sort();
            may.sort();
            prop_assert_eq!(ask, may);
        }
    }
}
