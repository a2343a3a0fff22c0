//! A UDP relay on loopback that stands between a client and the server, as a NAT does: each client address gets a source port of its own
//! toward the server, and `rebind` changes all of these at once, as happens when a phone goes from one network to another; `cut` lets nothing through. It
//! delays nothing, and drops every so many-th datagram where it is told to; what a real network does is the seeded link's part.

#![allow(dead_code, reason = "each test file that includes this module uses its own part of it")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

/// A datagram of the largest size that loopback carries fits.
const DATAGRAM: usize = 65_536;

type Mappings = Arc<Mutex<HashMap<SocketAddr, Mapping>>>;

struct Mapping {
    upstream: Arc<UdpSocket>,
    downstream: AbortHandle,
}

/// A relay that runs until it is dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    mappings: Mappings,
    losses: Arc<Losses>,
    task: AbortHandle,
}

/// Drops every so many-th datagram, both ways together; 0: none.
#[derive(Default)]
struct Losses {
    one_in: AtomicU32,
    passed: AtomicU32,
}

impl Losses {
    fn next_is_lost(&self) -> bool {
        let one_in = self.one_in.load(Ordering::Relaxed);
        one_in > 0 && self.passed.fetch_add(1, Ordering::Relaxed) % one_in == one_in - 1
    }
}

impl Relay {
    /// Starts a relay to `server` on a loopback port of its own.
    pub(crate) async fn start(server: SocketAddr) -> anyhow::Result<Self> {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
        let address = socket.local_addr()?;
        let mappings = Mappings::default();
        let losses = Arc::<Losses>::default();
        let task = tokio::spawn(carry(socket, server, mappings.clone(), losses.clone())).abort_handle();
        Ok(Self { address, mappings, losses, task })
    }

    /// Where clients send to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on every so many-th datagram is lost; 0: none.
    pub(crate) fn lose_one_in(&self, count: u32) {
        self.losses.one_in.store(count, Ordering::Relaxed);
    }

    /// Lets nothing through from now on, or everything again.
    pub(crate) fn cut(&self, cut: bool) {
        self.lose_one_in(u32::from(cut));
    }

    /// A script for the page whose media is to go through this: the server's candidate in each answer becomes the relay's.
    pub(crate) fn script(&self, server: SocketAddr) -> String {
        let candidate = |address: SocketAddr| format!(" {} {} typ ", address.ip(), address.port());
        format!(
            "{{
                const real = RTCPeerConnection.prototype.setRemoteDescription;
                RTCPeerConnection.prototype.setRemoteDescription = function ({{ type, sdp }}) {{
                    return real.call(this, {{ type, sdp: sdp.replaceAll({:?}, {:?}) }});
                }};
            }}",
            candidate(server),
            candidate(self.address)
        )
    }

    /// Forgets every mapping: the next datagram of each client leaves from a new port, and answers to the old ones are lost.
    pub(crate) fn rebind(&self) -> usize {
        let mut mappings = self.mappings.lock().expect("no holder panics");
        let forgotten = mappings.len();
        mappings.drain().for_each(|(_, mapping)| mapping.downstream.abort());
        forgotten
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
        self.rebind();
    }
}

async fn carry(socket: Arc<UdpSocket>, server: SocketAddr, mappings: Mappings, losses: Arc<Losses>) {
    let mut datagram = vec![0; DATAGRAM];
    while let Ok((length, client)) = socket.recv_from(&mut datagram).await {
        let known = mappings.lock().expect("no holder panics").get(&client).map(|mapping| mapping.upstream.clone());
        let upstream = match known {
            Some(upstream) => upstream,
            None => {
                let Ok(upstream) = UdpSocket::bind("127.0.0.1:0").await.map(Arc::new) else { continue };
                let downstream =
                    tokio::spawn(answer(upstream.clone(), socket.clone(), client, losses.clone())).abort_handle();
                mappings
                    .lock()
                    .expect("no holder panics")
                    .insert(client, Mapping { upstream: upstream.clone(), downstream });
                upstream
            }
        };
        if !losses.next_is_lost() {
            let _ = upstream.send_to(&datagram[..length], server).await;
        }
    }
}

async fn answer(upstream: Arc<UdpSocket>, socket: Arc<UdpSocket>, client: SocketAddr, losses: Arc<Losses>) {
    let mut datagram = vec![0; DATAGRAM];
    while let Ok((length, _)) = upstream.recv_from(&mut datagram).await {
        if !losses.next_is_lost() {
            let _ = socket.send_to(&datagram[..length], client).await;
        }
    }
}
