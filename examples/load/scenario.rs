//! What a scenario is made of: rooms, who publishes what in them, who only receives, who comes and goes.

use clap::Subcommand;

use crate::limit::Traffic;
use crate::offer::Lines;
use crate::shape::Shape;

/// The most participants of a room, as the server's media side has it; more receivers are spread over several rooms, each with publishers
/// of its own.
const ROOM: usize = 200;

/// Pairs of slots that an offer has room for: the server takes 64 m-lines.
const PAIRS: usize = 30;

/// Places kept free in a room for those who come before others have gone.
const COMING: usize = 20;

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
    /// Everybody's microphone and simulcast camera of three layers to everybody
    Meeting {
        #[arg(long, default_value_t = 8)]
        people: usize,
        /// Frames of equal size instead of what a Chromium has sent
        #[arg(long)]
        synthetic: bool,
        /// So many meetings at once
        #[arg(long, default_value_t = 1)]
        rooms: usize,
    },
    /// A livestream whose subscribers come and go: first without, then with
    Churn {
        #[arg(long, default_value_t = 50)]
        subscribers: usize,
        /// Subscribers replaced each second
        #[arg(long, default_value_t = 10)]
        per_second: u32,
    },
    /// Livestreams, meetings and audio rooms at once, whose receivers come and go
    Mixed {
        /// Livestreams
        #[arg(long, default_value_t = 2)]
        livestreams: usize,
        /// Subscribers of each
        #[arg(long, default_value_t = 20)]
        subscribers: usize,
        /// Meetings
        #[arg(long, default_value_t = 2)]
        meetings: usize,
        /// People in each
        #[arg(long, default_value_t = 4)]
        people: usize,
        /// Audio rooms with three talkers
        #[arg(long, default_value_t = 1)]
        audio_rooms: usize,
        /// Listeners in each
        #[arg(long, default_value_t = 20)]
        listeners: usize,
        /// Receivers replaced each second
        #[arg(long, default_value_t = 2)]
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
    /// Receivers that leave and are replaced by others each second.
    pub(crate) replaced_per_second: u32,
    /// Whether it is measured without anybody coming and going first.
    pub(crate) steady_first: bool,
    /// What the limit loop may be given: of several the one whose rate is next to what was forwarded, since the server chooses layers.
    pub(crate) limits: Vec<Traffic>,
}

/// A room's people, each kind alike.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) publishers: usize,
    pub(crate) publisher: Lines,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) receivers: usize,
    pub(crate) receiver: Lines,
    /// Whether every packet that is sent goes to everybody else in the room.
    pub(crate) all_to_all: bool,
}

impl Room {
    fn livestream(receivers: usize, camera: &Shape) -> Self {
        let publisher = Lines { camera: true, ..Lines::default() };
        Self {
            publishers: 1,
            publisher,
            shapes: vec![camera.clone()],
            receivers,
            receiver: watcher(1),
            all_to_all: true,
        }
    }

    fn audio(talkers: usize, receivers: usize) -> Self {
        let publisher = Lines { microphone: true, ..Lines::default() };
        let (shapes, all_to_all) = (vec![Shape::voice()], talkers <= PAIRS);
        Self { publishers: talkers, publisher, shapes, receivers, receiver: watcher(talkers), all_to_all }
    }

    fn meeting(people: usize, shapes: &[Shape]) -> Self {
        let publishers = people.clamp(2, ROOM - 5);
        let pairs = (publishers - 1).min(PAIRS - 1);
        let publisher = Lines { microphone: true, camera: true, simulcast: true, pairs };
        Self {
            publishers,
            publisher,
            shapes: shapes.to_vec(),
            receivers: 0,
            receiver: watcher(pairs),
            all_to_all: false,
        }
    }

    /// Those who receive in it.
    pub(crate) fn receiving(&self) -> usize {
        if self.publisher.pairs > 0 { self.publishers + self.receivers } else { self.receivers }
    }
}

fn watcher(pairs: usize) -> Lines {
    Lines { pairs: pairs.min(PAIRS), ..Lines::default() }
}

impl Plan {
    fn new(name: &'static str, rooms: Vec<Room>) -> Self {
        Self { name, rooms, replaced_per_second: 0, steady_first: false, limits: Vec::new() }
    }

    /// The same for a server on which publishing and receiving are connections of their own.
    pub(crate) fn apart(mut self) -> Self {
        for room in &mut self.rooms {
            if std::mem::take(&mut room.publisher.pairs) > 0 {
                room.receivers += room.publishers;
            }
        }
        self
    }
}

impl Scenario {
    pub(crate) fn plan(self, camera: &Shape, other_stack: Option<usize>) -> anyhow::Result<Plan> {
        // Others, of another stack, need places too.
        let others = |receivers| other_stack.unwrap_or_else(|| other_receivers(receivers));
        let spread = |publishers: usize, receivers: usize| -> Vec<usize> {
            let places = ROOM.saturating_sub(publishers + 2).max(1);
            let count = (receivers + others(receivers)).div_ceil(places).max(1);
            (0..count).map(|room| receivers / count + usize::from(room < receivers % count)).collect()
        };
        let livestream = |receivers| Traffic { shapes: vec![camera.clone()], senders: 1, receivers };
        Ok(match self {
            Self::Livestream { subscribers } => {
                let rooms = spread(1, subscribers).into_iter().map(|here| Room::livestream(here, camera)).collect();
                Plan { limits: vec![livestream(subscribers)], ..Plan::new("livestream", rooms) }
            }
            Self::Churn { subscribers, per_second } => {
                let subscribers = subscribers.clamp(1, ROOM - COMING - 3);
                Plan {
                    replaced_per_second: per_second.max(1),
                    steady_first: true,
                    limits: vec![livestream(subscribers)],
                    ..Plan::new("churn", vec![Room::livestream(subscribers, camera)])
                }
            }
            Self::Audio { talkers, listeners } => {
                let rooms = spread(talkers, listeners).into_iter().map(|here| Room::audio(talkers, here)).collect();
                let limit = Traffic { shapes: vec![Shape::voice()], senders: talkers, receivers: listeners };
                Plan { limits: vec![limit], ..Plan::new("audio", rooms) }
            }
            Self::Meeting { people, synthetic, rooms } => {
                let shapes = if synthetic { Shape::meeting() } else { Shape::recorded_meeting()? };
                let room = Room::meeting(people, &shapes);
                let rooms = rooms.max(1);
                // To the limit loop all are one room: its packets go to as many as each of theirs.
                let (senders, receivers) = (room.publishers * rooms, room.publishers - 1);
                let (voice, layers) = (&shapes[0], &shapes[1..]);
                let with = |layer: &Shape| Traffic { shapes: vec![voice.clone(), layer.clone()], senders, receivers };
                Plan { limits: layers.iter().map(with).collect(), ..Plan::new("meeting", vec![room; rooms]) }
            }
            Self::Mixed { livestreams, subscribers, meetings, people, audio_rooms, listeners, per_second } => {
                let shapes = Shape::recorded_meeting()?;
                let places = |receivers: usize| receivers.min(ROOM - COMING - 5);
                let mut rooms = vec![Room::livestream(places(subscribers), camera); livestreams];
                rooms.extend(vec![Room::meeting(people, &shapes); meetings]);
                rooms.extend(vec![Room::audio(3, places(listeners)); audio_rooms]);
                anyhow::ensure!(!rooms.is_empty(), "a mixture of nothing");
                Plan { replaced_per_second: per_second, ..Plan::new("mixed", rooms) }
            }
            Self::LimitLoop => anyhow::bail!("this is no scenario"),
        })
    }
}

/// At least one in a hundred.
pub(crate) fn other_receivers(receivers: usize) -> usize {
    receivers.div_ceil(100).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_room_takes_are_spread_over_several() {
        let camera = Shape::camera(240.0, 8, 1140);
        let plan = Scenario::Livestream { subscribers: 500 }.plan(&camera, None).unwrap();
        assert_eq!(plan.rooms.iter().map(|room| room.receivers).sum::<usize>(), 500);
        assert!(plan.rooms.iter().all(|room| room.receivers + room.publishers + 2 <= ROOM));
    }

    #[test]
    fn where_publishing_and_receiving_are_connections_of_their_own_everybody_has_two() {
        let camera = Shape::camera(240.0, 8, 1140);
        let plan = Scenario::Meeting { people: 4, synthetic: true, rooms: 1 }.plan(&camera, None).unwrap().apart();
        assert_eq!((plan.rooms[0].publishers, plan.rooms[0].receivers), (4, 4));
        assert_eq!((plan.rooms[0].publisher.pairs, plan.rooms[0].receiver.pairs), (0, 3));
    }
}
