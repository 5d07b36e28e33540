//! The decision, over every combination; and the terminal's, on a real store.

use super::decide::{Decision, Fate, Listener, Said, decide};
use super::*;
use crate::model::engage::{EngageMode, Others};

/// All that a decision hangs on, in one listener's chat.
#[derive(Debug, Clone, Copy)]
struct Case {
    kind: ChatKind,
    addressed: bool,
    asks: &'static str,
    engage: EngageMode,
    fits: bool,
    goes_on: bool,
    others: Others,
    role: Option<Role>,
    policy: UnknownPolicy,
}

const TEXTS: [&str; 8] = ["hello", "/stop", "/model x", "/status", "/help", "/start", "/approve 1", "/pair X"];

fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    let roles: Vec<Option<Role>> = std::iter::once(None).chain(Role::ALL.iter().copied().map(Some)).collect();
    for &kind in ChatKind::ALL {
        for addressed in [false, true] {
            for asks in TEXTS {
                for &engage in EngageMode::ALL {
                    for (fits, goes_on) in [(false, false), (true, false), (false, true)] {
                        for &others in Others::ALL {
                            for &role in &roles {
                                for &policy in UnknownPolicy::ALL {
                                    cases.push(Case {
                                        kind,
                                        addressed,
                                        asks,
                                        engage,
                                        fits,
                                        goes_on,
                                        others,
                                        role,
                                        policy,
                                    });
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    cases
}

fn decided(case: Case) -> Decision {
    let asks = Asks::parse(case.asks);
    let said = Said { kind: case.kind, addressed: case.addressed, asks: &asks, empty: false, too_large: false };
    let listener = Listener {
        folder: "demo".parse().unwrap(),
        session_mode: SessionMode::Shared,
        engage: case.engage,
        fits: case.fits,
        goes_on: case.goes_on,
        others: case.others,
        role: case.role,
    };
    decide(said, case.policy, case.role, &[listener])
}

/// The same in other words, read off the manual (docs/chats.md) and not off the code.
fn expected(case: Case) -> Decision {
    let one = |fate| Decision::Groups(vec![fate]);
    let known = case.role.is_some() || case.policy == UnknownPolicy::Public;
    let rank = match case.role {
        Some(Role::Owner) => 4,
        Some(Role::Admin) => 3,
        Some(Role::Member) => 2,
        Some(Role::Guest) => 1,
        None => u8::from(known),
    };
    let needs = match case.asks {
        "hello" | "/status" | "/help" | "/start" => 1,
        "/stop" => 2,
        "/model x" | "/approve 1" => 3,
        _ => 0,
    };
    let own = matches!(case.asks, "/status" | "/help" | "/start" | "/approve 1" | "/pair X");
    let meets = case.asks == "/start" && case.kind == ChatKind::Direct && !known;
    if own && !meets && (case.addressed || case.kind == ChatKind::Direct || case.engage == EngageMode::Always) {
        return match () {
            () if needs == 0 || (known && rank >= needs) => Decision::Own,
            () if known => Decision::Drop(DropReason::AboveRole),
            () => Decision::Drop(DropReason::UnknownSender),
        };
    }
    let engages = match case.engage {
        EngageMode::Always => true,
        EngageMode::Mention => case.addressed || case.goes_on,
        EngageMode::Pattern => case.addressed || case.goes_on || case.fits,
    };
    match () {
        () if !known && case.policy == UnknownPolicy::Ask && engages && (case.asks == "hello" || meets) => {
            one(Fate::AskSender)
        }
        () if !known => one(Fate::Drop(DropReason::UnknownSender)),
        () if !engages && case.others == Others::Context => one(Fate::Context),
        () if !engages => one(Fate::Drop(DropReason::NotEngaged)),
        () if rank < needs => one(Fate::Refuse(Asks::parse(case.asks).act().unwrap())),
        () => one(Fate::Accept),
    }
}

#[test]
fn every_combination_is_decided_as_the_manual_says() {
    let cases = all();
    assert_eq!(cases.len(), 2 * 2 * 8 * 3 * 3 * 2 * 5 * 3);
    for case in cases {
        assert_eq!(decided(case), expected(case), "{case:?}");
    }
}

#[test]
fn a_stranger_gets_into_no_inbox_unless_a_policy_says_public() {
    for case in all().into_iter().filter(|case| case.role.is_none() && case.policy != UnknownPolicy::Public) {
        let Decision::Groups(fates) = decided(case) else { continue };
        assert!(fates.iter().all(|fate| !matches!(fate, Fate::Accept | Fate::Context)), "{case:?}");
    }
}

fn said(asks: &Asks) -> Said<'_> {
    Said { kind: ChatKind::Group, addressed: true, asks, empty: false, too_large: false }
}

#[test]
fn a_chat_that_reaches_nobody_asks_to_be_wired_when_it_speaks_to_the_bot_and_is_dropped_else() {
    for (addressed, text, expected) in [
        (true, "hello", Decision::AskWiring),
        (false, "hello", Decision::Drop(DropReason::Unwired)),
        (true, "/stop", Decision::Drop(DropReason::Unwired)),
        (true, "/status", Decision::Drop(DropReason::UnknownSender)),
        (true, "/start", Decision::Drop(DropReason::UnknownSender)),
        (true, "/pair X", Decision::Own),
    ] {
        let asks = Asks::parse(text);
        let said = Said { addressed, ..said(&asks) };
        assert_eq!(decide(said, UnknownPolicy::Ask, None, &[]), expected, "{text} {addressed}");
    }
}

#[test]
fn a_direct_chat_that_reaches_nobody_begins_with_a_start_as_with_a_message_and_with_no_other_command() {
    for (text, role, expected) in [
        ("hello", None, Decision::AskWiring),
        ("/start", None, Decision::AskWiring),
        ("/start", Some(Role::Guest), Decision::Own),
        ("/help", None, Decision::Drop(DropReason::UnknownSender)),
        ("/start X", None, Decision::Own),
    ] {
        let asks = Asks::parse(text);
        let said = Said { kind: ChatKind::Direct, ..said(&asks) };
        for &policy in UnknownPolicy::ALL {
            assert_eq!(decide(said, policy, role, &[]), expected, "{text} {role:?} {policy:?}");
        }
    }
}

#[test]
fn where_nobody_is_to_be_asked_what_would_ask_is_dropped_and_nothing_else_changes() {
    for case in all() {
        let decision = decided(case);
        let asks = matches!(&decision, Decision::Groups(fates) if fates.contains(&Fate::AskSender));
        let unasked = decision.clone().unasked();
        assert_eq!(unasked == decision, !asks && decision != Decision::AskWiring, "{case:?}");
        let still = matches!(&unasked, Decision::Groups(fates) if fates.contains(&Fate::AskSender));
        assert!(!still && unasked != Decision::AskWiring, "{case:?}");
    }
    assert_eq!(Decision::AskWiring.unasked(), Decision::Drop(DropReason::Unwired));
}

#[test]
fn what_is_empty_or_too_large_is_dropped_whoever_says_it() {
    let asks = Asks::Agent;
    let empty = Said { empty: true, ..said(&asks) };
    assert_eq!(decide(empty, UnknownPolicy::Public, Some(Role::Owner), &[]), Decision::Drop(DropReason::Empty));
    let large = Said { too_large: true, ..said(&asks) };
    assert_eq!(decide(large, UnknownPolicy::Public, Some(Role::Owner), &[]), Decision::Drop(DropReason::TooLarge));
}

#[test]
fn each_of_several_groups_decides_for_itself() {
    let asks = Asks::Agent;
    let listener = |engage, role| Listener {
        folder: "demo".parse().unwrap(),
        session_mode: SessionMode::Shared,
        engage,
        fits: false,
        goes_on: false,
        others: Others::Context,
        role,
    };
    let said = Said { addressed: false, ..said(&asks) };
    let listeners = [
        listener(EngageMode::Always, Some(Role::Guest)),
        listener(EngageMode::Mention, Some(Role::Guest)),
        listener(EngageMode::Always, None),
    ];
    let fates = vec![Fate::Accept, Fate::Context, Fate::Drop(DropReason::UnknownSender)];
    assert_eq!(decide(said, UnknownPolicy::Drop, None, &listeners), Decision::Groups(fates));
}
