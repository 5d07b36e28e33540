//! Whatever a channel answers: every reply of a chat arrives in order, or is dead with a dead letter.

use proptest::prelude::*;

use super::Answer::*;
use super::*;

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        3 => Just(Takes),
        1 => Just(TakesTwice),
        1 => Just(Hangs),
        1 => Just(TakesAndHangs),
        2 => Just(TakesAndBreaks),
        2 => Just(Breaks),
        2 => Just(Later(None)),
        1 => Just(Later(Some(Duration::from_millis(1)))),
        1 => Just(PauseAll(Duration::from_millis(1))),
        1 => Just(Refuses),
        1 => Just(Panics),
        1 => Just(Absent),
    ]
}

/// For each chat, for each of its replies, what the channel answers at each try.
fn scripts() -> impl Strategy<Value = Vec<Vec<Vec<Answer>>>> {
    let reply = prop::collection::vec(answer(), 0..9);
    prop::collection::vec(prop::collection::vec(reply, 1..5), 1..4)
}

/// Delivers everything; the process dies, as its lanes see it, after so many looks.
async fn play(idempotent: bool, scripts: Vec<Vec<Vec<Answer>>>, crash: usize) {
    let mut f = Fixture::new(idempotent).await;
    let mut chats = Vec::new();
    for (at, replies) in scripts.iter().enumerate() {
        let name = at.to_string();
        for (nth, answers) in replies.iter().enumerate() {
            let text = format!("{name}.{nth}");
            f.script(&text, answers);
            f.db.put_reply(&chat(&name), &text).await;
        }
        f.nudge(&name);
        chats.push(name);
    }
    for look in 0.. {
        if look == crash {
            // What it holds stays leased.
            f.delivery.inner.stop.cancel();
            f.delivery.shutdown(Duration::from_secs(60)).await;
            f.delivery = Fixture::delivery(&f.stores, &f.channel);
        }
        f.db.reply_time_passes().await;
        f.delivery.look_again();
        let mut open = false;
        for name in &chats {
            f.delivery.look(f.due(name));
            let kept = f.db.kept(&chat(name)).await;
            open |= kept.iter().any(|reply| reply.state == "pending" || reply.state == "leased");
        }
        if !open {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let shown = f.shown(0).await;
    for name in &chats {
        check(&f.db.kept(&chat(name)).await, &shown, name, idempotent);
    }
}

fn check(kept: &[Kept], shown: &[Shown], name: &str, idempotent: bool) {
    let mine: Vec<&Shown> = shown.iter().filter(|shown| shown.chat == name).collect();
    let texts: Vec<&str> = mine.iter().map(|shown| shown.text.as_str()).collect();
    assert!(texts.is_sorted(), "in order, copies beside each other: {texts:?}");
    for reply in kept {
        let copies = texts.iter().filter(|text| **text == reply.text).count();
        match reply.state.as_str() {
            "delivered" => assert!(copies >= 1 && reply.letter.is_none(), "{reply:?}: {texts:?}"),
            "dead" => assert!(reply.letter.is_some(), "{reply:?}"),
            state => panic!("{state}"),
        }
        assert!(!idempotent || copies <= 1, "{reply:?}: {texts:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn each_reply_arrives_in_order_or_has_a_dead_letter(
        idempotent in any::<bool>(), scripts in scripts(), crash in 0usize..40,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(idempotent, scripts, crash));
    }
}
