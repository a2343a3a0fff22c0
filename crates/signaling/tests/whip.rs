//! WHIP and WHEP over real HTTP, with a media side that only takes notes: statuses, headers, and that who comes this way is in the room like
//! anybody, and out of it again.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use ringback_signaling::hooks::{Authorize, Hooks, Permission};
use ringback_signaling::media::{BoxFuture, MediaEvent};
use ringback_signaling::protocol::IceServer;
use ringback_signaling::token::Grants;
use ringback_signaling::turn::TurnServer;
use serde_json::{Value, json};
use support::{Client, PATIENCE, Server, config, token};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// An offer of a microphone and a camera; its session name tells the media side what to do.
fn offer(name: &str, direction: &str) -> String {
    let line = |kind: &str, mid: u8| {
        format!(
            "m={kind} 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:{mid}\r\na={direction}\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
             a=candidate:1 1 udp 1 192.0.2.1 7 typ host\r\n"
        )
    };
    format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns={name}\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n{}{}",
        line("audio", 0),
        line("video", 1)
    )
}

fn guest(user: &str) -> String {
    token(
        user,
        Duration::from_secs(600),
        Grants { call: false, list: false, rooms: vec!["hall".into(), "broken".into()] },
    )
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header == name);
        &found.unwrap_or_else(|| panic!("no {name} in {self:?}")).1
    }

    fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(header, _)| header == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The detail of a problem, which must be one.
    fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], self.status, "{problem}");
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// One request of a client that has nothing but a socket.
async fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    // A body that is too long is refused before all of it is read.
    let _ = socket.write_all(body.as_bytes()).await;
    let mut text = String::new();
    tokio::time::timeout(PATIENCE, socket.read_to_string(&mut text)).await.unwrap().unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers =
        lines.map(|line| line.split_once(": ").unwrap()).map(|(name, value)| (name.to_lowercase(), value.into()));
    Answer { status, headers: headers.collect(), body: body.to_owned() }
}

async fn post(server: &Server, path: &str, token: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    ask(server, "POST", path, &[("Authorization", &bearer), ("Content-Type", SDP)], body).await
}

async fn publish(server: &Server, token: &str) -> Answer {
    let created = post(server, "/ring/v1/rooms/hall/whip", token, &offer("-", "sendonly")).await;
    assert_eq!(created.status, 201, "{created:?}");
    created
}

async fn patch(server: &Server, path: &str, token: &str, etag: Option<&str>, body: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("Authorization", bearer.as_str()), ("Content-Type", FRAGMENT)];
    headers.extend(etag.map(|etag| ("If-Match", etag)));
    ask(server, "PATCH", path, &headers, body).await
}

async fn delete(server: &Server, path: &str, token: &str) -> u16 {
    ask(server, "DELETE", path, &[("Authorization", &format!("Bearer {token}"))], "").await.status
}

/// Somebody in the hall with a socket, who is told what happens there.
async fn onlooker(server: &Server) -> Client {
    let mut eve = server.client_with("eve/pc", &guest("eve")).await;
    eve.ok("room.join", json!({"room": "hall", "offer": "o", "tracks": []})).await;
    eve
}

#[tokio::test]
async fn a_publisher_is_in_the_roster_with_name_and_tracks_until_it_deletes_its_resource() {
    let server = Server::start().await;
    let mut eve = onlooker(&server).await;
    let ann = guest("ann");
    let created = publish(&server, &ann).await;
    assert_eq!((created.header("content-type"), created.header("etag")), (SDP, "\"ice-0\""));
    assert!(created.body.starts_with("answer to v=0"), "{}", created.body);
    let location = created.header("location").to_owned();
    assert!(location.starts_with("/ring/v1/whip/") && location.len() >= "/ring/v1/whip/".len() + 22, "{location}");

    let joined = eve.roster().await["joined"][0].clone();
    assert_eq!((&joined["user"], &joined["name"]), (&json!("ann"), &json!("ANN")));
    let tracks = json!([{"source": "microphone", "kind": "audio", "muted": false}, {"source": "camera", "kind": "video", "muted": false}]);
    assert_eq!(joined["tracks"], tracks);

    assert_eq!(delete(&server, &location, &guest("mallory")).await, 403, "only who came may end it");
    assert_eq!(ask(&server, "DELETE", &location, &[], "").await.status, 401);
    assert_eq!(delete(&server, &location.replace("whip", "whep"), &ann).await, 404);
    assert_eq!(delete(&server, &location, &ann).await, 200);
    assert_eq!(eve.roster().await["left"], json!([joined["participant"]]));
    server.media.wait_for(&format!("leave hall {}", joined["participant"].as_str().unwrap())).await;
    assert_eq!(delete(&server, &location, &ann).await, 404);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_with_the_status_that_fits() {
    struct Guard;
    impl Authorize for Guard {
        fn may_join<'a>(&'a self, user: &'a str, _room: &'a str) -> BoxFuture<'a, Permission> {
            Box::pin(async move {
                match user {
                    "banned" => Permission::Forbidden("you are banned".into()),
                    "lost" => Permission::NotFound("no such room".into()),
                    _ => Permission::Granted,
                }
            })
        }
    }
    let hooks = Hooks { authorize: Arc::new(Guard), ..Hooks::default() };
    let server = Server::with(config().media_limit(Duration::from_millis(200)), hooks).await;
    let (good, ann) = (offer("-", "sendonly"), guest("ann"));
    let (no_rooms, expired) =
        (token("ann", Duration::from_secs(60), Grants::default()), token("ann", Duration::ZERO, Grants::all()));
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let whip = "/ring/v1/rooms/hall/whip";
    let twice = good.replace("m=video", "m=audio");
    let huge = "v".repeat(300 * 1024);
    for (path, token, body, status, detail) in [
        (whip, "nonsense", good.as_str(), 401, "JSON Web Token"),
        (whip, &expired, &good, 401, "expired"),
        (whip, &no_rooms, &good, 403, "does not admit"),
        (whip, &guest("banned"), &good, 403, "you are banned"),
        (whip, &guest("lost"), &good, 404, "no such room"),
        (whip, &ann, "", 400, "v=0"),
        (whip, &ann, "{}", 400, "v=0"),
        (whip, &ann, "v=0\r\ns=-\r\n", 400, "no m-line"),
        (whip, &ann, &huge, 413, "262144"),
        (whip, &ann, &offer("-", "recvonly"), 422, "m-line 0 is recvonly"),
        (whip, &ann, &twice, 422, "one audio and one video"),
        (whip, &ann, &offer("bad", "sendonly"), 422, "m-line 3: no usable codec"),
        (whip, &ann, &offer("partial", "sendonly"), 422, "m-line 1 (video): none of its codecs"),
        (whip, &ann, &offer("panic", "sendonly"), 500, "joining failed"),
        (whip, &ann, &offer("hang", "sendonly"), 503, "too long"),
        ("/ring/v1/rooms/broken/whip", &ann, &good, 503, "no worker left"),
        ("/ring/v1/rooms/%20%07/whip", &ann, &good, 400, "room:"),
        ("/ring/v1/rooms/hall/whep", &ann, &good, 422, "m-line 0 is sendonly"),
        ("/ring/v1/rooms/hall/whep?participant=p_x", &ann, &offer("-", "recvonly"), 404, "\"p_x\" is not in the room"),
        ("/ring/v1/rooms/hall/whep?user=bob", &ann, &offer("-", "recvonly"), 404, "\"bob\" is not in the room"),
        ("/ring/v1/rooms/hall/whep?user=bob&participant=p", &ann, &offer("-", "recvonly"), 400, "not both"),
    ] {
        let answer = post(&server, path, token, body).await;
        assert_eq!(answer.status, status, "{path} {detail}: {answer:?}");
        assert!(answer.problem().contains(detail), "{detail}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.all("www-authenticate").len(), usize::from(status == 401));
        assert_eq!(answer.all("retry-after").len(), usize::from(status == 503));
    }
    let bearer = format!("Bearer {ann}");
    let wrong_type =
        ask(&server, "POST", whip, &[("Authorization", &bearer), ("Content-Type", "text/plain")], &good).await;
    assert_eq!(wrong_type.status, 415);
    assert!(wrong_type.problem().contains("application/sdp is required"));
    assert_eq!(ask(&server, "POST", whip, &[("Content-Type", SDP)], &good).await.status, 401);
    for method in ["GET", "PUT", "HEAD", "PATCH"] {
        assert_eq!(ask(&server, method, whip, &[("Authorization", &bearer)], "").await.status, 405, "{method}");
    }
    // Whoever was refused after the media side had taken them in is out of it again, and the room is empty and gone.
    let notes = server.media.notes();
    assert!(notes.iter().filter(|note| note.starts_with("leave hall")).count() >= 4, "{notes:?}");
    server.media.wait_for("close hall").await;
}

#[tokio::test]
async fn an_offer_that_goes_both_ways_is_taken_as_sending_only() {
    let server = Server::start().await;
    let created = post(&server, "/ring/v1/rooms/hall/whip", &guest("ann"), &offer("-", "sendrecv")).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert!(created.body.contains("a=sendonly") && !created.body.contains("a=sendrecv"), "{}", created.body);
}

#[tokio::test]
async fn candidates_are_taken_and_other_credentials_restart_ice_under_a_new_entity_tag() {
    let server = Server::start().await;
    let ann = guest("ann");
    let created = publish(&server, &ann).await;
    let (resource, etag) = (created.header("location"), created.header("etag"));
    let candidate = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
                     a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n";
    let restart = candidate.replace("abcd", "wxyz").replace("0123", "9876");
    for (etag, body, status) in [
        (None, candidate, 428),
        (Some("\"ice-7\""), candidate, 412),
        (Some("W/\"ice-0\""), candidate, 412),
        (Some(etag), candidate, 204),
        (Some("\"other\", \"ice-0\""), candidate, 204),
        (Some(etag), "a=end-of-candidates\r\n", 204),
        (Some("*"), candidate, 204),
        (Some(etag), "nothing of the kind", 400),
        (Some("*"), "a=ice-ufrag:x\r\na=ice-pwd:y\r\n", 400),
    ] {
        let answer = patch(&server, resource, &ann, etag, body).await;
        assert_eq!(answer.status, status, "{etag:?} {body}: {answer:?}");
        assert!(status == 204 || !answer.problem().is_empty());
    }
    assert!(!server.media.notes().iter().any(|note| note.starts_with("offer")), "nothing was restarted yet");

    let restarted = patch(&server, resource, &ann, Some("*"), &restart).await;
    assert_eq!((restarted.status, restarted.header("etag")), (200, "\"ice-1\""), "{restarted:?}");
    assert_eq!(restarted.header("content-type"), FRAGMENT);
    // The media side of this test answers with what it was offered.
    assert!(
        restarted.body.contains("a=ice-ufrag:wxyz") && restarted.body.contains("a=candidate:"),
        "{}",
        restarted.body
    );
    assert!(!restarted.body.contains("a=sendonly") && restarted.body.matches("m=").count() == 1);
    assert_eq!(patch(&server, resource, &ann, Some(etag), candidate).await.status, 412, "the old ICE session is over");
    assert_eq!(patch(&server, resource, &guest("bob"), Some("*"), &restart).await.status, 403);
    let bearer = format!("Bearer {ann}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", SDP), ("If-Match", "*")];
    assert_eq!(ask(&server, "PATCH", resource, &headers, &restart).await.status, 415);
    assert_eq!(delete(&server, resource, &ann).await, 200);
    assert_eq!(patch(&server, resource, &ann, Some("*"), &restart).await.status, 404);
}

#[tokio::test]
async fn a_player_is_seen_in_the_room_and_ends_with_the_one_it_plays() {
    let server = Server::start().await;
    let mut eve = onlooker(&server).await;
    let published = publish(&server, &guest("ann")).await;
    let ann = eve.roster().await["joined"][0]["participant"].as_str().unwrap().to_owned();

    let whole = post(&server, "/ring/v1/rooms/hall/whep", &guest("bob"), &offer("-", "recvonly")).await;
    assert_eq!(whole.status, 201, "{whole:?}");
    assert!(whole.header("location").starts_with("/ring/v1/whep/"));
    let joined = eve.roster().await["joined"][0].clone();
    assert_eq!((&joined["name"], &joined["tracks"]), (&json!("BOB"), &json!([])), "nobody looks on unseen");
    assert!(!server.media.notes().iter().any(|note| note.starts_with("play")));

    let of_bob = "/ring/v1/rooms/hall/whep?user=bob";
    let nothing_to_play = post(&server, of_bob, &guest("carl"), &offer("-", "recvonly")).await;
    assert_eq!(nothing_to_play.status, 404, "a player is nobody to play: {nothing_to_play:?}");
    assert!(nothing_to_play.problem().contains("publishes nothing"));

    let mut of_one = Vec::new();
    for query in [format!("participant={ann}"), "user=ann".to_owned()] {
        let path = format!("/ring/v1/rooms/hall/whep?{query}");
        let created = post(&server, &path, &guest("carl"), &offer("-", "recvonly")).await;
        assert_eq!(created.status, 201, "{created:?}");
        let participant = eve.roster().await["joined"][0]["participant"].as_str().unwrap().to_owned();
        server.media.wait_for(&format!("play hall {participant} only {ann}")).await;
        of_one.push(created.header("location").to_owned());
    }
    assert_eq!(delete(&server, published.header("location"), &guest("ann")).await, 200);
    let mut left = 0;
    while left < 3 {
        left += eve.roster().await["left"].as_array().unwrap().len();
    }
    for location in of_one {
        assert_eq!(delete(&server, &location, &guest("carl")).await, 404);
    }
    assert_eq!(delete(&server, whole.header("location"), &guest("bob")).await, 200);
}

#[tokio::test]
async fn who_came_by_http_is_out_when_the_transport_is_down_the_room_is_closed_or_the_token_has_expired() {
    let server = Server::start().await;
    let mut eve = onlooker(&server).await;
    let ann = guest("ann");
    let died = publish(&server, &ann).await.header("location").to_owned();
    let participant = eve.roster().await["joined"][0]["participant"].as_str().unwrap().to_owned();
    let (room, reason) = ("hall".to_owned(), "ConsentLost".to_owned());
    server.signaling.media_event(MediaEvent::Disconnected { room, participant: participant.clone(), reason }).await;
    assert_eq!(eve.roster().await["left"], json!([participant]));
    assert_eq!(delete(&server, &died, &ann).await, 404);

    let brief = token("brief", Duration::from_secs(2), Grants::all());
    let expires = publish(&server, &brief).await.header("location").to_owned();
    let participant = eve.roster().await["joined"][0]["participant"].clone();
    assert_eq!(eve.roster().await["left"], json!([participant]));
    let again = token("brief", Duration::from_secs(60), Grants::all());
    assert_eq!(delete(&server, &expires, &again).await, 404);

    let closed = publish(&server, &ann).await.header("location").to_owned();
    let (room, reason) = ("hall".to_owned(), "a fault".to_owned());
    server.signaling.media_event(MediaEvent::RoomClosed { room, reason }).await;
    assert_eq!(delete(&server, &closed, &ann).await, 404);
}

#[tokio::test]
async fn sessions_by_http_count_among_the_sessions_and_end_at_shutdown() {
    let server = Server::with(config().max_sessions(1), Hooks::default()).await;
    let ann = guest("ann");
    let first = publish(&server, &ann).await;
    let second = post(&server, "/ring/v1/rooms/hall/whip", &ann, &offer("-", "sendonly")).await;
    assert_eq!(second.status, 503, "{second:?}");
    assert_eq!(delete(&server, first.header("location"), &ann).await, 200);
    let third = publish(&server, &ann).await;
    tokio::time::timeout(Duration::from_secs(4), server.signaling.shutdown(Duration::ZERO)).await.unwrap();
    server.media.wait_for("close hall").await;
    assert_eq!(delete(&server, third.header("location"), &ann).await, 503);
}

#[tokio::test]
async fn a_callee_does_not_get_into_the_room_before_accepting_whatever_the_token_grants() {
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    let _bob = server.client("bob/phone").await;
    let room = ann.place("bob").await["room"].as_str().unwrap().to_owned();
    let bob = token("bob", Duration::from_secs(60), Grants::all());
    let early = post(&server, &format!("/ring/v1/rooms/{room}/whip"), &bob, &offer("-", "sendonly")).await;
    assert_eq!(early.status, 409, "{early:?}");
    assert!(early.problem().contains("accept the call"));
}

#[tokio::test]
async fn pages_of_other_origins_may_ask_and_are_told_of_ice_servers() {
    let stun = IceServer { urls: vec!["stun:stun.example.org".into()], username: None, credential: None };
    let turn = TurnServer::new(&["turn:turn.example.org?transport=udp", "turns:turn.example.org"], "a secret");
    let server = Server::with(config().ice_servers(vec![stun]).turn_server(turn), Hooks::default()).await;
    let created = publish(&server, &guest("a\"nn")).await;
    let links = created.all("link");
    assert_eq!(links[0], "<stun:stun.example.org>; rel=\"ice-server\"");
    assert!(
        links[1].starts_with("<turn:turn.example.org?transport=udp>; rel=\"ice-server\"; username=\""),
        "{links:?}"
    );
    assert!(
        links[2].contains(":a\\\"nn\"; credential=\"") && links[2].ends_with("credential-type=\"password\""),
        "{links:?}"
    );
    assert_eq!(created.header("access-control-allow-origin"), "*");
    let exposed = created.header("access-control-expose-headers");
    assert!(["Location", "Link", "ETag"].iter().all(|name| exposed.contains(name)), "{exposed}");

    let preflight = [("Origin", "https://elsewhere.example"), ("Access-Control-Request-Method", "POST")];
    for (path, methods, accepts) in [
        ("/ring/v1/rooms/hall/whip", "POST, OPTIONS", ("accept-post", SDP)),
        ("/ring/v1/rooms/hall/whep", "POST, OPTIONS", ("accept-post", SDP)),
        (created.header("location"), "PATCH, DELETE, OPTIONS", ("accept-patch", FRAGMENT)),
    ] {
        let allowed = ask(&server, "OPTIONS", path, &preflight, "").await;
        assert_eq!((allowed.status, allowed.header("access-control-allow-methods")), (204, methods), "{allowed:?}");
        assert_eq!(allowed.header("access-control-allow-headers"), "Authorization, Content-Type, If-Match");
        assert_eq!(allowed.header(accepts.0), accepts.1);
        assert_eq!(allowed.header("access-control-allow-origin"), "*");
    }
}
