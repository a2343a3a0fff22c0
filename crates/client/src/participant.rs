//! This client in a room: joined with one offer, publishing, receiving in slots. The slots' packets are counted and
//! handed out as they come; `room.slots` and `room.roster` events keep the names right.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::rtp_transceiver::RTCRtpTransceiverId;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::debug;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::RTCPeerConnectionState;

use crate::client::Events;
use crate::peer::{DATA_CHANNEL, Lines, Peer, Remote};
use crate::protocol::{Event, Joined, Kind, RosterEntry, SlotMapping, SlotView, Source, TrackClaim};
use crate::publish::{Outlet, send_camera, send_microphone, until_gone};
use crate::reception::{Slot, SlotReport};
use crate::socket::parse;
use crate::{Client, ClientError, Publish};

/// The RTP header of a received packet, as the `rtc-rtp` crate parses it.
pub use rtc::rtp::Header as RtpHeader;

/// Packets kept for a reader of [`Participant::on_audio`] or [`Participant::on_video`]: about two seconds of one video.
const PACKET_BACKLOG: usize = 512;

/// One received RTP packet.
#[derive(Debug, Clone)]
pub struct ReceivedPacket {
    /// The slot's m-line.
    pub mid: Arc<str>,
    /// The k that the paired audio and video slots share.
    pub pair: usize,
    /// Whose it is, by the mapping that holds for its RTP timestamp.
    pub participant: Option<Arc<str>>,
    /// Its header.
    pub header: RtpHeader,
    /// Its payload, without padding.
    pub payload: Bytes,
    /// When it was read.
    pub at: Instant,
}

/// One received data-channel message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataMessage {
    /// The channel's label.
    pub label: String,
    /// Whether it came as binary rather than text.
    pub binary: bool,
    /// The message.
    pub data: Bytes,
}

/// This client in a room. Dropped, it stops sending at once; the server learns of it from [`leave`](Self::leave), or
/// when consent expires.
pub struct Participant {
    id: String,
    room: String,
    client: Client,
    peer: Peer,
    muted: BTreeMap<Source, Arc<AtomicBool>>,
    shared: Arc<Shared>,
    /// Aborted when dropped.
    _tasks: JoinSet<()>,
}

/// What the reading tasks and the handle share.
#[derive(Default)]
struct Shared {
    slots: HashMap<RTCRtpTransceiverId, Mutex<Slot>>,
    roster: Mutex<BTreeMap<String, RosterEntry>>,
    on_audio: Mutex<Option<mpsc::Sender<ReceivedPacket>>>,
    on_video: Mutex<Option<mpsc::Sender<ReceivedPacket>>>,
    on_data: Mutex<Option<mpsc::Sender<DataMessage>>>,
    /// Whether this participant's own data channel is open.
    data_open: watch::Sender<bool>,
}

impl Participant {
    pub(crate) async fn join(client: Client, room: &str, publish: Publish) -> Result<Self, ClientError> {
        let sources = publish.open()?;
        let lines =
            Lines { microphone: sources.microphone.is_some(), camera: sources.camera.is_some(), slots: publish.slots };
        let (peer, remote, offer) = Peer::offer(client.local_address(), lines).await?;

        let muted: BTreeMap<Source, Arc<AtomicBool>> = peer
            .send
            .iter()
            .map(|line| (line.source, Arc::new(AtomicBool::new(publish.muted && line.source == Source::Microphone))))
            .collect();
        let tracks: Vec<TrackClaim> = peer
            .send
            .iter()
            .map(|line| TrackClaim {
                mid: line.mid.clone(),
                source: line.source,
                muted: muted.get(&line.source).is_some_and(|muted| muted.load(Ordering::Relaxed)),
            })
            .collect();
        // Listening before asking, so that no mapping is missed between the answer and the first read.
        let events = client.subscribe();
        let answer = client.request("room.join", json!({ "room": room, "offer": offer, "tracks": tracks })).await?;
        let joined: Joined = parse("answer to room.join", answer)?;
        peer.accept_answer(&joined.answer).await?;

        let slots = peer.slots.iter().map(|line| {
            let announced = joined.slots.iter().find(|slot| slot.mid == line.mid).and_then(|slot| slot.pair);
            (line.id, Mutex::new(Slot::new(&line.mid, line.kind, announced.unwrap_or(line.pair))))
        });
        let roster = joined.roster.into_iter().map(|entry| (entry.participant.clone(), entry));
        let shared =
            Arc::new(Shared { slots: slots.collect(), roster: Mutex::new(roster.collect()), ..Shared::default() });

        let mut tasks = JoinSet::new();
        tasks.spawn(follow_events(events, room.to_owned(), shared.clone()));
        tasks.spawn(read_remote(remote, peer.data.clone(), shared.clone()));
        let (mut microphone, mut camera) = (sources.microphone, sources.camera);
        for line in &peer.send {
            let outlet = Outlet {
                track: line.track.clone(),
                ssrc: line.ssrc,
                format: line.format().await?,
                muted: muted.get(&line.source).cloned().unwrap_or_default(),
            };
            let state = peer.state.clone();
            match line.source {
                Source::Microphone => {
                    if let Some(microphone) = microphone.take() {
                        let sending = send_microphone(microphone, outlet, publish.log.clone());
                        tasks.spawn(once_connected(state, until_gone(sending)));
                    }
                }
                Source::Camera | Source::Screen => {
                    if let Some(camera) = camera.take() {
                        tasks.spawn(once_connected(state, until_gone(send_camera(camera, outlet))));
                    }
                }
            }
        }
        Ok(Self { id: joined.participant, room: room.to_owned(), client, peer, muted, shared, _tasks: tasks })
    }

    /// This participant's id in the room.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The room.
    pub fn room(&self) -> &str {
        &self.room
    }

    /// Waits until media flows both ways: ICE and DTLS are done.
    ///
    /// # Errors
    /// [`ClientError::NotConnected`] when that fails or takes longer than `timeout`.
    pub async fn connected(&self, timeout: Duration) -> Result<(), ClientError> {
        use RTCPeerConnectionState::{Closed, Connected, Failed};
        let mut state = self.peer.state.clone();
        let settled = state.wait_for(|state| matches!(state, Connected | Failed | Closed));
        let _ = tokio::time::timeout(timeout, settled).await;
        let state = *self.peer.state.borrow();
        if state == Connected {
            return Ok(());
        }
        Err(ClientError::NotConnected { state: state.to_string(), waited: timeout })
    }

    /// Who is in the room, as far as the server has told.
    pub fn roster(&self) -> Vec<RosterEntry> {
        lock(&self.shared.roster).values().cloned().collect()
    }

    /// The slots in the order of the offer and what has come in each.
    pub fn slots(&self) -> Vec<SlotReport> {
        self.peer
            .slots
            .iter()
            .filter_map(|line| self.shared.slots.get(&line.id))
            .map(|slot| lock(slot).report())
            .collect()
    }

    /// The audio packets from now on, of all slots in order of arrival. A later call takes over from an earlier one.
    pub fn on_audio(&self) -> mpsc::Receiver<ReceivedPacket> {
        install(&self.shared.on_audio)
    }

    /// The video packets from now on, of all slots in order of arrival. A later call takes over from an earlier one.
    pub fn on_video(&self) -> mpsc::Receiver<ReceivedPacket> {
        install(&self.shared.on_video)
    }

    /// The data-channel messages from now on. A later call takes over from an earlier one.
    pub fn on_data(&self) -> mpsc::Receiver<DataMessage> {
        install(&self.shared.on_data)
    }

    /// Sends a text message on this participant's data channel, once it is open.
    ///
    /// # Errors
    /// When the channel closes or does not open within `timeout`.
    pub async fn send_data(&self, text: &str, timeout: Duration) -> Result<(), ClientError> {
        let mut open = self.shared.data_open.subscribe();
        let sent = tokio::time::timeout(timeout, async {
            // The sender lives in `shared`, so this waits for nothing but the opening.
            let _ = open.wait_for(|open| *open).await;
            self.peer.data.send_text(text).await
        });
        let timed_out =
            |_| ClientError::NotConnected { state: "without an open data channel".to_owned(), waited: timeout };
        sent.await.map_err(timed_out)?.map_err(ClientError::media("sending on the data channel"))
    }

    /// Mutes or unmutes a published track: stops sending it and tells the room.
    ///
    /// # Errors
    /// [`ClientError::NothingPublished`], or as [`Client::request`].
    pub async fn mute(&self, source: Source, muted: bool) -> Result<(), ClientError> {
        let flag = self.muted.get(&source).ok_or(ClientError::NothingPublished(match source {
            Source::Microphone => "microphone",
            Source::Camera => "camera",
            Source::Screen => "screen",
        }))?;
        flag.store(muted, Ordering::Relaxed);
        let fields = json!({ "room": self.room, "source": source, "muted": muted });
        self.client.request("room.mute", fields).await.map(drop)
    }

    /// Tells how large the video slots are shown.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn view(&self, view: &[SlotView]) -> Result<(), ClientError> {
        self.client.request("room.view", json!({ "room": self.room, "view": view })).await.map(drop)
    }

    /// Pins a participant to the stage, or nobody.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn pin(&self, participant: Option<&str>) -> Result<(), ClientError> {
        let fields = json!({ "room": self.room, "participant": participant });
        self.client.request("room.pin", fields).await.map(drop)
    }

    /// Leaves the room and closes the connection.
    ///
    /// # Errors
    /// As [`Client::request`]; the connection is closed all the same.
    pub async fn leave(self) -> Result<(), ClientError> {
        let left = self.client.request("room.leave", json!({ "room": self.room })).await;
        self.peer.connection.close().await.map_err(ClientError::media("closing the peer connection"))?;
        left.map(drop)
    }
}

impl std::fmt::Debug for Participant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Participant").field("id", &self.id).field("room", &self.room).finish_non_exhaustive()
    }
}

/// A panic of another task must not take this one along.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn install<T>(place: &Mutex<Option<mpsc::Sender<T>>>) -> mpsc::Receiver<T> {
    let (sender, receiver) = mpsc::channel(PACKET_BACKLOG);
    *lock(place) = Some(sender);
    receiver
}

async fn once_connected(mut state: watch::Receiver<RTCPeerConnectionState>, then: impl Future<Output = ()>) {
    if state.wait_for(|state| *state == RTCPeerConnectionState::Connected).await.is_ok() {
        then.await;
    }
}

async fn follow_events(mut events: Events, room: String, shared: Arc<Shared>) {
    while let Some(event) = events.next().await {
        match event {
            Event::Slots { room: of, slots } if of == room => {
                for mapping in slots {
                    shared.on_mapping(mapping);
                }
            }
            Event::Roster { room: of, joined, left, changed } if of == room => {
                let mut roster = lock(&shared.roster);
                for entry in joined.into_iter().chain(changed) {
                    roster.insert(entry.participant.clone(), entry);
                }
                roster.retain(|participant, _| !left.contains(participant));
            }
            _ => {}
        }
    }
}

/// Reads every track and data channel as the other side adds it.
async fn read_remote(mut remote: Remote, own: Arc<dyn DataChannel>, shared: Arc<Shared>) {
    let mut readers = JoinSet::new();
    readers.spawn(read_channel(own, shared.clone()));
    loop {
        tokio::select! {
            Some(track) = remote.tracks.recv() => drop(readers.spawn(read_track(track, shared.clone()))),
            Some(channel) = remote.channels.recv() => drop(readers.spawn(read_channel(channel, shared.clone()))),
            else => break,
        }
    }
    while readers.join_next().await.is_some() {}
}

async fn read_track(track: Arc<dyn TrackRemote>, shared: Arc<Shared>) {
    let mut slot = None;
    while let Some(event) = track.poll().await {
        match event {
            TrackRemoteEvent::OnOpen(opened) => slot = shared.slots.get(&opened.receiver_id.into()),
            TrackRemoteEvent::OnRtpPacket(packet) => match slot {
                Some(slot) => shared.on_packet(slot, packet.header, packet.payload),
                None => debug!(ssrc = packet.header.ssrc, "a packet on a track that is no slot"),
            },
            TrackRemoteEvent::OnEnded => break,
            _ => {}
        }
    }
}

async fn read_channel(channel: Arc<dyn DataChannel>, shared: Arc<Shared>) {
    let label = channel.label().await.unwrap_or_default();
    while let Some(event) = channel.poll().await {
        match event {
            DataChannelEvent::OnOpen if label == DATA_CHANNEL => drop(shared.data_open.send_replace(true)),
            DataChannelEvent::OnMessage(message) => {
                let message =
                    DataMessage { label: label.clone(), binary: !message.is_string, data: message.data.freeze() };
                let listener = lock(&shared.on_data).clone();
                if let Some(listener) = listener {
                    // A data channel is reliable: better to wait than to drop. A reader that is gone ends the wait.
                    let _ = listener.send(message).await;
                }
            }
            _ => {}
        }
    }
}

impl Shared {
    fn on_mapping(&self, mapping: SlotMapping) {
        let slot = self.slots.values().find(|slot| *lock(slot).mid == *mapping.mid);
        match slot {
            Some(slot) => lock(slot).on_mapping(mapping),
            None => debug!(mid = mapping.mid, "a mapping for an m-line that is no slot"),
        }
    }

    fn on_packet(&self, slot: &Mutex<Slot>, header: RtpHeader, payload: Bytes) {
        let at = Instant::now();
        let mut slot = lock(slot);
        let participant = slot.on_packet(at, header.sequence_number, header.timestamp, payload.len());
        let listener = lock(match slot.kind {
            Kind::Audio => &self.on_audio,
            Kind::Video => &self.on_video,
        });
        if let Some(listener) = &*listener {
            let packet = ReceivedPacket { mid: slot.mid.clone(), pair: slot.pair, participant, header, payload, at };
            if let Err(mpsc::error::TrySendError::Full(_)) = listener.try_send(packet) {
                slot.on_unread();
            }
        }
    }
}
