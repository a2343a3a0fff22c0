//! The handle of a worker: what the engine calls. Each call is a command to the worker's task and waits for its answer; offers are
//! negotiated here, on the caller's task.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ringback_transport::connection::{Connection, ConnectionConfig};
use ringback_transport::dtls::Certificate;
use ringback_transport::sdp::{Accepted, CodecPreferences, IceCredentials, Negotiation, NegotiationConfig, Session};
use ringback_transport::srtp::GcmLibrary;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};

use super::WorkerStatistics;
use super::busy::Busy;
use super::peer::SharedNegotiation;
use super::relay::{RING, RelayEnd, relay};
use crate::error::SfuError;
use crate::ids::{ParticipantId, RoomId, Share, Source};
use crate::publisher::TrackClaim;
use crate::room::RoomConfig;
use crate::subscriber::{SlotInfo, SlotView};
use crate::tap::Tap;

/// A participant's offer.
#[derive(Debug, Clone)]
pub struct JoinOffer {
    /// The SDP offer.
    pub sdp: String,
    /// What its sending m-lines carry. Without claims, the first audio is a microphone and the first video a camera.
    pub tracks: Vec<TrackClaim>,
}

/// The answer to a participant's offer.
#[derive(Debug, Clone)]
pub struct Joined {
    /// The SDP answer.
    pub answer: String,
    /// The receive slots that were accepted.
    pub slots: Vec<SlotInfo>,
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, SfuError>>;

/// What a handle asks its worker.
pub(super) enum Command {
    OpenRoom {
        room: RoomId,
        config: RoomConfig,
        reply: Reply<()>,
    },
    CloseRoom {
        room: RoomId,
        reply: Reply<()>,
    },
    OpenRelay {
        room: RoomId,
        end: Box<RelayEnd>,
        reply: Reply<()>,
    },
    Join {
        room: RoomId,
        participant: ParticipantId,
        join: Box<Join>,
        reply: Reply<Vec<SlotInfo>>,
    },
    Negotiation {
        participant: ParticipantId,
        reply: Reply<SharedNegotiation>,
    },
    Offer {
        participant: ParticipantId,
        offer: Box<Offer>,
        reply: Reply<Vec<SlotInfo>>,
    },
    Leave {
        participant: ParticipantId,
        reply: Reply<()>,
    },
    SetMuted {
        participant: ParticipantId,
        source: Source,
        muted: bool,
        reply: Reply<()>,
    },
    SetView {
        participant: ParticipantId,
        views: Vec<SlotView>,
        reply: Reply<()>,
    },
    SetPin {
        participant: ParticipantId,
        pinned: Option<ParticipantId>,
        reply: Reply<()>,
    },
    PlayOnly {
        participant: ParticipantId,
        only: ParticipantId,
        reply: Reply<()>,
    },
    Admit {
        participant: ParticipantId,
        admitted: bool,
        reply: Reply<()>,
    },
    SendData {
        participant: ParticipantId,
        label: String,
        binary: bool,
        data: Bytes,
        reply: Reply<()>,
    },
    Broadcast {
        room: RoomId,
        share: Share,
        label: String,
        binary: bool,
        data: Bytes,
        reply: Reply<Vec<ParticipantId>>,
    },
    Tap {
        participant: ParticipantId,
        sources: Vec<Source>,
        reply: Reply<Tap>,
    },
    Statistics {
        reply: Reply<WorkerStatistics>,
    },
    Shutdown {
        reply: Reply<()>,
    },
    /// Panics where a bug in a room would.
    #[cfg(test)]
    PanicInRoom {
        room: RoomId,
        reply: Reply<()>,
    },
    /// Panics where a bug in a connection would.
    #[cfg(test)]
    PanicInConnection {
        participant: ParticipantId,
        reply: Reply<()>,
    },
}

/// What joining needs.
pub(super) struct Join {
    pub(super) connection: Connection,
    pub(super) negotiation: SharedNegotiation,
    pub(super) session: Session,
    pub(super) tracks: Vec<TrackClaim>,
}

/// What a further offer brings.
pub(super) struct Offer {
    pub(super) session: Session,
    pub(super) ice_restarted: bool,
    pub(super) tracks: Vec<TrackClaim>,
}

/// What all handles of a worker know.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) bound: Vec<SocketAddr>,
    pub(super) candidates: Vec<SocketAddr>,
    pub(super) ice_tcp: bool,
    pub(super) certificate: Certificate,
    pub(super) codecs: CodecPreferences,
    pub(super) gcm: GcmLibrary,
    pub(super) busy: Arc<Busy>,
    /// Wakes the worker for what other shards have sent.
    pub(super) wake: Arc<Notify>,
}

/// A handle of a media worker; cheap to clone. The worker ends when all of them are gone.
#[derive(Debug, Clone)]
pub struct WorkerHandle {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

impl WorkerHandle {
    pub(super) fn new(commands: mpsc::Sender<Command>, shared: Arc<Shared>) -> Self {
        Self { commands, shared }
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, SfuError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| SfuError::Stopped)?;
        answer.await.map_err(|_| SfuError::Stopped)?
    }

    /// The addresses that the worker's sockets are bound to, UDP and, unless it is switched off, TCP.
    #[must_use]
    pub fn bound_addresses(&self) -> &[SocketAddr] {
        &self.shared.bound
    }

    /// The addresses that answers announce.
    #[must_use]
    pub fn announced_addresses(&self) -> &[SocketAddr] {
        &self.shared.candidates
    }

    /// The share of the last second or two that the worker was at work and not waiting, in permille.
    #[must_use]
    pub fn busy(&self) -> u16 {
        self.shared.busy.permille(Instant::now())
    }

    /// Opens an empty room.
    ///
    /// # Errors
    /// When there is one of that id, or too many.
    pub async fn open_room(&self, room: RoomId, config: RoomConfig) -> Result<(), SfuError> {
        self.ask(|reply| Command::OpenRoom { room, config, reply }).await
    }

    /// Lets a room span this worker too, beside `others`, which have it already: whoever joins it here hears and sees everybody there, and the other way round. The
    /// worker that had it first decides the stage. A worker takes a packet of a member once, however many others it goes to.
    ///
    /// # Errors
    /// When the room is open here already, or none of the others has it.
    pub async fn share_room(&self, room: RoomId, config: RoomConfig, others: &[WorkerHandle]) -> Result<(), SfuError> {
        self.open_room(room, config).await?;
        let mut shared = Err(SfuError::NoSuchRoom(room));
        for other in others {
            let joined = self.join_shards(room, other, RING).await;
            shared = if shared.is_ok() { shared } else { joined };
        }
        if shared.is_err() {
            self.close_room(room).await?;
        }
        shared
    }

    /// Joins the shards of a room on two workers by rings of this size.
    pub(super) async fn join_shards(&self, room: RoomId, other: &Self, ring: usize) -> Result<(), SfuError> {
        let (here, there) = relay(ring, [&self.shared.wake, &other.shared.wake]);
        other.ask(|reply| Command::OpenRelay { room, end: Box::new(there), reply }).await?;
        self.ask(|reply| Command::OpenRelay { room, end: Box::new(here), reply }).await
    }

    /// Closes a room, or this worker's part of one that spans several; everybody in it is disconnected. One [`SfuEvent::RoomClosed`](crate::SfuEvent::RoomClosed) tells it.
    ///
    /// # Errors
    /// When there is no such room.
    pub async fn close_room(&self, room: RoomId) -> Result<(), SfuError> {
        self.ask(|reply| Command::CloseRoom { room, reply }).await
    }

    /// Lets a participant into a room with their first offer. Events about the participant may come before this returns.
    ///
    /// # Errors
    /// When the offer or a claim cannot be used, the room is not open or full, or the participant is in a room already.
    pub async fn join(&self, room: RoomId, participant: ParticipantId, offer: JoinOffer) -> Result<Joined, SfuError> {
        let fingerprint = self.shared.certificate.fingerprint();
        let mut config =
            NegotiationConfig::new(IceCredentials::random(), fingerprint.clone(), self.shared.candidates.clone());
        if self.shared.ice_tcp {
            config.tcp_candidates.clone_from(&self.shared.candidates);
        }
        config.codecs = self.shared.codecs.clone();
        let mut negotiation = Negotiation::new(config);
        let Accepted { answer, session, .. } = negotiation.accept(&offer.sdp)?;
        let connection = ConnectionConfig {
            certificate: self.shared.certificate.clone(),
            local_ice: session.local_ice.clone(),
            remote_ice: session.remote_ice.clone(),
            remote_fingerprints: session.remote_fingerprints.clone(),
            dtls_role: session.dtls_role,
            sctp: session.sctp,
            gcm: self.shared.gcm,
        };
        let connection = Connection::new(connection, Instant::now())?;
        let negotiation = Arc::new(Mutex::new(negotiation));
        let join = Box::new(Join { connection, negotiation, session, tracks: offer.tracks });
        let slots = self.ask(|reply| Command::Join { room, participant, join, reply }).await?;
        Ok(Joined { answer, slots })
    }

    /// Takes a further offer of a participant: an ICE restart, more slots, another track.
    ///
    /// # Errors
    /// When the offer or a claim cannot be used, or there is no such participant; everything is as before then.
    pub async fn offer(&self, participant: ParticipantId, offer: JoinOffer) -> Result<Joined, SfuError> {
        let negotiation = self.ask(|reply| Command::Negotiation { participant, reply }).await?;
        // Held until the worker has taken the offer, so that two offers of one participant come one after the other.
        let mut negotiation = negotiation.lock().await;
        let mut next = negotiation.clone();
        let Accepted { answer, session, ice_restarted } = next.accept(&offer.sdp)?;
        let offer = Box::new(Offer { session, ice_restarted, tracks: offer.tracks });
        let slots = self.ask(|reply| Command::Offer { participant, offer, reply }).await?;
        *negotiation = next;
        Ok(Joined { answer, slots })
    }

    /// Disconnects a participant.
    ///
    /// # Errors
    /// When there is no such participant.
    pub async fn leave(&self, participant: ParticipantId) -> Result<(), SfuError> {
        self.ask(|reply| Command::Leave { participant, reply }).await
    }

    /// Mutes or unmutes a track. Nothing of a muted track is forwarded, whatever its owner sends.
    ///
    /// # Errors
    /// When there is no such participant.
    pub async fn set_muted(&self, participant: ParticipantId, source: Source, muted: bool) -> Result<(), SfuError> {
        self.ask(|reply| Command::SetMuted { participant, source, muted, reply }).await
    }

    /// Says how large a participant shows its slots; slots that are not named stay as they are.
    ///
    /// # Errors
    /// When there is no such participant.
    pub async fn set_view(&self, participant: ParticipantId, views: Vec<SlotView>) -> Result<(), SfuError> {
        self.ask(|reply| Command::SetView { participant, views, reply }).await
    }

    /// Says whom a participant wants to see whoever speaks.
    ///
    /// # Errors
    /// When there is no such participant.
    pub async fn set_pin(&self, participant: ParticipantId, pinned: Option<ParticipantId>) -> Result<(), SfuError> {
        self.ask(|reply| Command::SetPin { participant, pinned, reply }).await
    }

    /// Lets a participant receive nobody but `only`: nobody takes their place while they are silent, muted or gone. For good.
    ///
    /// # Errors
    /// When there is no such participant; `only` may be gone.
    pub async fn play_only(&self, participant: ParticipantId, only: ParticipantId) -> Result<(), SfuError> {
        self.ask(|reply| Command::PlayOnly { participant, only, reply }).await
    }

    /// Admits a participant, or puts them aside: connected, but neither heard nor hearing.
    ///
    /// # Errors
    /// When there is no such participant.
    pub async fn admit(&self, participant: ParticipantId, admitted: bool) -> Result<(), SfuError> {
        self.ask(|reply| Command::Admit { participant, admitted, reply }).await
    }

    /// Sends a message on a participant's data channel of this label.
    ///
    /// # Errors
    /// When there is no such participant or channel, or the message is too large for it.
    pub async fn send_data(
        &self,
        participant: ParticipantId,
        label: &str,
        binary: bool,
        data: Bytes,
    ) -> Result<(), SfuError> {
        let label = label.to_owned();
        self.ask(|reply| Command::SendData { participant, label, binary, data, reply }).await
    }

    /// Sends a message to everybody in a room, or to a share of them, on each one's data channel of this label. A few at a time, so that nobody's
    /// media waits for all of them; the order of two messages is kept for who waits for the first to be done. A receiver whose channel takes no more
    /// goes without. Returns who has no such channel.
    ///
    /// # Errors
    /// When there is no such room.
    pub async fn broadcast_data(
        &self,
        room: RoomId,
        share: Share,
        label: &str,
        binary: bool,
        data: Bytes,
    ) -> Result<Vec<ParticipantId>, SfuError> {
        let label = label.to_owned();
        self.ask(|reply| Command::Broadcast { room, share, label, binary, data, reply }).await
    }

    /// Taps some tracks of a participant, admitted or not: their decrypted packets come out of the [`Tap`] as well, from now on. A camera is asked for a
    /// keyframe at once and every 3 s.
    ///
    /// # Errors
    /// When there is no such participant.
    pub async fn tap(&self, participant: ParticipantId, sources: &[Source]) -> Result<Tap, SfuError> {
        let sources = sources.to_vec();
        self.ask(|reply| Command::Tap { participant, sources, reply }).await
    }

    /// What the worker has counted.
    ///
    /// # Errors
    /// When the worker has stopped.
    pub async fn statistics(&self) -> Result<WorkerStatistics, SfuError> {
        self.ask(|reply| Command::Statistics { reply }).await
    }

    /// Closes every room, says goodbye to every connection, and ends the worker. Returns when it is done.
    pub async fn shutdown(&self) {
        let _ = self.ask(|reply| Command::Shutdown { reply }).await;
    }

    #[cfg(test)]
    pub(super) async fn panic_in_room(&self, room: RoomId) -> Result<(), SfuError> {
        self.ask(|reply| Command::PanicInRoom { room, reply }).await
    }

    #[cfg(test)]
    pub(super) async fn panic_in_connection(&self, participant: ParticipantId) -> Result<(), SfuError> {
        self.ask(|reply| Command::PanicInConnection { participant, reply }).await
    }
}
