use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn is_due(tokens: &Tokens) -> bool {
    super::is_due(tokens, AHEAD)
}

fn tokens(claims: &Value, came: Timestamp) -> Tokens {
    Tokens {
        id_token: "i".into(),
        access_token: format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims.to_string())).into(),
        refresh_token: "r".into(),
        account_id: None,
        last_refresh: came,
    }
}

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_second(now().as_second() - seconds).unwrap()
}

#[test]
fn tokens_are_due_five_minutes_before_their_end() {
    let of = |left: i64| tokens(&json!({"exp": now().as_second() + left}), ago(0));
    assert!(is_due(&of(-1)) && is_due(&of(299)) && !is_due(&of(330)));
    assert!(has_ended(&of(-1)) && !has_ended(&of(30)));
}

#[test]
fn tokens_that_do_not_say_when_they_end_are_due_after_eight_days() {
    let day = 24 * 3600;
    assert!(is_due(&tokens(&json!({}), ago(8 * day + 1))) && !is_due(&tokens(&json!({}), ago(8 * day - 60))));
    assert!(is_due(&tokens(&json!({}), Timestamp::UNIX_EPOCH)));
    assert!(!has_ended(&tokens(&json!({}), Timestamp::UNIX_EPOCH)), "nobody knows");
}

#[test]
fn a_clock_that_is_days_off_does_not_make_fresh_tokens_due() {
    for off in [-3 * 24 * 3600, 3 * 24 * 3600] {
        let issued = now().as_second() + off;
        let fresh = tokens(&json!({"iat": issued, "exp": issued + 3600}), ago(0));
        assert!(!is_due(&fresh) && !has_ended(&fresh), "{off}");
        let old = tokens(&json!({"iat": issued, "exp": issued + 3600}), ago(3601));
        assert!(is_due(&old) && has_ended(&old), "{off}");
    }
}

proptest! {
    /// However short they live.
    #[test]
    fn fresh_tokens_are_never_due(lives in 4i64..100_000_000) {
        let issued = now().as_second();
        let due = is_due(&tokens(&json!({"iat": issued, "exp": issued + lives}), ago(0)));
        prop_assert!(!due);
    }

    #[test]
    fn no_claims_make_it_fail(exp in any::<i64>(), iat in any::<i64>(), came in -377_705_023_201i64..=253_402_207_200) {
        let came = Timestamp::from_second(came).unwrap();
        let found = tokens(&json!({"exp": exp, "iat": iat}), came);
        let _ = (is_due(&found), has_ended(&found));
    }
}
