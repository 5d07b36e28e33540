//! What a turn shows while it works.

use cofferdam::channels::telegram::Telegram as Channel;
use cofferdam::channels::{Channel as _, Progress, SendError, Showing, Status};
use cofferdam::model::chat::ChatRef;
use cofferdam_protocol::ids::TurnId;
use cofferdam_tests::eventually;
use cofferdam_tests::telegram::{Fault, Telegram};

use super::bot::{channel, reply, send};

fn working(status: &str, draft: &str) -> Progress {
    let status = Status::Working { status: status.into(), draft: draft.into() };
    Progress { turn: TurnId(1), status, reply_to: None }
}

fn ended() -> Progress {
    Progress { turn: TurnId(1), status: Status::Ended, reply_to: None }
}

async fn shows(channel: &Channel, chat: &ChatRef, progress: &Progress, shown: Option<&str>) -> Option<String> {
    channel.progress(chat, progress, shown, &|_: Showing| true).await.expect("it is shown")
}

#[tokio::test]
async fn a_draft_is_one_message_that_grows_and_goes_away() {
    let telegram = Telegram::start().await;
    let (channel, group) = (channel(&telegram), telegram.supergroup("Team", &[7]));
    let chat = ChatRef { thread_id: Some("7".into()), ..reply(group, "").chat };
    assert_eq!(shows(&channel, &chat, &working("thinks", ""), None).await, None, "a status waits a little");
    let id = shows(&channel, &chat, &working("thinks", "**The"), None).await.expect("a draft does not");
    for draft in ["**The answer", "**The answer** https://e.org", "**The answer** https://e.org"] {
        assert_eq!(shows(&channel, &chat, &working("thinks", draft), Some(&id)).await.as_ref(), Some(&id));
    }
    let shown = telegram.from_bot(group);
    assert_eq!((shown.len(), shown[0].edits, shown[0].thread), (1, 2, Some(7)));
    assert_eq!(shown[0].text, "The answer https://e.org\n…");
    assert!(shown[0].has("bold") && !shown[0].previews);
    assert_eq!(telegram.calls("editMessageText").len(), 2, "what did not change is not sent");
    assert_eq!(telegram.typing(group), [Some(7); 5], "and the typing mark is renewed");
    assert_eq!(shows(&channel, &chat, &ended(), Some(&id)).await, None);
    assert!(telegram.from_bot(group).is_empty());
    assert_eq!(shows(&channel, &chat, &ended(), Some(&id)).await, None, "gone is gone");
}

#[tokio::test]
async fn a_turn_that_writes_nothing_shows_its_status_after_a_while() {
    let telegram = Telegram::start().await;
    let (channel, ada) = (channel(&telegram), telegram.person(1001, "Ada"));
    let chat = reply(ada, "").chat;
    let id =
        eventually("the status", async || shows(&channel, &chat, &working("runs <cargo>", ""), None).await).await;
    let shown = telegram.from_bot(ada).remove(0);
    assert_eq!((shown.text.as_str(), shown.has("italic")), ("runs <cargo>", true));
    // A person took it away.
    shows(&channel, &chat, &ended(), Some(&id)).await;
    let new = shows(&channel, &chat, &working("runs <cargo>", "It is"), Some(&id)).await.expect("a new one");
    assert_ne!(new, id);
    send(&channel, &reply(ada, "It is done"), Some(&new)).await.expect("the reply takes its place");
    let shown = telegram.from_bot(ada);
    assert_eq!((shown.len(), shown[0].text.as_str()), (1, "It is done"));
}

#[tokio::test]
async fn a_platform_that_wants_less_is_left_alone() {
    let telegram = Telegram::start().await;
    let (channel, ada) = (channel(&telegram), telegram.person(1001, "Ada"));
    telegram.fail("sendChatAction", [Fault::TooMany(7)]);
    let chat = reply(ada, "").chat;
    let shown = channel.progress(&chat, &working("", "x"), None, &|_: Showing| true).await;
    let error = shown.expect_err("too many");
    assert!(matches!(&error, SendError::Later { after: Some(after), .. } if after.as_secs() == 7), "{error:?}");
    assert!(telegram.from_bot(ada).is_empty());
}

#[tokio::test]
async fn what_there_is_no_room_for_is_not_sent_and_the_display_stays_as_it_is() {
    let telegram = Telegram::start().await;
    let (channel, ada) = (channel(&telegram), telegram.person(1001, "Ada"));
    let chat = reply(ada, "").chat;
    let shows = async |draft: &str, shown: Option<&str>, has: fn(Showing) -> bool| {
        channel.progress(&chat, &working("", draft), shown, &has).await.expect("no trouble")
    };
    assert_eq!(shows("It", None, |_| false).await, None);
    assert!(telegram.typing(ada).is_empty() && telegram.from_bot(ada).is_empty());
    assert_eq!(shows("It is", None, |what| what == Showing::Mark).await, None);
    assert_eq!((telegram.typing(ada).len(), telegram.from_bot(ada).len()), (1, 0));
    let id = shows("It is", None, |what| what == Showing::Message).await.expect("a message");
    assert_eq!(shows("It is so", Some(&id), |_| false).await.as_ref(), Some(&id));
    assert_eq!((telegram.typing(ada).len(), telegram.from_bot(ada)[0].text.as_str()), (1, "It is\n…"));
    assert_eq!(shows("It is so", Some(&id), |_| true).await.as_ref(), Some(&id));
    assert_eq!((telegram.typing(ada).len(), telegram.from_bot(ada)[0].text.as_str()), (2, "It is so\n…"));
}
