//! Chromium types `/imagine` in a thread and sees the picture, made by a studio that speaks Black Forest Labs' wire, although the server is killed and started again while it is made.
//! A refusal says why, another one of the same can be asked for, and one that is not wanted any more is cancelled.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;
#[path = "../../crates/imagine/tests/studio/mod.rs"]
mod studio;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use browser::{Browser, FakeMedia, Page, chromium_or_skip};
use serde_json::json;
use studio::{Hold, Studio};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Generous: a browser shares two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(60);

const PROMPT: &str = "a lighthouse in the fog, seen from a small boat";

/// The last card of the thread.
const CARD: &str = "[...document.querySelectorAll('#thread .image-card')].at(-1)";

/// The example server on a folder and a port that outlive it.
async fn start(folder: &Path, port: u16) -> Child {
    let mut process = Command::new(server::example("sfu").unwrap())
        .args(["--listen", &format!("127.0.0.1:{port}"), "--media", "127.0.0.1:0", "--data"])
        .arg(folder.join("data"))
        .arg("--imagine")
        .arg(folder.join("imagine.json"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let up = async { while !lines.next_line().await.unwrap().expect("the server ended").starts_with("Ringback: ") {} };
    tokio::time::timeout(SOON, up).await.expect("the server printed no link");
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    process
}

async fn enter(browser: &Browser, port: u16, name: &str) -> Page {
    let page = browser.open(&format!("http://127.0.0.1:{port}/?name={name}")).await.unwrap();
    page.wait_for("ringback.session?.state === 'open'", SOON).await.unwrap();
    page
}

/// Types a line below the thread, as a person does.
async fn type_line(page: &Page, line: &str) {
    page.wait_for("!document.querySelector('#imagine').inert", SOON).await.unwrap();
    page.eval("(document.querySelector('#imagine-line').focus(), document.querySelector('#imagine-line').select())")
        .await
        .unwrap();
    page.call("Input.insertText", json!({ "text": line })).await.unwrap();
    for kind in ["keyDown", "keyUp"] {
        let key = json!({ "type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r" });
        page.call("Input.dispatchKeyEvent", key).await.unwrap();
    }
}

/// Presses a key that has a name.
async fn press(page: &Page, key: &str) {
    let code = match key {
        "Enter" => 13,
        "Escape" => 27,
        "ArrowRight" => 39,
        _ => panic!("no such key: {key}"),
    };
    for kind in ["keyDown", "keyUp"] {
        let text = if key == "Enter" { "\r" } else { "" };
        let event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
        page.call("Input.dispatchKeyEvent", event).await.unwrap();
    }
}

/// Waits until the last card is in a state.
async fn card(page: &Page, state: &str) {
    page.wait_for(&format!("{CARD}?.dataset.state === {state:?}"), SOON).await.unwrap();
}

async fn click_in_card(page: &Page, key: &str) {
    let click = format!(
        "(() => {{ const button = {CARD}?.querySelector('[data-key={key}]'); button?.click(); return !!button; }})()"
    );
    page.wait_for(&click, SOON).await.unwrap();
}

/// What the last card says below its picture.
async fn words(page: &Page) -> String {
    page.eval_as(&format!("{CARD}.querySelector('.card-foot p').textContent")).await.unwrap()
}

/// Keeps a picture of the page, where one is wanted.
async fn keep_screenshot(page: &Page, name: &str) {
    if let Some(folder) = std::env::var_os("RINGBACK_SCREENSHOTS") {
        page.screenshot(&Path::new(&folder).join(name)).await.unwrap();
    }
}

/// Keeps pictures of the page on a desktop and a phone, light and dark, where any are wanted.
async fn keep_screenshots(page: &Page, name: &str) {
    if std::env::var_os("RINGBACK_SCREENSHOTS").is_none() {
        return;
    }
    // A page behind another one draws nothing.
    page.call("Page.bringToFront", json!({})).await.unwrap();
    for (scheme, width, height) in [("light", 1280, 860), ("dark", 1280, 860), ("light", 390, 844), ("dark", 390, 844)]
    {
        let feature = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        page.call("Emulation.setEmulatedMedia", feature).await.unwrap();
        page.resize(width, height).await.unwrap();
        tokio::time::sleep(Duration::from_millis(800)).await;
        keep_screenshot(page, &format!("{name}-{scheme}-{width}.png")).await;
    }
    page.resize(1280, 860).await.unwrap();
}

/// A sky, a sea, and a light between them.
fn picture() -> Vec<u8> {
    let pixel = |x: u32, y: u32| match (x.abs_diff(400) < 14 && y > 150 && y < 420, y < 400) {
        (true, _) => image::Rgb([240, 236, 220]),
        (_, true) => image::Rgb([120 + (y / 5) as u8, 140 + (y / 6) as u8, 170]),
        _ => image::Rgb([30, 60, 80]),
    };
    let mut file = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_fn(768, 512, pixel).write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_typed_for_and_appears_although_the_server_is_killed_meanwhile() {
    let Some(chromium) = chromium_or_skip("images_appear") else { return };
    let studio = Studio::start(picture()).await;
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "providers": [{ "name": "flux", "kind": "bfl", "url": studio.url(), "key": "k", "model": "flux-pro", "price": 0.04 }],
        "spend_cap": { "amount": 30, "per": "month" },
        "allow_hosts": [studio.host],
    });
    std::fs::write(folder.path().join("imagine.json"), config.to_string()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = start(folder.path(), port).await;
    let browser = Browser::launch(&chromium, FakeMedia::default()).await.unwrap();
    let (ann, bob) = (enter(&browser, port, "Ann").await, enter(&browser, port, "Bob").await);
    for page in [&ann, &bob] {
        page.resize(1280, 860).await.unwrap();
        page.click("#people a.row-text", SOON).await.unwrap();
        page.wait_for("!document.querySelector('#thread').hidden", SOON).await.unwrap();
    }

    type_line(&ann, "hello").await;
    ann.wait_for("document.querySelector('#imagine-error').textContent.includes('type /imagine')", SOON).await.unwrap();

    studio.hold(Hold::Work);
    type_line(&ann, &format!("/imagine {PROMPT}")).await;
    card(&ann, "running").await;
    assert_eq!(words(&ann).await, "Being made…");
    assert!(ann.eval_as::<bool>(&format!("{CARD}.querySelector('progress') !== null")).await.unwrap());
    keep_screenshot(&ann, "imagine-running.png").await;
    studio.until_held(1).await;
    server.start_kill().unwrap();
    server.wait().await.unwrap();
    studio.hold(Hold::Nothing);
    let _server = start(folder.path(), port).await;

    for page in [&ann, &bob] {
        card(page, "posted").await;
        let seen = format!("{CARD}.querySelector('img')?.naturalWidth === 768");
        page.wait_for(&seen, SOON).await.unwrap();
        let alt: String = page.eval_as(&format!("{CARD}.querySelector('img').alt")).await.unwrap();
        assert_eq!(alt, PROMPT);
        let cards: usize = page.eval_as("document.querySelectorAll('#thread .image-card').length").await.unwrap();
        assert_eq!(cards, 1, "posted once");
    }
    assert_eq!(studio.billed(), 1);
    keep_screenshot(&ann, "imagine-posted.png").await;

    type_line(&ann, "/imagine something forbidden").await;
    card(&ann, "refused").await;
    assert_eq!(words(&ann).await, "Refused: the provider's moderation does not allow this prompt.");

    // Bob, who has seen none of that, wants another one of the first.
    click_in_card(&bob, "again").await;
    bob.wait_for("document.querySelectorAll('#thread .image-card img').length === 2", SOON).await.unwrap();
    ann.wait_for("document.querySelectorAll('#thread .image-card img').length === 2", SOON).await.unwrap();
    assert_eq!(studio.prompts().iter().filter(|prompt| *prompt == PROMPT).count(), 2);

    click_in_card(&bob, "change").await;
    let line: String = bob.eval_as("document.querySelector('#imagine-line').value").await.unwrap();
    assert_eq!(line, format!("/imagine {PROMPT}"));

    // He takes it back, for both; a second press says that it is meant.
    for _ in 0..2 {
        click_in_card(&bob, "Delete").await;
    }
    for page in [&ann, &bob] {
        page.wait_for("document.querySelectorAll('#thread .image-card img').length === 1", SOON).await.unwrap();
    }

    studio.hold(Hold::Work);
    type_line(&bob, "/imagine a ship").await;
    card(&bob, "running").await;
    click_in_card(&bob, "cancel").await;
    card(&bob, "cancelled").await;
    assert_eq!(words(&bob).await, "Cancelled.");
    keep_screenshot(&bob, "imagine-cancelled.png").await;
    bob.resize(390, 800).await.unwrap();
    let fits =
        "(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth)(document.querySelector('#thread-scroll'))";
    bob.wait_for(fits, SOON).await.unwrap();
    keep_screenshot(&bob, "imagine-phone.png").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_reacted_to_and_varied_as_often_as_the_quota_allows() {
    let Some(chromium) = chromium_or_skip("images_appear") else { return };
    let studio = Studio::start(picture()).await;
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "providers": [{ "name": "flux", "kind": "bfl", "url": studio.url(), "key": "k", "model": "flux-pro", "price": 0.04 }],
        "currency": "EUR",
        "per_user": { "images": 6, "seconds": 86400 },
        "allow_hosts": [studio.host],
    });
    std::fs::write(folder.path().join("imagine.json"), config.to_string()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _server = start(folder.path(), port).await;
    let browser = Browser::launch(&chromium, FakeMedia::default()).await.unwrap();
    let (ann, bob) = (enter(&browser, port, "Ann").await, enter(&browser, port, "Bob").await);
    for page in [&ann, &bob] {
        page.resize(1280, 860).await.unwrap();
        page.click("#people a.row-text", SOON).await.unwrap();
        page.wait_for("!document.querySelector('#thread').hidden", SOON).await.unwrap();
    }
    type_line(&ann, &format!("/imagine {PROMPT}")).await;
    card(&bob, "posted").await;
    bob.wait_for(&format!("{CARD}.querySelector('img')?.naturalWidth === 768"), SOON).await.unwrap();

    // Bob says something to it, Ann the same, and each sees whose it is.
    bob.click("#thread .image-card .said-add", SOON).await.unwrap();
    bob.wait_for("document.activeElement.matches('.image-card .said-choice')", SOON).await.unwrap();
    keep_screenshots(&bob, "image-choosing").await;
    bob.click("#thread .said-choice[aria-label='heart love']", SOON).await.unwrap();
    let label = |who: &str| {
        format!("document.querySelector('.image-card .said-chip')?.getAttribute('aria-label') === 'heart love: {who}'")
    };
    bob.wait_for(&label("you"), SOON).await.unwrap();
    ann.wait_for(&label("Bob"), SOON).await.unwrap();
    ann.click("#thread .image-card .said-chip", SOON).await.unwrap();
    bob.wait_for("document.querySelector('.image-card .said-chip span')?.textContent === '2'", SOON).await.unwrap();
    keep_screenshots(&ann, "image-reactions").await;

    // Four more, of which the page says what they are and cost.
    studio.hold(Hold::Work);
    click_in_card(&ann, "vary").await;
    let said = "document.querySelector('.image-variations:not([hidden]) p')?.textContent";
    ann.wait_for(&format!("{said} !== undefined"), SOON).await.unwrap();
    let told: String = ann.eval_as(said).await.unwrap();
    assert!(told.contains("same words") && told.contains("This picture itself is no part of it."), "{told}");
    assert!(told.ends_with("They cost up to 0.16 EUR in all."), "{told}");
    keep_screenshots(&ann, "image-variations-asked").await;
    ann.click("#thread .image-variations .button", SOON).await.unwrap();
    let running = "[...document.querySelectorAll('#thread .image-card')].filter((card) => card.dataset.state === 'running').length === 4";
    ann.wait_for(running, SOON).await.unwrap();
    keep_screenshots(&ann, "image-variations").await;
    studio.hold(Hold::Nothing);
    for page in [&ann, &bob] {
        page.wait_for("document.querySelectorAll('#thread .image-card img').length === 5", SOON).await.unwrap();
        // They are one entry, and each of them is a picture with its words.
        let rows = "[document.querySelectorAll('#thread .entry').length, document.querySelectorAll('#thread .image-set').length, \
                    document.querySelectorAll('.image-set .image-tile img').length]";
        assert_eq!(page.eval(rows).await.unwrap(), json!([2, 1, 4]));
        let alt: String = page.eval_as("document.querySelector('.image-set img').alt").await.unwrap();
        assert_eq!(alt, PROMPT);
    }
    assert_eq!(studio.billed(), 5);
    keep_screenshots(&ann, "image-set").await;

    // By keyboard alone: from the first to the second, which is shown large; what is said to it is said to it alone.
    ann.eval("document.querySelector('.image-choose').focus()").await.unwrap();
    press(&ann, "ArrowRight").await;
    press(&ann, "Enter").await;
    let second = "[...document.querySelectorAll('.image-tile')][1]";
    ann.wait_for(&format!("{second}.hasAttribute('data-chosen')"), SOON).await.unwrap();
    ann.wait_for(&format!("{second}.querySelector('.image-choose').getAttribute('aria-expanded') === 'true'"), SOON)
        .await
        .unwrap();
    let large = format!("{second}.offsetWidth > 2 * document.querySelector('.image-tile').offsetWidth");
    ann.wait_for(&large, SOON).await.unwrap();
    ann.eval(&format!("{second}.querySelector('.said-add').focus()")).await.unwrap();
    press(&ann, "Enter").await;
    ann.wait_for("document.activeElement.matches('.image-tile .said-choice')", SOON).await.unwrap();
    press(&ann, "Enter").await;
    bob.wait_for(&format!("{second}.querySelector('.said-chip')"), SOON).await.unwrap();
    assert_eq!(bob.eval("document.querySelectorAll('.image-set .said-chip').length").await.unwrap(), 1);
    keep_screenshots(&ann, "image-set-chosen").await;
    // What others are told meanwhile does not take the focus away.
    assert_eq!(ann.eval("document.activeElement.matches('.image-tile .said-add')").await.unwrap(), true);
    press(&ann, "Escape").await;
    ann.wait_for("!document.querySelector('.image-tile[data-chosen]')", SOON).await.unwrap();
    ann.resize(390, 844).await.unwrap();
    let fits =
        "(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth)(document.querySelector('#thread-scroll'))";
    ann.wait_for(fits, SOON).await.unwrap();
    ann.resize(1280, 860).await.unwrap();

    // Of the next four one is allowed, and the page says why no more are.
    ann.click("#thread .image-tile:last-child .image-choose", SOON).await.unwrap();
    click_in_card(&ann, "vary").await;
    ann.click("#thread .image-variations:not([hidden]) .button", SOON).await.unwrap();
    let notice = "1 of 4 variations is being made. 6 images in 24 h are the most for one person: try again later.";
    ann.wait_for(&format!("document.querySelector('.notice p')?.textContent === {notice:?}"), SOON).await.unwrap();
    bob.wait_for("document.querySelectorAll('#thread .image-card img').length === 6", SOON).await.unwrap();
    assert_eq!(studio.billed(), 6);
    // Chromium itself says that a request was refused.
    let said: Vec<_> = ann.console().into_iter().filter(|line| !line.contains("status of 429")).collect();
    assert_eq!((said, bob.console()), (Vec::<String>::new(), Vec::new()));
}
