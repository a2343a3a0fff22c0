//! A worker with a room and participants in it, over real loopback UDP, or TCP where told.

use std::time::{Duration, Instant};

use ringback_sfu::{ParticipantId, RoomConfig, RoomId, SfuEvent, Worker, WorkerConfig, WorkerHandle};
use ringback_transport::dtls::Certificate;
use tokio::sync::mpsc::Receiver;

use super::media::{MICROPHONE, MID, OPUS, face_in, rtp, stamp, voice};
use super::sdp::{Answer, offer};
use super::{Peer, Spec};

pub const ROOM: RoomId = RoomId(1);

/// A call in progress: participant `n + 1` is `peers[n]`.
pub struct Call {
    pub handle: WorkerHandle,
    pub receiver: Receiver<SfuEvent>,
    pub events: Vec<SfuEvent>,
    pub peers: Vec<Peer>,
    pub answers: Vec<Answer>,
    pub origin: Instant,
    /// Packets that each peer has sent of each track.
    pub voices: Vec<u64>,
    pub faces: Vec<u64>,
    /// What is added to the participants' numbers, where two calls share a room.
    pub offset: u64,
}

impl Call {
    pub async fn new() -> Self {
        let certificate = Certificate::generate().unwrap();
        Self::with(WorkerConfig::new(vec!["127.0.0.1:0".parse().unwrap()], certificate)).await
    }

    pub async fn with(config: WorkerConfig) -> Self {
        let (handle, receiver) = Worker::spawn(config).unwrap();
        handle.open_room(ROOM, RoomConfig::default()).await.unwrap();
        Self::on(handle, receiver, 0)
    }

    /// Others of the same room, on another worker.
    pub async fn beside(first: &Self) -> Self {
        Self::beside_worker(&first.handle, first.offset).await
    }

    /// … whose participants' numbers are above those there.
    pub async fn beside_worker(first: &WorkerHandle, offset: u64) -> Self {
        let certificate = Certificate::generate().unwrap();
        let config = WorkerConfig::new(vec!["127.0.0.1:0".parse().unwrap()], certificate);
        let (handle, receiver) = Worker::spawn(config).unwrap();
        handle.share_room(ROOM, RoomConfig::default(), std::slice::from_ref(first)).await.unwrap();
        Self::on(handle, receiver, offset + 100)
    }

    fn on(handle: WorkerHandle, receiver: Receiver<SfuEvent>, offset: u64) -> Self {
        Self {
            handle,
            receiver,
            events: Vec::new(),
            peers: Vec::new(),
            answers: Vec::new(),
            origin: Instant::now(),
            voices: Vec::new(),
            faces: Vec::new(),
            offset,
        }
    }

    /// So many participants with microphone, camera and a pair for everybody else, all connected.
    pub async fn connected(people: usize) -> Self {
        let mut call = Self::new().await;
        for _ in 0..people {
            let pairs = people.saturating_sub(1);
            call.join(Spec { microphone: true, camera: true, pairs, ..Spec::default() }).await;
        }
        call.connect().await;
        call
    }

    pub async fn join(&mut self, spec: Spec) -> usize {
        self.join_room(ROOM, spec).await
    }

    pub async fn join_room(&mut self, room: RoomId, spec: Spec) -> usize {
        let mut peer = Peer::new(spec);
        let id = self.id(self.peers.len());
        let joined = self.handle.join(room, id, offer(&peer)).await.unwrap();
        peer.answer(&joined.answer);
        self.answers.push(Answer::parse(&joined.answer));
        self.peers.push(peer);
        self.voices.push(0);
        self.faces.push(0);
        self.peers.len() - 1
    }

    /// Who `peers[at]` is.
    pub fn id(&self, at: usize) -> ParticipantId {
        ParticipantId(self.offset + at as u64 + 1)
    }

    /// … who comes over TCP, from this address.
    pub async fn join_over_tcp(&mut self, spec: Spec, from: &str) -> usize {
        let at = self.join(spec).await;
        self.peers[at].connect_tcp(from).await;
        at
    }

    /// Waits until everybody is connected.
    pub async fn connect(&mut self) {
        self.until("everybody is connected", |call| {
            call.peers.iter().all(|peer| peer.is_connected())
                && call.events.iter().filter(|e| matches!(e, SfuEvent::Connected { .. })).count() >= call.peers.len()
        })
        .await;
        // For so long a room may put off deciding who gets what; who is not yet among them misses a keyframe, and nobody here makes one on request.
        self.run(Duration::from_millis(25)).await;
    }

    /// … as they see it: for those whose worker tells its events to somebody else.
    pub async fn connect_all(&mut self) {
        self.until("everybody is connected", |call| call.peers.iter().all(Peer::is_connected)).await;
        self.run(Duration::from_millis(50)).await;
    }

    pub fn pump(&mut self) {
        for peer in &mut self.peers {
            peer.pump();
        }
        while let Ok(event) = self.receiver.try_recv() {
            self.events.push(event);
        }
    }

    pub async fn run(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.pump();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.pump();
    }

    pub async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            self.pump();
            if done(self) {
                return;
            }
            assert!(Instant::now() < end, "waited in vain until {what}; events: {:?}", self.events);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub fn send_voice(&mut self, from: usize, level: u8) {
        let number = self.voices[from];
        self.voices[from] += 1;
        let packet = voice(self.id(from).0, number, self.origin, level);
        self.peers[from].send_rtp(&packet);
    }

    pub fn send_voice_without_level(&mut self, from: usize) {
        let number = self.voices[from];
        self.voices[from] += 1;
        let payload = stamp(from as u64 + 1, number, self.origin, 100 + (number * 37 % 41) as usize);
        let (sequence, timestamp) = (number as u16, (number as u32).wrapping_mul(960));
        self.peers[from].send_rtp(&rtp(MICROPHONE, OPUS, sequence, timestamp, &[(MID, b"mic")], &payload));
    }

    pub fn send_face(&mut self, from: usize, key: bool) {
        let number = self.faces[from];
        self.faces[from] += 1;
        let packet = face_in(self.peers[from].spec.video, self.id(from).0, number, self.origin, key);
        self.peers[from].send_rtp(&packet);
    }
}
