//! A shared screen between real browsers through the example server: a track of its own beside the face, before which faces stand back, sharp in full size where it
//! is shown large, and gone when sharing stops.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::time::Duration;

use browser::{Browser, Colour, FakeMedia, chromium_or_skip};
use server::Server;

/// Generous: three browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(90);

const ANN: FakeMedia = FakeMedia { tone: Some(440), colour: Some(Colour::Red) };
const BEN: FakeMedia = FakeMedia { tone: Some(1_000), colour: Some(Colour::Blue) };

/// A picture in place of a screen, green and full of detail, that changes now and then as slides do.
const SHARE: &str = r#"(() => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [1920, 1080];
    const context = canvas.getContext('2d');
    let frame = 0;
    window.slides = setInterval(() => {
        context.fillStyle = 'rgb(40 170 50)';
        context.fillRect(0, 0, 1920, 1080);
        context.fillStyle = 'rgb(20 120 30)';
        for (let line = 0; line < 40; line++) {
            context.font = '18px monospace';
            context.fillText('The quick brown fox jumps over the lazy dog ' + frame + ' '.repeat(line % 4), 20, 26 * line);
        }
        frame++;
    }, 66);
    navigator.mediaDevices.getDisplayMedia = async () => canvas.captureStream(15);
    document.querySelector('#control-screen').click();
    return true;
})()"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_screen_comes_before_faces_in_full_size_and_goes_when_it_ends() {
    let test = "a_shared_screen_comes_before_faces_in_full_size_and_goes_when_it_ends";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let server = Server::start().await.unwrap();
    let (bens, anns) = (Browser::launch(&chromium, BEN).await.unwrap(), Browser::launch(&chromium, ANN).await.unwrap());
    let ben = bens.open(&server.page("Ben", "&auto=accept")).await.unwrap();
    let ann = anns.open(&server.page("Ann", "&call=ben&kind=video")).await.unwrap();
    for page in [&ann, &ben] {
        page.wait_for("ringback.call?.state === 'active' && ringback.room.state === 'connected'", SOON).await.unwrap();
    }
    let face = "document.querySelector('.tile[aria-label=\"Ann\"] [data-video=live] video')";
    ben.wait_for_colour(face, Colour::Red, SOON).await.unwrap();

    ann.eval(SHARE).await.unwrap();
    ben.wait_for("ringback.room.focus?.source === 'screen' && ringback.room.focus.reason === 'screen'", SOON)
        .await
        .unwrap();
    let screen = "[...document.querySelectorAll('.tile[data-kind=screen] [data-video=live] video')][0]";
    ben.wait_for(&format!("{screen} !== undefined"), SOON).await.unwrap();
    ben.wait_for_colour(screen, Colour::Green, SOON).await.unwrap();
    // Whole pixels, so that text can be read: shown at two thirds of its size it still comes in full size, and in half where it is small.
    for (window, across) in [((1_500, 900), 1_920), ((480, 900), 960), ((1_500, 900), 1_920)] {
        ben.resize(window.0, window.1).await.unwrap();
        ben.wait_for(&format!("{screen}.videoWidth === {across}"), SOON).await.unwrap();
    }
    // The face goes on beside it.
    ben.wait_for_colour(face, Colour::Red, SOON).await.unwrap();
    // Whoever shares looks at the others, not at their own screen.
    ann.wait_for("ringback.room.focus?.source !== 'screen'", SOON).await.unwrap();

    ann.eval("document.querySelector('#control-screen').click()").await.unwrap();
    ben.wait_for("document.querySelector('.tile[data-kind=screen]') === null", SOON).await.unwrap();
    ben.wait_for("ringback.room.focus?.source !== 'screen'", SOON).await.unwrap();
    ben.wait_for_colour(face, Colour::Red, SOON).await.unwrap();
}
