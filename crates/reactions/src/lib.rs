//! Live reactions, raised hands and statuses of one room: validated, counted, limited, and told to everybody once a tick. It is a state
//! machine without clock, sockets or tasks ([`RoomReactions`]): messages go in with the time, texts for data channels and events for the
//! embedder come out. It is not a chat, it keeps nothing when the room is gone, and it does not deliver: whoever drives it does, over
//! data channels or otherwise. What is an emoji is Unicode's business (UTS #51) and comes from the `emojis` crate.
//!
//! The cost of a tick is one text for all receivers, or for a share of a large room's, whatever the number of reactions in it.

mod aggregator;
mod bucket;
mod config;
mod emoji;
mod event;
mod hands;
mod participant;
mod protocol;
mod room;
mod shares;

pub use bucket::Rate;
pub use config::{RoomReactionsConfig, SMALL_ROOM};
pub use emoji::{Palette, PaletteError, canonical_emoji};
pub use event::{CountedReaction, NamedReaction, ReactionEvent};
pub use participant::Rights;
pub use protocol::{
    Channel, Controls, MAX_REQUEST, MAX_TEXT, Mode, REPEATS, ReactionRequest, Refusal, RefusalCode, VERSION, Who,
};
pub use room::{HostControl, ReactionOutput, RoomReactions};
pub use shares::Share;
