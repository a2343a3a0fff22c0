//! Spatial layers of one stream (SVC): each picture in several sizes, of which a larger one is predicted from the smaller ones, so that a receiver
//! can do without it (RFC 9628, section 3; the dependency descriptor of AV1's RTP format). Which packet belongs where is read here, and a [`SpatialGate`] lets a slot's share of each
//! picture through; how much that is, is decided elsewhere.
//!
//! A share shrinks at the next picture. It grows at a keyframe only: elsewhere a larger size of a picture is predicted from the one before, and
//! where it is not (a refresh of that layer alone) this shows in its packets, when the smaller sizes have gone out as all there was of the picture.

use super::Descriptor;
use crate::av1::TemplateLayers;

/// More spatial layers than there are.
const ALL: u8 = u8::MAX;

/// How late a packet may come, in ticks of video's clock (10 s), for its picture to be judged as it was then. What is further back is a jump.
const LATE: u32 = 10 * 90_000;

/// Changes that late packets are judged by. The allocator makes one in 0.1 s at most, and hardly ever two in 10 s.
const REMEMBERED: usize = 4;

/// Where a packet stands among the spatial layers of its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spatial {
    /// The layer, 0 being the smallest.
    pub(crate) layer: u8,
    /// This packet ends its picture in this size.
    ends_frame: bool,
    /// No earlier picture is needed for this one, in any size.
    is_key: bool,
}

impl Spatial {
    /// Reads it from a packet's descriptor; `None` where there are no such layers.
    pub(crate) fn of(descriptor: &Descriptor, templates: &TemplateLayers) -> Option<Self> {
        match descriptor {
            Descriptor::None | Descriptor::Vp8(_) => None,
            Descriptor::Vp9(vp9) => {
                let layer = vp9.layer?.spatial;
                // Of a larger size alone this would say less: that it needs no earlier one.
                let is_key = layer == 0 && !vp9.predicted;
                Some(Self { layer, ends_frame: vp9.ends_frame, is_key })
            }
            Descriptor::Av1(frame) => {
                let layer = templates.spatial(frame.template)?;
                Some(Self { layer, ends_frame: frame.ends_frame, is_key: layer == 0 && frame.has_structure })
            }
        }
    }
}

/// How many of a stream's spatial layers should pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpatialShare {
    /// The highest that there is and should pass.
    pub(crate) highest: u8,
    /// Whether that is all there are: what comes on top should pass, too.
    pub(crate) whole: bool,
}

impl SpatialShare {
    /// All.
    pub(crate) const WHOLE: Self = Self { highest: 0, whole: true };
    /// The smallest.
    pub(crate) const BASE: Self = Self { highest: 0, whole: false };

    fn limit(self) -> u8 {
        if self.whole { ALL } else { self.highest }
    }
}

impl Default for SpatialShare {
    fn default() -> Self {
        Self::WHOLE
    }
}

/// From which picture on, by its timestamp, how many layers pass.
type Change = (u32, u8);

/// Lets the smaller sizes of a stream's pictures through. All packets of a picture are judged alike, in whatever order they come.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SpatialGate {
    wanted: SpatialShare,
    /// The timestamp of the newest picture.
    newest: u32,
    /// The latest first; none before the first picture.
    changes: [Option<Change>; REMEMBERED],
}

impl SpatialGate {
    /// A gate before a stream's first picture, which is a keyframe.
    pub(crate) fn new(wanted: SpatialShare) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Sets what should pass.
    pub(crate) fn set(&mut self, wanted: SpatialShare) {
        self.wanted = wanted;
    }

    /// What should pass.
    pub(crate) fn wanted(&self) -> SpatialShare {
        self.wanted
    }

    /// Whether more should pass than can before the next keyframe.
    pub(crate) fn awaits_keyframe(&self) -> bool {
        self.changes[0].is_some_and(|(_, open)| open < self.wanted.highest)
    }

    /// Whether a packet of the picture with this timestamp passes, and if so, whether it ends what passes of its picture.
    #[inline]
    pub(crate) fn passes(&mut self, spatial: Spatial, timestamp: u32) -> Option<bool> {
        let highest = self.highest(spatial, timestamp)?;
        (spatial.layer <= highest).then_some(spatial.ends_frame && spatial.layer == highest)
    }

    /// The highest layer that passes of a picture.
    fn highest(&mut self, spatial: Spatial, timestamp: u32) -> Option<u8> {
        let limit = self.wanted.limit();
        let Some((from, open)) = self.changes[0] else {
            self.newest = timestamp;
            self.changes[0] = Some((timestamp, limit));
            return Some(limit);
        };
        let age = self.newest.wrapping_sub(timestamp);
        if age == 0 {
            return Some(open);
        }
        if age <= LATE {
            let is_since = |(from, _): &&Change| timestamp.wrapping_sub(*from) as i32 >= 0;
            return self.changes.iter().flatten().find(is_since).map(|(_, open)| *open);
        }
        self.newest = timestamp;
        if timestamp.wrapping_sub(from) > LATE {
            // Timestamps wrap: what is long past is not to look like the future.
            self.changes = [None; REMEMBERED];
            self.changes[0] = Some((timestamp.wrapping_sub(LATE), open));
        }
        let next = if spatial.is_key { limit } else { open.min(limit) };
        if next != open {
            self.changes.rotate_right(1);
            self.changes[0] = Some((timestamp, next));
        }
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: u32 = 3_000;

    fn packet(layer: u8, is_key: bool) -> Spatial {
        Spatial { layer, ends_frame: true, is_key: is_key && layer == 0 }
    }

    /// What passes of a picture of three sizes of one packet each, and which ends it.
    fn picture(gate: &mut SpatialGate, timestamp: u32, is_key: bool) -> [Option<bool>; 3] {
        [0, 1, 2].map(|layer| gate.passes(packet(layer, is_key), timestamp))
    }

    const SMALL: [Option<bool>; 3] = [Some(true), None, None];
    const MEDIUM: [Option<bool>; 3] = [Some(false), Some(true), None];
    const LARGE: [Option<bool>; 3] = [Some(false), Some(false), Some(true)];

    fn up_to(highest: u8) -> SpatialShare {
        SpatialShare { highest, whole: false }
    }

    #[test]
    fn a_share_shrinks_at_the_next_picture_and_grows_at_a_keyframe_only() {
        let mut gate = SpatialGate::new(up_to(2));
        assert_eq!(picture(&mut gate, 0, true), LARGE);
        assert_eq!(gate.passes(packet(0, false), PICTURE), Some(false));
        gate.set(up_to(0));
        assert_eq!(gate.passes(packet(2, false), PICTURE), Some(true), "what has begun goes on");
        assert_eq!(picture(&mut gate, 2 * PICTURE, false), SMALL);
        gate.set(up_to(1));
        assert!(gate.awaits_keyframe());
        assert_eq!(picture(&mut gate, 3 * PICTURE, false), SMALL);
        assert_eq!(picture(&mut gate, 4 * PICTURE, true), MEDIUM);
        assert!(!gate.awaits_keyframe());
    }

    #[test]
    fn a_keyframe_of_a_larger_size_alone_opens_nothing() {
        let refresh = Vp9Refresh::packet(1);
        assert!(!refresh.is_key);
        let mut gate = SpatialGate::new(up_to(0));
        picture(&mut gate, 0, true);
        gate.set(up_to(1));
        assert_eq!(gate.passes(packet(0, false), PICTURE), Some(true));
        assert_eq!(gate.passes(refresh, PICTURE), None);
    }

    /// A packet of a larger size that needs no earlier picture.
    struct Vp9Refresh;

    impl Vp9Refresh {
        fn packet(spatial: u8) -> Spatial {
            let payload = [0xAC, 0x80, 1, spatial << 1 | 1, 0, 0x82];
            let descriptor = crate::vp9::Vp9Descriptor::parse(&payload).map(Descriptor::Vp9);
            let of = Spatial::of(&descriptor.unwrap_or_default(), &TemplateLayers::default());
            of.unwrap_or(packet(0, true))
        }
    }

    #[test]
    fn the_whole_of_a_stream_goes_on_being_the_whole_when_it_grows() {
        let mut gate = SpatialGate::new(SpatialShare { highest: 0, whole: true });
        assert_eq!(gate.passes(packet(0, true), 0), Some(false), "its publisher's marker ends the picture");
        assert_eq!(gate.passes(packet(3, false), PICTURE), Some(false));
        gate.set(SpatialShare { highest: 3, whole: true });
        assert!(!gate.awaits_keyframe());
    }

    #[test]
    fn late_packets_are_judged_as_their_picture_was() {
        let mut gate = SpatialGate::new(up_to(2));
        let start = u32::MAX - PICTURE;
        let at = |picture: u32| start.wrapping_add(picture * PICTURE);
        picture(&mut gate, at(1), true);
        assert_eq!(gate.passes(packet(0, false), at(2)), Some(false));
        gate.set(up_to(0));
        assert_eq!(picture(&mut gate, at(3), false), SMALL);
        assert_eq!(gate.passes(packet(2, false), at(2)), Some(true), "its smaller sizes went out as not all there was");
        assert_eq!(picture(&mut gate, at(0), false), [None; 3], "before the keyframe that began it");
        gate.set(up_to(1));
        assert_eq!(gate.passes(packet(1, true), at(4)), None, "the keyframe does not show yet");
        assert_eq!(gate.passes(packet(0, true), at(4)), Some(true), "and its picture stays as it was judged");
        assert_eq!(picture(&mut gate, at(5), true), MEDIUM);
    }

    #[test]
    fn hours_without_a_change_and_jumps_do_not_confuse_what_is_late() {
        let mut gate = SpatialGate::new(up_to(1));
        picture(&mut gate, 7, true);
        let mut timestamp = 7_u32;
        // Nine seconds a picture, fifteen hours in all.
        for _ in 0..6_000 {
            timestamp = timestamp.wrapping_add(9 * 90_000);
            assert_eq!(picture(&mut gate, timestamp, false), MEDIUM);
            assert_eq!(picture(&mut gate, timestamp.wrapping_sub(PICTURE), false), MEDIUM);
        }
        for jump in [1 << 31, 1 << 30, 3 << 30, u32::MAX - 20 * 90_000] {
            timestamp = timestamp.wrapping_add(jump);
            assert_eq!(picture(&mut gate, timestamp, false), MEDIUM);
        }
    }
}
