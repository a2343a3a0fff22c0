//! What a scenario is made of: rooms, who publishes what in them, who only receives.

use clap::Subcommand;

use crate::offer::Lines;
use crate::publishers::Shape;

/// The most participants of a room, as the server's media side has it; more receivers are spread over several rooms, each with publishers
/// of its own.
const ROOM: usize = 200;

/// Pairs of slots that an offer has room for: the server takes 64 m-lines.
const PAIRS: usize = 30;

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Scenario {
    /// One camera to many
    Livestream {
        #[arg(long, default_value_t = 100)]
        subscribers: usize,
    },
    /// Some voices to many
    Audio {
        #[arg(long, default_value_t = 10)]
        talkers: usize,
        #[arg(long, default_value_t = 100)]
        listeners: usize,
    },
    /// Everybody's microphone and simulcast camera to everybody
    Meeting {
        #[arg(long, default_value_t = 8)]
        people: usize,
    },
    /// A livestream whose subscribers come and go
    Churn {
        #[arg(long, default_value_t = 50)]
        subscribers: usize,
        /// Subscribers replaced each second
        #[arg(long, default_value_t = 10)]
        per_second: u32,
    },
    /// The limit loop as a process of its own
    #[command(hide = true)]
    LimitLoop,
}

/// A scenario, spelled out.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) rooms: Vec<Room>,
    pub(crate) publisher: Lines,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) receiver: Lines,
    pub(crate) replaced_per_second: u32,
    /// Whether every packet that is sent goes to everybody else in the room.
    pub(crate) all_to_all: bool,
    /// What the limit loop is given: one stream to so many.
    pub(crate) limit: (Shape, usize),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) publishers: usize,
    pub(crate) receivers: usize,
}

impl Scenario {
    pub(crate) fn plan(self, camera: Shape, other_stack: Option<usize>) -> anyhow::Result<Plan> {
        let watcher = |pairs: usize| Lines { pairs: pairs.min(PAIRS), ..Lines::default() };
        let (one_camera, voice) =
            (Lines { camera: true, ..Lines::default() }, Lines { microphone: true, ..Lines::default() });
        // Others, of another stack, need places too.
        let others = |receivers| other_stack.unwrap_or_else(|| other_receivers(receivers));
        let rooms = |publishers: usize, receivers: usize| {
            let places = ROOM.saturating_sub(publishers + 2).max(1);
            let count = (receivers + others(receivers)).div_ceil(places).max(1);
            let rooms = (0..count)
                .map(|room| Room { publishers, receivers: receivers / count + usize::from(room < receivers % count) });
            rooms.collect()
        };
        Ok(match self {
            Self::Livestream { subscribers } => Plan {
                name: "livestream",
                rooms: rooms(1, subscribers),
                publisher: one_camera,
                shapes: vec![camera],
                receiver: watcher(1),
                replaced_per_second: 0,
                all_to_all: true,
                limit: (camera, subscribers),
            },
            Self::Churn { subscribers, per_second } => Plan {
                name: "churn",
                rooms: vec![Room { publishers: 1, receivers: subscribers.min(ROOM - 10) }],
                publisher: one_camera,
                shapes: vec![camera],
                receiver: watcher(1),
                replaced_per_second: per_second.max(1),
                all_to_all: false,
                limit: (camera, subscribers),
            },
            Self::Audio { talkers, listeners } => Plan {
                name: "audio",
                rooms: rooms(talkers, listeners),
                publisher: voice,
                shapes: vec![Shape::VOICE],
                receiver: watcher(talkers),
                replaced_per_second: 0,
                all_to_all: talkers <= PAIRS,
                limit: (Shape { rate: Shape::VOICE.rate * talkers as f64, ..Shape::VOICE }, listeners),
            },
            Self::Meeting { people } => {
                let pairs = people.saturating_sub(1).clamp(1, PAIRS - 1);
                let publisher = Lines { microphone: true, camera: true, simulcast: true, pairs };
                let [_, large] = Shape::SIMULCAST;
                Plan {
                    name: "meeting",
                    rooms: vec![Room { publishers: people.clamp(2, ROOM - 5), receivers: 0 }],
                    publisher,
                    shapes: [vec![Shape::VOICE], Shape::SIMULCAST.to_vec()].concat(),
                    receiver: watcher(pairs),
                    replaced_per_second: 0,
                    all_to_all: false,
                    limit: (Shape { rate: large.rate * people as f64, ..large }, people.saturating_sub(1).max(1)),
                }
            }
            Self::LimitLoop => anyhow::bail!("this is no scenario"),
        })
    }
}

/// At least one in a hundred.
pub(crate) fn other_receivers(receivers: usize) -> usize {
    receivers.div_ceil(100).max(1)
}
