//! The loopback port that leads to the door: raw bytes both ways, nothing is read or changed.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;

/// The most connections at once; further ones wait in the listener's queue.
pub const MAX_CONNECTIONS: usize = 256;

/// A port that listens already, so that whoever starts next can connect.
#[derive(Debug)]
pub struct Forwarder {
    listener: TcpListener,
    door: PathBuf,
}

impl Forwarder {
    /// Listens on `127.0.0.1:port`; 0 takes any free port.
    pub async fn listen(port: u16, door: PathBuf) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?, door })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Splices every connection to a new one to the door, for ever.
    pub async fn serve(self) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((client, _)) => {
                    let door = self.door.clone();
                    tokio::spawn(async move {
                        if let Err(error) = splice(client, door).await {
                            tracing::debug!(%error, "a forwarded connection ended");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of descriptors, usually: accepting again at once would spin.
                    tracing::debug!(%error, "cannot accept a connection to forward");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

async fn splice(mut client: TcpStream, door: PathBuf) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut door = UnixStream::connect(door).await?;
    tokio::io::copy_bidirectional(&mut client, &mut door).await?;
    Ok(())
}
