//! The browser harness measures what it claims to: each browser's own colour and tone come through `getUserMedia`,
//! errors carry the console, and no process outlives its handle.
#![allow(clippy::unwrap_used)]

mod browser;

use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use browser::{Browser, Colour, FakeMedia, MICROPHONE_SWITCH, chromium_or_skip};

const SOON: Duration = Duration::from_secs(30);

/// Serves one page; `getUserMedia` needs a secure context, which `http://127.0.0.1` is and `data:` is not.
async fn serve(html: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let app = Router::new().route("/", get(move || async move { Html(html) }));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

const DEVICES: &str =
    "<!doctype html><title>devices</title><video autoplay muted playsinline></video><script type=module>
    window.stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
    document.querySelector('video').srcObject = stream;
</script>";

#[tokio::test]
async fn each_browser_has_its_own_colour_and_tone() {
    let Some(chromium) = chromium_or_skip("each_browser_has_its_own_colour_and_tone") else { return };
    let url = serve(DEVICES).await;
    let check = async |tone, colour| {
        let media = FakeMedia { tone: Some(tone), colour: Some(colour) };
        let browser = Browser::launch(&chromium, media).await.unwrap();
        let page = browser.open(&url).await.unwrap();
        page.wait_for_colour("document.querySelector('video')", colour, SOON).await.unwrap();
        page.wait_for_tone("window.stream", tone, SOON).await.unwrap();
        // After several seconds, too: noise suppression learns that long to take a steady tone for noise.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let still = page.tone("window.stream", Duration::from_millis(600)).await.unwrap();
        assert!(still.is(tone), "{still:?} instead of {tone} Hz");
    };
    tokio::join!(check(440, Colour::Red), check(1_000, Colour::Cyan));
}

#[tokio::test]
async fn a_switched_microphone_is_loud_when_the_test_says_so() {
    let Some(chromium) = chromium_or_skip("a_switched_microphone_is_loud_when_the_test_says_so") else { return };
    let media = FakeMedia { tone: Some(700), colour: Some(Colour::Green) };
    let browser = Browser::launch(&chromium, media).await.unwrap();
    let page = browser.open_prepared(&serve(DEVICES).await, MICROPHONE_SWITCH).await.unwrap();
    page.wait_for_tone("window.stream", 700, SOON).await.unwrap();
    page.eval("microphoneLoud(false)").await.unwrap();
    let quiet = page.tone("window.stream", Duration::from_millis(500)).await.unwrap();
    assert!(quiet.db < -60.0, "{quiet:?}");
    page.eval("microphoneLoud(true)").await.unwrap();
    page.wait_for_tone("window.stream", 700, SOON).await.unwrap();
    page.wait_for_colour("document.querySelector('video')", Colour::Green, SOON).await.unwrap();
}

#[tokio::test]
async fn a_silent_microphone_has_no_tone() {
    let Some(chromium) = chromium_or_skip("a_silent_microphone_has_no_tone") else { return };
    let browser = Browser::launch(&chromium, FakeMedia::default()).await.unwrap();
    let page = browser.open(&serve(DEVICES).await).await.unwrap();
    page.wait_for("window.stream", SOON).await.unwrap();
    let tone = page.tone("window.stream", Duration::from_millis(600)).await.unwrap();
    assert!(tone.db < -60.0, "{tone:?}");
}

#[tokio::test]
async fn an_error_says_what_was_seen_and_what_the_console_said() {
    let Some(chromium) = chromium_or_skip("an_error_says_what_was_seen_and_what_the_console_said") else { return };
    let browser = Browser::launch(&chromium, FakeMedia::default()).await.unwrap();
    let page = browser
        .open(
            &serve(
                "<!doctype html><video></video><button onclick='this.textContent = \"clicked\"'>go</button><script>
                    console.log('hello', { a: 1 }, 42); setTimeout(() => { throw new Error('uncaught one'); });
                </script>",
            )
            .await,
        )
        .await
        .unwrap();
    assert_eq!(page.eval_as::<Vec<u32>>("Promise.resolve([1, 2])").await.unwrap(), [1, 2]);
    page.click("button", SOON).await.unwrap();
    assert_eq!(page.eval("document.querySelector('button').textContent").await.unwrap(), "clicked");

    let late = page.wait_for("document.title === 'never'", Duration::from_millis(200)).await.unwrap_err().to_string();
    for expected in ["document.title === 'never'", "it is false", "hello", "42", "uncaught one"] {
        assert!(late.contains(expected), "no {expected:?} in: {late}");
    }
    let thrown = page.eval("(() => { throw new TypeError('mine') })()").await.unwrap_err().to_string();
    assert!(thrown.contains("TypeError: mine"), "{thrown}");
    let dark = page.mean_rgb("document.querySelector('video')").await.unwrap_err().to_string();
    assert!(dark.contains("shows nothing"), "{dark}");

    let picture = tempfile::NamedTempFile::new().unwrap();
    page.resize(400, 300).await.unwrap();
    page.screenshot(picture.path()).await.unwrap();
    assert!(std::fs::read(picture.path()).unwrap().starts_with(b"\x89PNG"));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_process_outlives_its_browser() {
    let Some(chromium) = chromium_or_skip("no_process_outlives_its_browser") else { return };
    let browser = Browser::launch(&chromium, FakeMedia::default()).await.unwrap();
    let group = browser.process().to_string();
    // `/proc/<pid>/stat` is "pid (name) state parent group …"; a killed process may wait, as a zombie, for whoever
    // inherits it.
    let alive = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let stats = processes.filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok());
        stats
            .filter(|stat| {
                let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
                fields.next() != Some("Z") && fields.nth(1) == Some(group.as_str())
            })
            .count()
    };
    assert!(alive() > 1, "Chromium has helper processes");
    drop(browser);
    let begun = std::time::Instant::now();
    while alive() > 0 {
        assert!(begun.elapsed() < SOON, "{} processes are left", alive());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn colours_are_told_apart() {
    for colour in Colour::ALL {
        assert_eq!(Colour::nearest(colour.rgb()), Some(colour));
        let blurred = colour.rgb().map(|component| component.saturating_add(20));
        assert_eq!(Colour::nearest(blurred), Some(colour));
    }
    assert_eq!(Colour::nearest([0, 0, 0]), None);
    assert_eq!(Colour::nearest([128, 128, 128]), None);
}
