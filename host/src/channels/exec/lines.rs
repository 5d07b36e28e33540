//! Lines of bounded length.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Lines of at most so many bytes.
pub(super) struct Lines<R> {
    from: BufReader<R>,
    most: usize,
    /// The end of the last line is still to come, and nobody wants it.
    inside: bool,
}

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its bytes, as many as are wanted.
    pub(super) bytes: Vec<u8>,
    /// It is longer.
    pub(super) cut: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(from: R, most: usize) -> Self {
        Self { from: BufReader::new(from), most, inside: false }
    }

    /// The next line; none at the end. One that is too long is there as soon as that is known. What is dropped in the
    /// middle is lost.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        let mut line = Line { bytes: Vec::new(), cut: false };
        let mut began = false;
        loop {
            let there = self.from.fill_buf().await?;
            if there.is_empty() {
                return Ok(began.then_some(line));
            }
            let end = memchr::memchr(b'\n', there);
            let part = &there[..end.unwrap_or(there.len())];
            let fits = if self.inside { 0 } else { part.len().min(self.most - line.bytes.len()) };
            line.bytes.extend_from_slice(&part[..fits]);
            line.cut = !self.inside && fits < part.len();
            let used = part.len() + usize::from(end.is_some());
            self.from.consume(used);
            if line.cut {
                self.inside = end.is_none();
                return Ok(Some(line));
            }
            began |= !self.inside;
            if end.is_some() {
                if !self.inside {
                    return Ok(Some(line));
                }
                self.inside = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(text: &[u8], most: usize, buffer: usize) -> Vec<(String, bool)> {
        let mut lines = Lines { from: BufReader::with_capacity(buffer, text), most, inside: false };
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            found.push((String::from_utf8(line.bytes).unwrap(), line.cut));
        }
        found
    }

    #[tokio::test]
    async fn a_long_line_is_cut_and_the_next_begins_behind_it() {
        let text = b"ab\n\nabcd\nabcdefghij\nxy";
        let lines = [("ab", false), ("", false), ("abcd", false), ("abcd", true), ("xy", false)];
        let lines = lines.map(|(text, cut)| (text.to_owned(), cut));
        for buffer in 1..30 {
            assert_eq!(all(text, 4, buffer).await, lines, "{buffer}");
        }
        assert_eq!(all(b"", 4, 8).await, []);
        assert_eq!(all(b"\n", 4, 8).await, [(String::new(), false)]);
        assert_eq!(all(b"abcdef", 4, 1).await, [("abcd".to_owned(), true)]);
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_known_at_its_bound() {
        let mut lines = Lines::new(tokio::io::repeat(b'x'), 9);
        assert_eq!(lines.next().await.unwrap(), Some(Line { bytes: vec![b'x'; 9], cut: true }));
    }
}
