//! Four browsers in one room, each with a microphone that plays its part of a script: turns that pass, a "yeah" in between and a
//! cough. The stage that every page is told follows the turns, and nothing else.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::f64::consts::TAU;
use std::path::Path;
use std::time::Duration;

use browser::{Browser, FakeMedia, Page, chromium_or_skip};
use server::Server;

const SOON: Duration = Duration::from_secs(40);

/// Sampling rate of the microphones in Hz.
const SAMPLE_RATE: u32 = 48_000;

/// How long the script lasts, in seconds.
const LENGTH: f64 = 25.0;

/// How late the stage may follow a turn: the aim is 0.2 s, the rest is for browsers that share two cores and start their microphones
/// at slightly different times.
const LATE_MS: i64 = 2_500;

/// One part: a name, the pitch of the voice in Hz, and from when to when (in seconds) it sounds.
struct Part {
    name: &'static str,
    pitch: f64,
    speaks: &'static [(f64, f64)],
}

/// Ann, Bob, Dora and Ann again have the floor. Bob says "yeah" at 2.5 s while Ann speaks, and Cleo coughs at 14 s while Dora speaks.
const SCRIPT: [Part; 4] = [
    Part { name: "Ann", pitch: 205.0, speaks: &[(0.5, 5.0), (18.0, 24.0)] },
    Part { name: "Bob", pitch: 118.0, speaks: &[(2.5, 2.75), (5.4, 11.0)] },
    Part { name: "Cleo", pitch: 190.0, speaks: &[(14.0, 14.12)] },
    Part { name: "Dora", pitch: 230.0, speaks: &[(11.4, 17.5)] },
];

/// Who has the floor from when on.
const TURNS: [(&str, f64); 4] = [("Ann", 0.5), ("Bob", 5.4), ("Dora", 11.4), ("Ann", 18.0)];

/// Writes a part as a voice of sorts: harmonics of a wandering pitch under two formants, in syllables of uneven length and loudness, so that
/// neither a noise suppressor nor the detector takes it for a machine.
fn write_part(path: &Path, part: &Part) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: SAMPLE_RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    let mut phase = 0.0_f64;
    for n in 0..(LENGTH * f64::from(SAMPLE_RATE)) as u32 {
        let t = f64::from(n) / f64::from(SAMPLE_RATE);
        let syllable = (TAU * (3.7 * t + 0.35 * (TAU * 0.61 * t).sin())).sin().max(-0.6) + 0.6;
        let stress = 0.65 + 0.35 * (TAU * 0.83 * t + part.pitch).sin();
        let pitch = part.pitch * (1.0 + 0.06 * (TAU * 1.3 * t).sin() + 0.04 * (TAU * 0.37 * t).cos());
        phase = (phase + pitch / f64::from(SAMPLE_RATE)).fract();
        let formant = 600.0 + 250.0 * (TAU * 2.1 * t).sin();
        let voice: f64 = (1..=18)
            .map(|harmonic| {
                let hz = pitch * f64::from(harmonic);
                let near = |centre: f64, width: f64| (-((hz - centre) / width).powi(2)).exp();
                (near(formant, 220.0) + 0.5 * near(1_500.0, 300.0) + 0.05) * (TAU * phase * f64::from(harmonic)).sin()
            })
            .sum();
        let sounds = part.speaks.iter().any(|&(from, to)| t >= from && t < to);
        let sample = if sounds { voice * syllable * stress * 0.22 } else { 0.0 };
        writer.write_sample((sample.clamp(-1.0, 1.0) * f64::from(i16::MAX)) as i16).unwrap();
    }
    writer.finalize().unwrap();
}

/// Joins the room and notes every change of the stage by name and time, and every change of what this page is meant to look at.
const JOIN: &str = "(async () => {
    window.talk = ringback.session.join('talk');
    window.stages = [];
    window.focuses = [];
    talk.on('focus', (focus) => focuses.push(focus === null ? null : talk.participants.get(focus.participant)?.name ?? 'me'));
    talk.on('stage', (id) => stages.push({
        at: Date.now(),
        who: id === talk.me ? ringback.session.name : talk.participants.get(id)?.name ?? null,
    }));
    return true;
})()";

#[derive(Debug, serde::Deserialize)]
struct Stage {
    at: i64,
    who: Option<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stage_follows_the_turns_and_neither_a_yeah_nor_a_cough() {
    let Some(chromium) = chromium_or_skip("the_stage_follows_the_turns_and_neither_a_yeah_nor_a_cough") else { return };
    let server = Server::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut pages: Vec<(Browser, Page)> = Vec::new();
    for part in &SCRIPT {
        let microphone = folder.path().join(format!("{}.wav", part.name));
        write_part(&microphone, part);
        let switch = format!("--use-file-for-fake-audio-capture={}%noloop", microphone.display());
        let browser = Browser::launch_with(&chromium, FakeMedia::default(), &[&switch]).await.unwrap();
        let page = browser.open(&server.page(part.name, "")).await.unwrap();
        page.wait_for("ringback.session?.user", SOON).await.unwrap();
        page.eval(JOIN).await.unwrap();
        pages.push((browser, page));
    }
    for (_, page) in &pages {
        page.wait_for("talk.state === 'connected' && talk.participants.size === 3", SOON).await.unwrap();
    }

    // A file begins to play when its microphone is opened: all at the same moment.
    let begin = pages[0].1.eval("Date.now() + 1500").await.unwrap().as_i64().unwrap();
    for (_, page) in &pages {
        page.eval(&format!(
            "(stages.length = 0, focuses.length = 0, setTimeout(async () => {{
                const stream = await navigator.mediaDevices.getUserMedia({{ audio: true }});
                await talk.publish('microphone', stream.getAudioTracks()[0]);
                window.begun = true;
            }}, {begin} - Date.now()), true)"
        ))
        .await
        .unwrap();
    }
    for (_, page) in &pages {
        page.wait_for("window.begun", SOON).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs_f64(LENGTH + 1.5)).await;

    for (index, (_, page)) in pages.iter().enumerate() {
        let stages: Vec<Stage> = serde_json::from_value(page.eval("stages").await.unwrap()).unwrap();
        let who: Vec<_> = stages.iter().map(|stage| stage.who.as_deref().unwrap_or("nobody")).collect();
        let told = format!("{}'s page was told {stages:?}, the microphones began at {begin}", SCRIPT[index].name);
        assert_eq!(who, TURNS.map(|(who, _)| who), "{told}");
        // Nobody looks at themselves: while they speak, they see who spoke before.
        let focuses: Vec<Option<String>> = serde_json::from_value(page.eval("focuses").await.unwrap()).unwrap();
        let mut others: Vec<_> = who.iter().filter(|who| **who != SCRIPT[index].name).collect();
        others.dedup();
        let looked_at: Vec<_> = focuses.iter().map(|focus| focus.as_deref().unwrap_or("nobody")).collect();
        assert_eq!(looked_at.iter().collect::<Vec<_>>(), others, "{}'s page", SCRIPT[index].name);
        for (stage, (_, from)) in stages.iter().zip(TURNS) {
            let late = stage.at - begin - (from * 1_000.0) as i64;
            assert!((-500..LATE_MS).contains(&late), "late by {late} ms: {told}");
        }
    }
}
