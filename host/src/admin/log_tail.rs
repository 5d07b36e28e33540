//! The logs of a session's attempts, line by line, as they grow.
//!
//! Growth is looked for, not told: the writer sits behind the sandbox's trait, one per container, and would have to
//! know its readers; looking costs two system calls a time, only while somebody follows, and works as well for logs
//! that nobody writes any more.

use std::collections::VecDeque;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use cofferdam_protocol::admin::{FOLLOW_TAIL_LINES, FollowEvent};
use cofferdam_protocol::ids::Attempt;

/// The most that is read at once, in bytes.
const PIECE: usize = 64 * 1024;
/// A longer line is cut into several, in bytes.
const MAX_LINE: usize = 16 * 1024;

/// Reads a session's logs on.
#[derive(Debug)]
pub(super) struct LogTail {
    /// The folder of `<attempt>.log`.
    dir: PathBuf,
    attempt: Attempt,
    /// Where the next line begins.
    offset: u64,
    /// The beginning of a line whose end was not written yet.
    partial: Vec<u8>,
}

/// A place in a session's logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The attempt.
    pub attempt: Attempt,
    /// The byte of its log.
    pub offset: u64,
}

impl LogTail {
    /// Goes on at `place`, or at the last lines of the newest log. Also for a session that has none yet.
    pub fn open(dir: PathBuf, place: Option<Place>) -> std::io::Result<Self> {
        if let Some(Place { attempt, offset }) = place {
            return Ok(Self { dir, attempt, offset, partial: Vec::new() });
        }
        let mut this = Self { dir, attempt: Attempt(0), offset: 0, partial: Vec::new() };
        if let Some(newest) = this.attempts()?.into_iter().max() {
            this.attempt = newest;
            this.offset = this.last_lines()?;
        }
        Ok(this)
    }

    /// The attempt whose log is read.
    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// What was written since the last call, bounded; empty when nothing was. Ask again at once after an answer that is
    /// not.
    pub fn read_on(&mut self) -> std::io::Result<VecDeque<FollowEvent>> {
        let mut events = VecDeque::new();
        loop {
            let bytes = self.read_piece()?;
            self.take_lines(&bytes, &mut events);
            if !events.is_empty() {
                return Ok(events);
            }
            if bytes.is_empty() {
                break;
            }
        }
        // Only when this one has been read: its last words come before the next one's first.
        if let Some(next) = self.attempts()?.into_iter().filter(|attempt| *attempt > self.attempt).min() {
            self.end_line(&mut events);
            (self.attempt, self.offset) = (next, 0);
            events.push_back(FollowEvent::Attempt { attempt: next });
        }
        Ok(events)
    }

    fn path(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.attempt))
    }

    fn attempts(&self) -> std::io::Result<Vec<Attempt>> {
        let entries = match std::fs::read_dir(&self.dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut attempts = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|n| n.parse().ok());
            attempts.extend(number.map(Attempt));
        }
        Ok(attempts)
    }

    /// The next bytes. A log that is shorter than what was read is written anew by a daemon that took its container
    /// over, with the same words: what was read is waited out.
    fn read_piece(&self) -> std::io::Result<Vec<u8>> {
        let mut file = match std::fs::File::open(self.path()) {
            // None yet, or removed with the oldest.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        file.seek(SeekFrom::Start(self.offset + self.partial.len() as u64))?;
        let mut bytes = Vec::new();
        file.take(PIECE as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn take_lines(&mut self, bytes: &[u8], events: &mut VecDeque<FollowEvent>) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for piece in piece.chunks(MAX_LINE) {
                if self.partial.len() + piece.len() > MAX_LINE {
                    self.end_line(events);
                }
                self.partial.extend_from_slice(piece);
            }
            if self.partial.last() == Some(&b'\n') {
                self.end_line(events);
            }
        }
    }

    fn end_line(&mut self, events: &mut VecDeque<FollowEvent>) {
        if self.partial.is_empty() {
            return;
        }
        self.offset += self.partial.len() as u64;
        let text = String::from_utf8_lossy(&self.partial);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line).to_owned();
        events.push_back(FollowEvent::Log { line, attempt: self.attempt, offset: self.offset });
        self.partial.clear();
    }

    /// Where the last lines of the log begin, within one piece of its end.
    fn last_lines(&self) -> std::io::Result<u64> {
        let mut file = std::fs::File::open(self.path())?;
        let length = file.metadata()?.len();
        let from = length.saturating_sub(PIECE as u64);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(PIECE as u64).read_to_end(&mut bytes)?;
        let whole = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let ends = whole.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at as u64 + 1);
        let begin = ends.take(FOLLOW_TAIL_LINES).nth(FOLLOW_TAIL_LINES - 1);
        // A piece that begins in the middle of a line has no whole first line.
        let first_end = || whole.iter().position(|byte| *byte == b'\n').map_or(0, |at| at as u64 + 1);
        Ok(from + begin.unwrap_or_else(|| if from == 0 { 0 } else { first_end() }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    struct Logs(tempfile::TempDir);

    impl Logs {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn write(&self, attempt: i64, text: &str) {
            let path = self.0.path().join(format!("{attempt}.log"));
            let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn tail(&self) -> LogTail {
            LogTail::open(self.0.path().to_owned(), None).unwrap()
        }
    }

    /// All that there is to read: lines, and `== N` where an attempt begins.
    fn read(tail: &mut LogTail) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let events = tail.read_on().unwrap();
            if events.is_empty() {
                return lines;
            }
            lines.extend(events.into_iter().map(|event| match event {
                FollowEvent::Log { line, .. } => line,
                FollowEvent::Attempt { attempt } => format!("== {attempt}"),
                other => panic!("{other:?}"),
            }));
        }
    }

    #[test]
    fn the_last_lines_come_first_and_then_what_is_written() {
        let logs = Logs::new();
        let text: String = (1..=50).map(|i| format!("line {i}\n")).collect();
        logs.write(1, &text);
        let mut tail = logs.tail();
        let lines = read(&mut tail);
        assert_eq!((lines.len(), lines[0].as_str(), lines[19].as_str()), (20, "line 31", "line 50"));
        logs.write(1, "line 51\nline");
        assert_eq!(read(&mut tail), ["line 51"], "a line is told when it is whole");
        logs.write(1, " 52\r\n");
        assert_eq!(read(&mut tail), ["line 52"]);
        assert!(read(&mut tail).is_empty());
    }

    #[test]
    fn a_new_attempt_is_said_after_the_last_words_of_the_one_before() {
        let logs = Logs::new();
        let mut tail = logs.tail();
        assert!(read(&mut tail).is_empty(), "nothing was started yet");
        logs.write(1, "one\n");
        assert_eq!(read(&mut tail), ["== 1", "one"]);
        logs.write(1, "cut off");
        logs.write(3, "three\n");
        assert_eq!(read(&mut tail), ["cut off", "== 3", "three"]);
        logs.write(10, "ten\n");
        assert_eq!(read(&mut tail), ["== 10", "ten"], "attempts are numbers, not names");
    }

    #[test]
    fn a_reader_goes_on_where_another_stopped() {
        let logs = Logs::new();
        logs.write(1, "one\ntwo\nthree\n");
        let events = logs.tail().read_on().unwrap();
        let FollowEvent::Log { attempt, offset, .. } = events[1] else { panic!("{events:?}") };
        logs.write(2, "four\n");
        let place = Place { attempt, offset };
        let mut tail = LogTail::open(logs.0.path().to_owned(), Some(place)).unwrap();
        assert_eq!(read(&mut tail), ["three", "== 2", "four"]);
    }

    #[test]
    fn a_log_that_is_written_anew_is_not_repeated() {
        let logs = Logs::new();
        logs.write(1, "one\ntwo\n");
        let mut tail = logs.tail();
        read(&mut tail);
        std::fs::write(logs.0.path().join("1.log"), "one\n").unwrap();
        assert!(read(&mut tail).is_empty());
        logs.write(1, "two\nthree\n");
        assert_eq!(read(&mut tail), ["three"]);
    }

    #[test]
    fn a_line_without_an_end_does_not_grow_without_end() {
        let logs = Logs::new();
        logs.write(1, "");
        let mut tail = logs.tail();
        logs.write(1, &"x".repeat(3 * MAX_LINE + 5));
        logs.write(1, "\n");
        let lengths: Vec<usize> = read(&mut tail).iter().map(String::len).collect();
        assert!(lengths.iter().all(|length| *length <= MAX_LINE), "{lengths:?}");
        assert_eq!(lengths.iter().sum::<usize>(), 3 * MAX_LINE + 5);
    }

    #[test]
    fn bytes_that_are_no_text_do_not_stop_it() {
        let logs = Logs::new();
        std::fs::write(logs.0.path().join("1.log"), b"a\xffb\n").unwrap();
        assert_eq!(read(&mut logs.tail()), ["a\u{fffd}b"]);
    }
}
