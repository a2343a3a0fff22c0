//! A participant without a browser: signs in, rings somebody or waits to be rung, publishes a tone, a WAV or an IVF
//! file, and says what it received.
//!
//! ```sh
//! cargo run --release --example sfu                      # a server, in another terminal
//! cargo run --release --example bot -- --name Bea --answer --tone 440
//! cargo run --release --example bot -- --name Ada --call bea --tone 550 --video crates/client/media/testcard.ivf
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{ArgGroup, Parser};
use ringback_client::{
    AudioDecoder, AudioSource, Call, CallKind, CallState, Client, Event, Events, Participant, Publish, SAMPLE_RATE,
    dominant_frequency,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long media may take to come up before the bot gives up.
const MEDIA_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the bot rings or waits to be rung.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Parser)]
#[command(about = "Rings, answers, publishes and reports, without a browser.", group(ArgGroup::new("what").required(true)))]
struct Args {
    /// The signaling WebSocket; with --name, its host also serves the development login.
    #[arg(long, default_value = "ws://127.0.0.1:8080/v1/ws")]
    url: String,
    /// Signs in with this name at the example server's POST /login.
    #[arg(long, required_unless_present = "token")]
    name: Option<String>,
    /// Signs in with this token instead.
    #[arg(long, conflicts_with = "name")]
    token: Option<String>,
    /// Rings this user (an id, or the name of somebody who is there), waiting until they are there.
    #[arg(long, group = "what", value_name = "USER")]
    call: Option<String>,
    /// Waits for a call and picks it up.
    #[arg(long, group = "what")]
    answer: bool,
    /// Joins this room without a call.
    #[arg(long, group = "what", value_name = "ROOM")]
    room: Option<String>,
    /// Publishes this IVF file of VP8 frames as the camera, in a loop, and places a video call.
    #[arg(long, value_name = "FILE.ivf")]
    video: Option<PathBuf>,
    /// Publishes this 16-bit WAV file as the microphone, in a loop.
    #[arg(long, value_name = "FILE.wav", conflicts_with = "tone")]
    wav: Option<PathBuf>,
    /// Publishes a tone of this many Hz as the microphone.
    #[arg(long, value_name = "HZ", default_value_t = 440.0)]
    tone: f64,
    /// Leaves after this many seconds in the room; without it, when the call ends.
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    /// How many pairs of receive slots to offer.
    #[arg(long, default_value_t = 4)]
    slots: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn,rtc=error".into()),
        )
        .init();
    let args = Args::parse();
    let token = match (&args.token, &args.name) {
        (Some(token), _) => token.clone(),
        (None, Some(name)) => login(&args.url, name).await?,
        (None, None) => bail!("either --name or --token is needed"),
    };
    let client = Client::connect(&args.url, &token).await?;
    let mut events = client.events();
    println!("signed in as {}", client.user());

    let (call, room) = match (&args.call, &args.room) {
        (Some(user), _) => place(&client, &mut events, user, args.video.is_some()).await?,
        (None, Some(room)) => (None, room.clone()),
        (None, None) => answer(&client, &mut events).await?,
    };
    let audio = args.wav.clone().map_or(AudioSource::Tone { hz: args.tone }, AudioSource::Wav);
    let publish = Publish { audio: Some(audio), video: args.video.clone(), slots: args.slots, ..Publish::default() };
    let started = Instant::now();
    let participant = client.join(&room, publish).await?;
    participant.connected(MEDIA_TIMEOUT).await?;
    println!("in room {room} as {}, media up after {:?}", participant.id(), started.elapsed());

    let heard = stay(&participant, &mut events, call.as_ref(), args.seconds.map(Duration::from_secs)).await?;
    report(&participant, &heard);
    if let Err(error) = participant.leave().await {
        // The room of an ended call may be gone already.
        println!("leaving: {error}");
    }
    if let Some(call) = call
        && client.call_status(&call.id).await.is_ok_and(|call| call.state == CallState::Active)
    {
        client.hangup(&call.id).await?;
        println!("hung up");
    }
    Ok(())
}

/// Places a call, which the caller's media joins while it rings.
async fn place(
    client: &Client,
    events: &mut Events,
    user: &str,
    video: bool,
) -> anyhow::Result<(Option<Call>, String)> {
    let find = |people: &[ringback_client::protocol::Person]| {
        people.iter().find(|person| person.user == user || person.name == user).map(|person| person.user.clone())
    };
    let callee = match find(&client.hello().people) {
        Some(callee) => callee,
        None => {
            println!("waiting for {user}");
            let there = events.wait_for(CALL_TIMEOUT, |event| match event {
                Event::People { people } | Event::PeopleChanged { people, .. } => find(&people),
                _ => None,
            });
            there.await.with_context(|| format!("{user} did not come within {CALL_TIMEOUT:?}"))?
        }
    };
    let kind = if video { CallKind::Video } else { CallKind::Voice };
    let call = client.place(&[&callee], kind).await?;
    println!("ringing {callee}: call {}", call.id);
    let room = call.room.clone();
    Ok((Some(call), room))
}

/// Waits for a call and picks it up.
async fn answer(client: &Client, events: &mut Events) -> anyhow::Result<(Option<Call>, String)> {
    println!("waiting for a call");
    let ringing = client.hello().calls.iter().find(|call| call.state == CallState::Ringing).cloned();
    let call = match ringing {
        Some(call) => call,
        None => {
            let incoming = events.wait_for(CALL_TIMEOUT, |event| match event {
                Event::CallIncoming { call, .. } => Some(call),
                _ => None,
            });
            incoming.await.with_context(|| format!("nobody called within {CALL_TIMEOUT:?}"))?
        }
    };
    println!("{} rings: call {}", call.from.user, call.id);
    client.ring_ack(&call.id).await?;
    let call = client.accept(&call.id).await?;
    println!("picked up");
    let room = call.room.clone();
    Ok((Some(call), room))
}

/// Says what happens until the call ends or the time is up; returns the last half second heard in each slot.
async fn stay(
    participant: &Participant,
    events: &mut Events,
    call: Option<&Call>,
    time: Option<Duration>,
) -> anyhow::Result<BTreeMap<String, Vec<i16>>> {
    let mut audio = participant.on_audio();
    let mut decoders = BTreeMap::new();
    let mut heard: BTreeMap<String, Vec<i16>> = BTreeMap::new();
    let time_is_up = tokio::time::sleep(time.unwrap_or(Duration::MAX / 2));
    tokio::pin!(time_is_up);
    loop {
        tokio::select! {
            () = &mut time_is_up => break,
            _ = tokio::signal::ctrl_c() => break,
            packet = audio.recv() => {
                let Some(packet) = packet else { break };
                let decoder = match decoders.entry(packet.mid.to_string()) {
                    std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                    std::collections::btree_map::Entry::Vacant(new) => new.insert(AudioDecoder::new()?),
                };
                let samples = heard.entry(packet.mid.to_string()).or_default();
                match decoder.decode(&packet.payload) {
                    Ok(decoded) => samples.extend(decoded),
                    Err(error) => println!("slot {}: {error}", packet.mid),
                }
                samples.drain(..samples.len().saturating_sub(SAMPLE_RATE as usize / 2));
            }
            event = events.next() => match event {
                None => bail!("the signaling socket has closed"),
                Some(Event::Closed { code, reason }) => bail!("the signaling socket has closed: {code} {reason}"),
                Some(Event::CallEnded { call: ended, reason, talk_ms, .. }) if Some(&ended.id) == call.map(|call| &call.id) => {
                    println!("the call has ended: {reason}, {:.1} s talked", talk_ms as f64 / 1000.0);
                    break;
                }
                Some(Event::CallActive { answered_by, .. }) => println!("{} picked up", answered_by.user),
                Some(Event::CallLeg { leg, .. }) => println!("{}: {:?}", leg.user, leg.state),
                Some(Event::Roster { joined, left, .. }) => {
                    joined.iter().for_each(|entry| println!("{} came ({})", entry.user, entry.participant));
                    left.iter().for_each(|participant| println!("{participant} left"));
                }
                Some(Event::Slots { slots, .. }) => {
                    for slot in slots {
                        let who = slot.participant.as_deref().unwrap_or("nobody");
                        println!("slot {}: {who} {}", slot.mid, slot.reason.unwrap_or_default());
                    }
                }
                Some(Event::Speaking { speaking, .. }) => println!("speaking: {}", speaking.join(", ")),
                Some(Event::RoomClosed { reason, .. }) => {
                    println!("the room has closed: {reason}");
                    break;
                }
                Some(_) => {}
            }
        }
    }
    Ok(heard)
}

fn report(participant: &Participant, heard: &BTreeMap<String, Vec<i16>>) {
    println!("received:");
    for slot in participant.slots() {
        let reception = slot.reception;
        if reception.packets == 0 {
            continue;
        }
        let pitch = heard.get(&*slot.mid).and_then(|samples| dominant_frequency(samples));
        let pitch = pitch.map_or(String::new(), |hz| format!(", loudest at {hz:.0} Hz"));
        println!(
            "  slot {} ({:?}): {} packets, {} bytes, {} lost{pitch}",
            slot.mid, slot.kind, reception.packets, reception.bytes, reception.lost
        );
        for flow in slot.flows {
            let who = flow.participant.as_deref().unwrap_or("nobody announced");
            println!("    from {who}: {} packets, {} bytes", flow.packets, flow.bytes);
        }
    }
}

/// The example server's development login. One plain HTTP/1.0 request needs no HTTP client crate.
async fn login(url: &str, name: &str) -> anyhow::Result<String> {
    let host =
        url.strip_prefix("ws://").and_then(|rest| rest.split('/').next()).context("--url must be a ws:// URL")?;
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let mut stream = TcpStream::connect(&address).await.with_context(|| format!("nobody listens at {address}"))?;
    let body = json!({ "name": name }).to_string();
    let request = format!(
        "POST /login HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    let (head, body) = response.split_once("\r\n\r\n").context("the login answered with something that is no HTTP")?;
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 200") {
        bail!("the login at {address} answered {status}: {body}");
    }
    let body: Value = serde_json::from_str(body).with_context(|| format!("the login answered with no JSON: {body}"))?;
    body["token"].as_str().map(str::to_owned).context("the login's answer has no token")
}
