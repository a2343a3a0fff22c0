//! Headless Chromium for tests: several browsers, each with its own fake microphone and camera, driven over the DevTools
//! protocol, and measured where a person would look and listen: the colour a `<video>` shows, the tone a stream plays.
//! A development tool, shared by the test files of this package; it knows nothing of calls or rooms.
//!
//! ```ignore
//! mod browser;
//! use browser::{Browser, Colour, FakeMedia};
//!
//! # async fn example() -> anyhow::Result<()> {
//! let Some(chromium) = browser::chromium_or_skip("three_browsers_talk") else { return Ok(()) };
//! let media = FakeMedia { tone: Some(440), colour: Some(Colour::Red) };
//! let alice = Browser::launch(&chromium, media).await?;
//! let page = alice.open("http://127.0.0.1:8080/").await?;
//! page.wait_for("document.querySelector('video').videoWidth", Duration::from_secs(10)).await?;
//! # Ok(())
//! # }
//! ```
#![allow(dead_code, unused_imports, reason = "each test file that includes this module uses its own part of it")]

mod chromium;
mod devtools;
mod fake_media;
mod firefox;
mod namespace;
mod page;

pub(crate) use chromium::{Browser, chromium_or_skip, program_or_skip};
pub(crate) use fake_media::{Colour, FakeMedia, MICROPHONE_SWITCH, NOISE_CAMERA};
pub(crate) use firefox::{Firefox, firefox_or_skip};
pub(crate) use namespace::{ADDRESS, Namespace, enter_namespace, enter_namespace_without_udp};
pub(crate) use page::{Page, Tone};
