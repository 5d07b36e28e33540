//! A file on its way from a channel to our disk. A channel cannot tell whose trouble it is when that breaks off; here it is told apart.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use cofferdam_protocol::admin::MAX_FILE_BYTES;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::channels::{Channel, Offered, SendError};

/// The longest time for one file: a little more than any channel allows itself, which is 680 s at most.
const FETCH: Duration = Duration::from_secs(700);

/// Has a channel write a file. The outer error is our own disk's, the inner one is about the file.
pub(super) async fn fetch(
    channel: &dyn Channel,
    file: &Offered,
    into: impl AsyncWrite + Send + Unpin,
) -> io::Result<Result<u64, SendError>> {
    let mut disk = Disk { into, broke: None };
    let fetched = timeout(FETCH, channel.fetch(file, &mut disk, MAX_FILE_BYTES)).await;
    // What was written last may fail only now; it is remembered as what failed before.
    let _ = disk.flush().await;
    if let Some(error) = disk.broke {
        return Err(error);
    }
    match fetched {
        Ok(Err(SendError::Disk { why })) => Err(io::Error::other(why)),
        Ok(fetched) => Ok(fetched),
        Err(_) => Ok(Err(SendError::Doubt { why: format!("it did not come within {} s", FETCH.as_secs()) })),
    }
}

/// Remembers what went wrong first.
struct Disk<W> {
    into: W,
    broke: Option<io::Error>,
}

impl<W> Disk<W> {
    fn met<T>(&mut self, met: io::Result<T>) -> io::Result<T> {
        met.map_err(|error| {
            let told = io::Error::new(error.kind(), error.to_string());
            self.broke.get_or_insert(error);
            told
        })
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Disk<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let met = ready!(Pin::new(&mut self.into).poll_write(cx, bytes));
        Poll::Ready(self.met(met))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let met = ready!(Pin::new(&mut self.into).poll_flush(cx));
        Poll::Ready(self.met(met))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let met = ready!(Pin::new(&mut self.into).poll_shutdown(cx));
        Poll::Ready(self.met(met))
    }
}
