//! Notes left by a `ringback-client` whose packets are logged as they are sent: what is in the file, when it begins, and what becomes of a take when the
//! callee comes too late, or the caller is gone. The engine runs in this process; media goes over real UDP on loopback.
#![allow(clippy::unwrap_used)]

mod packet_log;

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use packet_log::{FRAME, ogg, position, sweep};
use ringback::{Claims, Engine, Grants, NoteInfo, NoteState, RecorderConfig, TokenIssuer, TokenVerifier};
use ringback_client::{
    AudioSource, Call, CallKind, CallState, Client, Event, Outcome, PacketLog, Participant, Publish, Source,
};
use ringback_recorder::MediaPart;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
/// What of a take may be cut off or added at both ends: packets on their way, and silence that is trimmed.
const LEEWAY: Duration = Duration::from_millis(500);
const SECRET: &[u8] = b"a secret of at least 32 bytes, kept outside the source";

struct Host {
    engine: Engine,
    url: String,
    folder: tempfile::TempDir,
}

impl Host {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::builder()
            .media(&["127.0.0.1:0".parse().unwrap()])
            .tokens(TokenVerifier::hs256(SECRET).unwrap())
            .notes(RecorderConfig::new(folder.path()))
            // A loaded machine connects her media within this, too.
            .ring_time(Duration::from_secs(3))
            .start()
            .await
            .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/v1/ws", listener.local_addr().unwrap());
        let router = engine.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { engine, url, folder }
    }

    async fn client(&self, user: &str) -> Client {
        let claims = Claims::new(user, Duration::from_secs(600)).grants(Grants::all());
        Client::connect(&self.url, &TokenIssuer::hs256(SECRET).unwrap().issue(&claims).unwrap()).await.unwrap()
    }

    async fn file(&self, note: &str, user: &str) -> Vec<u8> {
        let recorder = self.engine.recorder().unwrap();
        let media = recorder.media(note, MediaPart::File, user).await.unwrap();
        recorder.read(&media, 0..media.size).await.unwrap().to_vec()
    }
}

/// Ann, who rings ben in vain: her packets, and when the call was over for her.
struct Caller {
    client: Client,
    events: ringback_client::Events,
    participant: Participant,
    log: PacketLog,
    call: Call,
    over: Instant,
}

impl Caller {
    /// Ben is there and shows the ring, and does not answer.
    async fn ring_in_vain(host: &Host, ben: &Client) -> Self {
        let client = host.client("ann").await;
        let mut events = client.events();
        let mut bens = ben.events();
        let log = PacketLog::default();
        let sound = host.folder.path().join("sweep.wav");
        sweep(&sound);
        let call = client.place(&["ben"], CallKind::Voice).await.unwrap();
        bens.wait_for(SOON, |event| matches!(event, Event::CallIncoming { .. }).then_some(())).await.unwrap();
        ben.ring_ack(&call.id).await.unwrap();
        let publish =
            Publish { audio: Some(AudioSource::Wav(sound)), slots: 1, log: Some(log.clone()), ..Publish::default() };
        let participant = client.join(&call.room, publish).await.unwrap();
        participant.connected(SOON).await.unwrap();
        let outcome = events.wait_for(SOON, |event| match event {
            Event::CallEnded { outcome, .. } => outcome,
            _ => None,
        });
        assert_eq!(outcome.await, Some(Outcome::NoAnswer));
        Self { client, events, participant, log, call, over: Instant::now() }
    }

    /// The next state of a note that is this one.
    async fn until(&mut self, wanted: NoteState) -> NoteInfo {
        let found = self.events.wait_for(SOON, |event| match event {
            Event::Note { note, .. } => {
                let note: NoteInfo = serde_json::from_value(note).unwrap();
                (note.state == wanted).then_some(note)
            }
            _ => None,
        });
        found.await.unwrap_or_else(|| panic!("no note was {wanted:?}"))
    }

    /// Records while something is done. Returns between which lengths the take must lie, in milliseconds: it is as long as that took, however loaded the machine is.
    async fn record_while(&self, note: &str, work: impl Future<Output = ()>) -> RangeInclusive<u64> {
        let asked = Instant::now();
        self.ask("note.record", note).await;
        let began = Instant::now();
        work.await;
        let least = began.elapsed();
        self.ask("note.stop", note).await;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
        millis(least.saturating_sub(LEEWAY))..=millis(asked.elapsed() + LEEWAY)
    }

    async fn ask(&self, what: &str, note: &str) -> Value {
        let fields = json!({"note": note, "skip_countdown": true});
        self.client.request(what, fields).await.unwrap()["note"].take()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_holds_exactly_the_frames_that_the_caller_sent_and_begins_at_once() {
    let host = Host::start().await;
    let ben = host.client("ben").await;
    let mut bens = ben.events();
    let mut ann = Caller::ring_in_vain(&host, &ben).await;
    let offered = ann.until(NoteState::Offered).await;
    assert_eq!((offered.call.as_str(), offered.room.as_deref()), (ann.call.id.as_str(), Some(ann.call.room.as_str())));
    let recorded = ann.record_while(&offered.id, tokio::time::sleep(Duration::from_secs(3))).await;
    let draft = ann.until(NoteState::Draft).await;

    let (packets, skip, end) = ogg(&host.file(&draft.id, "ann").await);
    let log = ann.log.packets();
    let at = position(&log, &packets).expect("the file's frames are those that were sent, in order, none missing");
    let millis = packets.len() as u64 * 20;
    assert!(recorded.contains(&millis), "three seconds: {millis} ms, of {recorded:?}");
    let (first, last) = (&log[at], &log[at + packets.len() - 1]);
    let media = u64::from(last.timestamp.wrapping_sub(first.timestamp)) + FRAME;
    assert!(media.abs_diff(end) <= 48, "the clock of the file drifts: {media} samples sent, {end} in the file");
    assert!(draft.duration_ms.abs_diff((end - skip) / 48) <= 10, "{} ms, {end} - {skip} samples", draft.duration_ms);
    let begins = first.at.saturating_duration_since(ann.over);
    println!("from the outcome to the first recorded packet: {begins:?}");
    assert!(begins < Duration::from_secs(2), "{begins:?}");

    ann.ask("note.send", &draft.id).await;
    let came = bens.wait_for(SOON, |event| match event {
        Event::Note { note, unheard } if note["state"] == "sent" => Some((note, unheard)),
        _ => None,
    });
    let (note, unheard) = came.await.unwrap();
    assert_eq!((note["id"].as_str(), unheard), (Some(draft.id.as_str()), 1));
    assert_eq!(ogg(&host.file(&draft.id, "ben").await).0, packets);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn muting_leaves_a_gap_of_its_length_in_the_note() {
    let host = Host::start().await;
    let ben = host.client("ben").await;
    let mut ann = Caller::ring_in_vain(&host, &ben).await;
    let offered = ann.until(NoteState::Offered).await;
    let muted_between = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        ann.participant.mute(Source::Microphone, true).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        ann.participant.mute(Source::Microphone, false).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    let recorded = ann.record_while(&offered.id, muted_between).await;
    let draft = ann.until(NoteState::Draft).await;

    let log = ann.log.packets();
    let gap = log.windows(2).map(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp)).max().unwrap();
    assert!(gap > 40_000, "the log has the gap: {gap} samples");
    let sent = draft.duration_ms;
    assert!(recorded.contains(&sent), "the note is as long as the time was, gap included: {sent} ms, of {recorded:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retake_takes_the_place_of_the_take_before_once_it_is_good() {
    let host = Host::start().await;
    let ben = host.client("ben").await;
    let mut ann = Caller::ring_in_vain(&host, &ben).await;
    let note = ann.until(NoteState::Offered).await.id;
    let mut takes = Vec::new();
    for _ in 0..2 {
        ann.ask("note.record", &note).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        ann.ask("note.stop", &note).await;
        ann.until(NoteState::Draft).await;
        let (packets, ..) = ogg(&host.file(&note, "ann").await);
        takes.push(position(&ann.log.packets(), &packets).unwrap()..);
    }
    let [first, second] = takes.as_slice() else { panic!("two takes") };
    assert!(first.start + 60 < second.start, "{first:?} and {second:?}");

    // One in which nothing is said is no take.
    ann.participant.mute(Source::Microphone, true).await.unwrap();
    ann.ask("note.record", &note).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    ann.ask("note.stop", &note).await;
    let draft = ann.until(NoteState::Draft).await;
    assert_eq!((draft.take, draft.reason.as_deref()), (3, Some("no_media")));
    let (packets, ..) = ogg(&host.file(&note, "ann").await);
    assert_eq!(position(&ann.log.packets(), &packets), Some(second.start));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callee_who_accepts_too_late_calls_back_and_the_take_is_kept() {
    let host = Host::start().await;
    let ben = host.client("ben").await;
    let mut ann = Caller::ring_in_vain(&host, &ben).await;
    let offered = ann.until(NoteState::Offered).await;
    ann.ask("note.record", &offered.id).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;

    let back = ben.accept(&ann.call.id).await.unwrap();
    assert_ne!(back.id, ann.call.id);
    assert_eq!((back.from.user.as_str(), back.state), ("ben", CallState::Ringing));
    let (mut rings, mut draft) = (false, None);
    let both = ann.events.wait_for(SOON, |event| {
        match event {
            Event::CallIncoming { call, .. } => rings |= call.id == back.id,
            Event::Note { note, .. } if note["state"] == "draft" => draft = Some(note),
            _ => {}
        }
        draft.clone().filter(|_| rings)
    });
    let draft = both.await.expect("ann is offered the call, and what she has said is kept");
    assert_eq!(draft["reason"], "callee_came");
    assert!(draft["duration_ms"].as_u64().unwrap() > 800, "{draft}");

    ann.client.accept(&back.id).await.unwrap();
    assert!(host.file(draft["id"].as_str().unwrap(), "ann").await.starts_with(b"OggS"));
    let sent = ann.ask("note.send", draft["id"].as_str().unwrap()).await;
    assert_eq!(sent["state"], "sent", "it may still be sent, from within the call");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_vanishes_while_recording_finds_a_draft() {
    let host = Host::start().await;
    let ben = host.client("ben").await;
    let mut ann = Caller::ring_in_vain(&host, &ben).await;
    let offered = ann.until(NoteState::Offered).await;
    ann.ask("note.record", &offered.id).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    ann.participant.leave().await.unwrap();

    let ann = host.client("ann").await;
    let draft = tokio::time::timeout(SOON, async {
        loop {
            let open = host.engine.recorder().unwrap().open_notes("ann").await.unwrap();
            if let Some(draft) = open.into_iter().find(|note| note.state == NoteState::Draft) {
                return draft;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let draft = draft.await.expect("what was received is a draft");
    assert_eq!(draft.reason.as_deref(), Some("caller_gone"));
    assert!(draft.duration_ms > 800, "{draft:?}");
    let note = ann.request("note.discard", json!({"note": draft.id})).await.unwrap();
    assert_eq!(note["note"]["state"], "discarded");
    assert!(ann.request("note.send", json!({"note": draft.id})).await.is_err());
}
