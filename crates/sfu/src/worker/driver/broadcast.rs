//! Messages for everybody in a room: sent to a few receivers in each round, so that media goes on between them.

use std::time::Instant;

use bytes::Bytes;

use super::super::handle::Reply;
use super::Driver;
use super::control::answer;
use crate::error::SfuError;
use crate::ids::{ParticipantId, Share};

/// Receivers served in one round. Each costs some 15 µs (SCTP, DTLS, a datagram), and media waits for all of them; fewer make a large room
/// wait longer.
const RECEIVERS_PER_ROUND: usize = 12;

/// A message on its way to a room.
pub(super) struct Broadcast {
    label: String,
    binary: bool,
    data: Bytes,
    /// Who has not been served.
    receivers: Vec<ParticipantId>,
    /// Who has no channel of this label.
    without: Vec<ParticipantId>,
    reply: Reply<Vec<ParticipantId>>,
}

impl Driver {
    /// Takes a message for a share of those who are in a room now.
    pub(super) fn begin_broadcast(
        &mut self,
        at: usize,
        share: Share,
        label: String,
        binary: bool,
        data: Bytes,
        reply: Reply<Vec<ParticipantId>>,
    ) {
        let peers = self.rooms.get(at).map(|home| &home.peers);
        let everyone = peers.into_iter().flat_map(|peers| peers.iter()).map(|(_, peer)| peer.participant);
        let receivers = everyone.filter(|participant| share.has(*participant)).collect();
        self.broadcasts.push_back(Broadcast { label, binary, data, receivers, without: Vec::new(), reply });
    }

    /// Serves some receivers of the broadcast whose turn it is.
    pub(super) fn carry_on_broadcast(&mut self) {
        let Some(mut broadcast) = self.broadcasts.pop_front() else { return };
        let now = Instant::now();
        let first = broadcast.receivers.len().saturating_sub(RECEIVERS_PER_ROUND);
        for participant in broadcast.receivers.split_off(first) {
            let sent = self.send_data(participant, &broadcast.label, broadcast.binary, &broadcast.data, now);
            if let Err(SfuError::NoSuchChannel { .. }) = sent {
                broadcast.without.push(participant);
            }
        }
        if broadcast.receivers.is_empty() {
            answer(broadcast.reply, Ok(broadcast.without));
        } else {
            self.broadcasts.push_back(broadcast);
        }
    }
}
