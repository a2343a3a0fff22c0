//! The servers that can be loaded: Ringback's example server, Janus, or whatever takes WHIP and WHEP. Each is a process to measure and a
//! door that clients come in by; what comes back is the same for all: what a client's transport must know.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context;
use clap::ValueEnum;
use ringback_client::Client;
use ringback_link::{Network, Relay, RelayConfig};
use serde_json::json;

use crate::Arguments;
use crate::janus::{self, Janus};
use crate::join::Door;
use crate::namespace::{Cable, NEIGHBOUR};
use crate::offer::Lines;
use crate::peer::Setup;
use crate::process::{Pin, Process, beside};
use crate::whip::Whip;

/// Which server is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Our example server
    Ringback,
    /// Debian's Janus, through its VideoRoom
    Janus,
    /// Any server of WHIP and WHEP, ours unless URLs are given
    Whip,
}

/// A running server, with what stands between it and the clients.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) target: Target,
    pub(crate) relay: Option<Relay>,
    /// The clients' address.
    pub(crate) bind: IpAddr,
    /// Dropped after the server.
    pub(crate) cable: Option<Cable>,
}

/// How clients come in.
pub(crate) enum Target {
    Ringback(Door),
    Janus(Box<Janus>),
    Whip(Whip),
}

/// What a client must keep for as long as it is in.
pub(crate) enum Session {
    Ringback(Box<Client>, String),
    Janus(u64),
    Whip(String),
}

impl Server {
    /// Starts a server, which keeps its files in `data`.
    pub(crate) async fn start(
        kind: Kind,
        event_loops: usize,
        arguments: &Arguments,
        data: &Path,
    ) -> anyhow::Result<Self> {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let pin = Pin(Some(arguments.pin));
        if kind == Kind::Janus {
            let (process, janus) = janus::start(event_loops, pin, data).await?;
            return Ok(Self {
                process,
                target: Target::Janus(Box::new(janus)),
                relay: None,
                bind: NEIGHBOUR.into(),
                cable: None,
            });
        }
        if let Some(whip) = Whip::elsewhere(arguments)? {
            let pid = arguments.server_pid.context("--server-pid says whose processor time is measured")?;
            let process = Process::running(pid)?;
            return Ok(Self { process, target: Target::Whip(whip), relay: None, bind: local, cable: None });
        }
        let cable = if arguments.veth { Some(Cable::lay()?) } else { None };
        let (mut bind, mut through, mut listen) = (local, Vec::new(), local);
        if let Some(cable) = &cable {
            (bind, through, listen) = (cable.near, cable.through(), cable.far);
        }
        let (process, relay) = ours(arguments, data, &through, listen, pin).await?;
        let host = process.said.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let target = match kind {
            Kind::Whip => Target::Whip(Whip::ours(&host).await?),
            Kind::Ringback | Kind::Janus => Target::Ringback(Door::new(host)?),
        };
        Ok(Self { process, target, relay, bind, cable })
    }
}

impl Target {
    /// Joins the room of this number with what these lines offer. The session must be kept.
    pub(crate) async fn join(&self, name: &str, room: usize, lines: Lines) -> anyhow::Result<(Session, Setup)> {
        match self {
            Self::Ringback(door) => {
                let room = room_name(room);
                let (client, setup) = door.join(name, &room, lines).await?;
                Ok((Session::Ringback(Box::new(client), room), setup))
            }
            Self::Janus(janus) => {
                let (handle, setup) = janus.join(room, lines).await.with_context(|| format!("{name} joins Janus"))?;
                Ok((Session::Janus(handle), setup))
            }
            Self::Whip(whip) => {
                let (resource, setup) = whip.join(room, lines).await.with_context(|| format!("{name} comes in"))?;
                Ok((Session::Whip(resource), setup))
            }
        }
    }

    pub(crate) async fn leave(&self, session: Session) -> anyhow::Result<()> {
        match (self, session) {
            (_, Session::Ringback(client, room)) => drop(client.request("room.leave", json!({ "room": room })).await?),
            (Self::Janus(janus), Session::Janus(handle)) => janus.leave(handle).await?,
            (Self::Whip(whip), Session::Whip(resource)) => whip.leave(&resource).await?,
            _ => anyhow::bail!("a session of another server"),
        }
        Ok(())
    }

    /// Leaves and joins anew: by the same session where the server has sessions, else as somebody new.
    pub(crate) async fn join_again(
        &self,
        session: Session,
        name: &str,
        room: usize,
        lines: Lines,
    ) -> anyhow::Result<(Session, Setup)> {
        if let (Self::Ringback(door), Session::Ringback(client, room)) = (self, &session) {
            client.request("room.leave", json!({ "room": room })).await?;
            let setup = door.enter(client, room, lines).await?;
            return Ok((session, setup));
        }
        self.leave(session).await?;
        self.join(name, room, lines).await
    }

    /// Whether publishing and receiving are connections of their own.
    pub(crate) fn is_apart(&self) -> bool {
        !matches!(self, Self::Ringback(_))
    }
}

pub(crate) fn room_name(number: usize) -> String {
    format!("load-{number}")
}

/// Our server on free ports; with a link, the relay has the server's media port on another loopback address, and that is what the
/// server announces to everybody.
async fn ours(
    arguments: &Arguments,
    data: &Path,
    through: &[String],
    listen: IpAddr,
    pin: Pin,
) -> anyhow::Result<(Process, Option<Relay>)> {
    let (sfu, data) = (beside("sfu")?, data.display().to_string());
    let (listen, voice_wait) = (SocketAddr::new(listen, 0).to_string(), arguments.voice_wait.to_string());
    let (workers, part) = (arguments.workers.map(|n| n.to_string()), arguments.room_part.map(|n| n.to_string()));
    let mut words = vec!["--listen", &listen, "--data", &data, "--voice-wait", &voice_wait];
    if let Some(workers) = &workers {
        words.extend(["--pin", "--workers", workers]);
    }
    if let Some(part) = &part {
        words.extend(["--room-part", part]);
    }
    let Some(profile) = &arguments.link else {
        words.extend(["--media", &listen]);
        return Ok((Process::start(through, sfu, &words, "", "Ringback: ", pin).await?, None));
    };
    let network = Network::named(profile).with_context(|| format!("there is no profile {profile:?}"))?;
    // Taken, and given back for the server to take.
    let media = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    let front = SocketAddr::from(([127, 0, 0, 2], media.port()));
    let (ip, to) = (front.ip().to_string(), media.to_string());
    // Over TCP a client would go around the link.
    words.extend(["--media", &to, "--announce", &ip, "--no-ice-tcp"]);
    let server = Process::start(through, sfu, &words, "", "Ringback: ", pin).await?;
    let config = RelayConfig { listen: front, to: media, network, seed: arguments.seed, shared: false };
    let relay = Relay::start(config).await.with_context(|| format!("the link cannot listen on {front}"))?;
    Ok((server, Some(relay)))
}
