//! A way to the server that can be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Forwards connections to a server.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    cuts: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn to(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cuts = Arc::new(AtomicUsize::new(0));
        let armed = Arc::clone(&cuts);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(server).await.unwrap();
                tokio::spawn(forward(client, server, Arc::clone(&armed)));
            }
        });
        Proxy { port, cuts }
    }

    /// The next answers of the server, so many of them, end their connections instead.
    pub(crate) fn cut(&self, answers: usize) {
        self.cuts.store(answers, SeqCst);
    }
}

async fn forward(mut client: TcpStream, mut server: TcpStream, cuts: Arc<AtomicUsize>) {
    let (mut from_client, mut from_server) = ([0; 16 << 10], [0; 16 << 10]);
    loop {
        tokio::select! {
            Ok(read @ 1..) = client.read(&mut from_client) => {
                server.write_all(&from_client[..read]).await.unwrap();
            }
            Ok(read @ 1..) = server.read(&mut from_server) => {
                if cuts.try_update(SeqCst, SeqCst, |cuts| cuts.checked_sub(1)).is_ok() {
                    return;
                }
                client.write_all(&from_server[..read]).await.unwrap();
            }
            else => return,
        }
    }
}
