//! Many receivers on one thread: a socket each, drained in batches (`recvmmsg`, GRO) into memory that they share. Every packet's sequence
//! number is checked, one of [`SAMPLE`] is decrypted and looked into.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use ringback_transport::demux::DatagramKind;
use ringback_transport::rtcp::{RtcpPacket, parse_compound};
use ringback_transport::rtp::RtpHeader;
use ringback_transport::socket::{ReceiveBatch, SendArena, SocketOptions, UdpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, LocalSet};

use crate::arrival::Reading;
use crate::peer::{Peer, Setup};
use crate::stamp;
use crate::tally::{Stream, Tally};

/// Every so many packets of a receiver one is decrypted: more tells more, and takes the processor from the server.
const SAMPLE: u64 = 16;

/// How often timers are looked at.
const TICK: Duration = Duration::from_millis(20);

enum Command {
    Join(u64, Box<Setup>),
    Leave(u64),
    Mark,
    Report(oneshot::Sender<Tally>),
}

/// The thread's handle; it ends when this is dropped.
pub(crate) struct Receivers {
    commands: Option<mpsc::UnboundedSender<Command>>,
    /// Where plain stamps may be sent, to know what the way costs without a server.
    pub(crate) straight: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Receivers {
    /// `bind`: their address. `joined`: whether they take in what arrived joined (GRO).
    pub(crate) fn start(origin: Instant, bind: IpAddr, joined: bool) -> anyhow::Result<Self> {
        let (commands, receiver) = mpsc::unbounded_channel();
        let (address, its_address) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("receivers".into()).spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            LocalSet::new().block_on(&runtime, async move {
                let options = SocketOptions::default().with_arrival_times(true);
                let Ok(socket) = UdpSocket::bind_with(([127, 0, 0, 1], 0).into(), &options) else { return };
                let _ = address.send(socket.local_addr());
                Crew::new(origin, (bind, joined), Rc::new(socket)).run(receiver).await;
            });
        })?;
        Ok(Self { commands: Some(commands), straight: its_address.recv()?, thread: Some(thread) })
    }

    fn tell(&self, command: Command) {
        if let Some(commands) = &self.commands {
            let _ = commands.send(command);
        }
    }

    /// Lets a joined client come up under this number.
    pub(crate) fn join(&self, number: u64, setup: Setup) {
        self.tell(Command::Join(number, Box::new(setup)));
    }

    /// Takes a client away without a word, as a vanished phone.
    pub(crate) fn leave(&self, number: u64) {
        self.tell(Command::Leave(number));
    }

    /// Forgets what was counted.
    pub(crate) fn mark(&self) {
        self.tell(Command::Mark);
    }

    /// What was counted since the last mark.
    pub(crate) async fn report(&self) -> Tally {
        let (sender, receiver) = oneshot::channel();
        self.tell(Command::Report(sender));
        receiver.await.unwrap_or_default()
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One client and what it has received.
pub(crate) struct Receiver {
    pub(crate) peer: Peer,
    streams: Vec<Stream>,
    packets: u64,
    /// Somebody has asked for a keyframe.
    pub(crate) keyframe_wanted: bool,
}

/// What the clients of a thread share.
pub(crate) struct Shared {
    pub(crate) batch: ReceiveBatch,
    pub(crate) arena: SendArena,
    /// Counts but those of streams, which are each receiver's.
    pub(crate) tally: Tally,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self { batch: ReceiveBatch::new(), arena: SendArena::default(), tally: Tally::default() }
    }
}

struct Crew {
    origin: Instant,
    bind: IpAddr,
    joined: bool,
    shared: Rc<RefCell<Shared>>,
    receivers: HashMap<u64, (Rc<RefCell<Receiver>>, AbortHandle)>,
}

impl Crew {
    fn new(origin: Instant, (bind, joined): (IpAddr, bool), straight: Rc<UdpSocket>) -> Self {
        let shared = Rc::new(RefCell::new(Shared::new()));
        let (socket, counted) = (straight, shared.clone());
        tokio::task::spawn_local(async move {
            while socket.readable().await.is_ok() {
                let shared = &mut *counted.borrow_mut();
                while socket.try_receive(&mut shared.batch).is_ok_and(|count| count > 0) {
                    let reading = Reading::now();
                    for (_, datagram, told) in shared.batch.arrivals() {
                        if let Some(stamp) = stamp::read(datagram) {
                            shared.tally.straight.take(stamp, origin, &reading, told);
                        }
                    }
                }
            }
        });
        Self { origin, bind, joined, shared, receivers: HashMap::new() }
    }

    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                _ = tick.tick() => self.tick(),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Join(number, setup) => match Receiver::new(*setup, self.bind, self.joined) {
                Ok(receiver) => {
                    let receiver = Rc::new(RefCell::new(receiver));
                    let reading = read(receiver.clone(), self.shared.clone(), self.origin);
                    let task = tokio::task::spawn_local(reading).abort_handle();
                    self.receivers.insert(number, (receiver, task));
                }
                Err(error) => self.shared.borrow_mut().tally.failed.push(error.to_string()),
            },
            Command::Leave(number) => {
                if let Some((receiver, task)) = self.receivers.remove(&number) {
                    task.abort();
                    receiver.borrow().count(&mut self.shared.borrow_mut().tally);
                }
            }
            Command::Mark => {
                self.shared.borrow_mut().tally = Tally::default();
                for (receiver, _) in self.receivers.values() {
                    receiver.borrow_mut().mark();
                }
            }
            Command::Report(sender) => {
                let mut tally = self.shared.borrow().tally.clone();
                for (receiver, _) in self.receivers.values() {
                    let receiver = receiver.borrow();
                    tally.receivers += 1;
                    tally.connected += usize::from(receiver.peer.is_connected());
                    receiver.count(&mut tally);
                }
                let _ = sender.send(tally);
            }
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let shared = &mut *self.shared.borrow_mut();
        for (receiver, _) in self.receivers.values() {
            receiver.borrow_mut().transmit(now, shared);
        }
    }
}

impl Receiver {
    pub(crate) fn new(setup: Setup, bind: IpAddr, joined: bool) -> anyhow::Result<Self> {
        let streams = setup.answer.slots.iter().map(|ssrc| Stream::new(*ssrc)).collect();
        Ok(Self { peer: Peer::new(setup, bind, joined)?, streams, packets: 0, keyframe_wanted: false })
    }

    pub(crate) fn mark(&mut self) {
        self.streams.iter_mut().for_each(Stream::mark);
    }

    /// Adds what its streams have counted.
    pub(crate) fn count(&self, tally: &mut Tally) {
        tally.received += self.streams.iter().map(Stream::received).sum::<u64>();
        tally.missing += self.streams.iter().map(Stream::missing).sum::<u64>();
    }

    /// Takes everything in that has come, without waiting.
    pub(crate) fn drain(&mut self, shared: &mut Shared, origin: Instant) {
        let mut answers = false;
        while self.peer.socket.try_receive(&mut shared.batch).is_ok_and(|count| count > 0) {
            let reading = Reading::now();
            for (_, datagram, told) in shared.batch.arrivals() {
                answers |= datagram.first().is_some_and(|first| *first < 128);
                self.take((reading, told), datagram, origin, &mut shared.tally);
            }
        }
        if answers {
            self.transmit(Instant::now(), shared);
        }
    }

    /// Does what is due.
    pub(crate) fn transmit(&mut self, now: Instant, shared: &mut Shared) {
        if let Err(error) = self.peer.transmit(now, &mut shared.arena) {
            shared.tally.failed.push(error.to_string());
        }
        if !shared.arena.is_empty() {
            self.peer.socket.send(&mut shared.arena);
        }
    }

    fn take(
        &mut self,
        (reading, told): (Reading, Option<SystemTime>),
        datagram: &mut [u8],
        origin: Instant,
        tally: &mut Tally,
    ) {
        let before = self.peer.is_connected();
        match self.peer.handle(reading.at, datagram) {
            Ok(DatagramKind::Rtp) => {}
            Ok(DatagramKind::Dtls) => {
                tally.came_up += u64::from(!before && self.peer.is_connected());
                return;
            }
            Ok(DatagramKind::Rtcp) => {
                let Some(Ok(len)) = self.peer.srtp_receiver().map(|srtp| srtp.unprotect_rtcp(datagram)) else { return };
                let asked = parse_compound(datagram.get(..len).unwrap_or_default());
                let asks = |packet| matches!(packet, Ok(RtcpPacket::Pli { .. } | RtcpPacket::Fir(_)));
                self.keyframe_wanted |= asked.into_iter().any(asks);
                return;
            }
            Ok(_) => return,
            Err(error) => return tally.failed.push(error.to_string()),
        }
        // The header is not encrypted.
        let &[_, _, high, low, _, _, _, _, s0, s1, s2, s3, ..] = &*datagram else { return };
        let ssrc = u32::from_be_bytes([s0, s1, s2, s3]);
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == ssrc) else { return };
        stream.take(u16::from_be_bytes([high, low]));
        self.packets += 1;
        if self.packets % SAMPLE != 1 {
            return;
        }
        let Some(srtp) = self.peer.srtp_receiver() else { return };
        tally.opened += 1;
        let stamp = srtp.unprotect_rtp(datagram).ok().and_then(|len| {
            let packet = datagram.get(..len)?;
            stamp::read(RtpHeader::parse(packet).ok()?.payload(packet))
        });
        match stamp {
            Some(stamp) => tally.ages.take(stamp, origin, &reading, told),
            None => tally.wrong += 1,
        }
    }
}

/// Drains one receiver's socket whenever something has come.
async fn read(receiver: Rc<RefCell<Receiver>>, shared: Rc<RefCell<Shared>>, origin: Instant) {
    let socket = receiver.borrow().peer.socket.clone();
    while socket.readable().await.is_ok() {
        receiver.borrow_mut().drain(&mut shared.borrow_mut(), origin);
    }
}
