//! Who stands in for whom.

use cofferdam_protocol::admin::PoolStrategy;

use super::*;
use crate::config::pool::GroupPool;
use crate::gateway::answer::Miss;
use crate::gateway::standing::Came;

impl Fixture {
    /// Accounts with the key that their name says, the first of which owns a pool with the others.
    async fn pool(strategy: PoolStrategy, names: &[&str]) -> Self {
        let f = Self::new().await;
        for account in names {
            f.login(account, &format!("{account}-key")).await;
        }
        let members: Vec<AccountName> = names[1..].iter().map(|member| name(member)).collect();
        f.accounts.put_pool(&name(names[0]), strategy, &members).await.unwrap();
        f
    }

    /// The keys that a call of this session shows, one after the other, and what it gets.
    async fn keys(&self, session: u8) -> (String, u16) {
        let before = self.endpoint.seen.lock().unwrap().len();
        let (status, _) = self.call_of(session, Serving::default()).await;
        let seen = self.endpoint.seen.lock().unwrap()[before..].to_vec();
        let keys: Vec<_> =
            seen.iter().map(|key| key["Bearer ".len()..].trim_end_matches("-key").to_owned()).collect();
        (keys.join(" "), status)
    }
}

#[tokio::test]
async fn the_next_one_serves_the_same_call_and_the_session_stays_with_it() {
    let f = Fixture::pool(PoolStrategy::PriorityOrder, &["limited", "failing", "wrong", "good"]).await;
    assert_eq!(f.keys(1).await, ("limited failing wrong good".into(), 200));
    assert_eq!(f.keys(1).await, ("good".into(), 200));
    assert_eq!(f.keys(2).await, ("good".into(), 200), "those that failed are not tried first");
    let limited = f.accounts.list().await.into_iter().find(|shown| shown.name == name("limited")).unwrap();
    let (until, why) = limited.cooling.unwrap();
    let left = until - now_ms();
    assert!((0..=30_000).contains(&left) && why.contains("429"), "as long as the vendor says: {left} ms, {why}");
    assert!((limited.limits.unwrap().windows[0].used_percent - 100.0).abs() < 1e-9);
    f.login("limited", "other-key").await;
    assert_eq!(f.keys(3).await, ("other".into(), 200), "another credential counts at once");
}

#[tokio::test]
async fn when_all_are_at_their_limit_it_is_said_until_when_and_nobody_is_asked() {
    let f = Fixture::pool(PoolStrategy::PrimaryFirst, &["limited", "half"]).await;
    f.login("half", "limited-key ").await;
    f.accounts.remove_pool(&name("limited")).await.unwrap();
    let same = f.accounts.put_pool(&name("limited"), PoolStrategy::RoundRobin, &[name("half")]).await.unwrap_err();
    assert!(matches!(same, AccountError::OneTwice(..)), "{same}");
    f.login("half", "half-key").await;
    f.accounts.put_pool(&name("limited"), PoolStrategy::PrimaryFirst, &[name("half")]).await.unwrap();
    let miss = Some(Miss::Limited { until: Some(now_ms() + 90_000), whole: true });
    let came = Came {
        generation: f.accounts.inner.standings.generation(&name("half")),
        model: None,
        miss,
        limits: None,
        served: false,
    };
    f.accounts.inner.standings.note(&name("half"), &"0".repeat(32).parse().unwrap(), came, f.accounts.now());
    assert_eq!(f.keys(1).await, ("limited".into(), 429), "the vendor's own refusal");
    let before = f.endpoint.seen.lock().unwrap().len();
    let (status, body) = f.call_of(1, Serving::default()).await;
    let error = &serde_json::from_str::<serde_json::Value>(&body).unwrap()["error"];
    assert_eq!((status, error["code"].as_str()), (429, Some("rate_limit_exceeded")), "it passes soon");
    let resets = error["resets_at"].as_i64().unwrap() * 1000 - now_ms();
    assert!((0..=32_000).contains(&resets), "{body}");
    assert_eq!(f.endpoint.seen.lock().unwrap().len(), before);
}

#[tokio::test]
async fn the_refusal_that_passes_by_itself_is_the_answer() {
    let f = Fixture::pool(PoolStrategy::PriorityOrder, &["limited", "wrong"]).await;
    assert_eq!(f.keys(1).await, ("limited wrong".into(), 429), "and not the 401 of the last");
    assert_eq!(f.keys(1).await, ("wrong".into(), 429), "also while that is not asked");
    let until = f.gateway.limited_until(&caller(1, Serving::default())).expect("one is at its limit");
    assert!((0..=31_000).contains(&(until - now_ms())), "its end is known, whatever is wrong with the other");
    f.login("limited", "good-key").await;
    assert_eq!(f.gateway.limited_until(&caller(1, Serving::default())), None);
}

#[tokio::test]
async fn a_call_that_makes_one_vendor_fail_after_the_other_ends_with_the_third() {
    let f = Fixture::new().await;
    let names = ["failing", "b", "c", "d", "e"];
    for account in names {
        f.login(account, "failing-key").await;
    }
    let pool = GroupPool {
        mode: crate::config::pool::PoolMode::Custom,
        strategy: PoolStrategy::PriorityOrder,
        members: names.iter().map(|member| name(member)).collect(),
    };
    let before = f.endpoint.seen.lock().unwrap().len();
    assert_eq!(f.call_of(1, Serving { account: None, pool }).await.0, 503);
    assert_eq!(f.endpoint.seen.lock().unwrap().len() - before, 3);
}

#[tokio::test]
async fn the_account_with_the_most_left_gets_the_new_session() {
    let f = Fixture::pool(PoolStrategy::QuotaAware, &["work", "half"]).await;
    assert_eq!(f.keys(1).await.0, "work", "nothing is known yet");
    assert_eq!(f.keys(2).await.0, "half", "of which nothing is known, where the other has a fifth left");
    assert_eq!(f.keys(3).await.0, "half", "a half is more than a fifth");
    assert_eq!(f.keys(1).await.0, "work", "who has an account stays");
}

#[tokio::test]
async fn a_group_has_a_pool_of_its_own_or_none() {
    let f = Fixture::pool(PoolStrategy::PriorityOrder, &["failing", "good"]).await;
    let custom = |members: &[&str]| Serving {
        account: None,
        pool: GroupPool {
            mode: crate::config::pool::PoolMode::Custom,
            members: members.iter().map(|member| name(member)).collect(),
            ..GroupPool::default()
        },
    };
    assert_eq!(f.call_of(1, custom(&[])).await.0, 503, "nobody stands in");
    f.login("half", "half-key").await;
    assert_eq!(f.call_of(1, custom(&["half"])).await, (200, "{}".into()));
    assert_eq!(f.endpoint.last(), "Bearer half-key");
    assert_eq!(f.call_of(2, custom(&["gone"])).await.0, 503, "who is not there cannot, and the last answer counts");
    assert_eq!(f.keys(3).await, ("good".into(), 200), "the others have the account's");
}

#[tokio::test]
async fn a_chat_that_chose_an_account_has_that_and_no_other() {
    let f = Fixture::pool(PoolStrategy::PriorityOrder, &["failing", "good", "half"]).await;
    let session = format!("{:032x}", 1).parse().unwrap();
    f.gateway.pin(&session, Some(name("half")));
    assert_eq!(f.keys(1).await.0, "half");
    f.gateway.pin(&session, Some(name("failing")));
    assert_eq!(f.keys(1).await, ("failing".into(), 503));
    f.login("boss", "boss-key").await;
    f.gateway.pin(&session, Some(name("boss")));
    assert_eq!(f.keys(1).await.0, "half", "who is not in the pool is not to be had");
    f.gateway.pin(&session, None);
    assert_eq!(f.keys(2).await.0, "good");
    let all: Vec<_> = f.gateway.accounts_of(&Serving::default()).iter().map(AccountName::to_string).collect();
    assert_eq!(all, ["failing", "good", "half"]);
}

#[tokio::test]
async fn what_cannot_be_a_pool_is_refused_and_changes_nothing() {
    let f = Fixture::pool(PoolStrategy::RoundRobin, &["work", "good"]).await;
    f.login("half", "half-key").await;
    let put = async |owner: &str, members: &[&str]| {
        let members: Vec<AccountName> = members.iter().map(|member| name(member)).collect();
        f.accounts.put_pool(&name(owner), PoolStrategy::RoundRobin, &members).await.unwrap_err().to_string()
    };
    for (owner, members, why) in [
        ("good", vec!["half"], "'good' is a member of the pool of 'work', and a member owns none"),
        ("half", vec!["work"], "'work' owns a pool, and who owns one is no member of another"),
        ("work", vec!["nobody"], "there is no account 'nobody'"),
        ("offline", vec!["work"], "the account 'offline' is built in"),
        ("work", vec!["offline"], "'offline' is built in and cannot be in a pool"),
        (
            "work",
            vec!["work"],
            "'work' owns the pool; only with the strategy priority_order it has a place among the members",
        ),
    ] {
        assert_eq!(put(owner, &members).await, why);
    }
    let f = f.again().await;
    let owners: Vec<_> =
        f.accounts.list().await.into_iter().filter_map(|shown| Some((shown.name, shown.pool?))).collect();
    assert_eq!(owners.len(), 1);
    assert_eq!(owners[0].1.accounts, [name("work"), name("good")]);
}
