//! How signaling is set up: defaults that suit an app with people and phones, each with what it trades off.

use std::time::Duration;

use crate::call::CallTiming;
use crate::protocol::IceServer;
use crate::rate::Rate;
use crate::rooms::RoomsConfig;
use crate::switchboard::SwitchboardConfig;
use crate::token::TokenVerifier;
use crate::turn::TurnServer;

/// How signaling is set up.
#[derive(Debug, Clone)]
pub struct SignalingConfig {
    pub(crate) verifier: TokenVerifier,
    pub(crate) ice_servers: Vec<IceServer>,
    pub(crate) turn_servers: Vec<TurnServer>,
    pub(crate) heartbeat: Duration,
    pub(crate) hello_within: Duration,
    pub(crate) switchboard: SwitchboardConfig,
    pub(crate) rooms: RoomsConfig,
    pub(crate) request_rate: Rate,
    pub(crate) flood_rate: Rate,
    pub(crate) outbox: usize,
    pub(crate) max_sessions: usize,
    pub(crate) hook_limit: Duration,
    pub(crate) media_limit: Duration,
    pub(crate) people_coalesce: Duration,
}

impl SignalingConfig {
    /// The defaults, with tokens checked by `verifier`.
    pub fn new(verifier: TokenVerifier) -> Self {
        Self {
            verifier,
            ice_servers: Vec::new(),
            turn_servers: Vec::new(),
            heartbeat: Duration::from_secs(10),
            hello_within: Duration::from_secs(10),
            switchboard: SwitchboardConfig::default(),
            rooms: RoomsConfig::default(),
            request_rate: Rate { burst: 100, every: Duration::from_millis(20) },
            flood_rate: Rate { burst: 200, every: Duration::from_secs(1) },
            outbox: 256,
            max_sessions: 50_000,
            hook_limit: Duration::from_secs(5),
            media_limit: Duration::from_secs(10),
            people_coalesce: Duration::from_millis(200),
        }
    }

    /// STUN and TURN servers that clients are told; none unless told. The engine announces its own addresses and needs none.
    pub fn ice_servers(mut self, servers: Vec<IceServer>) -> Self {
        self.ice_servers = servers;
        self
    }

    /// A TURN server for which each session gets credentials of its own; may be called several times.
    pub fn turn_server(mut self, server: TurnServer) -> Self {
        self.turn_servers.push(server);
        self
    }

    /// How often each side of a socket says something; 10 s unless told. A socket silent for 2.5 times that is closed. Shorter finds
    /// vanished devices sooner, and keeps phones awake.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval;
        self
    }

    /// How long a new socket may take until its `hello`; 10 s unless told.
    pub fn hello_within(mut self, limit: Duration) -> Self {
        self.hello_within = limit;
        self
    }

    /// How long a call rings; 45 s unless told. See [`CallTiming`].
    pub fn ring(mut self, ring: Duration) -> Self {
        self.switchboard.timing.ring = ring;
        self
    }

    /// How long a device may take to acknowledge the ring before its user counts as unreachable; 20 s unless told. See [`CallTiming`].
    pub fn ring_ack(mut self, ack: Duration) -> Self {
        self.switchboard.timing.ack = ack;
        self
    }

    /// How long a device may vanish before its call ends and it is out of its rooms; 10 s unless told. See [`CallTiming`].
    pub fn grace(mut self, grace: Duration) -> Self {
        self.switchboard.timing.grace = grace;
        self.rooms.grace = grace;
        self
    }

    /// Whether a user who is in a call rings for a second one, by default not: they are busy. Whoever accepts the second leaves the first.
    #[must_use]
    pub fn call_waiting(mut self, waiting: bool) -> Self {
        self.switchboard.call_waiting = waiting;
        self
    }

    /// How often a user may ring anybody (10, then one each 3 s, unless told), and the same user (5, then one each 10 s).
    pub fn ring_rates(mut self, anybody: Rate, same_user: Rate) -> Self {
        (self.switchboard.caller_rate, self.switchboard.pair_rate) = (anybody, same_user);
        self
    }

    /// How often one socket may ask anything; 100, then one each 20 ms, unless told. More is answered `rate_limited`.
    pub fn request_rate(mut self, rate: Rate) -> Self {
        self.request_rate = rate;
        self
    }

    /// How many `rate_limited` answers one socket gets before it is closed; 200, then one each second, unless told.
    pub fn flood_rate(mut self, rate: Rate) -> Self {
        self.flood_rate = rate;
        self
    }

    /// How many frames may wait for a client that reads slowly; 256 unless told. More survives a hiccup of its network, and costs
    /// memory. A client that falls further behind is closed.
    pub fn outbox(mut self, frames: usize) -> Self {
        self.outbox = frames.max(1);
        self
    }

    /// The most sockets at once; 50,000 unless told. More are refused with HTTP status 503.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// The most participants of one room; 1,000 unless told.
    pub fn max_room_participants(mut self, participants: usize) -> Self {
        self.rooms.max_participants = participants;
        self
    }

    /// How long a hook may take; 5 s unless told.
    pub fn hook_limit(mut self, limit: Duration) -> Self {
        self.hook_limit = limit;
        self
    }

    /// How long the media side may take for one request; 10 s unless told.
    pub fn media_limit(mut self, limit: Duration) -> Self {
        self.media_limit = limit;
        self
    }

    /// The times of calls.
    pub fn call_timing(&self) -> CallTiming {
        self.switchboard.timing
    }
}
