//! Images on request: `/imagine a lighthouse in the fog` in a thread, made by whatever the operator has configured. [`Imagine`] is the service; inside it are a [state machine](Job) for each image, a
//! [client](ImageProvider) for each wire, a [guard](Fetcher) between us and the links that providers hand out, and a [store](Store) in which a job outlives the process and
//! money is spent once. The crate knows neither calls nor notes: whoever holds it carries its events on, and says who may ask.

mod config;
mod error;
mod guard;
mod imagine;
mod info;
mod job;
mod moderate;
mod money;
mod picture;
mod provider;
mod signature;
mod store;

pub use config::{ImagineConfig, Period, ProviderConfig, ProviderKind, Quota, Size, SpendCap, WebhookSettings};
pub use error::ImagineError;
pub use guard::{Fetcher, Lookup, SystemLookup, is_public};
pub use imagine::{Imagine, ImagineEvent, ImagineParts, ImagineStatistics, NewImage, Offer, PictureBytes, Reacted};
pub use info::{Asker, ImageInfo, ImageReaction};
pub use job::{Job, JobInput, JobOutput, JobRules, JobState, Left};
pub use moderate::{ModerateImages, NoImageModeration};
pub use money::Money;
pub use picture::{Cleaned, clean};
pub use provider::{
    BoxFuture, Capabilities, FailReason, Handle, ImageProvider, ImageRequest, Made, Progress, ProviderError, Submitted,
    Webhook, client,
};
pub use store::{JobRow, OpenJobs, Picture, ProviderCall, Spending, Store};
