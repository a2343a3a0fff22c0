//! How good the members' connections are: what is measured on them is collected from reports both ways, and told once a second where it has changed.

use std::time::{Duration, Instant};

use ringback_transport::rtcp::ReceptionReport;
use ringback_transport::sdp::MediaKind;

use super::Room;
use crate::events::SfuEvent;
use crate::rewrite::MediaClock;

/// How often meters are read: as often as reports go out.
const READ_EVERY: Duration = Duration::from_secs(1);

impl Room {
    /// A member says how one of its slots comes through. Returns the share that was lost on its way, in 1/256.
    pub(super) fn on_receipt(&mut self, now: Instant, key: usize, report: &ReceptionReport) -> Option<u8> {
        let slots = &mut self.subscribers.get_mut(key)?.slots;
        let slot = slots.iter_mut().find(|slot| slot.ssrc == report.ssrc)?;
        let receipt = slot.on_receiver_report(report.highest_sequence, report.cumulative_lost);
        if let (Some(receipt), Some(member)) = (receipt, self.members.get_mut(key)) {
            let jitter = match slot.kind {
                MediaKind::Audio => MediaClock::OPUS.duration(report.jitter),
                MediaKind::Video => Default::default(),
            };
            member.meter.on_reported(now, receipt.expected, receipt.lost, jitter);
        }
        // Whoever counts anew knows at least the share.
        receipt.and_then(|receipt| receipt.fraction_lost()).or(Some(report.fraction_lost))
    }

    /// Reads the meters, if it is time to.
    pub(super) fn tell_quality(&mut self, now: Instant) {
        if now.saturating_duration_since(self.quality_read) < READ_EVERY {
            return;
        }
        self.quality_read = now;
        for (key, member) in self.members.iter_mut().filter(|(_, member)| member.elsewhere.is_none()) {
            let (Some(publisher), Some(subscriber)) = (self.publishers.get_mut(key), self.subscribers.get(key)) else {
                continue;
            };
            let received = std::mem::take(&mut publisher.reports.received);
            member.meter.on_received(now, received.expected, received.lost, received.jitter);
            let talks = publisher.tracks.iter().any(|track| track.live && !track.muted)
                || subscriber.slots.iter().any(|slot| slot.flowing().is_some());
            if let Some(quality) = member.meter.poll(now, talks && member.connected) {
                self.events.push_back(SfuEvent::Quality { room: self.id, participant: member.id, quality });
            }
        }
    }
}
