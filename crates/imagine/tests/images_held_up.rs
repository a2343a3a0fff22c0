//! Providers that say not now, links that have expired, answers that come late: the job goes on, is paid once, and what is old is forgotten.
#![allow(clippy::unwrap_used)]

mod database;
mod house;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use house::{House, png};
use ringback_imagine::{
    BoxFuture, Capabilities, FailReason, Handle, ImageProvider, ImageRequest, Imagine, ImagineConfig, ImagineError,
    JobState, Money, NoImageModeration, Progress, ProviderConfig, ProviderError, ProviderKind, Store, Submitted,
    SystemLookup, Webhook,
};
use serde_json::json;
use wire::{Server, file, retry_after, status};

const PRICE: u64 = 40_000;

fn config(server: &Server) -> ImagineConfig {
    let mut provider = ProviderConfig::new("flux", ProviderKind::Bfl, server.url());
    (provider.key, provider.model) = (Some("k".into()), Some("flux".into()));
    provider.price = Money::from_micros(PRICE);
    ImagineConfig { providers: vec![provider], allow_hosts: vec![server.host.clone()], ..ImagineConfig::default() }
}

/// The usual answers of Black Forest Labs.
fn usual(asked: &wire::Asked, host: &str) -> axum::http::Response<axum::body::Body> {
    match asked.what.as_str() {
        "POST /v1/flux" => wire::json(json!({ "id": "t-1", "polling_url": format!("http://{host}/poll") })),
        "GET /poll" => {
            let link = format!("http://{host}/{}.png", asked.before);
            wire::json(json!({ "id": "t-1", "status": "Ready", "result": { "sample": link } }))
        }
        _ => file("image/png", png(8, 8)),
    }
}

#[tokio::test]
async fn a_provider_that_says_not_now_is_asked_again_after_the_pause_it_wants() {
    let server = Server::start(|asked, host| match (asked.what.as_str(), asked.before) {
        ("POST /v1/flux", 0) => retry_after(429, "3"),
        _ => usual(asked, host),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let mut house = House::open(folder.path(), config(&server)).await;
    let begun = Instant::now();
    house.ask("1", "a lighthouse").await;
    house.until_state(JobState::Submitted).await;
    house.until_state(JobState::Queued).await;
    assert_eq!(house.over().await.state, JobState::Posted);
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!((server.count("POST /v1/flux"), house.money().await), (2, (PRICE, 0)));
}

#[tokio::test]
async fn a_pause_is_kept_by_every_request_and_one_that_waited_gives_its_place_back() {
    let server = Server::start(|asked, host| match (asked.what.as_str(), asked.before) {
        ("POST /v1/flux", 0) => retry_after(429, "3"),
        _ => usual(asked, host),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&server);
    config.providers[0].in_flight = 1;
    let mut house = House::open(folder.path(), config).await;
    house.ask("1", "a lighthouse").await;
    house.until_state(JobState::Submitted).await;
    house.until_state(JobState::Queued).await;
    house.ask("2", "a ship").await;
    for _ in 0..2 {
        assert_eq!(house.over().await.state, JobState::Posted);
    }
    let times: Vec<_> = server.asked().iter().filter(|asked| asked.what == "POST /v1/flux").map(|one| one.at).collect();
    assert_eq!((times.len(), house.money().await), (3, (2 * PRICE, 0)));
    assert!(times[1] - times[0] >= Duration::from_millis(2_990), "{:?}", times[1] - times[0]);
}

#[tokio::test]
async fn a_pause_is_never_made_shorter_and_no_longer_than_a_day() {
    use ringback_imagine::ProviderCall::{Ask, Submit};
    for (url, _keep) in database::databases("imagine_pauses").await {
        let store = Store::open(&url).await.unwrap();
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 3_600));
        store.pause("flux", Submit, 1_000, 60 * second).await.unwrap();
        store.pause("flux", Submit, 2_000, second).await.unwrap();
        assert_eq!(store.paused("flux", Submit, 11_000).await.unwrap(), Some(50 * second), "{url}");
        assert_eq!(store.paused("flux", Submit, 61_000).await.unwrap(), None);
        assert_eq!(store.paused("flux", Ask, 11_000).await.unwrap(), None, "it answers about what it has");
        assert_eq!(store.paused("other", Submit, 11_000).await.unwrap(), None);
        store.pause("flux", Ask, 1_000, Duration::MAX).await.unwrap();
        assert_eq!(store.paused("flux", Ask, 1_000).await.unwrap(), Some(day));
    }
}

#[tokio::test]
async fn a_submission_whose_answer_is_lost_fails_honestly_and_is_not_sent_again() {
    let server = Server::start(|asked, host| match asked.what.as_str() {
        "POST /v1/flux" => status(502, json!({})),
        _ => usual(asked, host),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let mut house = House::open(folder.path(), config(&server)).await;
    house.ask("1", "a lighthouse").await;
    let failed = house.over().await;
    assert_eq!((failed.state, failed.reason), (JobState::Failed, Some(FailReason::Unknown)));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((server.count("POST /v1/flux"), house.money().await), (1, (PRICE, 0)));
}

#[tokio::test]
async fn an_account_without_credit_costs_nothing_and_is_told() {
    let server = Server::start(|asked, host| match asked.what.as_str() {
        "POST /v1/flux" => status(402, json!({ "detail": "Insufficient credits" })),
        _ => usual(asked, host),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let mut house = House::open(folder.path(), config(&server)).await;
    house.ask("1", "a lighthouse").await;
    let failed = house.over().await;
    assert_eq!((failed.state, failed.reason), (JobState::Failed, Some(FailReason::NoCredit)));
    assert_eq!(house.money().await, (0, 0));
}

#[tokio::test]
async fn where_a_link_has_expired_the_provider_is_asked_for_another() {
    let server = Server::start(|asked, host| match asked.what.as_str() {
        "GET /0.png" => status(403, json!({})),
        _ => usual(asked, host),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let mut house = House::open(folder.path(), config(&server)).await;
    house.ask("1", "a lighthouse").await;
    assert_eq!(house.over().await.state, JobState::Posted);
    assert_eq!((server.count("GET /0.png"), server.count("GET /1.png")), (1, 1));
}

#[tokio::test]
async fn a_picture_that_comes_late_or_broken_is_fetched_again_and_not_made_again() {
    let server = Server::start(|asked, host| match (asked.what.as_str(), asked.before) {
        ("GET /0.png", 0) => wire::broken("image/png"),
        ("GET /0.png", 1) => retry_after(503, "1"),
        ("GET /0.png", 2) => wire::slow("image/png"),
        _ => usual(asked, host),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let config = ImagineConfig { fetch_s: 1, ..config(&server) };
    let mut house = House::open(folder.path(), config).await;
    house.ask("1", "a lighthouse").await;
    assert_eq!(house.over().await.state, JobState::Posted);
    assert_eq!((server.count("GET /0.png"), server.count("POST /v1/flux")), (4, 1));
}

#[tokio::test]
async fn polls_that_fail_are_repeated_and_patience_ends() {
    let server = Server::start(|asked, host| match asked.what.as_str() {
        "GET /poll" if asked.before % 2 == 0 => status(500, json!({})),
        "GET /poll" => wire::json(json!({ "id": "t-1", "status": "Pending" })),
        _ => usual(asked, host),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let config = ImagineConfig { expires_s: 5, ..config(&server) };
    let mut house = House::open(folder.path(), config).await;
    house.ask("1", "a lighthouse").await;
    assert_eq!(house.over().await.state, JobState::Expired);
    assert!(server.count("GET /poll") >= 2);
    assert_eq!(house.money().await, (PRICE, 0), "it may be made nevertheless");
}

#[tokio::test]
async fn what_is_old_is_forgotten_with_its_bytes() {
    let server = Server::start(usual).await;
    let folder = tempfile::tempdir().unwrap();
    let mut house = House::open(folder.path(), config(&server)).await;
    let asked = house.ask("1", "a lighthouse").await;
    let over = house.over().await.ended_at.unwrap();
    let store = Store::open(&format!("sqlite://{}", folder.path().join("test.sqlite").display())).await.unwrap();
    assert_eq!(store.forget_before(over).await.unwrap(), Vec::<String>::new());
    let key = format!("images/{}/picture.jpg", asked.id);
    assert_eq!(store.keys_in_use().await.unwrap(), std::slice::from_ref(&key));
    assert_eq!(store.forget_before(over + 1).await.unwrap(), [key]);
    assert!(house.imagine.image(&asked.id, "ann").await.is_err());
    assert_eq!(house.money().await, (PRICE, 0), "what was spent stays spent");
}

/// A client of an embedder's own, with a bug in it.
struct Buggy;

impl ImageProvider for Buggy {
    fn capabilities(&self) -> Capabilities {
        Capabilities { repeatable: false, resumable: true, cancellable: false, webhooks: false }
    }

    fn cost(&self, _: &ImageRequest) -> Money {
        Money::from_micros(PRICE)
    }

    fn submit<'a>(&'a self, request: &'a ImageRequest, _: &'a str) -> BoxFuture<'a, Result<Submitted, ProviderError>> {
        assert!(!request.prompt.contains("submit"), "on purpose");
        Box::pin(async { Ok(Submitted::Accepted(Handle::default())) })
    }

    fn poll<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<Progress, ProviderError>> {
        panic!("on purpose")
    }

    fn cancel<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<(), ProviderError>> {
        panic!("on purpose")
    }

    fn verify_webhook<'a>(&'a self, _: Webhook<'a>) -> BoxFuture<'a, Result<String, ImagineError>> {
        Box::pin(async { Err(ImagineError::Webhook("none")) })
    }
}

#[tokio::test]
async fn a_client_that_panics_costs_its_job_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let provider = ProviderConfig::new("own", ProviderKind::Contract, "http://127.0.0.1:9");
    let config = ImagineConfig { expires_s: 4, ..ImagineConfig::default() };
    let clients = vec![(provider, Arc::new(Buggy) as Arc<dyn ImageProvider>)];
    let parts = house::parts(folder.path(), NoImageModeration);
    let imagine = Imagine::open_with(config, clients, Arc::new(SystemLookup), parts).await.unwrap();
    let events = imagine.events().unwrap();
    let mut house = House { imagine, events };
    house.ask("1", "panic in submit").await;
    let failed = house.over().await;
    assert_eq!((failed.state, failed.reason), (JobState::Failed, Some(FailReason::Unknown)));
    house.ask("2", "panic in poll").await;
    assert_eq!(house.over().await.state, JobState::Expired);
    assert_eq!(house.money().await, (2 * PRICE, 0));
}
