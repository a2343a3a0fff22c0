//! Why an engine could not be started.

use ringback_imagine::ImagineError;
use ringback_peace::PeaceError;
use ringback_recorder::RecorderError;
use ringback_sfu::SfuError;
use ringback_transport::TransportError;

/// An error of [`Engine`](crate::Engine) and its builder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// [`EngineBuilder::tokens`](crate::EngineBuilder::tokens) was not called: without a key nobody could be let in.
    #[error("no token verifier: call EngineBuilder::tokens with the key of your tokens")]
    NoTokens,
    /// [`EngineBuilder::codecs`](crate::EngineBuilder::codecs) leaves Opus out: nobody could be heard.
    #[error("the codecs of EngineBuilder::codecs must include Opus, the only one for voices")]
    NoOpus,
    /// [`EngineBuilder::start`](crate::EngineBuilder::start) was called outside a tokio runtime.
    #[error("the engine runs on the caller's tokio runtime, and there is none here")]
    NoRuntime,
    /// A media port could not be computed: worker i takes the base port + i.
    #[error("worker {worker} would need UDP port {base} + {worker}, which is above 65535")]
    Port {
        /// The number of the worker.
        worker: usize,
        /// The base port.
        base: u16,
    },
    /// The DTLS certificate could not be made.
    #[error("the DTLS certificate cannot be made: {0}")]
    Certificate(#[source] TransportError),
    /// A media worker could not be started.
    #[error("media worker {worker} did not start: {source}")]
    Worker {
        /// The number of the worker.
        worker: usize,
        /// Why.
        source: SfuError,
    },
    /// What keeps notes and the log of calls could not be opened.
    #[error("notes and the log of calls: {0}")]
    Recorder(#[source] RecorderError),
    /// Images on request could not be opened.
    #[error("images on request: {0}")]
    Imagine(#[source] ImagineError),
    /// A webhook that could not work.
    #[error("webhook {name:?}: {reason}")]
    Webhook {
        /// Its name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The settings of [`EngineBuilder::peace`](crate::EngineBuilder::peace) cannot work.
    #[error("the settings of EngineBuilder::peace: {0}")]
    Peace(#[source] PeaceError),
    /// The log of events, webhooks, notifications and images need a store, and [`EngineBuilder::notes`](crate::EngineBuilder::notes) was not called.
    #[error("there is no log of events: call EngineBuilder::notes, which says where to keep it")]
    NoStore,
}
