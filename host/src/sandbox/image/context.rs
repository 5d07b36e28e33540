//! A build context, streamed to the engine as a tar so that its 370 MB never lie in memory.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;

/// How much goes into one piece of the stream, in bytes.
const CHUNK: usize = 1 << 18;

/// The files of a build context.
#[derive(Debug, Default)]
pub(super) struct Context(Vec<(&'static str, Source, u64)>);

#[derive(Debug)]
enum Source {
    Text(&'static str),
    File(PathBuf),
}

impl Context {
    /// Adds a text file.
    pub(super) fn text(mut self, name: &'static str, text: &'static str) -> Self {
        self.0.push((name, Source::Text(text), text.len() as u64));
        self
    }

    /// Adds an executable from the disk.
    pub(super) fn program(mut self, name: &'static str, path: PathBuf) -> io::Result<Self> {
        let size = path.metadata()?.len();
        self.0.push((name, Source::File(path), size));
        Ok(self)
    }

    /// The files' sizes together, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.0.iter().map(|(_, _, size)| size).sum()
    }

    /// The tar as a stream; each piece's size also goes to `sent`. A failing read ends the stream with its error.
    pub(super) fn stream(
        self,
        sent: mpsc::UnboundedSender<u64>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let (pieces, rest) = mpsc::channel(4);
        tokio::task::spawn_blocking(move || {
            let out = io::BufWriter::with_capacity(CHUNK, Pieces { pieces: pieces.clone(), sent });
            if let Err(error) = self.write(out) {
                // Nobody left to tell: the build was dropped.
                let _ = pieces.blocking_send(Err(error));
            }
        });
        futures_util::stream::unfold(rest, |mut rest| async move { Some((rest.recv().await?, rest)) })
    }

    fn write(self, out: impl Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(out);
        for (name, source, size) in self.0 {
            let mut header = tar::Header::new_gnu();
            header.set_size(size);
            header.set_mode(if matches!(source, Source::File(_)) { 0o755 } else { 0o644 });
            match source {
                Source::Text(text) => tar.append_data(&mut header, name, text.as_bytes())?,
                // No more than was announced, should the file grow meanwhile.
                Source::File(path) => tar.append_data(&mut header, name, File::open(path)?.take(size))?,
            }
        }
        tar.into_inner()?.flush()
    }
}

struct Pieces {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    sent: mpsc::UnboundedSender<u64>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Ok(Bytes::copy_from_slice(bytes));
        self.pieces.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe)?;
        let _ = self.sent.send(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, TryStreamExt};

    use super::*;

    #[tokio::test]
    async fn the_stream_is_a_tar_of_the_files_in_small_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        let big = vec![7_u8; 3 * CHUNK + 5];
        std::fs::write(&path, &big).unwrap();
        let context = Context::default().text("Dockerfile", "FROM x\n").program("codex", path).unwrap();
        assert_eq!(context.size(), big.len() as u64 + 7);
        let (sent, mut counts) = mpsc::unbounded_channel();
        let pieces: Vec<Bytes> = context.stream(sent).try_collect().await.unwrap();
        assert!(pieces.iter().all(|piece| piece.len() <= CHUNK));
        let whole = pieces.concat();
        let mut counted = 0;
        while let Some(n) = counts.recv().await {
            counted += n;
        }
        assert_eq!(counted, whole.len() as u64);
        let mut archive = tar::Archive::new(&whole[..]);
        let mut seen = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            let name = entry.path().unwrap().display().to_string();
            seen.push((name, entry.header().mode().unwrap(), entry.header().mtime().unwrap(), bytes.len()));
        }
        assert_eq!(seen, [("Dockerfile".into(), 0o644, 0, 7), ("codex".into(), 0o755, 0, big.len())]);
    }

    #[tokio::test]
    async fn a_file_that_is_gone_ends_the_stream_with_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        std::fs::write(&path, "x").unwrap();
        let context = Context::default().program("codex", path.clone()).unwrap();
        std::fs::remove_file(path).unwrap();
        let (sent, _counts) = mpsc::unbounded_channel();
        let last = context.stream(sent).collect::<Vec<_>>().await.pop();
        assert!(last.is_some_and(|last| last.is_err()));
    }
}
