//! The task of one room: takes messages and time to its state machine, and carries what comes out to the workers, to signaling and to the
//! embedder, in order. It ends when the desk lets go of the room.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use ringback_reactions::{Channel, HostControl, ReactionOutput, Refusal, Rights, RoomReactions, Share};
use ringback_signaling::Signaling;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::RoomReaction;
use crate::media::Workers;

/// Messages taken in before what has come out is carried on.
const BATCH: usize = 64;

/// Who comes and goes.
pub(super) enum Roster {
    Joined { participant: Arc<str>, name: String, rights: Rights },
    Left(Arc<str>),
}

/// What a participant says, or the embedder.
pub(super) enum Message {
    /// Over a data channel.
    Text { participant: Arc<str>, text: Bytes },
    /// Over signaling, to be answered.
    Asked { participant: Arc<str>, text: Vec<u8>, reply: oneshot::Sender<Result<(), Refusal>> },
    /// By the embedder.
    Control { control: HostControl, reply: oneshot::Sender<Result<(), Refusal>> },
}

/// See the [module](self).
pub(super) struct RoomTask {
    pub(super) room: Arc<str>,
    pub(super) reactions: RoomReactions,
    pub(super) workers: Arc<Workers>,
    pub(super) signaling: Weak<Signaling>,
    pub(super) events: mpsc::Sender<RoomReaction>,
    /// Events that nobody took.
    pub(super) lost: u64,
}

impl RoomTask {
    pub(super) async fn run(
        mut self,
        mut roster: mpsc::UnboundedReceiver<Roster>,
        mut messages: mpsc::Receiver<Message>,
    ) {
        loop {
            let due = self.reactions.poll_timeout();
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            // Who has come is known before anything they say, and a tick waits for no message.
            tokio::select! {
                biased;
                change = roster.recv() => match change {
                    Some(change) => self.roster(change),
                    None => return,
                },
                () = sleep => self.reactions.handle_timeout(Instant::now().into_std()),
                message = messages.recv() => {
                    let mut next = message;
                    for _ in 0..BATCH {
                        let Some(message) = next.take() else { break };
                        self.message(message).await;
                        next = messages.try_recv().ok();
                    }
                    if let Some(message) = next {
                        self.message(message).await;
                    }
                }
            }
            self.drain().await;
        }
    }

    fn roster(&mut self, change: Roster) {
        let now = Instant::now().into_std();
        match change {
            Roster::Joined { participant, name, rights } => {
                // They ask for a snapshot once they can be told one.
                self.reactions.join(now, &participant, &name, rights);
            }
            Roster::Left(participant) => self.reactions.leave(now, &participant),
        }
    }

    async fn message(&mut self, message: Message) {
        let now = Instant::now().into_std();
        match message {
            Message::Text { participant, text } => {
                if let Err(refusal) = self.reactions.handle(now, &participant, &text)
                    && refusal.tell
                {
                    self.tell_one(participant, Channel::Hands, refusal.text().into()).await;
                }
            }
            Message::Asked { participant, text, reply } => {
                // Whoever asked may be gone.
                let _ = reply.send(self.reactions.handle(now, &participant, &text));
            }
            Message::Control { control, reply } => {
                let _ = reply.send(self.reactions.host(now, control));
            }
        }
    }

    async fn drain(&mut self) {
        while let Some(output) = self.reactions.poll_output() {
            match output {
                ReactionOutput::ToOne { participant, channel, text } => {
                    self.tell_one(participant, channel, text).await;
                }
                ReactionOutput::ToAll { share, channel, text } => self.tell_all(share, channel, text).await,
                ReactionOutput::Event(event) => {
                    let reaction = RoomReaction { room: self.room.clone(), event, lost: self.lost };
                    match self.events.try_send(reaction) {
                        Ok(()) => self.lost = 0,
                        Err(mpsc::error::TrySendError::Full(_)) => self.lost += 1,
                        // Nobody wants them.
                        Err(mpsc::error::TrySendError::Closed(_)) => {}
                    }
                }
                _ => {}
            }
        }
    }

    async fn tell_one(&self, participant: Arc<str>, channel: Channel, text: Arc<str>) {
        if !self.workers.send_text(&participant, channel.label(), &text).await {
            self.signal(vec![participant.to_string()], channel, &text).await;
        }
    }

    async fn tell_all(&self, share: Share, channel: Channel, text: Arc<str>) {
        let without = self.workers.send_text_to_all(&self.room, share, channel.label(), &text).await;
        if !without.is_empty() {
            self.signal(without, channel, &text).await;
        }
    }

    /// Tells those who have no data channel.
    async fn signal(&self, participants: Vec<String>, channel: Channel, text: &str) {
        let (Some(signaling), Ok(message)) = (self.signaling.upgrade(), serde_json::from_str::<Value>(text)) else {
            return;
        };
        signaling.reaction(&self.room, participants, channel.label(), message).await;
    }
}
