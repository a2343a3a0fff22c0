//! How an engine is put together before it starts: where media listens, who is let in, what the embedder decides. Each setting has a
//! default but one: without the key of its tokens an engine lets nobody in, so it does not start.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use ringback_imagine::{ImagineConfig, ModerateImages, NoImageModeration};
use ringback_reactions::RoomReactionsConfig;
use ringback_recorder::{Moderate, NoModeration, Recorder, RecorderConfig};
use ringback_sfu::{Trains, Worker, WorkerConfig};
use ringback_signaling::SignalingConfig;
use ringback_signaling::hooks::{Authorize, Hooks, Notify};
use ringback_signaling::protocol::IceServer;
use ringback_signaling::token::TokenVerifier;
use ringback_signaling::turn::TurnServer;
use ringback_transport::Certificate;
use ringback_transport::sdp::{CodecName, CodecPreferences};
use ringback_transport::srtp::GcmLibrary;

use crate::engine::{Engine, Parts};
use crate::error::EngineError;
use crate::imagine::ImageDesk;
use crate::metrics::Counts;
use crate::missed_call::{MissedCall, OfferNotes};
use crate::peace::{self, PeaceDesk, RingOnly, Tell};
use crate::reacting::Reacting;
use crate::reactions::{ReactionRights, ReactionSettings};
use crate::webhook::{Webhook, WebhookConfig};

/// Where media workers run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WorkerThreads {
    /// As tasks on the runtime that the engine is started on. Another task that keeps a thread busy for long lets media wait.
    #[default]
    Shared,
    /// Each on a thread of its own.
    Own,
    /// Each on a thread of its own that stays on one core, worker i on the i-th that the process may use: for machines that do nothing else.
    Pinned,
}

/// Settings of an [`Engine`].
#[must_use = "an engine starts with `start`"]
pub struct EngineBuilder {
    media: Vec<SocketAddr>,
    announce: Vec<IpAddr>,
    workers: Option<usize>,
    threads: WorkerThreads,
    room_part: usize,
    codecs: CodecPreferences,
    ice_tcp: bool,
    trains: Trains,
    gcm: Option<GcmLibrary>,
    tokens: Option<TokenVerifier>,
    ice_servers: Vec<IceServer>,
    turn_servers: Vec<TurnServer>,
    ring_time: Option<Duration>,
    unreachable_after: Option<Duration>,
    call_waiting: bool,
    hooks: Hooks,
    notes: Option<RecorderConfig>,
    missed_call: Arc<dyn MissedCall>,
    moderate: Arc<dyn Moderate>,
    reactions: ReactionSettings,
    webhooks: Vec<WebhookConfig>,
    peace: Option<(peace::Settings, Arc<dyn Tell>)>,
    imagine: Option<ImagineConfig>,
    moderate_images: Arc<dyn ModerateImages>,
}

impl fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineBuilder")
            .field("media", &self.media)
            .field("announce", &self.announce)
            .field("workers", &self.workers)
            .field("codecs", &self.codecs)
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

impl EngineBuilder {
    pub(crate) fn new() -> Self {
        Self {
            media: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8189))],
            announce: Vec::new(),
            workers: None,
            threads: WorkerThreads::default(),
            room_part: usize::MAX,
            codecs: CodecPreferences::default(),
            ice_tcp: true,
            trains: Trains::default(),
            gcm: None,
            tokens: None,
            ice_servers: Vec::new(),
            turn_servers: Vec::new(),
            ring_time: None,
            unreachable_after: None,
            call_waiting: false,
            hooks: Hooks::default(),
            notes: None,
            missed_call: Arc::new(OfferNotes),
            moderate: Arc::new(NoModeration),
            reactions: ReactionSettings::default(),
            webhooks: Vec::new(),
            peace: None,
            imagine: None,
            moderate_images: Arc::new(NoImageModeration),
        }
    }

    /// The addresses of media, UDP and TCP, at most one of each IP version; by default 127.0.0.1:8189. Worker i listens on port + i; port 0 takes any free one.
    pub fn media(mut self, addresses: &[SocketAddr]) -> Self {
        self.media = addresses.to_vec();
        self
    }

    /// The addresses under which clients reach the media ports, for machines behind a NAT and sockets bound to a wildcard; by
    /// default the addresses bound.
    pub fn announce(mut self, addresses: &[IpAddr]) -> Self {
        self.announce = addresses.to_vec();
        self
    }

    /// How many media workers there are, by default one for each core that the process may use. A worker uses at most one core and has ports of its own. A new room goes to the worker
    /// that has the most time.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers.max(1));
        self
    }

    /// Where workers run, by default as tasks among the program's others.
    pub fn worker_threads(mut self, threads: WorkerThreads) -> Self {
        self.threads = threads;
        self
    }

    /// How many participants of one room a worker takes before its newcomers are connected to another, by default as many as come. Whatever this says, newcomers of a room whose worker is
    /// busy go to another that is not; who is connected stays where they are.
    pub fn room_part(mut self, participants: usize) -> Self {
        self.room_part = participants.max(1);
        self
    }

    /// Which codecs rooms take, most preferred first: a browser sends with the first of each kind that it has. By default all, Opus and VP8 first; Opus
    /// must be among them. With RED before Opus browsers send voices redundantly, at twice the bitrate. Where VP8 is not first, video notes are
    /// kept as voice: the recorder takes no other pictures (docs/codecs.md).
    pub fn codecs(mut self, codecs: impl Into<CodecPreferences>) -> Self {
        self.codecs = codecs.into();
        self
    }

    /// Whether media ports take TCP connections too (ICE-TCP), by default they do: browsers use them where a network lets no UDP out. Without it a media
    /// port needs only UDP, and such clients need a TURN server.
    pub fn ice_tcp(mut self, ice_tcp: bool) -> Self {
        self.ice_tcp = ice_tcp;
        self
    }

    /// Whether packets that differ by a few bytes are filled up with RTP padding, so that they travel together at the price of one; by default they are. It makes
    /// at most a twentieth more traffic, and only to those whose stack knows padding and whose network has room.
    pub fn levelling(mut self, levelling: bool) -> Self {
        self.trains.levelling = levelling;
        self
    }

    /// How long a voice may wait for the voices of others in its room, to leave together with them; by default not at all, and never longer than 5 ms. Worth it in rooms to which
    /// hundreds listen: there each packet of voice costs as much as one of video. Everybody is heard as much later.
    pub fn voice_wait(mut self, wait: Duration) -> Self {
        self.trains.voice_wait = wait;
        self
    }

    /// Which library does AES-GCM; by default the faster one on this machine, which is found out in about two milliseconds when the first worker starts, logged, and told in
    /// the metrics.
    pub fn gcm(mut self, library: GcmLibrary) -> Self {
        self.gcm = Some(library);
        self
    }

    /// Whose tokens to trust. Required.
    pub fn tokens(mut self, verifier: TokenVerifier) -> Self {
        self.tokens = Some(verifier);
        self
    }

    /// STUN and TURN servers to hand to clients, by default none: the engine's own address is public to its clients.
    pub fn ice_servers(mut self, servers: Vec<IceServer>) -> Self {
        self.ice_servers = servers;
        self
    }

    /// A TURN server of your own that shares a secret with the engine, for clients whose network lets no UDP out; each session gets credentials that hold for
    /// a while. May be called several times.
    pub fn turn_server(mut self, server: TurnServer) -> Self {
        self.turn_servers.push(server);
        self
    }

    /// How long a call rings, by default 45 s.
    pub fn ring_time(mut self, time: Duration) -> Self {
        self.ring_time = Some(time);
        self
    }

    /// Whether somebody who is in a call rings for a second one, by default not: they are busy. Whoever accepts the second leaves the first.
    pub fn call_waiting(mut self, waiting: bool) -> Self {
        self.call_waiting = waiting;
        self
    }

    /// After how long a callee none of whose devices has acknowledged the ring counts as unreachable, by default 20 s.
    pub fn unreachable_after(mut self, time: Duration) -> Self {
        self.unreachable_after = Some(time);
        self
    }

    /// Decides who may call whom and join what, beyond what tokens grant.
    pub fn authorize(mut self, hook: impl Authorize) -> Self {
        self.hooks.authorize = Arc::new(hook);
        self
    }

    /// Reaches devices that are asleep.
    pub fn notify(mut self, hook: impl Notify) -> Self {
        self.hooks.notify = Arc::new(hook);
        self
    }

    /// Keeps the log of calls, the log of events, and notes that callers leave whom nobody answers. Without it there are none of them.
    pub fn notes(mut self, config: RecorderConfig) -> Self {
        self.notes = Some(config);
        self
    }

    /// Is told of calls that ended unanswered, and decides whether a note may be left; by default [`OfferNotes`].
    pub fn missed_call(mut self, hook: impl MissedCall) -> Self {
        self.missed_call = Arc::new(hook);
        self
    }

    /// Sees each note before it is delivered; by default nobody does.
    pub fn moderate(mut self, hook: impl Moderate) -> Self {
        self.moderate = Arc::new(hook);
        self
    }

    /// What people may react with in rooms, which statuses there are, and how often; by default every emoji and no statuses.
    pub fn reactions(mut self, config: RoomReactionsConfig) -> Self {
        self.reactions.config = config;
        self
    }

    /// Says what a user may do with reactions in a room, and who is a host there; by default everybody may react and raise a hand, and
    /// nobody is a host. A function of room and user will do.
    pub fn reaction_rights(mut self, rights: impl ReactionRights) -> Self {
        self.reactions.rights = Arc::new(rights);
        self
    }

    /// Posts what is put into the log of events to a URL, in order. Needs [`notes`](Self::notes), which says where the log is kept. May be called several times, with
    /// different names; where several engines share a database, only one of them should have a webhook of a name.
    pub fn webhook(mut self, config: WebhookConfig) -> Self {
        self.webhooks.push(config);
        self
    }

    /// Tells users calmly of missed calls and notes: what one person does within a while is one notification, quiet hours and a budget are kept, and nothing is lost
    /// (docs/peace.md). These are the settings of whoever has made none. Needs [`notes`](Self::notes), which says where they are kept; where several engines share a database, only
    /// one of them should have it.
    pub fn peace(mut self, settings: peace::Settings, tell: impl Tell) -> Self {
        self.peace = Some((settings, Arc::new(tell)));
        self
    }

    /// Lets users ask for images in their threads. Needs [`notes`](Self::notes), which says where rows and bytes are kept. Without it, or without a provider in it, whoever asks is told that
    /// there are none.
    pub fn imagine(mut self, config: ImagineConfig) -> Self {
        self.imagine = Some(config);
        self
    }

    /// Sees each prompt before it leaves the server, and each picture before it is posted; by default nobody does.
    pub fn moderate_images(mut self, hook: impl ModerateImages) -> Self {
        self.moderate_images = Arc::new(hook);
        self
    }

    /// Starts the engine on the current tokio runtime.
    ///
    /// # Errors
    /// [`EngineError`] where a setting is missing or a socket cannot be bound.
    pub async fn start(self) -> Result<Engine, EngineError> {
        tokio::runtime::Handle::try_current().map_err(|_| EngineError::NoRuntime)?;
        let verifier = self.tokens.ok_or(EngineError::NoTokens)?;
        if !self.codecs.names().contains(&CodecName::Opus) {
            return Err(EngineError::NoOpus);
        }
        check_webhooks(&self.webhooks, self.notes.is_some())?;
        if let Some((settings, _)) = &self.peace {
            settings.clone().rules().map_err(EngineError::Peace)?;
            self.notes.is_some().then_some(()).ok_or(EngineError::NoStore)?;
        }
        if self.imagine.is_some() && self.notes.is_none() {
            return Err(EngineError::NoStore);
        }
        let certificate = Certificate::generate().map_err(|error| EngineError::Certificate(error.into()))?;
        let count = self.workers.unwrap_or_else(|| available_parallelism().map_or(1, usize::from));
        let (mut workers, mut events) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for worker in 0..count {
            let mut config = WorkerConfig::new(ports(&self.media, worker)?, certificate.clone());
            config.announce = self.announce.clone();
            config.codecs = self.codecs.clone();
            config.ice_tcp = self.ice_tcp;
            config.trains = self.trains;
            config.gcm = self.gcm;
            let spawned = match self.threads {
                WorkerThreads::Shared => Worker::spawn(config),
                WorkerThreads::Own => Worker::spawn_on_thread(config, None).await,
                WorkerThreads::Pinned => Worker::spawn_on_thread(config, Some(worker)).await,
            };
            let (handle, receiver) = spawned.map_err(|source| EngineError::Worker { worker, source })?;
            workers.push(handle);
            events.push(receiver);
        }
        let mut signaling =
            SignalingConfig::new(verifier).ice_servers(self.ice_servers).call_waiting(self.call_waiting);
        signaling = self.turn_servers.into_iter().fold(signaling, SignalingConfig::turn_server);
        if let Some(time) = self.ring_time {
            signaling = signaling.ring(time);
        }
        if let Some(time) = self.unreachable_after {
            signaling = signaling.ring_ack(time);
        }
        let recorder = match self.notes.clone() {
            Some(config) => Some(Recorder::open(config, self.moderate).await.map_err(EngineError::Recorder)?),
            None => None,
        };
        let images = match (self.imagine, &self.notes, &recorder) {
            (Some(config), Some(notes), Some(recorder)) => {
                let reacting = Reacting::new(self.reactions.config.own_palette().clone());
                Some(ImageDesk::open(config, notes, recorder.clone(), self.moderate_images, reacting).await?)
            }
            _ => None,
        };
        let counts = Counts::default();
        let mut webhooks = Vec::new();
        if let Some(recorder) = &recorder {
            for config in &self.webhooks {
                webhooks.push(Webhook::open(config, recorder.event_log(), counts.clone()).await?);
            }
        }
        let mut hooks = self.hooks;
        if self.peace.is_some() {
            hooks.notify = Arc::new(RingOnly(hooks.notify));
        }
        let peace = match (&recorder, self.peace) {
            (Some(recorder), Some((settings, tell))) => {
                Some(PeaceDesk::open(recorder, settings, tell).await.map_err(EngineError::Recorder)?)
            }
            _ => None,
        };
        let parts = Parts {
            room_part: self.room_part,
            hooks,
            missed_call: self.missed_call,
            recorder,
            images,
            webhooks,
            peace,
            counts,
        };
        let engine = Engine::assemble(workers, events, signaling, parts, self.reactions);
        engine.restore().await.map_err(EngineError::Recorder)?;
        Ok(engine)
    }
}

/// Before anything is opened: whether all webhooks could work.
fn check_webhooks(webhooks: &[WebhookConfig], store: bool) -> Result<(), EngineError> {
    let mut names = HashSet::new();
    for webhook in webhooks {
        webhook.check()?;
        if !names.insert(webhook.name.as_str()) {
            let reason = "there are two of this name: give each its own with `name`".to_owned();
            return Err(EngineError::Webhook { name: webhook.name.clone(), reason });
        }
        if !store {
            return Err(EngineError::NoStore);
        }
    }
    Ok(())
}

/// The addresses of one worker: each base port + its number.
fn ports(base: &[SocketAddr], worker: usize) -> Result<Vec<SocketAddr>, EngineError> {
    let port = |address: &SocketAddr| {
        let port = match (address.port(), u16::try_from(worker)) {
            (0, _) => 0,
            (base, Ok(offset)) => base.checked_add(offset).ok_or(EngineError::Port { worker, base })?,
            (base, Err(_)) => return Err(EngineError::Port { worker, base }),
        };
        Ok(SocketAddr::new(address.ip(), port))
    };
    base.iter().map(port).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn worker_i_listens_on_the_base_port_plus_i() {
        let base = ["127.0.0.1:8189".parse().unwrap(), "[::1]:0".parse().unwrap()];
        let expected: Vec<SocketAddr> = vec!["127.0.0.1:8191".parse().unwrap(), "[::1]:0".parse().unwrap()];
        assert_eq!(ports(&base, 2).unwrap(), expected);
    }

    #[test]
    fn a_port_above_the_last_one_is_refused_with_the_worker_that_needed_it() {
        let error = ports(&["127.0.0.1:65535".parse().unwrap()], 1).unwrap_err();
        assert_eq!(error.to_string(), "worker 1 would need UDP port 65535 + 1, which is above 65535");
    }

    #[tokio::test]
    async fn an_engine_without_a_token_key_does_not_start() {
        assert!(matches!(EngineBuilder::new().start().await, Err(EngineError::NoTokens)));
    }

    #[tokio::test]
    async fn an_engine_whose_rooms_would_carry_no_voice_does_not_start() {
        let tokens = TokenVerifier::hs256(&[7; 32]).unwrap();
        let started = EngineBuilder::new().tokens(tokens).codecs([CodecName::Red, CodecName::Vp9]).start().await;
        assert!(matches!(started, Err(EngineError::NoOpus)));
    }
}
