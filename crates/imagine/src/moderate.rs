//! What the embedder has to say about images: before a prompt leaves the server, and before a picture is shown to anybody.

use crate::info::ImageInfo;
use crate::provider::BoxFuture;

/// Sees a prompt before it leaves, and a picture before it is posted. One that panics refuses.
pub trait ModerateImages: Send + Sync + 'static {
    /// May this be asked for?
    ///
    /// # Errors
    /// Why not, for whoever asked.
    fn may_ask<'a>(&'a self, image: &'a ImageInfo) -> BoxFuture<'a, Result<(), String>>;

    /// May this be shown in its thread? The file is as it would be served.
    ///
    /// # Errors
    /// Why not, for whoever asked.
    fn may_post<'a>(&'a self, image: &'a ImageInfo, file: &'a [u8]) -> BoxFuture<'a, Result<(), String>>;
}

/// Lets everything through.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoImageModeration;

impl ModerateImages for NoImageModeration {
    fn may_ask<'a>(&'a self, _: &'a ImageInfo) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn may_post<'a>(&'a self, _: &'a ImageInfo, _: &'a [u8]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}
