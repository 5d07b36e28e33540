//! The front desk by itself: from a channel's arrival until it is accepted, which is when the platform is told.

use std::sync::Arc;
use std::time::Instant;

use cofferdam::channels::{Arrival, Channels, Content, Intake, Sender, Taken, Writers, Written};
use cofferdam::desk::{Desk, Stillness, Tells};
use cofferdam::model::chat::{ChatKind, ChatRef};
use cofferdam::model::engage::EngageMode;
use cofferdam::model::people::Role;
use cofferdam::store::Stores;
use cofferdam::store::people::NewUser;
use cofferdam::store::wirings::{ChatRow, Terms, Wiring};
use futures_util::future::join_all;

use crate::daemon::BenchHome;
use crate::report::{Row, progress};
use crate::stats::Samples;
use crate::{Bench, Trouble};

/// Chats, and the groups that they reach.
const CHATS: usize = 40;
const GROUPS: usize = 4;
/// Members of each chat. They take turns, so that nobody's pace is what is measured.
const PEOPLE: usize = 60;
/// Of a length that people write, with a choice and a gap.
const PATTERN: &str = r"(?i)\b(deploy|release|roll ?back)\b.{0,200}\b(production|staging)\b";
const TEXT: &str =
    "Could you deploy the branch of this morning to staging, please? Ada looked at it and has no more questions.";

/// Figure `desk`.
pub async fn arrivals(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let home = BenchHome::new(bench)?;
    let stores = Stores::open(home.home.clone())?;
    for group in 0..GROUPS {
        let folder = name(group).parse().map_err(|_| Trouble::Odd(name(group)))?;
        stores.central().put_group(&folder, "{}".to_owned(), String::new()).await?;
    }
    let tells = Tells {
        accepted: Box::new(|_, _| {}),
        deliver: Box::new(|_| {}),
        post: Box::new(|_| {}),
        still: Box::new(|_| Box::pin(async { Box::new(()) as Stillness })),
    };
    let desk = Desk::new(home.home.clone(), stores.clone(), Channels::default(), tells);
    let intake = desk.intake("bench", Writers::People);
    let mut rows = Vec::new();
    for (mode, what) in [(EngageMode::Mention, "a mention"), (EngageMode::Pattern, "a pattern")] {
        wire(&stores, mode).await?;
        for chats in [1, CHATS] {
            let each = bench.samples(300, 60) / if chats == 1 { 1 } else { 5 };
            progress(&format!("{} messages over {chats} chats, {what}", each * chats));
            let begun = Instant::now();
            let all = (0..chats).map(|chat| one_after_the_other(&intake, mode, chat, chats, each));
            let mut samples = Samples::default();
            for of_chat in join_all(all).await {
                samples.extend(of_chat?);
            }
            let rate = (each * chats) as f64 / begun.elapsed().as_secs_f64();
            let text = format!("{} messages over {chats} chats, {what}: accepted", each * chats);
            rows.push(Row::new("desk", text, "ms", samples.summary()).note(format!("{rate:.0} messages/s")));
        }
    }
    stores.close().await;
    Ok(rows)
}

fn name(group: usize) -> String {
    format!("desk-{group}")
}

/// Wires all chats, whose members are known.
async fn wire(stores: &Stores, engage: EngageMode) -> Result<(), Trouble> {
    let central = stores.central();
    for chat in 0..CHATS {
        let row = ChatRow { kind: ChatKind::Group, title: None, unknown: None };
        central.put_chat("bench", &chat.to_string(), row).await?;
        let folder = name(chat % GROUPS).parse().map_err(|_| Trouble::Odd(name(chat)))?;
        let pattern = (engage == EngageMode::Pattern).then(|| PATTERN.to_owned());
        let terms = Terms { engage, pattern, ..Terms::of(ChatKind::Group) };
        central.wire(Wiring { channel: "bench".to_owned(), chat_id: chat.to_string(), folder, terms }).await?;
        for person in 0..PEOPLE {
            let user_id = format!("{chat}-{person}");
            let new = NewUser { channel: "bench".to_owned(), name: user_id.clone(), user_id, direct: None };
            central.put_user(new, Some((Role::Member, None)), "bench").await?;
        }
    }
    Ok(())
}

/// A chat's messages, as a channel hands them in; milliseconds of each.
async fn one_after_the_other(
    intake: &Arc<dyn Intake>,
    mode: EngageMode,
    chat: usize,
    of: usize,
    each: usize,
) -> Result<Samples, Trouble> {
    let mut samples = Samples::default();
    for number in 0..each {
        // What a wiring's pattern wakes need not speak to the bot.
        let addressed = mode == EngageMode::Mention;
        let written = Written { text: TEXT.to_owned(), addressed, ..Written::default() };
        let sender = format!("{chat}-{}", number % PEOPLE);
        let arrival = Arrival {
            chat: ChatRef { channel: "bench".to_owned(), chat_id: chat.to_string(), thread_id: None },
            kind: ChatKind::Group,
            title: None,
            platform_id: format!("{mode:?}-{of}-{number}"),
            sender: Sender { id: sender.clone(), name: sender },
            content: Content::Message(written),
        };
        let begun = Instant::now();
        let taken = intake.take(arrival).await;
        if taken != Ok(Taken::Accepted) {
            return Err(Trouble::Odd(format!("a message was not accepted: {taken:?}")));
        }
        samples.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(samples)
}
