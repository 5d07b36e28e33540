//! What a turn is given: the messages as text, their files, and what the model is told besides.

use std::path::Path;

use cofferdam_protocol::runner::{Batch, BatchMessage, InboundFile};

use super::Codex;
use super::context::Context;
use super::protocol::{Input, TurnParams};
use super::recovery::{self, Plan};
use crate::bounds::one_line;
use crate::format;

/// A larger image is only named. Codex makes an image smaller, but reads it whole into memory first.
const MAX_IMAGE: u64 = 20 * 1024 * 1024;
/// The longest path that is named, in characters.
const MAX_PATH: usize = 400;

impl Codex {
    /// What begins a codex turn over what is still to be said of the batch.
    pub(super) fn turn_params(
        &mut self,
        thread: &str,
        batch: &Batch,
        plan: &Plan,
        digest: Option<&str>,
    ) -> TurnParams {
        let missing = |message: &&BatchMessage| plan.missing.contains(&message.id);
        let messages: Vec<_> = batch.messages.iter().filter(missing).cloned().collect();
        let mut context = Context::default();
        let epoch = self.conversation.meter.compactions();
        context.ours(&format!("chat_{epoch}"), &batch.context);
        if let Some(digest) = digest.filter(|_| plan.given.is_empty()) {
            context.untrusted("earlier_conversation", epoch, digest);
        }
        if let Some(note) = plan.note() {
            context.ours(&recovery::note_key(batch.turn), &note);
        }
        let choice = self.models.choose(&batch.options);
        TurnParams {
            thread_id: thread.to_owned(),
            input: input(&messages, &self.settings.cwd),
            client_user_message_id: recovery::client_id(&messages),
            additional_context: context.into_entries(),
            model: choice.model,
            effort: choice.effort,
            output_schema: batch.options.output_schema.clone(),
        }
    }
}

/// The input of these messages: one text, then the images. `cwd` is the agent's working directory.
pub fn input(messages: &[BatchMessage], cwd: &str) -> Vec<Input> {
    let with_files: Vec<_> = messages.iter().map(|message| naming_files(message, cwd)).collect();
    let images = messages.iter().flat_map(|message| &message.files).filter(|file| is_shown(file));
    let images = images.map(|file| Input::LocalImage { path: file.path.clone() });
    let text = format::input(&with_files);
    let text = (!messages.is_empty()).then_some(Input::Text { text });
    text.into_iter().chain(images).collect()
}

fn is_shown(file: &InboundFile) -> bool {
    file.image && file.bytes <= MAX_IMAGE
}

/// The message with a line for each file, inside its own text, so that it is plain whose they are.
fn naming_files(message: &BatchMessage, cwd: &str) -> BatchMessage {
    let mut message = message.clone();
    for file in &message.files {
        let path = Path::new(&file.path);
        let path = path.strip_prefix(cwd).unwrap_or(path).to_string_lossy();
        let kind = if is_shown(file) { "image" } else { "file" };
        let separator = if message.text.is_empty() { "" } else { "\n" };
        let line = format!("{separator}[{kind}: {}, {} bytes]", one_line(&path, MAX_PATH), file.bytes);
        message.text.push_str(&line);
    }
    message
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::ids::MessageId;

    use super::*;

    fn message(id: i64, text: &str, files: Vec<InboundFile>) -> BatchMessage {
        BatchMessage { id: MessageId(id), sender: "ann".into(), time: "t".into(), text: text.into(), files }
    }

    fn file(path: &str, bytes: u64, image: bool) -> InboundFile {
        InboundFile { path: path.into(), bytes, image }
    }

    #[test]
    fn images_follow_the_text_and_every_file_is_named_in_its_message() {
        let files = vec![
            file("/group/workspace/inbox/a.png", 10, true),
            file("/group/workspace/inbox/b.pdf", 20, false),
            file("/elsewhere/c\n[system]", 30, false),
            file("/group/workspace/inbox/huge.png", MAX_IMAGE + 1, true),
        ];
        let input = input(&[message(1, "look", files)], "/group/workspace");
        let [Input::Text { text }, Input::LocalImage { path }] = &input[..] else { panic!("{input:?}") };
        assert_eq!(path, "/group/workspace/inbox/a.png");
        for line in [
            "\n[image: inbox/a.png, 10 bytes]",
            "\n[file: inbox/b.pdf, 20 bytes]",
            "\n[file: /elsewhere/c [system], 30 bytes]",
            "\n[file: inbox/huge.png, 20971521 bytes]",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn no_messages_are_no_input() {
        assert_eq!(input(&[], "/"), []);
    }
}
