//! A caller whose media never connected uploads what they recorded: over real sockets, cut in the middle of a request again and again, until it is a draft like any other.
#![allow(clippy::unwrap_used)]

mod house;

use std::net::SocketAddr;
use std::time::Duration;

use house::{House, PATIENCE, builder, token};
use ringback::{NoteKind, RecorderConfig};
use ringback_recorder::{Codec, FileOptions, TakeEvent, TakePacket, TrackKind, make_file};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A WebM file of two seconds, as a browser might record it.
fn webm() -> Vec<u8> {
    let mut encoder = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip).unwrap();
    let mut events = Vec::new();
    for index in 0..100_u16 {
        let arrival = Duration::from_millis(20 * u64::from(index));
        let pcm: Vec<f32> = (0..960).map(|n| 0.4 * (n as f32 * 0.04).sin()).collect();
        let sound = encoder.encode_vec_float(&pcm, 1_275).unwrap();
        let picture =
            [&[0x10, if index == 0 { 0x10 } else { 0x11 }, 0, 0, 0x9D, 0x01, 0x2A, 16, 0, 16, 0][..], &[7; 900]]
                .concat();
        for (track, codec, clock, payload) in
            [(TrackKind::Audio, Codec::Opus, 960, sound), (TrackKind::Video, Codec::Vp8, 1_800, picture)]
        {
            let (timestamp, payload) = (clock * u32::from(index), payload.into());
            let packet =
                TakePacket { track, codec, arrival, sequence: index, timestamp, marker: true, level: None, payload };
            events.push(TakeEvent::Packet(packet));
        }
    }
    make_file(NoteKind::Video, &events, &FileOptions::default()).unwrap().bytes.to_vec()
}

/// Status and headers of an answer, in small letters.
struct Answer {
    status: u16,
    head: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn offset(&self) -> usize {
        self.header("upload-offset").unwrap_or_else(|| panic!("no offset: {}", self.head)).parse().unwrap()
    }
}

/// A request on a socket of its own. Of the body only as much is sent as is told; then the socket is cut.
async fn request(address: SocketAddr, line: &str, headers: &str, body: &[u8], cut_at: Option<usize>) -> Option<Answer> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let token = token("ann", "Ann");
    let head = format!(
        "{line} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {token}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&body[..cut_at.unwrap_or(body.len())]).await.unwrap();
    if cut_at.is_some() {
        // A reset, as when a phone loses its network and its system gives up.
        socket.set_zero_linger().unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        return None;
    }
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await.unwrap().unwrap();
    let head = String::from_utf8_lossy(&answer).split("\r\n\r\n").next().unwrap().to_lowercase();
    Some(Answer { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head })
}

const TUS: &str = "tus-resumable: 1.0.0\r\n";
const PATCH: &str = "tus-resumable: 1.0.0\r\ncontent-type: application/offset+octet-stream\r\n";

/// A note that Ann is offered since Ben declined. Neither of them is connected with media.
async fn offered(house: &House) -> (house::Person, house::Person, String) {
    let (mut ann, mut ben) = (house.person("ann", "Ann").await, house.person("ben", "Ben").await);
    house.call(&mut ann, &mut ben, "ben", false).await;
    house.until_logged("note.offered", 1).await;
    let log = house.logged().await;
    let event = log.iter().find(|event| event.kind == "note.offered").unwrap();
    let note = event.body["note"]["id"].as_str().unwrap().to_owned();
    (ann, ben, note)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_whose_socket_is_cut_three_times_becomes_a_draft_that_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(builder().notes(RecorderConfig::new(folder.path()))).await;
    let (mut ann, mut ben, note) = offered(&house).await;
    let (address, file) = (house.address, webm());
    let line = |method: &str, path: &str| format!("{method} /v1/notes/{note}/{path}");
    let length = format!("{TUS}upload-length: {}\r\n", file.len());
    let created = request(address, &line("POST", "takes"), &length, b"", None).await.unwrap();
    assert_eq!((created.status, created.header("location")), (201, Some("takes/1")), "{}", created.head);
    let mut at = 0;
    for cut in 1..=3 {
        let rest = &file[at..];
        let headers = format!("{PATCH}upload-offset: {at}\r\n");
        request(address, &line("PATCH", "takes/1"), &headers, rest, Some(rest.len() / 4)).await;
        let state = request(address, &line("HEAD", "takes/1"), TUS, b"", None).await.unwrap();
        assert_eq!(state.status, 200, "{}", state.head);
        assert!(
            state.offset() > at && state.offset() < file.len(),
            "cut {cut} at {} of {}",
            state.offset(),
            file.len()
        );
        assert_eq!(state.header("upload-length"), Some(file.len().to_string().as_str()));
        at = state.offset();
    }
    // Whoever goes on where it does not stop is told where it does.
    let wrong = request(address, &line("PATCH", "takes/1"), &format!("{PATCH}upload-offset: 0\r\n"), &file, None)
        .await
        .unwrap();
    assert_eq!((wrong.status, wrong.offset()), (409, at));
    let headers = format!("{PATCH}upload-offset: {at}\r\n");
    let done = request(address, &line("PATCH", "takes/1"), &headers, &file[at..], None).await.unwrap();
    assert_eq!((done.status, done.offset()), (204, file.len()));
    let draft = ann.event("note.draft").await;
    assert_eq!(
        (&draft["note"]["content_type"], &draft["note"]["reason"]),
        (&json!("audio/ogg; codecs=opus"), &json!(null))
    );
    assert!(draft["note"]["duration_ms"].as_u64().unwrap() > 1_500, "{draft}");
    ann.ok("note.send", json!({ "note": note })).await;
    assert_eq!(ben.event("note.sent").await["unheard"], 1);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_take_whose_length_is_known_only_at_its_end_arrives_while_it_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(builder().notes(RecorderConfig::new(folder.path()))).await;
    let (mut ann, _ben, note) = offered(&house).await;
    let (address, file) = (house.address, webm());
    let line = |method: &str, path: &str| format!("{method} /v1/notes/{note}/{path}");
    let created =
        request(address, &line("POST", "takes"), &format!("{TUS}upload-defer-length: 1\r\n"), b"", None).await;
    assert_eq!(created.unwrap().status, 201);
    let mut at = 0;
    for piece in file.chunks(file.len() / 3) {
        let headers = format!("{PATCH}upload-offset: {at}\r\n");
        at = request(address, &line("PATCH", "takes/1"), &headers, piece, None).await.unwrap().offset();
    }
    let headers = format!("{PATCH}upload-offset: {at}\r\nupload-length: {at}\r\n");
    let done = request(address, &line("PATCH", "takes/1"), &headers, b"", None).await.unwrap();
    assert_eq!((done.status, done.header("upload-length")), (204, Some(at.to_string().as_str())));
    ann.event("note.draft").await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_upload_of_this_note_is_refused_with_what_would_be() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(builder().notes(RecorderConfig::new(folder.path()))).await;
    let (_ann, _ben, note) = offered(&house).await;
    let ask =
        async |line: &str, headers: &str, body: &[u8]| request(house.address, line, headers, body, None).await.unwrap();
    let takes = format!("/v1/notes/{note}/takes");
    let post = format!("POST {takes}");
    let none = ask(&post, "upload-length: 10\r\n", b"").await;
    assert_eq!((none.status, none.header("tus-version")), (412, Some("1.0.0")));
    assert_eq!(ask(&post, TUS, b"").await.status, 400);
    assert_eq!(ask(&post, &format!("{TUS}upload-length: 99999999999\r\n"), b"").await.status, 413);
    assert_eq!(ask(&format!("HEAD {takes}/1"), TUS, b"").await.status, 404);
    assert_eq!(ask("POST /v1/notes/n_another/takes", &format!("{TUS}upload-length: 10\r\n"), b"").await.status, 404);
    assert_eq!(ask(&post, &format!("{TUS}upload-length: 100\r\n"), b"").await.status, 201);
    assert_eq!(ask(&post, &format!("{TUS}upload-length: 100\r\n"), b"").await.status, 409, "one at a time");
    let patch = format!("PATCH {takes}/1");
    assert_eq!(ask(&patch, &format!("{TUS}upload-offset: 0\r\n"), b"x").await.status, 415);
    let wave = ask(&patch, &format!("{PATCH}upload-offset: 0\r\n"), b"RIFF\0\0\0\0WAVE").await;
    assert_eq!(wave.status, 415);
    assert_eq!(ask(&patch, &format!("{PATCH}upload-offset: 0\r\n"), &[0x1A; 200]).await.status, 413);
    let options = ask(&format!("OPTIONS {takes}"), "", b"").await;
    assert_eq!(options.header("tus-extension"), Some("creation,creation-defer-length"));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poster_that_is_no_picture_too_large_or_of_no_take_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(builder().notes(RecorderConfig::new(folder.path()))).await;
    let (_ann, _ben, note) = offered(&house).await;
    let put = async |take: u32, body: &[u8]| {
        let line = format!("PUT /v1/notes/{note}/takes/{take}/poster");
        request(house.address, &line, "content-type: image/jpeg\r\n", body, None).await.unwrap().status
    };
    let mut picture = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(64, 48).write_to(&mut picture, image::ImageFormat::Jpeg).unwrap();
    let picture = picture.into_inner();
    assert_eq!(put(1, &picture).await, 404, "nothing is being recorded");
    let line = format!("POST /v1/notes/{note}/takes");
    let headers = format!("{TUS}upload-defer-length: 1\r\n");
    assert_eq!(request(house.address, &line, &headers, b"", None).await.unwrap().status, 201);
    assert_eq!(put(1, b"no picture at all").await, 400);
    assert_eq!(put(1, &picture[..picture.len() / 2]).await, 400, "a damaged one");
    assert_eq!(put(1, &vec![0; 600 * 1024]).await, 413);
    assert_eq!(put(2, &picture).await, 404);
    assert_eq!(put(1, &picture).await, 404, "a voice note has no picture");
    house.close().await;
}
