//! Drives the media side: every call of it under a time limit and with panics caught, and a room's opening and closing in the right order,
//! without making anybody else wait.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Shared;

use crate::hub::WeakHub;
use crate::media::{BoxFuture, Media, MediaError};
use crate::protocol::{ErrorCode, WireError};

/// The media side, with a time limit.
#[derive(Clone)]
pub(crate) struct GuardedMedia {
    pub(crate) media: Arc<dyn Media>,
    limit: Duration,
}

impl GuardedMedia {
    pub(crate) fn new(media: Arc<dyn Media>, limit: Duration) -> Self {
        Self { media, limit }
    }

    /// Runs one call of the media side. `what` is for the log and the client.
    pub(crate) async fn run<T, F>(&self, what: &str, work: impl FnOnce(Arc<dyn Media>) -> F) -> Result<T, WireError>
    where
        F: Future<Output = Result<T, MediaError>>,
    {
        let work = AssertUnwindSafe(work(self.media.clone())).catch_unwind();
        match tokio::time::timeout(self.limit, work).await {
            Ok(Ok(result)) => result.map_err(WireError::from),
            Ok(Err(_)) => {
                tracing::error!(what, "the media side panicked");
                Err(WireError::new(ErrorCode::Internal, format!("{what} failed")))
            }
            Err(_) => {
                tracing::error!(what, limit = ?self.limit, "the media side took too long");
                Err(WireError::new(ErrorCode::Unavailable, format!("{what} took too long")))
            }
        }
    }

    /// Drops a participant, in a task of its own.
    pub(crate) fn leave(&self, room: String, participant: String) {
        let this = self.clone();
        tokio::spawn(async move {
            let left = this.run("leaving", |media| {
                let (room, participant) = (room.clone(), participant.clone());
                async move { media.leave(&room, &participant).await }
            });
            if let Err(error) = left.await {
                tracing::debug!(room, participant, %error, "leave");
            }
        });
    }
}

/// Resolves when a room is open on the media side.
pub(crate) type Opened = Shared<BoxFuture<'static, Result<(), WireError>>>;
type Closed = Shared<BoxFuture<'static, ()>>;

/// Which rooms are open, or being opened or closed, on the media side.
pub(crate) struct MediaRooms {
    media: GuardedMedia,
    hub: WeakHub,
    opened: HashMap<String, Opened>,
    /// Rooms whose closing has not returned, by a number that tells one closing of a name from the next.
    closing: HashMap<String, (u64, Closed)>,
    closings: u64,
}

impl MediaRooms {
    pub(crate) fn new(media: GuardedMedia, hub: WeakHub) -> Self {
        Self { media, hub, opened: HashMap::new(), closing: HashMap::new(), closings: 0 }
    }

    pub(crate) fn media(&self) -> &GuardedMedia {
        &self.media
    }

    /// Opens a room, once a former one of that name is closed.
    pub(crate) fn open(&mut self, room: String) {
        let former = self.closing.get(&room).map(|(_, closed)| closed.clone());
        let (media, name) = (self.media.clone(), room.clone());
        let opening: BoxFuture<'static, _> = Box::pin(async move {
            if let Some(former) = former {
                former.await;
            }
            media.run("opening the room", |media| async move { media.open_room(&name).await }).await
        });
        let opened = opening.shared();
        self.opened.insert(room.clone(), opened.clone());
        let hub = self.hub.clone();
        tokio::spawn(async move {
            if let Err(error) = opened.await {
                tracing::error!(room, %error, "a room cannot be opened");
                hub.tell(move |hub, now| hub.room_failed(now, &room)).await;
            }
        });
    }

    /// Resolves when the room is open; `None` where nobody opened it.
    pub(crate) fn opened(&self, room: &str) -> Option<Opened> {
        self.opened.get(room).cloned()
    }

    /// Closes a room, once it is open.
    pub(crate) fn close(&mut self, room: String) {
        let Some(opened) = self.opened.remove(&room) else { return };
        let (media, name) = (self.media.clone(), room.clone());
        let closing: BoxFuture<'static, _> = Box::pin(async move {
            if opened.await.is_err() {
                return;
            }
            if let Err(error) =
                media.run("closing the room", |media| async move { media.close_room(&name).await }).await
            {
                tracing::debug!(%error, "close_room");
            }
        });
        let closed = closing.shared();
        self.closings += 1;
        let number = self.closings;
        self.closing.insert(room.clone(), (number, closed.clone()));
        let hub = self.hub.clone();
        tokio::spawn(async move {
            closed.await;
            hub.tell(move |hub, _| hub.media_rooms.closed(&room, number)).await;
        });
    }

    fn closed(&mut self, room: &str, number: u64) {
        if self.closing.get(room).is_some_and(|(current, _)| *current == number) {
            self.closing.remove(room);
        }
    }
}
