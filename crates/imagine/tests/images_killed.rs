//! Processes that are killed (SIGKILL) in every state of a job, and at random moments, and what the next one makes of it: each picture posted once and paid once, and where it cannot be
//! known whether a submission was taken, that said and nothing paid twice. A pause that a provider asked for is kept by the next process too. `RINGBACK_LONG=1`: more random rounds. No test harness, since the program is its own victim.
#![allow(clippy::unwrap_used)]

mod house;
mod studio;
mod wire;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use house::{House, png};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringback_imagine::{
    BoxFuture, FailReason, ImageInfo, ImagineConfig, JobState, ModerateImages, Money, ProviderCall, ProviderConfig,
    ProviderKind, Store,
};
use studio::{Hold, Studio};

/// Names the folder to a victim, the studio's host, the wire, and which hook hangs.
const VICTIM: &str = "RINGBACK_IMAGE_VICTIM";

/// Millionths.
const PRICE: u64 = 40_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Ok(what) = std::env::var(VICTIM) {
        return runtime.block_on(victim(&what));
    }
    runtime.block_on(async {
        in_every_state().await;
        at_random_moments().await;
        while_a_provider_wants_to_be_left_alone().await;
    });
}

async fn in_every_state() {
    use JobState::{Failed, Fetching, Posted, Queued, Running, Submitted};
    use ProviderKind::{Bfl, Contract};
    let mut cases = 0;
    for kind in [Contract, Bfl] {
        for (hold, hook, killed_as) in [
            (Hold::Nothing, "may_ask", Queued),
            (Hold::Submission, "", Submitted),
            (Hold::Work, "", Running),
            (Hold::File, "", Fetching),
            (Hold::Nothing, "may_post", Fetching),
            (Hold::Nothing, "told", Posted),
        ] {
            let studio = Studio::start(png(64, 64)).await;
            let folder = tempfile::tempdir().unwrap();
            studio.hold(hold);
            let mut victim = Victim::start(folder.path(), &studio.host, kind, hook);
            match hold {
                Hold::Nothing => victim.until("hook").await,
                _ => {
                    victim.until(killed_as.as_str()).await;
                    studio.until_held(1).await;
                }
            }
            victim.kill();
            let left = row(folder.path(), &victim.id).await.state;
            assert_eq!(left, killed_as, "{kind:?} {hold:?} {hook}");
            studio.hold(Hold::Nothing);

            let mut house = House::open(folder.path(), config(kind, &studio)).await;
            let over = house.over().await;
            // Black Forest Labs has no way to ask whether a request has arrived.
            let unknown = kind == Bfl && killed_as == Submitted;
            let expected = if unknown { (Failed, Some(FailReason::Unknown)) } else { (Posted, None) };
            assert_eq!((over.id == victim.id, over.state, over.reason), (true, expected.0, expected.1));
            check(&mut house, &studio, &victim.id).await;
            println!("{kind:?} killed as {left:?} ({hold:?} {hook}): {:?}, billed {}", over.state, studio.billed());
            cases += 1;
        }
    }
    println!("test result: ok. {cases} states");
}

async fn at_random_moments() {
    let rounds = if std::env::var_os("RINGBACK_LONG").is_some_and(|value| value == "1") { 60 } else { 6 };
    let seed: u64 = std::env::var("RINGBACK_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("\n{rounds} images, each of whose processes are killed until it is over, RINGBACK_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    for round in 0..rounds {
        let kind = if round % 2 == 0 { ProviderKind::Contract } else { ProviderKind::Bfl };
        let studio = Studio::start(png(64, 64)).await;
        let folder = tempfile::tempdir().unwrap();
        let mut kills = 0;
        let id = loop {
            let mut victim = Victim::start(folder.path(), &studio.host, kind, "");
            // Most of what happens does so right after a start.
            let longest = if dice.random_bool(0.8) { 60 } else { 1_200 };
            tokio::time::sleep(Duration::from_millis(dice.random_range(0..longest))).await;
            victim.kill();
            kills += 1;
            if row(folder.path(), &victim.id).await.state.is_final() {
                break victim.id.clone();
            }
        };
        let mut house = House::open(folder.path(), config(kind, &studio)).await;
        let over = row(folder.path(), &id).await;
        let fine =
            over.state == JobState::Posted || (kind == ProviderKind::Bfl && over.reason == Some(FailReason::Unknown));
        assert!(fine, "{over:?}");
        check(&mut house, &studio, &id).await;
        println!("{kind:?} after {kills} kills: {:?}, billed {}", over.state, studio.billed());
    }
    println!("test result: ok. {rounds} images");
}

async fn while_a_provider_wants_to_be_left_alone() {
    /// Seconds.
    const PAUSE: u64 = 4;
    println!("\nprocesses are killed while a provider wants to be left alone");
    let refused = |refused: &'static str| async move {
        let server = wire::Server::start(move |asked, host| match (asked.what.as_str(), asked.before) {
            (what, 0) if what == refused => wire::retry_after(429, &PAUSE.to_string()),
            ("POST /v1/flux-pro", _) => wire::json(serde_json::json!({
                "id": "t-1", "polling_url": format!("http://{host}/poll"),
            })),
            ("GET /poll", _) => wire::json(serde_json::json!({
                "id": "t-1", "status": "Ready", "result": { "sample": format!("http://{host}/a.png") },
            })),
            _ => wire::file("image/png", png(64, 64)),
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let mut victim = Victim::start(folder.path(), &server.host, ProviderKind::Bfl, "");
        victim.until("submitted").await;
        victim.until(if refused == "GET /poll" { "running" } else { "queued" }).await;
        let store = Store::open(&format!("sqlite://{}", folder.path().join("test.sqlite").display())).await.unwrap();
        let kept = async {
            let call = if refused == "GET /poll" { ProviderCall::Ask } else { ProviderCall::Submit };
            while store.paused("flux", call, 0).await.unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(house::SOON, kept).await.expect("the pause is not kept");
        store.close().await;
        victim.kill();
        assert_eq!(server.count(refused), 1);

        let mut house = House::open(folder.path(), config_at(ProviderKind::Bfl, &server.host)).await;
        assert_eq!(house.over().await.state, JobState::Posted);
        let times: Vec<_> = server.asked().iter().filter(|asked| asked.what == refused).map(|asked| asked.at).collect();
        let [first, second] = times[..] else { panic!("{refused} {} times", times.len()) };
        // A pause is counted from when the answer was read, in whole milliseconds.
        assert!(second - first >= Duration::from_secs(PAUSE) - Duration::from_millis(5), "{:?}", second - first);
        assert_eq!(house.money().await, (PRICE, 0));
        println!("{refused}: asked again after {:?}", second - first);
    };
    tokio::join!(refused("POST /v1/flux-pro"), refused("GET /poll"));
    println!("test result: ok. 2 pauses");
}

/// One picture, in one place, paid once, and no more to come.
async fn check(house: &mut House, studio: &Studio, id: &str) {
    let listed = house.imagine.thread("ann", "direct:ann:bob", None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|image| image.id.as_str()).collect::<Vec<_>>(), [id]);
    if listed[0].state == JobState::Posted {
        let (bytes, _) = house.imagine.picture(id, "bob").await.unwrap();
        assert_eq!(image::load_from_memory(&bytes).unwrap().width(), 64);
        assert_eq!(studio.billed(), 1);
    }
    assert!(studio.billed() <= 1, "billed {} times", studio.billed());
    assert_eq!(house.money().await, (PRICE, 0));
    // The request of the client that was cut off, sent again.
    assert_eq!(house.ask("1", "a lighthouse").await.id, id);
    assert_eq!(studio.billed().max(1), 1);
}

async fn row(folder: &Path, id: &str) -> ringback_imagine::JobRow {
    let store = Store::open(&format!("sqlite://{}", folder.join("test.sqlite").display())).await.unwrap();
    let row = store.job(id).await.unwrap().unwrap();
    store.close().await;
    row
}

fn config(kind: ProviderKind, studio: &Studio) -> ImagineConfig {
    config_at(kind, &studio.host)
}

fn config_at(kind: ProviderKind, host: &str) -> ImagineConfig {
    let mut provider = ProviderConfig::new("flux", kind, format!("http://{host}"));
    (provider.key, provider.model) = (Some("k".into()), Some("flux-pro".into()));
    provider.price = Money::from_micros(PRICE);
    ImagineConfig { providers: vec![provider], allow_hosts: vec![host.to_owned()], ..ImagineConfig::default() }
}

/// A process that asks for one image, and says how far it is.
struct Victim {
    process: Child,
    said: tokio::sync::mpsc::UnboundedReceiver<String>,
    id: String,
}

impl Victim {
    fn start(folder: &Path, host: &str, kind: ProviderKind, hook: &str) -> Self {
        let what = [folder.to_str().unwrap(), host, if kind == ProviderKind::Bfl { "bfl" } else { "contract" }, hook];
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut process = command.env(VICTIM, what.join("|")).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (say, said) = tokio::sync::mpsc::unbounded_channel();
        // The job may already be on its way when its id is known.
        let id = loop {
            let line = lines.next().unwrap().unwrap();
            if line.starts_with("i_") {
                break line;
            }
            say.send(line).unwrap();
        };
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| _ = say.send(line)));
        Self { process, said, id }
    }

    async fn until(&mut self, word: &str) {
        let heard = async { while self.said.recv().await.expect("it ended by itself") != word {} };
        tokio::time::timeout(house::SOON, heard).await.expect(word);
    }

    /// `kill` is SIGKILL.
    fn kill(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Says when it is asked, and answers nothing more.
struct Hangs(String);

impl ModerateImages for Hangs {
    fn may_ask<'a>(&'a self, _: &'a ImageInfo) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(self.hang("may_ask"))
    }

    fn may_post<'a>(&'a self, _: &'a ImageInfo, _: &'a [u8]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(self.hang("may_post"))
    }
}

impl Hangs {
    async fn hang(&self, at: &str) -> Result<(), String> {
        if self.0 == at {
            say("hook");
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

fn say(what: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{what}").unwrap();
    out.flush().unwrap();
}

async fn victim(what: &str) {
    let parts: Vec<_> = what.split('|').collect();
    let [folder, host, kind, hook] = parts[..] else { panic!("{what}") };
    let kind = if kind == "bfl" { ProviderKind::Bfl } else { ProviderKind::Contract };
    let mut house = House::open_with(Path::new(folder), config_at(kind, host), Hangs(hook.to_owned())).await;
    say(&house.ask("1", "a lighthouse").await.id);
    loop {
        let event = house.events.recv().await.unwrap();
        say(event.image.state.as_str());
        if hook == "told" && event.image.state == JobState::Posted {
            say("hook");
            std::future::pending::<()>().await;
        }
        if let Some(revision) = event.revision {
            house.imagine.told(&event.image.id, revision).await.unwrap();
        }
    }
}
