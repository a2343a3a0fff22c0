//! How large a client shows its slots. It says so itself; but when its focus moves, it will show the new one as large as the old one
//! was, and the larger layer takes a keyframe to come. So that size is expected for a moment before the client says it: the picture is
//! sharp when the tile has grown. A client that does not follow its focus is soon taken at its word alone.

use std::time::{Duration, Instant};

use ringback_transport::sdp::MediaKind;

use super::slot::area;
use super::{Slot, SlotView, Subscriber};
use crate::slots::{Candidate, Shown};

/// A client that has not said within this time how large the new focus is does not make it larger: an animation, and two round trips.
/// Longer wastes bitrate where the focus makes no difference.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// So many times in a row nothing came of it, and nothing is expected any more until the client shows its focus the largest.
const IN_VAIN: u8 = 2;

/// What is expected of a client.
#[derive(Debug, Default)]
pub(super) struct Expectation {
    /// Until when.
    until: Option<Instant>,
    /// The size at which the focus was last shown.
    size: Option<(u32, u32)>,
    /// How often nothing came of it.
    in_vain: u8,
}

impl Subscriber {
    /// Decides anew what flows where, and expects the client to show a new focus as large as the one before.
    pub(crate) fn assign(&mut self, now: Instant, others: &[Candidate]) {
        let focus = |subscriber: &Self| subscriber.assignment.focus().map(|focus| (focus.participant, focus.source));
        let before = focus(self);
        let slot = before.and_then(|before| self.slots.iter().find(|slot| slot.is_for(before)));
        self.expectation.size = slot.map(Slot::size).or(self.expectation.size);
        self.assignment.assign(others);
        if let Some(after) = focus(self).filter(|_| focus(self) != before) {
            self.expect(now, after);
        }
    }

    fn expect(&mut self, now: Instant, focus: Shown) {
        let Some(size) = self.expectation.size.filter(|_| self.expectation.in_vain < IN_VAIN) else { return };
        let Some(at) = self.assignment.slot_showing(focus) else { return };
        let slot = self.slots.iter_mut().filter(|slot| slot.kind == MediaKind::Video).nth(at);
        if let Some(slot) = slot.filter(|slot| area(size) > area(slot.view)) {
            slot.expected = Some(size);
            self.expectation.until = Some(now + PATIENCE);
        }
    }

    /// The client says how large it shows its slots; those it does not name stay as they are. Returns whether anything has changed.
    pub(crate) fn set_view(&mut self, views: &[SlotView]) -> bool {
        let mut changed = self.forget_expected();
        for view in views {
            if let Some(slot) = self.slots.iter_mut().find(|slot| slot.mid == view.mid) {
                changed |= slot.view != (view.width, view.height);
                slot.view = (view.width, view.height);
            }
        }
        if self.follows_focus() {
            self.expectation.in_vain = 0;
        }
        changed
    }

    /// Whether the focus is shown larger than anything else.
    fn follows_focus(&self) -> bool {
        let Some(focus) = self.assignment.focus() else { return false };
        let pictures = || self.slots.iter().filter(|slot| slot.kind == MediaKind::Video);
        let in_focus = pictures().find(|slot| slot.is_for((focus.participant, focus.source)));
        in_focus.is_some_and(|slot| pictures().all(|other| other.mid == slot.mid || area(other.view) < area(slot.view)))
    }

    fn forget_expected(&mut self) -> bool {
        self.expectation.until = None;
        let expected = self.slots.iter_mut().filter_map(|slot| slot.expected.take());
        expected.count() > 0
    }

    /// Time has passed. Returns whether anything has changed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.expectation.until.is_none_or(|until| now < until) {
            return false;
        }
        self.expectation.in_vain += 1;
        self.forget_expected()
    }
}
