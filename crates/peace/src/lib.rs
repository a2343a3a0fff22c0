//! Peace in the thread: which occurrences (missed calls, notes, reactions, images) a user is told of at once, which wait, and why. [`decide`] is a pure
//! function of what happened, of what was decided before and of the user's settings: no clock, no task, no store. It knows no names and no words; what a notification
//! says, and how it reaches a phone, is the affair of whoever carries the decisions out.

mod decide;
mod error;
mod history;
mod occurrence;
mod quiet;
mod settings;

pub use decide::{Decision, Plan, decide};
pub use error::PeaceError;
pub use history::{Entry, HORIZON, History, Hold, Notification, Reason};
pub use occurrence::{Occurrence, OccurrenceKind};
pub use quiet::{Day, QuietHours, TimeOfDay};
pub use settings::{RepeatedCalls, Rules, Settings};
