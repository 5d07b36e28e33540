//! What a message has besides its text.

use super::seen::{ID, NAME};
use super::wire::{Attached, Media};
use super::words::cut;
use crate::channels::Offered;

/// Its files, still at Telegram.
pub(super) fn files(attached: &Attached) -> Vec<Offered> {
    let photo = attached.photo.iter().max_by_key(|photo| photo.width.saturating_mul(photo.height));
    let photo = photo.map(|photo| Offered {
        name: "photo.jpg".to_owned(),
        bytes: photo.file_size,
        reference: photo.file_id.clone(),
    });
    // An animation comes as a document too.
    let document = attached.document.as_ref().filter(|_| attached.animation.is_none());
    let media = [
        (document, "file"),
        (attached.animation.as_ref(), "animation.mp4"),
        (attached.audio.as_ref(), "audio.mp3"),
        (attached.video.as_ref(), "video.mp4"),
        (attached.video_note.as_ref(), "video.mp4"),
        (attached.voice.as_ref(), "voice.ogg"),
    ];
    let media = media.into_iter().filter_map(|(media, name)| Some(offered(media?, name)));
    photo.into_iter().chain(media).filter(|file| file.reference.len() <= ID).collect()
}

fn offered(media: &Media, unnamed: &str) -> Offered {
    let name = media.file_name.as_deref().filter(|name| !name.trim().is_empty()).unwrap_or(unnamed);
    Offered { name: cut(name, NAME), bytes: media.file_size, reference: media.file_id.clone() }
}

/// What has neither a text nor a file, in words.
pub(super) fn other(attached: &Attached) -> Option<String> {
    if let Some(sticker) = &attached.sticker {
        return Some(format!("[sticker {}]", sticker.emoji.as_deref().unwrap_or_default()).replace(" ]", "]"));
    }
    if let Some(location) = &attached.location {
        return Some(format!("[location {}, {}]", location.latitude, location.longitude));
    }
    attached.contact.as_ref().map(|contact| format!("[contact {} {}]", contact.first_name, contact.phone_number))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(attached: Value) -> Attached {
        serde_json::from_value(attached).unwrap()
    }

    #[test]
    fn files_have_names_and_the_largest_photo_counts() {
        let photo =
            |id: &str, width: u64| json!({"file_id": id, "width": width, "height": width, "file_size": width});
        let taken = files(&read(json!({"photo": [photo("s", 9), photo("l", 99), photo("m", 50)]})));
        let [file] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!((file.name.as_str(), file.reference.as_str(), file.bytes), ("photo.jpg", "l", Some(99)));
        let both = json!({"animation": {"file_id": "a"}, "document": {"file_id": "a", "file_name": "x.mp4"}});
        assert_eq!(files(&read(both)).len(), 1);
        assert_eq!(files(&read(json!({"voice": {"file_id": "v"}})))[0].name, "voice.ogg");
        assert_eq!(files(&read(json!({"document": {"file_id": "d", "file_name": " "}})))[0].name, "file");
        assert!(files(&read(json!({"voice": {"file_id": "x".repeat(ID + 1)}}))).is_empty());
    }

    #[test]
    fn what_is_neither_text_nor_file_is_told_in_words() {
        assert_eq!(other(&read(json!({"sticker": {"emoji": "👍"}}))).as_deref(), Some("[sticker 👍]"));
        assert_eq!(other(&read(json!({"sticker": {}}))).as_deref(), Some("[sticker]"));
        assert_eq!(other(&read(json!({}))), None);
    }
}
