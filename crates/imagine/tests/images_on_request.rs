//! The service from the prompt to the thread, over real HTTP and a real database.
#![allow(clippy::unwrap_used)]

mod database;
mod house;
mod studio;

use std::sync::Arc;
use std::time::Duration;

use house::{Folder, House, new, png};
use reqwest::header::{HeaderMap, HeaderValue};
use ringback_imagine::{
    BoxFuture, FailReason, ImageInfo, Imagine, ImagineConfig, ImagineError, ImagineParts, JobState, ModerateImages,
    Money, NewImage, NoImageModeration, Period, ProviderConfig, ProviderKind, Quota, Size, SpendCap, Store,
    WebhookSettings,
};
use studio::{Hold, Studio};

/// Millionths.
const PRICE: u64 = 40_000;

fn config(kind: ProviderKind, studio: &Studio) -> ImagineConfig {
    let mut provider = ProviderConfig::new("flux", kind, studio.url());
    (provider.key, provider.model) = (Some("k".into()), Some("flux-pro".into()));
    provider.price = Money::from_micros(PRICE);
    ImagineConfig { providers: vec![provider], allow_hosts: vec![studio.host.clone()], ..ImagineConfig::default() }
}

#[tokio::test]
async fn a_prompt_becomes_a_picture_that_the_thread_sees() {
    for kind in [ProviderKind::Bfl, ProviderKind::Contract] {
        let studio = Studio::start(png(320, 200)).await;
        let folder = tempfile::tempdir().unwrap();
        let mut house = House::open(folder.path(), config(kind, &studio)).await;
        let asked = house.ask("1", "  a lighthouse in the fog ").await;
        assert_eq!((asked.state, asked.prompt.as_str()), (JobState::Queued, "a lighthouse in the fog"));
        let posted = house.over().await;
        assert_eq!((posted.state, posted.width, posted.height), (JobState::Posted, 320, 200));
        assert_eq!(posted.content_type.as_deref(), Some("image/jpeg"));
        let (bytes, _) = house.imagine.picture(&asked.id, "bob").await.unwrap();
        assert_eq!(image::load_from_memory(&bytes).unwrap().width(), 320);
        assert!(matches!(house.imagine.picture(&asked.id, "eve").await, Err(ImagineError::NotFound(_))));
        let listed = house.imagine.thread("bob", "direct:ann:bob", None, 10).await.unwrap();
        assert_eq!(listed, [posted]);
        assert_eq!(house.imagine.thread("eve", "direct:ann:bob", None, 10).await.unwrap(), []);
        assert_eq!((house.money().await, studio.billed()), ((PRICE, 0), 1));
    }
}

#[tokio::test]
async fn the_same_request_sent_again_is_the_same_image() {
    let studio = Studio::start(png(8, 8)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut house = House::open(folder.path(), config(ProviderKind::Bfl, &studio)).await;
    let first = house.ask("1", "a lighthouse").await;
    let again = house.ask("1", "a lighthouse").await;
    assert_eq!(first.id, again.id);
    let other = house.imagine.ask(new("1", "a ship")).await.unwrap_err();
    assert_eq!(other.to_string(), "this key belongs to another request already");
    house.over().await;
    assert_eq!(house.ask("1", "a lighthouse").await.state, JobState::Posted);
    let bob = NewImage { user: "bob".into(), ..new("1", "a lighthouse") };
    assert_ne!(house.imagine.ask(bob).await.unwrap().id, first.id, "keys are each user's own");
    house.over().await;
    assert_eq!(studio.billed(), 2);
}

#[tokio::test]
async fn without_a_provider_the_command_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), ImagineConfig::default()).await;
    assert!(house.imagine.offers().is_empty());
    let error = house.imagine.ask(new("1", "a lighthouse")).await.unwrap_err();
    assert_eq!(error.to_string(), "no image provider is configured on this server");
}

#[tokio::test]
async fn a_configuration_of_absurd_times_does_not_bring_anything_down() {
    let studio = Studio::start(png(8, 8)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(ProviderKind::Bfl, &studio);
    (config.expires_s, config.fetch_s, config.providers[0].timeout_s) = (u64::MAX, u64::MAX, Some(u64::MAX));
    config.per_user = Some(Quota { images: 5, seconds: u64::MAX });
    (config.retention_days, config.under_way) = (Some(u32::MAX), u32::MAX);
    let mut house = House::open(folder.path(), config).await;
    house.ask("1", "a lighthouse").await;
    assert_eq!(house.over().await.state, JobState::Posted);
    assert!(ImagineConfig::from_json(r#"{ "providers": [], "surprise": 1 }"#).is_err());
    assert!(ImagineConfig::from_json("{}").unwrap().providers.is_empty());
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_in_words() {
    let studio = Studio::start(png(8, 8)).await;
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), config(ProviderKind::Bfl, &studio)).await;
    let error = async |new: NewImage| house.imagine.ask(new).await.unwrap_err().to_string();
    assert_eq!(error(new("1", " \n ")).await, "say what the picture shall show");
    assert_eq!(error(new("1", &"x".repeat(2_001))).await, "at most 2000 characters");
    assert!(error(new("", "x")).await.contains("1 to 128 bytes"));
    let size = Some(Size { width: 4096, height: 4096 });
    assert_eq!(error(NewImage { size, ..new("1", "x") }).await, "4096x4096 is not offered, only 1024x1024");
    let provider = Some("other".to_owned());
    assert_eq!(error(NewImage { provider, ..new("1", "x") }).await, "there is no image provider \"other\"");
    assert_eq!(house.money().await, (0, 0));
}

#[tokio::test]
async fn again_makes_another_picture_of_the_same_prompt_for_anybody_who_saw_it() {
    let studio = Studio::start(png(8, 8)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut house = House::open(folder.path(), config(ProviderKind::Bfl, &studio)).await;
    let first = house.ask("1", "a lighthouse").await;
    house.over().await;
    assert!(matches!(house.imagine.again(&first.id, "eve", "Eve", "2", None).await, Err(ImagineError::NotFound(_))));
    let again = house.imagine.again(&first.id, "bob", "Bob", "2", Some("s")).await.unwrap();
    let set = "s".repeat(300);
    let refused = house.imagine.again(&first.id, "bob", "Bob", "3", Some(&set)).await;
    assert!(matches!(refused, Err(ImagineError::Request(_))), "{refused:?}");
    assert_eq!((again.again_of.as_deref(), again.prompt.as_str()), (Some(first.id.as_str()), "a lighthouse"));
    house.over().await;
    let seen = house.imagine.image(&again.id, "ann").await.expect("the same people see it");
    assert_eq!((seen.set.as_deref(), first.set), (Some("s"), None));
    assert_eq!(studio.billed(), 2);
}

#[tokio::test]
async fn what_the_provider_refuses_says_why_and_is_seen_by_nobody_else() {
    let studio = Studio::start(png(8, 8)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut house = House::open(folder.path(), config(ProviderKind::Contract, &studio)).await;
    let asked = house.ask("1", "something forbidden").await;
    let refused = house.over().await;
    assert_eq!((refused.state, refused.detail.as_deref()), (JobState::Refused, Some("not this, please")));
    assert!(matches!(house.imagine.image(&asked.id, "bob").await, Err(ImagineError::NotFound(_))));
    assert_eq!(house.money().await, (PRICE, 0), "what is not known to be free counts");
}

/// Refuses some words before they leave, some pictures before they are posted, and panics at others.
struct Strict;

impl ModerateImages for Strict {
    fn may_ask<'a>(&'a self, image: &'a ImageInfo) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async {
            assert!(!image.prompt.contains("panic"), "on purpose");
            if image.prompt.contains("rude") { Err("be kind".into()) } else { Ok(()) }
        })
    }

    fn may_post<'a>(&'a self, image: &'a ImageInfo, file: &'a [u8]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async {
            assert_eq!(image::guess_format(file).unwrap(), image::ImageFormat::Jpeg, "as it would be served");
            if image.prompt.contains("ugly") { Err("not in this house".into()) } else { Ok(()) }
        })
    }
}

#[tokio::test]
async fn the_embedder_sees_a_prompt_before_it_leaves_and_a_picture_before_it_is_posted() {
    let studio = Studio::start(png(8, 8)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut house = House::open_with(folder.path(), config(ProviderKind::Bfl, &studio), Strict).await;
    for (key, prompt, detail) in [("1", "rude words", "be kind"), ("2", "panic", "it could not be checked")] {
        house.ask(key, prompt).await;
        let refused = house.over().await;
        assert_eq!((refused.state, refused.detail.as_deref()), (JobState::Refused, Some(detail)));
    }
    assert_eq!((studio.billed(), house.money().await), (0, (0, 0)), "nothing has left the server");
    let asked = house.ask("3", "an ugly lighthouse").await;
    let refused = house.over().await;
    assert_eq!((refused.state, refused.detail.as_deref()), (JobState::Refused, Some("not in this house")));
    assert!(house.imagine.picture(&asked.id, "ann").await.is_err());
    assert_eq!((studio.billed(), house.money().await), (1, (PRICE, 0)));
    assert!(!folder.path().join("media/images").join(&asked.id).join("picture.jpg").exists(), "its bytes are gone");
    house.ask("4", "a lighthouse").await;
    assert_eq!(house.over().await.state, JobState::Posted);
}

#[tokio::test]
async fn a_job_can_be_cancelled_by_whoever_asked_and_the_provider_is_told() {
    let studio = Studio::start(png(8, 8)).await;
    studio.hold(Hold::Work);
    let folder = tempfile::tempdir().unwrap();
    let mut house = House::open(folder.path(), config(ProviderKind::Contract, &studio)).await;
    let asked = house.ask("1", "a lighthouse").await;
    house.until_state(JobState::Running).await;
    assert!(matches!(house.imagine.cancel(&asked.id, "bob").await, Err(ImagineError::NotFound(_))));
    house.imagine.cancel(&asked.id, "ann").await.unwrap();
    assert_eq!(house.over().await.state, JobState::Cancelled);
    let told = async {
        while studio.cancelled() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(house::SOON, told).await.unwrap();
    assert_eq!(house.money().await, (PRICE, 0), "it may be made nevertheless");
    assert!(matches!(house.imagine.cancel(&asked.id, "ann").await, Err(ImagineError::Conflict { .. })));
}

#[tokio::test]
async fn a_posted_picture_can_be_taken_back_by_whoever_asked_and_stays_paid() {
    let studio = Studio::start(png(8, 8)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut house = House::open(folder.path(), config(ProviderKind::Bfl, &studio)).await;
    let asked = house.ask("1", "a lighthouse").await;
    assert!(matches!(house.imagine.delete(&asked.id, "ann").await, Err(ImagineError::Conflict { .. })), "not over");
    house.over().await;
    assert!(matches!(house.imagine.delete(&asked.id, "bob").await, Err(ImagineError::NotFound(_))));
    house.imagine.delete(&asked.id, "ann").await.unwrap();
    drop(house);
    // Told after a restart, since nobody has confirmed it.
    let mut house = House::open(folder.path(), config(ProviderKind::Bfl, &studio)).await;
    let told = tokio::time::timeout(house::SOON, house.events.recv()).await.unwrap().unwrap();
    assert!(told.deleted && told.image.id == asked.id && told.users == ["bob", "ann"]);
    for user in ["ann", "bob"] {
        assert!(matches!(house.imagine.image(&asked.id, user).await, Err(ImagineError::NotFound(_))));
        assert_eq!(house.imagine.thread(user, "direct:ann:bob", None, 10).await.unwrap(), []);
    }
    assert!(!folder.path().join("media/images").join(&asked.id).join("picture.jpg").exists());
    // The request that made it, sent again, makes no second one.
    assert_eq!(house.ask("1", "a lighthouse").await.id, asked.id);
    assert_eq!((house.money().await, studio.billed()), ((PRICE, 0), 1));
}

#[tokio::test]
async fn no_more_are_at_the_provider_at_once_than_the_operator_says() {
    let studio = Studio::start(png(8, 8)).await;
    studio.hold(Hold::Work);
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(ProviderKind::Contract, &studio);
    (config.providers[0].in_flight, config.under_way) = (2, 10);
    let mut house = House::open(folder.path(), config).await;
    for key in 0..5 {
        house.ask(&key.to_string(), "a lighthouse").await;
    }
    house.until_state(JobState::Running).await;
    house.until_state(JobState::Running).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(studio.billed(), 2);
    studio.hold(Hold::Nothing);
    for _ in 0..5 {
        assert_eq!(house.over().await.state, JobState::Posted);
    }
    assert_eq!(studio.billed(), 5);
}

#[tokio::test]
async fn what_is_at_the_provider_keeps_its_place_over_a_restart() {
    let studio = Studio::start(png(8, 8)).await;
    studio.hold(Hold::Work);
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(ProviderKind::Contract, &studio);
    config.providers[0].in_flight = 1;
    let mut house = House::open(folder.path(), config.clone()).await;
    house.ask("1", "a lighthouse").await;
    house.until_state(JobState::Running).await;
    house.imagine.stop();
    drop(house);
    let mut house = House::open(folder.path(), config).await;
    let second = house.ask("2", "a ship").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(house.imagine.image(&second.id, "ann").await.unwrap().state, JobState::Queued);
    assert_eq!(studio.billed(), 1);
    studio.hold(Hold::Nothing);
    for _ in 0..2 {
        assert_eq!(house.over().await.state, JobState::Posted);
    }
    // Stopped, it still takes requests, for the next process to make.
    house.imagine.stop();
    let third = house.ask("3", "a boat").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(house.imagine.image(&third.id, "ann").await.unwrap().state, JobState::Queued);
}

#[tokio::test]
async fn quotas_of_users_and_threads_and_of_what_is_under_way_are_kept() {
    let studio = Studio::start(png(8, 8)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(ProviderKind::Bfl, &studio);
    config.per_user = Some(Quota { images: 2, seconds: 3_600 });
    config.per_thread = Some(Quota { images: 3, seconds: 7_200 });
    let mut house = House::open(folder.path(), config.clone()).await;
    for key in ["1", "2"] {
        house.ask(key, "a lighthouse").await;
        house.over().await;
    }
    let error = house.imagine.ask(new("3", "a lighthouse")).await.unwrap_err();
    assert_eq!(error.to_string(), "2 images in 1 h are the most for one person: try again later");
    let bob = |key: &str| NewImage { user: "bob".into(), ..new(key, "a lighthouse") };
    house.imagine.ask(bob("3")).await.unwrap();
    house.over().await;
    let error = house.imagine.ask(bob("4")).await.unwrap_err();
    assert_eq!(error.to_string(), "3 images in 2 h are the most for one thread: try again later");
    assert_eq!(house.money().await, (3 * PRICE, 0), "what was refused reserves nothing");
    drop(house);

    (config.per_user, config.per_thread, config.under_way) = (None, None, 1);
    let house = House::open(folder.path(), config).await;
    studio.hold(Hold::Work);
    house.ask("5", "a lighthouse").await;
    assert!(matches!(house.imagine.ask(new("6", "a lighthouse")).await, Err(ImagineError::UnderWay(1))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_requests_at_once_never_pass_the_spend_cap() {
    for (url, _keep) in database::databases("imagine_cap").await {
        let studio = Studio::start(png(8, 8)).await;
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(ProviderKind::Contract, &studio);
        // Ten and a half.
        config.spend_cap = Some(SpendCap { amount: Money::from_micros(PRICE * 10 + PRICE / 2), per: Period::Month });
        (config.per_user, config.per_thread, config.under_way) = (None, None, 1_000);
        let parts = |owner: &str| ImagineParts {
            database: url.clone(),
            bytes: Arc::new(Folder(folder.path().join("media"))),
            moderate: Arc::new(NoImageModeration),
            owner: owner.to_owned(),
        };
        // Two processes on one database, as far as it can tell.
        let houses = [
            Imagine::open(config.clone(), parts("a")).await.unwrap(),
            Imagine::open(config.clone(), parts("b")).await.unwrap(),
        ];
        let asked: Vec<_> = (0..100)
            .map(|key| {
                let house = houses[key % 2].clone();
                let user = format!("user-{}", key % 7);
                tokio::spawn(async move { house.ask(NewImage { user, ..new(&key.to_string(), "a lighthouse") }).await })
            })
            .collect();
        let mut granted = Vec::new();
        for asked in asked {
            match asked.await.unwrap() {
                Ok(image) => granted.push(image),
                Err(error) => assert!(matches!(error, ImagineError::SpendCap("month")), "{error}"),
            }
        }
        assert_eq!(granted.len(), 10, "{url}");
        for image in &granted {
            let posted = async {
                while houses[0].image(&image.id, &image.from.user).await.unwrap().state != JobState::Posted {
                    tokio::time::sleep(Duration::from_millis(30)).await;
                }
            };
            tokio::time::timeout(house::SOON, posted).await.unwrap();
        }
        let spending = houses[1].spending().await.unwrap();
        assert_eq!((spending.spent.micros(), spending.reserved.micros()), (10 * PRICE, 0), "{url}");
        assert_eq!(studio.billed(), 10);
        drop(houses);
        // The cap holds over a restart.
        let house = Imagine::open(config, parts("a")).await.unwrap();
        assert!(matches!(house.ask(new("more", "a lighthouse")).await, Err(ImagineError::SpendCap(_))));
    }
}

#[tokio::test]
async fn the_spend_cap_holds_over_restarts_for_what_is_under_way_and_for_what_is_spent() {
    for (url, _keep) in database::databases("imagine_cap_restart").await {
        let studio = Studio::start(png(8, 8)).await;
        studio.hold(Hold::Work);
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(ProviderKind::Contract, &studio);
        config.spend_cap = Some(SpendCap { amount: Money::from_micros(PRICE * 2), per: Period::Month });
        let open = |owner: &'static str| {
            let parts = ImagineParts {
                database: url.clone(),
                owner: owner.to_owned(),
                ..house::parts(folder.path(), NoImageModeration)
            };
            Imagine::open(config.clone(), parts)
        };
        let refused = async |imagine: &Imagine, key: &str| {
            let error = imagine.ask(new(key, "a third")).await.unwrap_err();
            assert!(matches!(error, ImagineError::SpendCap("month")), "{url}: {error}");
        };
        let imagine = open("a").await.unwrap();
        for key in ["1", "2"] {
            imagine.ask(new(key, "a lighthouse")).await.unwrap();
        }
        studio.until_held(2).await;
        drop(imagine);
        // The next process, and another machine.
        let imagine = open("a").await.unwrap();
        let events = imagine.events().unwrap();
        refused(&imagine, "3").await;
        refused(&open("b").await.unwrap(), "4").await;
        studio.hold(Hold::Nothing);
        let mut house = House { imagine, events };
        for _ in 0..2 {
            assert_eq!(house.over().await.state, JobState::Posted);
        }
        drop(house);
        let imagine = open("a").await.unwrap();
        refused(&imagine, "5").await;
        let spending = imagine.spending().await.unwrap();
        assert_eq!((spending.spent.micros(), spending.reserved.micros()), (2 * PRICE, 0), "{url}");
        assert_eq!(studio.billed(), 2);
    }
}

#[tokio::test]
async fn a_signed_webhook_is_as_good_as_a_poll_and_a_forged_one_is_nothing() {
    let studio = Studio::start(png(8, 8)).await;
    studio.hold(Hold::Work);
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(ProviderKind::Bfl, &studio);
    let url = "https://chat.example/v1/images/webhooks/flux".to_owned();
    config.providers[0].webhook = Some(WebhookSettings { url, secret: Some("s3cret".into()), secret_env: None });
    let mut house = House::open(folder.path(), config).await;
    house.ask("1", "a lighthouse").await;
    house.until_state(JobState::Running).await;
    studio.until_held(4).await;
    studio.hold(Hold::Nothing);
    let body = br#"{"task_id":"t-1","status":"SUCCESS"}"#;
    let headers = |secret: &[u8]| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        let hex: String = ring::hmac::sign(&key, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        HeaderMap::from_iter([(
            "x-bfl-signature".parse().unwrap(),
            HeaderValue::from_str(&format!("sha256={hex}")).unwrap(),
        )])
    };
    let forged = house.imagine.webhook("flux", &headers(b"guess"), body).await;
    assert!(matches!(forged, Err(ImagineError::Webhook(_))));
    assert!(matches!(
        house.imagine.webhook("other", &headers(b"s3cret"), body).await,
        Err(ImagineError::UnknownProvider(_))
    ));
    let told = std::time::Instant::now();
    house.imagine.webhook("flux", &headers(b"s3cret"), body).await.unwrap();
    assert_eq!(house.over().await.state, JobState::Posted);
    // The next poll by itself would be more than two seconds later; generous, but less than that is not asserted.
    assert!(told.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_picture_from_an_address_that_is_not_public_is_not_fetched() {
    let studio = Studio::start(png(8, 8)).await;
    let folder = tempfile::tempdir().unwrap();
    let config = ImagineConfig { allow_hosts: Vec::new(), ..config(ProviderKind::Bfl, &studio) };
    let mut house = House::open(folder.path(), config).await;
    house.ask("1", "a lighthouse").await;
    let failed = house.over().await;
    assert_eq!((failed.state, failed.reason), (JobState::Failed, Some(FailReason::Address)));
}

#[tokio::test]
async fn what_is_no_picture_fails_and_is_not_kept() {
    let studio = Studio::start(b"<html>".to_vec()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut house = House::open(folder.path(), config(ProviderKind::Bfl, &studio)).await;
    house.ask("1", "a lighthouse").await;
    let failed = house.over().await;
    assert_eq!((failed.state, failed.reason), (JobState::Failed, Some(FailReason::Picture)));
    assert_eq!(house.money().await, (PRICE, 0), "it was made, whatever it is");
}

#[tokio::test]
async fn a_change_that_was_not_told_is_told_after_a_restart() {
    let studio = Studio::start(png(8, 8)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut house = House::open(folder.path(), config(ProviderKind::Bfl, &studio)).await;
    let asked = house.ask("1", "a lighthouse").await;
    // Seen by nobody who confirms it.
    let last = loop {
        let event = tokio::time::timeout(house::SOON, house.events.recv()).await.unwrap().unwrap();
        if event.image.state == JobState::Posted {
            break event;
        }
    };
    drop(house);
    let mut house = House::open(folder.path(), config(ProviderKind::Bfl, &studio)).await;
    let again = tokio::time::timeout(house::SOON, house.events.recv()).await.unwrap().unwrap();
    assert_eq!((again.revision, &again.image, again.image.id == asked.id), (last.revision, &last.image, true));
    assert_eq!(again.users, ["bob", "ann"]);
    house.imagine.told(&asked.id, again.revision.unwrap()).await.unwrap();
    drop(house);
    let mut house = House::open(folder.path(), config(ProviderKind::Bfl, &studio)).await;
    assert!(tokio::time::timeout(Duration::from_millis(200), house.events.recv()).await.is_err(), "once is enough");
}

#[tokio::test]
async fn jobs_and_the_tables_of_calls_and_notes_live_in_one_database() {
    for (url, _keep) in database::databases("imagine_beside").await {
        let folder = tempfile::tempdir().unwrap();
        let parts = |owner: &str| ImagineParts {
            database: url.clone(),
            bytes: Arc::new(Folder(folder.path().join("media"))),
            moderate: Arc::new(NoImageModeration),
            owner: owner.to_owned(),
        };
        // As if the other crate had migrated first: a number that this one does not know.
        drop(Imagine::open(ImagineConfig::default(), parts("a")).await.unwrap());
        sqlx::any::install_default_drivers();
        let pool = sqlx::AnyPool::connect(&url).await.unwrap();
        sqlx::query("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) SELECT 1, 'calls', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1001")
            .execute(&pool)
            .await
            .unwrap();
        drop(Imagine::open(ImagineConfig::default(), parts("a")).await.unwrap());
        pool.close().await;
    }
}

#[tokio::test]
async fn those_who_see_a_picture_react_with_one_emoji_each_which_goes_with_the_picture() {
    for (url, _keep) in database::databases("imagine_reactions").await {
        let studio = Studio::start(png(8, 8)).await;
        let folder = tempfile::tempdir().unwrap();
        let open = async || {
            let parts = ImagineParts {
                database: url.clone(),
                bytes: Arc::new(Folder(folder.path().join("media"))),
                moderate: Arc::new(NoImageModeration),
                owner: "house".to_owned(),
            };
            let imagine = Imagine::open(config(ProviderKind::Bfl, &studio), parts).await.unwrap();
            let events = imagine.events().unwrap();
            House { imagine, events }
        };
        let mut house = open().await;
        studio.hold(Hold::Work);
        let asked = house.ask("1", "a lighthouse").await;
        let react = async |house: &House, user: &str, emoji: Option<&str>| {
            house.imagine.react(&asked.id, user, &user.to_uppercase(), emoji).await
        };
        let missing = |answer: Result<ImageInfo, ImagineError>| matches!(answer, Err(ImagineError::NotFound(_)));
        assert!(missing(react(&house, "ann", Some("👍")).await), "not posted");
        studio.hold(Hold::Nothing);
        let posted = house.over().await;
        assert!(missing(react(&house, "eve", Some("👍")).await));
        for nothing in ["", &"x".repeat(65)] {
            assert!(matches!(react(&house, "bob", Some(nothing)).await, Err(ImagineError::Request(_))));
        }
        let said = |image: &ImageInfo| {
            let said = image.reactions.iter().map(|one| format!("{} {} {}", one.user, one.name, one.emoji));
            said.collect::<Vec<_>>()
        };
        let first = react(&house, "bob", Some("👍")).await.unwrap();
        assert_eq!((said(&first), first.revision), (vec!["bob BOB 👍".to_owned()], posted.revision + 1));
        let told = house.events.recv().await.unwrap();
        assert_eq!((told.users.as_slice(), told.revision), (&["bob".to_owned(), "ann".to_owned()][..], None));
        let reacted = told.reacted.unwrap();
        assert_eq!((reacted.user.as_str(), reacted.taken_back), ("bob", false));
        house.imagine.told_reaction(&asked.id, &reacted).await.unwrap();
        assert_eq!(
            react(&house, "bob", Some("👍")).await.unwrap().revision,
            first.revision,
            "the same again changes nothing"
        );
        react(&house, "ann", Some("🎉")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(said(&react(&house, "bob", Some("❤️")).await.unwrap()), ["ann ANN 🎉", "bob BOB ❤️"]);
        assert_eq!(said(&react(&house, "ann", None).await.unwrap()), ["bob BOB ❤️"]);
        let listed = house.imagine.thread("ann", "direct:ann:bob", None, 10).await.unwrap();
        assert_eq!(said(&listed[0]), ["bob BOB ❤️"]);

        // What nobody has confirmed is told after a restart, and the picture itself is not.
        drop(house);
        let mut house = open().await;
        let mut again = Vec::new();
        for _ in 0..2 {
            let told = tokio::time::timeout(house::SOON, house.events.recv()).await.unwrap().unwrap();
            let reacted = told.reacted.expect("nothing but reactions was left to be told");
            house.imagine.told_reaction(&asked.id, &reacted).await.unwrap();
            again.push((reacted.user, reacted.taken_back));
        }
        again.sort();
        assert_eq!(again, [("ann".to_owned(), true), ("bob".to_owned(), false)]);
        drop(house);
        let mut house = open().await;
        assert!(tokio::time::timeout(Duration::from_millis(200), house.events.recv()).await.is_err(), "once is enough");

        // A mind is not changed for ever, but what was said can be taken back.
        let mut changes = 2;
        let refused = loop {
            match react(&house, "bob", Some(["👍", "❤️"][changes % 2])).await {
                Ok(_) => changes += 1,
                Err(refused) => break refused,
            }
            assert!(changes < 1_000, "it never ends");
        };
        assert!(matches!(refused, ImagineError::TooManyChanges(50)) && changes == 50, "{refused} after {changes}");
        assert_eq!(said(&react(&house, "bob", None).await.unwrap()), Vec::<String>::new());
        assert!(react(&house, "ann", Some("👍")).await.is_ok(), "that is no matter of others");

        // The rows go with the picture, whether it is taken back or too old.
        let pool = sqlx::AnyPool::connect(&url).await.unwrap();
        let rows = async || -> i64 {
            sqlx::query_scalar("SELECT COUNT(*) FROM image_reactions").fetch_one(&pool).await.unwrap()
        };
        assert_eq!(rows().await, 2);
        house.imagine.delete(&asked.id, "ann").await.unwrap();
        assert_eq!(rows().await, 0);
        assert!(missing(react(&house, "bob", Some("👍")).await));
        let other = house.ask("2", "a boat").await;
        while house.over().await.id != other.id {}
        house.imagine.react(&other.id, "bob", "Bob", Some("👍")).await.unwrap();
        assert_eq!(rows().await, 1);
        Store::open(&url).await.unwrap().forget_before(u64::MAX).await.unwrap();
        assert_eq!(rows().await, 0);
        pool.close().await;
    }
}
