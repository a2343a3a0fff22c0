//! The worker's loop: commands, what is due, then a bounded drain of the sockets, then everything out at once. `driver/packets.rs`
//! takes datagrams to their connections and rooms, `driver/connections.rs` what comes over TCP, `driver/control.rs` carries commands out,
//! `driver/broadcast.rs` those that take several rounds.
//!
//! Whatever a room or a connection does happens inside a guard: a panic there ends that room or that connection.

mod broadcast;
mod connections;
mod control;
mod packets;
mod shards;

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringback_transport::path::{Link, Path};
use ringback_transport::socket::{ReceiveBatch, UdpSocket};
use slab::Slab;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Sleep, sleep_until};

use super::busy::{Busy, BusyMeter};
use super::deadlines::{Deadlines, Owner};
use super::endpoint::Endpoint;
use super::handle::{Command, Reply};
use super::outbox::{Outbox, Ways};
use super::peer::{Peer, Peers};
use super::routes::{Place, Routes};
use super::shards::Shards;
use super::streams::Streams;
use super::{Limits, WorkerConfig, WorkerStatistics};
use crate::decoding::{DecoderPool, Heard};
use crate::events::{DisconnectReason, EventQueue, RoomCloseReason, SfuEvent};
use crate::ids::{ParticipantId, RoomId};
use crate::room::Room;
use broadcast::Broadcast;

/// Batches read from one socket before commands and timers get their turn. Each is up to 32 receive calls' worth; more lets bursts through
/// at a lower cost, less keeps timers on time.
const DRAIN_BATCHES: usize = 4;

/// How long a round may be at commands, and as long at what is due, before media gets its turn; what is begun is finished. More saves a look at the sockets and lets media wait.
const LUMP: Duration = Duration::from_micros(200);

/// Handshake datagrams taken in one round. One costs a quarter of a millisecond of public-key arithmetic, during which media waits; with two, twice as long, for next to nothing
/// saved: a round without media costs microseconds.
const HANDSHAKES_PER_ROUND: u32 = 1;

/// Handshake datagrams that wait for the next rounds; DTLS repeats what is dropped beyond that after a second.
const HANDSHAKES_WAITING: usize = 256;

/// … and of one participant: no more than a flight of a handshake in small pieces, so that nobody fills the queue alone.
const HANDSHAKES_WAITING_EACH: usize = 16;

/// STUN requests from unknown addresses looked at in one round. A forged one costs an HMAC; ICE repeats what is dropped.
const CHECKS_PER_ROUND: u32 = 64;

/// A room with its members' connections, under the same numbers.
struct Home {
    room: Room,
    peers: Peers,
    shards: Shards,
    /// The deadline that stands for the room.
    armed: Option<Instant>,
}

/// A datagram that waits for its turn.
struct Deferred {
    from: Path,
    bytes: Vec<u8>,
}

/// Unauthenticated work that may still be done in this round.
#[derive(Debug, Clone, Copy)]
struct Budget {
    handshakes: u32,
    checks: u32,
}

/// The worker's task.
pub(super) struct Driver {
    ways: Ways,
    /// Taken out while its datagrams are handled.
    batch: Option<Box<ReceiveBatch>>,
    rooms: Slab<Home>,
    room_places: HashMap<RoomId, usize>,
    participants: HashMap<ParticipantId, Place>,
    routes: Routes,
    deadlines: Deadlines,
    /// When connections are looked over next, if there are any.
    sweep_at: Option<Instant>,
    /// Whether a listener refused to accept for want of something, such as file descriptors.
    accept_later: bool,
    deferred: VecDeque<Deferred>,
    broadcasts: VecDeque<Broadcast>,
    budget: Budget,
    commands: mpsc::Receiver<Command>,
    decoders: Arc<DecoderPool>,
    heard: mpsc::Receiver<Heard>,
    events: EventQueue,
    limits: Limits,
    statistics: WorkerStatistics,
    busy: BusyMeter,
    /// Wakes the loop for what other workers have sent.
    wake: Arc<Notify>,
    /// Rooms that have shards on other workers.
    spanning: Vec<usize>,
    /// Room for one message of another shard, used again for each.
    relayed: Vec<u8>,
    /// Whether more of them wait than a round takes.
    more_relayed: bool,
    /// Whether more is due than a round does.
    more_due: bool,
}

impl Driver {
    pub(super) fn new(
        sockets: Vec<UdpSocket>,
        streams: Streams,
        commands: mpsc::Receiver<Command>,
        events: EventQueue,
        (busy, wake): (Arc<Busy>, Arc<Notify>),
        config: &WorkerConfig,
        statistics: WorkerStatistics,
    ) -> Self {
        let (decoders, heard) = DecoderPool::new(config.limits.decoder_threads);
        Self {
            ways: Ways::new(sockets, streams, config.trains),
            batch: Some(Box::default()),
            rooms: Slab::new(),
            room_places: HashMap::new(),
            participants: HashMap::new(),
            routes: Routes::default(),
            deadlines: Deadlines::new(Instant::now()),
            sweep_at: None,
            accept_later: false,
            deferred: VecDeque::new(),
            broadcasts: VecDeque::new(),
            budget: Budget { handshakes: 0, checks: 0 },
            commands,
            decoders: Arc::new(decoders),
            heard,
            events,
            limits: config.limits.clone(),
            statistics,
            busy: BusyMeter::new(busy),
            wake,
            spanning: Vec::new(),
            relayed: Vec::new(),
            more_relayed: false,
            more_due: false,
        }
    }

    /// Works until told to stop.
    pub(super) async fn run(mut self) {
        let mut timer = pin!(sleep_until(tokio::time::Instant::now()));
        let told = loop {
            let began = Instant::now();
            if let Some(stop) = self.round(began) {
                break stop;
            }
            self.busy.worked(began, Instant::now());
            if self.deferred.is_empty() && self.broadcasts.is_empty() && !self.more_relayed && !self.more_due {
                match self.wait(timer.as_mut()).await {
                    Some(command) => {
                        if let Some(stop) = self.carry_out(command, Instant::now()) {
                            break stop;
                        }
                    }
                    None => continue,
                }
            } else {
                tokio::task::yield_now().await;
            }
        };
        self.close_all(Instant::now());
        self.ways.flush_all(&mut self.statistics);
        self.events.flush();
        if let Some(reply) = told {
            let _ = reply.send(Ok(()));
        }
    }

    /// One round without waiting. Returns what to answer when it is time to stop.
    fn round(&mut self, now: Instant) -> Option<Option<Reply<()>>> {
        loop {
            match self.commands.try_recv() {
                Ok(command) => {
                    if let Some(stop) = self.carry_out(command, now) {
                        return Some(stop);
                    }
                    // The next wait finds what is left.
                    if now.elapsed() > LUMP {
                        break;
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Some(None),
            }
        }
        self.budget = Budget { handshakes: HANDSHAKES_PER_ROUND, checks: CHECKS_PER_ROUND };
        self.take_what_was_heard(now);
        self.do_what_is_due(now);
        self.serve_shards();
        self.drain_sockets();
        self.serve_connections();
        self.handle_deferred();
        self.carry_on_broadcast();
        self.flush(now);
        self.events.flush();
        None
    }

    /// Waits for something to do. Returns a command, if that is what came. The timer is kept from one wait to the next: what is due next is mostly what was due next before, and setting a
    /// timer costs as much as looking at a socket.
    async fn wait(&mut self, mut timer: Pin<&mut Sleep>) -> Option<Command> {
        async fn readable(endpoint: Option<&Endpoint>) {
            match endpoint {
                // An error means that the runtime shuts down, and this task with it.
                Some(endpoint) if endpoint.socket.readable().await.is_ok() => {}
                _ => pending().await,
            }
        }
        async fn has_room(events: Option<mpsc::Sender<SfuEvent>>) {
            match events {
                Some(events) => drop(events.reserve().await),
                None => pending().await,
            }
        }
        let events = self.events.is_waiting().then(|| self.events.channel());
        let due = [self.deadlines.next(), self.ways.held_until()].into_iter().flatten().min();
        let wake = tokio::time::Instant::from_std(due.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600)));
        if timer.deadline() != wake {
            timer.as_mut().reset(wake);
        }
        let endpoint = |at: usize| self.ways.endpoints.get(at);
        tokio::select! {
            // When every handle is gone the next round notices.
            command = self.commands.recv() => command,
            () = readable(endpoint(0)) => None,
            () = readable(endpoint(1)) => None,
            () = readable(endpoint(2)) => None,
            () = readable(endpoint(3)) => None,
            () = self.ways.streams.ready() => None,
            () = self.wake.notified() => None,
            () = timer => None,
            () = has_room(events) => None,
        }
    }

    /// Gives rooms what their ears heard. Nobody is woken for it: the next packet, or the room's tick, is soon enough.
    fn take_what_was_heard(&mut self, now: Instant) {
        while let Ok(heard) = self.heard.try_recv() {
            self.statistics.voices_decoded += 1;
            let elsewhere = || {
                let key = |at: &usize| Some((*at, self.rooms.get(*at)?.shards.key(heard.participant)?));
                self.spanning.iter().find_map(key)
            };
            if let Some((at, key)) = self.participants.get(&heard.participant).copied().or_else(elsewhere) {
                self.in_room(at, |room, _| room.on_heard(now, key, heard), now);
            }
        }
    }

    fn drain_sockets(&mut self) {
        let Some(mut batch) = self.batch.take() else { return };
        for socket in 0..self.ways.endpoints.len() {
            let link = Link::socket(socket as u32);
            for _ in 0..DRAIN_BATCHES {
                match self.ways.endpoints[socket].socket.try_receive(&mut batch) {
                    Ok(0) => break,
                    Ok(count) => self.statistics.datagrams_received += count as u64,
                    Err(error) => {
                        tracing::warn!(%error, "a media socket could not be read");
                        break;
                    }
                }
                let now = Instant::now();
                for (from, datagram) in batch.datagrams() {
                    self.handle_datagram(now, Path::new(from, link), datagram);
                }
                self.flush(now);
                self.statistics.delays.observe(now.elapsed());
            }
        }
        self.batch = Some(batch);
    }

    /// Gives handshakes that media went before their turn.
    fn handle_deferred(&mut self) {
        if self.deferred.is_empty() {
            return;
        }
        let now = Instant::now();
        for _ in 0..self.deferred.len() {
            if self.budget.handshakes == 0 {
                return;
            }
            let Some(mut deferred) = self.deferred.pop_front() else { return };
            self.handle_datagram(now, deferred.from, &mut deferred.bytes);
        }
    }

    fn flush(&mut self, now: Instant) {
        self.ways.flush(now, &mut self.statistics);
        for &at in &self.spanning {
            if let Some(home) = self.rooms.get_mut(at) {
                home.shards.wake();
            }
        }
    }

    fn do_what_is_due(&mut self, now: Instant) {
        let began = Instant::now();
        self.more_due = false;
        while let Some(owner) = self.deadlines.pop_due(now) {
            let stands = |armed: &mut Option<Instant>| armed.take_if(|at| *at <= now).is_some();
            match owner {
                Owner::Room(at) => {
                    if self.rooms.get_mut(at).is_some_and(|home| stands(&mut home.armed)) {
                        self.in_room(at, |room, outbox| room.handle_timeout(now, outbox), now);
                    }
                }
                Owner::Peer(at, key) => {
                    let peer = self.rooms.get_mut(at).and_then(|home| home.peers.get_mut(key));
                    let Some(peer) = peer.filter(|peer| peer.armed.is_some_and(|armed| armed <= now)) else { continue };
                    // Renewed since: nothing of the connection is looked at.
                    peer.armed = Some(peer.due).filter(|due| *due > now);
                    if let Some(due) = peer.armed {
                        self.deadlines.push(due, owner);
                    } else {
                        self.in_connection((at, key), now, |peer| peer.connection.handle_timeout(now));
                        self.pump((at, key), now);
                    }
                }
                Owner::Connections => self.sweep_connections(now),
            }
            // Rooms that look at once go on doing so: what is left has a later look of its own.
            if began.elapsed() > LUMP {
                self.more_due = true;
                break;
            }
        }
    }

    /// Lets a room act, inside the guard, and carries on what follows from it: slots and tables, events, the next tick.
    #[inline]
    fn in_room<R>(&mut self, at: usize, act: impl FnOnce(&mut Room, &mut Outbox<'_>) -> R, now: Instant) -> Option<R> {
        let home = self.rooms.get_mut(at)?;
        let room = &mut home.room;
        let mut outbox = Outbox {
            peers: &mut home.peers,
            shards: &mut home.shards,
            ways: &mut self.ways,
            statistics: &mut self.statistics,
        };
        let acted = catch_unwind(AssertUnwindSafe(|| {
            let result = act(room, &mut outbox);
            room.settle_in_time(now, &mut outbox);
            result
        }));
        let Ok(result) = acted else {
            self.statistics.panics += 1;
            tracing::error!(room = %room.id, "a bug ended a room");
            self.end_room(at, RoomCloseReason::Internal, now);
            return None;
        };
        while let Some(event) = room.poll_event() {
            self.events.push(event);
        }
        while let Some((relay, notice)) = room.poll_notice() {
            home.shards.tell(relay, &notice);
        }
        let due = self.deadlines.rounded(now, room.poll_timeout());
        if home.armed.is_none_or(|armed| due < armed) {
            home.armed = Some(due);
            self.deadlines.push(due, Owner::Room(at));
        }
        Some(result)
    }

    /// Lets a connection act, inside the guard.
    #[inline]
    fn in_connection<R>(&mut self, place: Place, now: Instant, act: impl FnOnce(&mut Peer) -> R) -> Option<R> {
        let peer = self.rooms.get_mut(place.0)?.peers.get_mut(place.1)?;
        match catch_unwind(AssertUnwindSafe(|| act(peer))) {
            Ok(result) => Some(result),
            Err(_) => {
                self.statistics.panics += 1;
                tracing::error!(participant = %peer.participant, "a bug ended a connection");
                // What a panic interrupted is not asked to say goodbye.
                self.remove(place, DisconnectReason::Internal, now, false);
                None
            }
        }
    }

    /// Ends a participant's part, and forgets every trace of it.
    fn remove(&mut self, place: Place, reason: DisconnectReason, now: Instant, goodbye: bool) {
        if goodbye {
            let closed = self.in_connection(place, now, |peer| peer.connection.close(now));
            if closed.is_none() {
                return;
            }
            self.transmit(place, now);
        }
        let Some(home) = self.rooms.get_mut(place.0) else { return };
        let Some(peer) = home.peers.try_remove(place.1) else { return };
        let room = home.room.id;
        self.routes.forget(place, &peer.addresses, &peer.ufrags);
        self.ways.close(&peer.streams, &mut self.statistics);
        self.participants.remove(&peer.participant);
        self.in_room(place.0, |room, _| room.leave(now, place.1), now);
        self.events.push(SfuEvent::Disconnected { room, participant: peer.participant, reason });
        // A connection whose state a panic left halfway may panic again when it is dropped.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(peer)));
    }

    /// Ends a room and everybody's part in it.
    fn end_room(&mut self, at: usize, reason: RoomCloseReason, now: Instant) {
        let Some(home) = self.rooms.get_mut(at) else { return };
        let id = home.room.id;
        let keys: Vec<usize> = home.peers.iter().map(|(key, _)| key).collect();
        for &key in &keys {
            if self.in_connection((at, key), now, |peer| peer.connection.close(now)).is_some() {
                self.transmit((at, key), now);
            }
        }
        let Some(home) = self.rooms.try_remove(at) else { return };
        self.room_places.remove(&id);
        self.spanning.retain(|place| *place != at);
        for (key, peer) in home.peers.iter() {
            if reason == RoomCloseReason::Internal && !home.shards.is_empty() {
                // The room goes on without them.
                let (room, participant, reason) = (id, peer.participant, DisconnectReason::Internal);
                self.events.push(SfuEvent::Disconnected { room, participant, reason });
            }
            self.routes.forget((at, key), &peer.addresses, &peer.ufrags);
            self.ways.close(&peer.streams, &mut self.statistics);
            self.participants.remove(&peer.participant);
        }
        self.events.push(SfuEvent::RoomClosed { room: id, reason });
        let _ = catch_unwind(AssertUnwindSafe(|| drop(home)));
    }

    fn close_all(&mut self, now: Instant) {
        let places: Vec<usize> = self.rooms.iter().map(|(at, _)| at).collect();
        for at in places {
            self.end_room(at, RoomCloseReason::Shutdown, now);
        }
    }
}
