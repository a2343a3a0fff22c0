//! Images on request through the engine: asked for over HTTP, made by a studio that speaks Black Forest Labs' wire, listed beside calls, told over the socket and in the log.
#![allow(clippy::unwrap_used)]

mod house;
#[path = "../../imagine/tests/studio/mod.rs"]
mod studio;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use house::{House, PATIENCE, builder};
use ringback::peace::{Item, Notification, OccurrenceKind, Reason, Settings, Tell};
use ringback::{
    AtRestKey, Authorize, BoxFuture, Claims, Engine, EngineBuilder, EngineError, Grants, HookError, ImagineConfig,
    JobState, METRICS_TYPE, Money, Permission, ProviderConfig, ProviderKind, RecorderConfig, TokenIssuer, UserRef,
};
use serde_json::{Value, json};
use studio::Studio;
use tower::ServiceExt;

const SECRET: &[u8] = b"a secret of at least 32 bytes, for tests";
const THREAD: &str = "/v1/threads/direct:ann:bob";

fn picture() -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(40, 30).write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

fn config(studio: &Studio) -> ImagineConfig {
    let mut provider = ProviderConfig::new("flux", ProviderKind::Bfl, studio.url());
    (provider.key, provider.model) = (Some("k".into()), Some("flux-pro".into()));
    provider.price = Money::from_micros(40_000);
    ImagineConfig { providers: vec![provider], allow_hosts: vec![studio.host.clone()], ..ImagineConfig::default() }
}

fn with_images(folder: &tempfile::TempDir, studio: &Studio) -> EngineBuilder {
    builder().notes(RecorderConfig::new(folder.path())).imagine(config(studio))
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn error(&self) -> (StatusCode, Value) {
        (self.status, self.json()["error"]["message"].clone())
    }
}

async fn ask(engine: &Engine, user: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
    let claims = Claims::new(user, PATIENCE).name(user.to_uppercase()).grants(Grants::all());
    let token = TokenIssuer::hs256(SECRET).unwrap().issue(&claims).unwrap();
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    if !user.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = body.map_or_else(Body::empty, |body| body.to_string().into());
    let response = engine.router().oneshot(request.body(body).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

async fn get(engine: &Engine, user: &str, path: &str) -> Answer {
    ask(engine, user, Method::GET, path, None).await
}

async fn imagine(engine: &Engine, user: &str, key: &str) -> Answer {
    let body = json!({ "prompt": "a lighthouse in the fog", "key": key });
    ask(engine, user, Method::POST, &format!("{THREAD}/images"), Some(body)).await
}

/// Asks until an image is over.
async fn over(engine: &Engine, user: &str, id: &str) -> Value {
    let asked = async {
        loop {
            let image = get(engine, user, &format!("/v1/images/{id}")).await.json()["image"].clone();
            let state: JobState = serde_json::from_value(image["state"].clone()).unwrap();
            if state.is_final() {
                return image;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_asked_for_told_listed_between_calls_and_fetched_by_its_link() {
    let studio = Studio::start(picture()).await;
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(with_images(&folder, &studio)).await;
    let engine = &house.engine;
    let (mut ann, mut bob) = (house.person("ann", "Ann").await, house.person("bob", "Bob").await);
    house.call(&mut ann, &mut bob, "bob", false).await;
    let answer = imagine(engine, "ann", "1").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(&answer.body));
    let id = answer.json()["image"]["id"].as_str().unwrap().to_owned();
    let told = bob.event("image.posted").await;
    assert_eq!((&told["image"]["id"], &told["image"]["prompt"]), (&json!(id), &json!("a lighthouse in the fog")));
    assert_eq!(ann.event("image.posted").await["image"]["from"], json!({ "user": "ann", "name": "ANN" }));
    house.call(&mut bob, &mut ann, "ann", false).await;

    let thread = async |user: &str, query: &str| get(engine, user, &format!("{THREAD}{query}")).await.json();
    let kinds = |page: &Value| -> Vec<&str> {
        let entries = page["entries"].as_array().unwrap().iter();
        entries.map(|entry| if entry["image"].is_object() { "image" } else { "call" }).collect()
    };
    let listed = async {
        while kinds(&thread("bob", "").await).len() < 3 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, listed).await.unwrap();
    let whole = thread("bob", "").await;
    assert_eq!((kinds(&whole), &whole["next"]), (vec!["call", "image", "call"], &Value::Null));
    // Page by page it is the same.
    let (mut pages, mut query) = (Vec::new(), "?limit=1".to_owned());
    loop {
        let page = thread("bob", &query).await;
        pages.extend(page["entries"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?limit=1&before={next}");
    }
    assert_eq!(
        pages.iter().map(|entry| entry["placed_at"].clone()).collect::<Vec<_>>(),
        whole["entries"].as_array().unwrap().iter().map(|entry| entry["placed_at"].clone()).collect::<Vec<_>>(),
    );
    assert_eq!(thread("eve", "").await["entries"], json!([]));

    let link = format!("/{}", told["image"]["url"].as_str().unwrap());
    let file = get(engine, "", &link).await;
    assert_eq!((file.status, &file.headers["content-type"]), (StatusCode::OK, &"image/jpeg".parse().unwrap()));
    assert_eq!(image::load_from_memory(&file.body).unwrap().width(), 40);
    assert_eq!(get(engine, "", &link.replace("signature=", "signature=A")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(get(engine, "", &format!("/v1/images/{id}/file")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(get(engine, "eve", &format!("/v1/images/{id}/file")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(engine, "bob", &format!("/v1/images/{id}/file")).await.status, StatusCode::OK);

    let log = engine.event_log().unwrap().after(0, 100).await.unwrap();
    let logged: Vec<_> = log.events.iter().filter(|event| event.kind == "image.posted").collect();
    assert_eq!(logged.len(), 1);
    assert_eq!((&logged[0].body["image"]["id"], &logged[0].body["image"]["url"]), (&json!(id), &Value::Null));
    house.close().await;
}

#[tokio::test]
async fn an_image_is_asked_for_once_however_often_it_is_sent_and_again_is_another_one() {
    let studio = Studio::start(picture()).await;
    let folder = tempfile::tempdir().unwrap();
    let engine = with_images(&folder, &studio).start().await.unwrap();
    let id = imagine(&engine, "ann", "1").await.json()["image"]["id"].as_str().unwrap().to_owned();
    assert_eq!(imagine(&engine, "ann", "1").await.json()["image"]["id"], json!(id));
    over(&engine, "ann", &id).await;
    let again = Some(json!({ "key": "2" }));
    let again = ask(&engine, "bob", Method::POST, &format!("/v1/images/{id}/again"), again).await;
    assert_eq!((again.status, &again.json()["image"]["again_of"]), (StatusCode::ACCEPTED, &json!(id)));
    over(&engine, "bob", again.json()["image"]["id"].as_str().unwrap()).await;
    assert_eq!(studio.billed(), 2);
    let delete = async |user: &str| ask(&engine, user, Method::DELETE, &format!("/v1/images/{id}"), None).await.status;
    assert_eq!(delete("bob").await, StatusCode::NOT_FOUND, "it is ann's to take back");
    assert_eq!(delete("ann").await, StatusCode::NO_CONTENT);
    for user in ["ann", "bob"] {
        assert_eq!(get(&engine, user, &format!("/v1/images/{id}")).await.status, StatusCode::NOT_FOUND);
        assert_eq!(get(&engine, user, &format!("/v1/images/{id}/file")).await.status, StatusCode::NOT_FOUND);
        let listed = get(&engine, user, THREAD).await.json();
        assert_eq!(listed["entries"].as_array().unwrap().len(), 1, "the other one stays");
    }
    assert!(!folder.path().join("media/images").join(&id).exists(), "its bytes are gone");
    let offers = get(&engine, "ann", "/v1/images").await.json();
    assert_eq!(offers, json!({ "offers": [{ "provider": "flux", "sizes": [], "price": 0.04, "currency": null }] }));
}

#[tokio::test]
async fn an_image_under_way_survives_the_engine() {
    let studio = Studio::start(picture()).await;
    studio.hold(studio::Hold::Work);
    let folder = tempfile::tempdir().unwrap();
    let engine = with_images(&folder, &studio).start().await.unwrap();
    let id = imagine(&engine, "ann", "1").await.json()["image"]["id"].as_str().unwrap().to_owned();
    studio.until_held(1).await;
    engine.shutdown(Duration::ZERO).await;
    drop(engine);
    studio.hold(studio::Hold::Nothing);
    let engine = with_images(&folder, &studio).start().await.unwrap();
    assert_eq!(over(&engine, "ann", &id).await["state"], "posted");
    assert_eq!(studio.billed(), 1);
}

#[tokio::test]
async fn without_a_provider_the_command_says_so_in_a_thread_too() {
    let folder = tempfile::tempdir().unwrap();
    let none = (StatusCode::SERVICE_UNAVAILABLE, json!("no image provider is configured on this server"));
    let engine = builder().notes(RecorderConfig::new(folder.path())).start().await.unwrap();
    assert_eq!(imagine(&engine, "ann", "1").await.error(), none);
    assert_eq!(get(&engine, "ann", "/v1/images").await.json(), json!({ "offers": [] }));
    drop(engine);
    let folder = tempfile::tempdir().unwrap();
    let empty = builder().notes(RecorderConfig::new(folder.path())).imagine(ImagineConfig::default());
    assert_eq!(imagine(&empty.start().await.unwrap(), "ann", "1").await.error(), none);
    let homeless = builder().imagine(ImagineConfig::default()).start().await;
    assert!(matches!(homeless, Err(EngineError::NoStore)));
}

/// Lets nobody leave bob anything.
struct NotBob;

impl Authorize for NotBob {
    fn may_leave_note<'a>(&'a self, _: &'a str, to: &'a str) -> BoxFuture<'a, Permission> {
        Box::pin(async move { if to == "bob" { Permission::Forbidden("not bob".into()) } else { Permission::Granted } })
    }
}

#[tokio::test]
async fn only_who_belongs_to_a_thread_and_may_write_to_the_others_asks_in_it() {
    let studio = Studio::start(picture()).await;
    let folder = tempfile::tempdir().unwrap();
    let engine = with_images(&folder, &studio).authorize(NotBob).start().await.unwrap();
    assert_eq!(imagine(&engine, "ann", "1").await.error(), (StatusCode::FORBIDDEN, json!("not bob")));
    assert_eq!(imagine(&engine, "eve", "1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(imagine(&engine, "", "1").await.status, StatusCode::UNAUTHORIZED);
    let body = Some(json!({ "prompt": "x", "key": "1" }));
    let other = ask(&engine, "ann", Method::POST, "/v1/threads/team/images", body).await;
    assert_eq!(other.status, StatusCode::NOT_FOUND, "ann was in no call there");
    for wrong in [json!({}), json!({ "prompt": "", "key": "1" }), json!({ "prompt": "x", "key": "1", "size": "big" })] {
        let path = "/v1/threads/direct:ann:carl/images";
        let answer = ask(&engine, "ann", Method::POST, path, Some(wrong.clone())).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let forged = ask(&engine, "", Method::POST, "/v1/images/webhooks/flux", Some(json!({ "id": "t-1" }))).await;
    assert_eq!(forged.status, StatusCode::UNAUTHORIZED);
    assert_eq!(studio.billed(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_key_pictures_lie_encrypted_and_are_fetched_as_ever() {
    let studio = Studio::start(picture()).await;
    let folder = tempfile::tempdir().unwrap();
    let notes = RecorderConfig { at_rest: vec![AtRestKey::generate()], ..RecorderConfig::new(folder.path()) };
    let house = House::open(builder().notes(notes).imagine(config(&studio))).await;
    let (mut ann, mut bob) = (house.person("ann", "Ann").await, house.person("bob", "Bob").await);
    house.call(&mut ann, &mut bob, "bob", false).await;
    let id = imagine(&house.engine, "ann", "1").await.json()["image"]["id"].as_str().unwrap().to_owned();
    let image = over(&house.engine, "ann", &id).await;
    let file = get(&house.engine, "", &format!("/{}", image["url"].as_str().unwrap())).await;
    assert_eq!((file.status, &file.body[..3]), (StatusCode::OK, &b"\xff\xd8\xff"[..]), "a JPEG");
    let kept = std::fs::read_dir(folder.path().join("media/images").join(&id)).unwrap().next().unwrap().unwrap();
    let bytes = std::fs::read(kept.path()).unwrap();
    assert!(bytes.starts_with(b"age-encryption.org/v1"), "{:?}", kept.path());
    assert!(!bytes.windows(32).any(|window| *window == file.body[..32]));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_became_of_images_what_they_cost_and_who_wants_to_be_left_alone() {
    let studio = Studio::start(picture()).await;
    let folder = tempfile::tempdir().unwrap();
    let images = ImagineConfig { currency: Some("USD".to_owned()), ..config(&studio) };
    let house = Arc::new(House::open(builder().notes(RecorderConfig::new(folder.path())).imagine(images)).await);
    let (mut ann, mut bob) = (house.person("ann", "Ann").await, house.person("bob", "Bob").await);
    house.call(&mut ann, &mut bob, "bob", false).await;

    // Served as an embedder does it.
    let served = house.clone();
    let metrics =
        axum::routing::get(
            move || async move { ([(header::CONTENT_TYPE, METRICS_TYPE)], served.engine.metrics().await) },
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/metrics", metrics)).await });
    let scrape = async || reqwest::get(&url).await.unwrap().text().await.unwrap();
    let value = |text: &str, name: &str| -> Option<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    };

    let before = scrape().await;
    assert_eq!(value(&before, "ringback_images_open{provider=\"flux\",state=\"queued\"}"), Some(0.0), "{before}");
    assert_eq!(value(&before, "ringback_image_provider_pause_seconds{provider=\"flux\",call=\"submit\"}"), Some(0.0));
    for (key, prompt) in [("1", "a lighthouse"), ("2", "a ship"), ("3", "something forbidden")] {
        let body = json!({ "prompt": prompt, "key": key });
        let answer = ask(&house.engine, "ann", Method::POST, &format!("{THREAD}/images"), Some(body)).await;
        let id = answer.json()["image"]["id"].as_str().unwrap().to_owned();
        let state = over(&house.engine, "ann", &id).await["state"].clone();
        // What is told is counted.
        ann.event(&format!("image.{}", state.as_str().unwrap())).await;
    }
    let body = json!({ "prompt": "a boat, but later", "key": "4" });
    ask(&house.engine, "ann", Method::POST, &format!("{THREAD}/images"), Some(body)).await;
    let pause = "ringback_image_provider_pause_seconds{provider=\"flux\",call=\"submit\"}";
    let told = async {
        loop {
            let text = scrape().await;
            let waiting = value(&text, "ringback_images_open{provider=\"flux\",state=\"queued\"}") == Some(1.0);
            if waiting && value(&text, pause).is_some_and(|left| left > 0.0) {
                return text;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let text = tokio::time::timeout(PATIENCE, told).await.unwrap();
    for (name, expected) in [
        ("ringback_images_total{provider=\"flux\",outcome=\"posted\"}", 2.0),
        ("ringback_images_total{provider=\"flux\",outcome=\"refused\"}", 1.0),
        // Also the one that was refused after it had been handed over.
        ("ringback_images_money_total{provider=\"flux\",currency=\"USD\"}", 0.12),
        ("ringback_image_delay_seconds_count{provider=\"flux\"}", 2.0),
        ("ringback_images_open{provider=\"flux\",state=\"running\"}", 0.0),
    ] {
        let found = value(&text, name);
        assert!(found.is_some_and(|found| (found - expected).abs() < 1e-9), "{name} is {found:?}\n{text}");
    }
    let left = value(&text, pause).unwrap();
    assert!((30.0..=60.0).contains(&left), "{left} s");
}

/// What is told to users beside their devices.
#[derive(Clone, Default)]
struct Push(Arc<Mutex<Vec<Notification>>>);

impl Tell for Push {
    fn tell<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), HookError>> {
        self.0.lock().unwrap().push(notification.clone());
        Box::pin(async { Ok(()) })
    }
}

impl Push {
    /// Waits until a notification of this user ends with such an item.
    async fn until(&self, user: &str, kind: OccurrenceKind, about: &str) -> Notification {
        let come = async {
            loop {
                let last = self.0.lock().unwrap().last().cloned();
                let fits = |item: &Item| item.kind == kind && item.about.as_deref() == Some(about);
                match last.filter(|last| last.user == user && last.items.last().is_some_and(fits)) {
                    Some(last) => return last,
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, come).await.unwrap_or_else(|_| panic!("no {kind:?} for {user}: {:#?}", self.0))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_and_what_is_said_to_it_are_told_with_names_and_the_reason() {
    let studio = Studio::start(picture()).await;
    let folder = tempfile::tempdir().unwrap();
    let push = Push::default();
    let house = House::open(with_images(&folder, &studio).peace(Settings::default(), push.clone())).await;
    let engine = &house.engine;
    let mut ann = house.person("ann", "Ann").await;

    // Bob is away: nothing of his is connected.
    let id = imagine(engine, "ann", "1").await.json()["image"]["id"].as_str().unwrap().to_owned();
    let told = push.until("bob", OccurrenceKind::Image, "a lighthouse in the fog").await;
    assert_eq!((told.total, told.silent, told.why), (1, false, Reason::Welcome));
    let by_ann = UserRef { user: "ann".into(), name: Some("ANN".into()) };
    assert_eq!((told.from.as_ref(), told.items[0].image.as_ref()), (Some(&by_ann), Some(&id)));
    assert_eq!(told.live_devices, Vec::<String>::new());
    let list = get(engine, "bob", "/v1/notifications").await.json();
    let entry = &list["entries"][0];
    assert_eq!((&entry["kind"], &entry["image"], &entry["seen_at"]), (&json!("image"), &json!(id), &Value::Null));
    assert_eq!(entry["notification"]["id"], json!(told.id));
    assert_eq!(entry["notification"]["in_words"], "Nothing spoke against it.");
    assert_eq!(list["counts"]["image"], json!({ "new": 1, "old": 0 }));
    assert_eq!(get(engine, "ann", "/v1/notifications").await.json()["entries"], json!([]), "ann has waited for it");

    // He comes and says something to it, which is all that Ann is told of, with his name.
    let mut bob = house.person("bob", "Bob").await;
    let answer = bob.ok("image.react", json!({ "image": id, "emoji": "❤" })).await["image"].clone();
    let heart = json!([{ "user": "bob", "name": "Bob", "emoji": "❤️", "at": answer["reactions"][0]["at"] }]);
    assert_eq!(answer["reactions"], heart, "spelled in full");
    assert!(answer["url"].is_string(), "as he sees it");
    let seen = ann.event("image.reacted").await;
    assert_eq!((&seen["image"]["id"], &seen["image"]["reactions"]), (&json!(id), &heart));
    let told = push.until("ann", OccurrenceKind::Reaction, "❤️").await;
    assert_eq!((told.total, told.why), (1, Reason::Welcome));
    let by_bob = Some(UserRef { user: "bob".into(), name: Some("Bob".into()) });
    assert_eq!((told.from.clone(), Some(told.items[0].from.clone())), (by_bob.clone(), by_bob));
    assert_eq!(told.items[0].image.as_ref(), Some(&id));

    // Over HTTP as well, in the place of the former one, and in everything that lists it.
    let path = format!("/v1/images/{id}/reaction");
    let put = async |user: &str, body: Value| ask(engine, user, Method::PUT, &path, Some(body)).await;
    let changed = put("bob", json!({ "emoji": "👍" })).await;
    assert_eq!((changed.status, &changed.json()["image"]["reactions"][0]["emoji"]), (StatusCode::OK, &json!("👍")));
    for user in ["ann", "bob"] {
        let listed = get(engine, user, THREAD).await.json()["entries"][0]["image"]["reactions"].clone();
        assert_eq!((&listed[0]["emoji"], &listed[0]["name"], &listed[1]), (&json!("👍"), &json!("BOB"), &Value::Null));
    }
    let refused = [
        ("bob", json!({ "emoji": "👍👍" }), StatusCode::BAD_REQUEST),
        ("bob", json!({ "emoji": "lol" }), StatusCode::BAD_REQUEST),
        ("bob", json!({ "emoji": "👍", "more": 1 }), StatusCode::BAD_REQUEST),
        ("eve", json!({ "emoji": "👍" }), StatusCode::NOT_FOUND),
    ];
    for (user, said, status) in refused {
        assert_eq!(put(user, said.clone()).await.status, status, "{user}: {said}");
    }
    let unsaid = bob.request("image.react", json!({ "image": id })).await;
    assert_eq!(unsaid["error"]["code"], "bad_request", "a reaction that is left out is not taken back: {unsaid}");
    for _ in 0..2 {
        let gone = ask(engine, "bob", Method::DELETE, &path, None).await;
        assert_eq!((gone.status, &gone.json()["image"]["reactions"]), (StatusCode::OK, &json!([])));
    }
    ann.event("image.unreacted").await;
    let logged = house.logged().await;
    let kinds: Vec<_> =
        logged.iter().map(|event| event.kind.as_str()).filter(|kind| kind.ends_with("reacted")).collect();
    assert_eq!(kinds, ["image.reacted", "image.reacted", "image.unreacted"]);
    let of_bob = logged.iter().filter(|event| event.kind.ends_with("reacted") && event.body["user"] == "bob");
    assert_eq!(of_bob.count(), 3);
    let alerts = push.0.lock().unwrap().iter().filter(|told| told.user == "ann" && !told.silent).count();
    assert_eq!(alerts, 1, "another mind makes no other notification");
    house.close().await;
}

#[tokio::test]
async fn whoever_may_leave_somebody_no_note_may_not_react_to_their_pictures_either() {
    let studio = Studio::start(picture()).await;
    let folder = tempfile::tempdir().unwrap();
    let engine = with_images(&folder, &studio).authorize(NotBob).start().await.unwrap();
    let body = Some(json!({ "prompt": "a boat", "key": "1" }));
    // Bob asks, and Ann may leave him nothing.
    let asked = ask(&engine, "bob", Method::POST, &format!("{THREAD}/images"), body).await;
    let id = asked.json()["image"]["id"].as_str().unwrap().to_owned();
    over(&engine, "bob", &id).await;
    let path = format!("/v1/images/{id}/reaction");
    let react = async |user: &str| ask(&engine, user, Method::PUT, &path, Some(json!({ "emoji": "👍" }))).await;
    assert_eq!(react("ann").await.error(), (StatusCode::FORBIDDEN, json!("not bob")));
    assert_eq!(react("bob").await.status, StatusCode::OK, "one's own is one's own affair");
}
