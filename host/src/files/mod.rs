//! Files that cross the border between the host and a workspace. An agent may have made anything there, and may change
//! it at any moment: [`beneath`] opens without ever following a link or leaving the directory, [`tree`] copies so.

pub mod beneath;
pub mod inbox;
pub mod sent;
pub mod tree;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The largest file that goes either way, in bytes.
pub const MAX_BYTES: u64 = cofferdam_protocol::admin::MAX_FILE_BYTES;
/// The largest image that a model is shown, in bytes; larger ones are files.
pub const MAX_IMAGE_BYTES: u64 = 10 * 1024 * 1024;
/// The longest name, in bytes: file systems take 255, and we put the time before it.
const MAX_NAME: usize = 100;

/// A name that is safe in any directory and on any terminal: the last component, no control characters, no separators,
/// no leading dots, dashes or tildes, at most [`MAX_NAME`] bytes with its extension kept. Never empty.
pub fn safe_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).find(|part| !part.trim().is_empty()).unwrap_or_default();
    let clean: String = last.chars().filter(|c| !is_unsafe(*c)).collect();
    // In one step: what one of them hides must not come to the front.
    let clean = clean.trim_end().trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '.' | '-' | '~'));
    if clean.is_empty() {
        return "file".to_owned();
    }
    if clean.len() <= MAX_NAME {
        return clean.to_owned();
    }
    let extension = clean.rsplit_once('.').map(|(_, extension)| extension).filter(|e| e.len() <= 16);
    let extension = extension.map(|extension| format!(".{extension}")).unwrap_or_default();
    let stem = &clean[..clean.floor_char_boundary(MAX_NAME - extension.len())];
    format!("{}{extension}", stem.trim_end())
}

/// Control characters, and those that change how the text around them is read.
fn is_unsafe(c: char) -> bool {
    let invisible =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    c.is_control() || invisible || matches!(c, '/' | '\\' | '\u{2028}' | '\u{2029}')
}

/// Whether a file of this size that begins so is an image that models look at: PNG, JPEG, GIF or WebP, whatever its
/// name.
pub fn is_image(head: &[u8], bytes: u64) -> bool {
    let known = head.starts_with(b"\x89PNG\r\n\x1a\n")
        || head.starts_with(b"\xff\xd8\xff")
        || head.starts_with(b"GIF87a")
        || head.starts_with(b"GIF89a")
        || (head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP"));
    known && bytes <= MAX_IMAGE_BYTES
}

/// Copies at most `most` bytes. Answers the size and the first bytes; a longer source is an error, since it is being
/// written to or lied about its size.
pub fn copy_bounded(from: &mut impl Read, to: &mut impl io::Write, most: u64) -> io::Result<(u64, Vec<u8>)> {
    let mut head = Vec::new();
    from.by_ref().take(16).read_to_end(&mut head)?;
    to.write_all(&head)?;
    let rest = io::copy(&mut from.by_ref().take((most + 1).saturating_sub(head.len() as u64)), to)?;
    let bytes = rest + head.len() as u64;
    if bytes > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has over {most} bytes")));
    }
    Ok((bytes, head))
}

/// Makes durable what a directory of ours has in it: a file that was synced can still lose its name in a power cut.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_become_safe_and_stay_readable() {
        for (name, safe) in [
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\temp\\a b.txt", "a b.txt"),
            (".bashrc", "bashrc"),
            ("...", "file"),
            ("", "file"),
            ("a/", "a"),
            ("x\u{1b}[2J\n.png", "x[2J.png"),
            ("gpj\u{202e}.exe", "gpj.exe"),
            ("übersicht 🦀.md", "übersicht 🦀.md"),
            ("-rf", "rf"),
            ("-..", "file"),
            ("-.", "file"),
            ("-.bashrc", "bashrc"),
            ("~/..", "file"),
            (" ..", "file"),
            ("...-", "file"),
            ("~ -. .a", "a"),
        ] {
            assert_eq!(safe_name(name), safe, "{name:?}");
        }
        let long = safe_name(&format!("{}.tar.gz", "ä".repeat(200)));
        assert!(long.len() <= MAX_NAME && long.ends_with(".gz"), "{long}");
    }

    proptest! {
        #[test]
        fn no_name_escapes(name in prop_oneof![any::<String>(), "[-.~ /a]{0,8}"]) {
            let safe = safe_name(&name);
            prop_assert!(!safe.is_empty() && safe.len() <= MAX_NAME);
            prop_assert!(!safe.starts_with(['.', '-', '~', ' ']) && !safe.contains(['/', '\\', '\0']), "{:?}", safe);
            prop_assert!(!safe.chars().any(char::is_control));
        }
    }

    #[test]
    fn images_are_known_by_their_content() {
        assert!(is_image(b"\x89PNG\r\n\x1a\n....", 100));
        assert!(is_image(b"\xff\xd8\xff\xe0", 100));
        assert!(is_image(b"GIF89a", 100) && is_image(b"RIFF\0\0\0\0WEBPVP8 ", 100));
        assert!(!is_image(b"RIFF\0\0\0\0WAVE", 100), "another kind of RIFF");
        assert!(!is_image(b"<svg", 100) && !is_image(b"", 0));
        assert!(!is_image(b"\x89PNG\r\n\x1a\n", MAX_IMAGE_BYTES + 1), "too large to show");
    }

    #[test]
    fn a_source_over_the_limit_is_refused_wherever_it_ends() {
        for (length, most, fits) in [(0, 5, true), (5, 5, true), (6, 5, false), (16, 16, true), (40, 39, false)] {
            let (source, mut copy) = (vec![7u8; length], Vec::new());
            let copied = copy_bounded(&mut source.as_slice(), &mut copy, most);
            assert_eq!(copied.is_ok(), fits, "{length} of {most}");
            if let Ok((bytes, _)) = copied {
                assert_eq!((bytes, &copy), (length as u64, &source));
            }
        }
    }
}
