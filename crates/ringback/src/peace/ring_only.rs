//! The embedder's notify hook as it is called where the peace is kept: for rings, which wait for nothing. What was missed and left is told by [`Tell`](super::Tell) alone, so that nobody is
//! told twice, or in their quiet hours.

use std::sync::Arc;

use ringback_signaling::hooks::{Notice, Notify};
use ringback_signaling::media::BoxFuture;

/// See the [module](self).
pub(crate) struct RingOnly(pub(crate) Arc<dyn Notify>);

impl Notify for RingOnly {
    fn incoming<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, ()> {
        self.0.incoming(notice)
    }

    fn cancelled<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, ()> {
        self.0.cancelled(notice)
    }

    fn missed<'a>(&'a self, _: &'a Notice) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}
