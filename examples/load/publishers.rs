//! The publishers on a thread of their own: each sends its streams at their pace, one system call a datagram's destination and no trains, as
//! many separate phones would; those that also receive are drained in between.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringback_transport::rtp::RtpHeaderWriter;
use tokio::sync::{mpsc, oneshot};

use crate::offer::{LEVEL, MID, OPUS, RID, VP8};
use crate::peer::Setup;
use crate::receivers::{Receiver, Shared};
use crate::shape::Shape;
use crate::stamp;
use crate::tally::Tally;

/// A sleeping thread wakes so much late: the rest is spun.
const SPIN: Duration = Duration::from_micros(150);

/// How often timers and sockets are looked at.
const TICK: Duration = Duration::from_millis(1);

/// An audio level of −20 dBov with the voice bit (RFC 6464): somebody speaks.
const SPEAKING: u8 = 0x80 | 20;

enum Command {
    Join(Box<Setup>, Vec<Shape>),
    Run(Duration, oneshot::Sender<Vec<u64>>),
    Mark,
    Report(oneshot::Sender<Tally>),
}

/// The thread's handle; it ends when this is dropped.
pub(crate) struct Publishers {
    commands: Option<mpsc::UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Publishers {
    /// `bind`: their address, and whether those that receive take in what arrived joined (GRO). `straight`: where one plain stamp goes with each burst.
    pub(crate) fn start(origin: Instant, (bind, joined): (IpAddr, bool), straight: SocketAddr) -> anyhow::Result<Self> {
        let (commands, receiver) = mpsc::unbounded_channel();
        let probe = UdpSocket::bind("127.0.0.1:0")?;
        let thread = std::thread::Builder::new().name("publishers".into()).spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            let (shared, publishers, scratch) = (Shared::new(), Vec::new(), Vec::new());
            let stage = Stage { origin, bind, joined, straight, probe, shared, publishers, scratch };
            runtime.block_on(stage.run(receiver));
        })?;
        Ok(Self { commands: Some(commands), thread: Some(thread) })
    }

    fn tell(&self, command: Command) {
        if let Some(commands) = &self.commands {
            let _ = commands.send(command);
        }
    }

    pub(crate) fn join(&self, setup: Setup, shapes: Vec<Shape>) {
        self.tell(Command::Join(Box::new(setup), shapes));
    }

    /// Sends for some time; the packets that each publisher has sent.
    pub(crate) async fn run(&self, time: Duration) -> Vec<u64> {
        self.start_run(time).await.unwrap_or_default()
    }

    /// Begins to; the receiver says when it is over.
    pub(crate) fn start_run(&self, time: Duration) -> oneshot::Receiver<Vec<u64>> {
        let (sender, receiver) = oneshot::channel();
        self.tell(Command::Run(time, sender));
        receiver
    }

    pub(crate) fn mark(&self) {
        self.tell(Command::Mark);
    }

    pub(crate) async fn report(&self) -> Tally {
        let (sender, receiver) = oneshot::channel();
        self.tell(Command::Report(sender));
        receiver.await.unwrap_or_default()
    }
}

impl Drop for Publishers {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Outgoing {
    shape: Shape,
    sent: u64,
    frames: u64,
    /// How far its media has come.
    elapsed: Duration,
    wants_key: bool,
}

struct Publisher {
    receiver: Receiver,
    streams: Vec<Outgoing>,
}

struct Stage {
    origin: Instant,
    bind: IpAddr,
    joined: bool,
    straight: SocketAddr,
    probe: UdpSocket,
    shared: Shared,
    publishers: Vec<Publisher>,
    scratch: Vec<u8>,
}

impl Stage {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Join(setup, shapes)) => self.join(*setup, shapes),
                    Some(Command::Run(time, sender)) => {
                        let sent = self.send(time).await;
                        let _ = sender.send(sent);
                    }
                    Some(Command::Mark) => {
                        self.shared.tally = Tally::default();
                        self.publishers.iter_mut().for_each(|publisher| publisher.receiver.mark());
                    }
                    Some(Command::Report(sender)) => {
                        let _ = sender.send(self.report());
                    }
                    None => return,
                },
                _ = tick.tick() => self.pump(),
            }
        }
    }

    fn join(&mut self, setup: Setup, shapes: Vec<Shape>) {
        let outgoing = |shape| Outgoing { shape, sent: 0, frames: 0, elapsed: Duration::ZERO, wants_key: true };
        match Receiver::new(setup, self.bind, self.joined) {
            Ok(receiver) => {
                self.publishers.push(Publisher { receiver, streams: shapes.into_iter().map(outgoing).collect() });
            }
            Err(error) => self.shared.tally.failed.push(error.to_string()),
        }
    }

    fn report(&self) -> Tally {
        let mut tally = self.shared.tally.clone();
        for Publisher { receiver, .. } in &self.publishers {
            tally.receivers += 1;
            tally.connected += usize::from(receiver.peer.is_connected());
            receiver.count(&mut tally);
        }
        tally
    }

    fn pump(&mut self) {
        let now = Instant::now();
        for publisher in &mut self.publishers {
            publisher.receiver.drain(&mut self.shared, self.origin);
            publisher.receiver.transmit(now, &mut self.shared);
            if std::mem::take(&mut publisher.receiver.keyframe_wanted) {
                publisher.streams.iter_mut().for_each(|stream| stream.wants_key = true);
            }
        }
    }

    async fn send(&mut self, time: Duration) -> Vec<u64> {
        let began = Instant::now();
        let end = began + time;
        let mut due = BinaryHeap::new();
        let mut sent = vec![0; self.publishers.len()];
        for (at, publisher) in self.publishers.iter().enumerate() {
            for (number, stream) in publisher.streams.iter().enumerate() {
                // Spread over a frame's time, as people who do not know of one another.
                let frame = stream.shape.period().div_f64(stream.shape.frames.len() as f64);
                let phase = frame.mul_f64(at as f64 / self.publishers.len() as f64);
                due.push(Reverse((began + phase, at, number)));
            }
        }
        let mut next_pump = began;
        while let Some(Reverse((at, publisher, number))) = due.pop() {
            if at >= end {
                break;
            }
            loop {
                let now = Instant::now();
                if now >= next_pump {
                    next_pump = now + TICK;
                    self.pump();
                    // Lets the runtime see which sockets have become readable.
                    tokio::task::yield_now().await;
                }
                let left = at.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                if left > SPIN {
                    std::thread::sleep((left - SPIN).min(TICK));
                }
            }
            let (packets, until_next) = self.frame(publisher, number);
            sent[publisher] += packets;
            due.push(Reverse((at + until_next, publisher, number)));
        }
        sent
    }

    /// Sends one stream's next frame; how many packets that were, and when the one after it is due.
    fn frame(&mut self, at: usize, number: usize) -> (u64, Duration) {
        let Publisher { receiver, streams } = &mut self.publishers[at];
        let Outgoing { shape, sent, frames, elapsed, wants_key } = &mut streams[number];
        let (key, audio) = (std::mem::take(wants_key), shape.is_audio());
        let clock = if audio { 48_000.0 } else { 90_000.0 };
        let timestamp = (elapsed.as_secs_f64() * clock) as u64 as u32;
        // Another length for each publisher, where frames differ: people do not say the same at once.
        let frame = &shape.frames[(*frames as usize + at * 97) % shape.frames.len()];
        for (index, len) in frame.payloads.iter().enumerate() {
            let mut payload = std::mem::take(&mut self.scratch);
            payload.clear();
            if !audio {
                stamp::write_vp8(&mut payload, *frames as u16 & 0x7FFF, key, index == 0);
            }
            stamp::write(&mut payload, at as u64, *sent, self.origin, usize::from(*len));
            let header = RtpHeaderWriter {
                marker: index + 1 == frame.payloads.len() && !audio,
                payload_type: if audio { OPUS } else { VP8 },
                sequence: *sent as u16,
                timestamp,
                ssrc: shape.ssrc,
            };
            let mut packet = vec![0; payload.len() + 64];
            let rid = shape.rid.unwrap_or_default().as_bytes();
            let extensions: &[(u8, &[u8])] = match (audio, shape.rid) {
                (true, _) => &[(LEVEL, &[SPEAKING]), (MID, b"mic")],
                (false, None) => &[(MID, b"cam")],
                (false, Some(_)) => &[(MID, b"cam"), (RID, rid)],
            };
            if let Ok(len) = header.write(&mut packet, extensions) {
                packet.truncate(len + payload.len());
                packet[len..].copy_from_slice(&payload);
                if let Err(error) = receiver.peer.queue_rtp(&packet, &mut self.shared.arena) {
                    self.shared.tally.failed.push(error.to_string());
                }
            }
            self.scratch = payload;
            *sent += 1;
        }
        *frames += 1;
        *elapsed += frame.until_next;
        receiver.peer.socket.send(&mut self.shared.arena);
        let mut plain = Vec::with_capacity(2048);
        let len = frame.payloads.first().copied().unwrap_or_default();
        stamp::write(&mut plain, at as u64, *sent, self.origin, usize::from(len));
        let _ = self.probe.send_to(&plain, self.straight);
        (frame.payloads.len() as u64, frame.until_next)
    }
}
