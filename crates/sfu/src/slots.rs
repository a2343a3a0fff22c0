//! Which track flows in which slot of one participant: the assignment of paired slots, as a state machine without media or
//! clocks. It is not the switching itself (a video slot changes its source on a keyframe: `subscriber.rs`).
//!
//! One of what is shown is the participant's focus (`focus.rs`), which always has a slot.
//!
//! In a room that fits the slots everyone keeps a stable pair: microphone and camera share the same k. In a larger room the
//! loudest share the audio slots, and pins, screens, the stage and recent speakers fill the video slots; members keep their
//! slot and the least recently active is evicted.

use crate::focus::{Focus, focus};
use crate::ids::{ParticipantId, Source};

/// A speaking member keeps its audio slot against a newcomer less than this much louder. A lower value follows loudness more
/// closely, but lets two equally loud people take turns in one slot. In dB.
const MEMBER_BONUS_DB: i32 = 6;

/// Whether somebody publishes a source at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Published {
    /// No such track.
    #[default]
    No,
    /// A track that its owner muted.
    Muted,
    /// A track that may send.
    Yes,
}

/// Somebody who could be heard and seen, as one subscriber sees them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) participant: ParticipantId,
    pub(crate) microphone: Published,
    pub(crate) camera: Published,
    pub(crate) screen: Published,
    /// This subscriber asked to see them.
    pub(crate) pinned: bool,
    /// The room highlights them; or did, before it highlighted this subscriber.
    pub(crate) on_stage: bool,
    /// Their voice light is on.
    pub(crate) speaking: bool,
    /// How loud they have been lately, in dBov: 0 is the loudest, -127 silence.
    pub(crate) loudness: i32,
    /// When they last spoke, in any unit that grows; 0: never.
    pub(crate) last_active: u64,
    /// Order of arrival in the room.
    pub(crate) joined: u64,
}

/// What one video slot shows.
pub(crate) type Shown = (ParticipantId, Source);

/// The assignment of one subscriber's slots. It remembers where everybody was, so that nobody moves without need.
#[derive(Debug, Clone, Default)]
pub(crate) struct SlotAssignment {
    audio: Vec<AudioSlot>,
    video: Vec<VideoSlot>,
    focus: Option<Focus>,
}

#[derive(Debug, Clone, Copy)]
struct AudioSlot {
    pair: Option<usize>,
    heard: Option<ParticipantId>,
}

#[derive(Debug, Clone, Copy)]
struct VideoSlot {
    pair: Option<usize>,
    shown: Option<Shown>,
}

impl SlotAssignment {
    /// Takes the slots that were negotiated, by their pair. Slots that were there before keep what flows in them.
    pub(crate) fn set_slots(&mut self, audio: &[Option<usize>], video: &[Option<usize>]) {
        let heard = |i: usize| self.audio.get(i).and_then(|slot| slot.heard);
        let shown = |i: usize| self.video.get(i).and_then(|slot| slot.shown);
        let new_audio = audio.iter().enumerate().map(|(i, &pair)| AudioSlot { pair, heard: heard(i) }).collect();
        let new_video = video.iter().enumerate().map(|(i, &pair)| VideoSlot { pair, shown: shown(i) }).collect();
        self.audio = new_audio;
        self.video = new_video;
    }

    /// Who is heard in audio slot `slot`.
    pub(crate) fn heard(&self, slot: usize) -> Option<ParticipantId> {
        self.audio.get(slot)?.heard
    }

    /// What is shown in video slot `slot`.
    pub(crate) fn shown(&self, slot: usize) -> Option<Shown> {
        self.video.get(slot)?.shown
    }

    /// What the participant is meant to look at.
    pub(crate) fn focus(&self) -> Option<Focus> {
        self.focus
    }

    /// How many slots of a kind there are, of that of which there are more.
    pub(crate) fn width(&self) -> usize {
        self.audio.len().max(self.video.len())
    }

    /// Who is in some slot or in focus; some more than once.
    pub(crate) fn holds(&self) -> impl Iterator<Item = ParticipantId> + '_ {
        let heard = self.audio.iter().filter_map(|slot| slot.heard);
        let shown = self.video.iter().filter_map(|slot| slot.shown);
        heard.chain(shown.map(|(who, _)| who)).chain(self.focus.map(|focus| focus.participant))
    }

    /// The video slot that shows this.
    pub(crate) fn slot_showing(&self, shown: Shown) -> Option<usize> {
        self.video.iter().position(|slot| slot.shown == Some(shown))
    }

    /// Decides anew for these candidates. Deciding twice for the same candidates changes nothing.
    pub(crate) fn assign(&mut self, candidates: &[Candidate]) {
        self.focus = focus(candidates, self.focus);
        if self.fits(candidates) {
            self.assign_all(candidates);
        } else {
            let shown = self.choose_shown(candidates);
            self.place_shown(&shown);
            let heard = self.choose_heard(candidates);
            self.place_heard(&heard);
        }
    }

    /// Whether everybody can have a pair of their own, and every screen a slot beside them.
    fn fits(&self, candidates: &[Candidate]) -> bool {
        let people = candidates.iter().filter(|c| c.microphone != Published::No || c.camera != Published::No).count();
        let screens = candidates.iter().filter(|c| c.screen == Published::Yes).count();
        let pairs = match (self.audio.is_empty(), self.video.is_empty()) {
            (false, false) => self.homes().count(),
            (false, true) => self.audio.len(),
            (true, _) => self.video.len(),
        };
        people <= pairs && (self.video.is_empty() || people + screens <= self.video.len())
    }

    /// The pairs that have both an audio and a video slot.
    fn homes(&self) -> impl Iterator<Item = usize> + '_ {
        let mut pairs: Vec<usize> = self
            .audio
            .iter()
            .filter_map(|a| a.pair)
            .filter(|&k| self.video.iter().any(|v| v.pair == Some(k)))
            .collect();
        pairs.sort_unstable();
        pairs.into_iter()
    }

    fn assign_all(&mut self, candidates: &[Candidate]) {
        // With one kind of slot only, the slots themselves are the homes.
        let homes: Vec<(Option<usize>, Option<usize>)> = match (self.audio.is_empty(), self.video.is_empty()) {
            (false, false) => self
                .homes()
                .map(|k| {
                    (
                        self.audio.iter().position(|a| a.pair == Some(k)),
                        self.video.iter().position(|v| v.pair == Some(k)),
                    )
                })
                .collect(),
            (false, true) => (0..self.audio.len()).map(|i| (Some(i), None)).collect(),
            (true, _) => (0..self.video.len()).map(|i| (None, Some(i))).collect(),
        };
        let mut people: Vec<&Candidate> =
            candidates.iter().filter(|c| c.microphone != Published::No || c.camera != Published::No).collect();
        people.sort_by_key(|c| c.joined);
        let mut owner: Vec<Option<&Candidate>> = vec![None; homes.len()];
        // Whoever sits somewhere stays there; where a larger room had put the two apart, the face stays and the voice moves.
        for by_face in [true, false] {
            for person in &people {
                if owner.iter().flatten().any(|o| o.participant == person.participant) {
                    continue;
                }
                let sits = |(audio, video): &(Option<usize>, Option<usize>)| {
                    if by_face {
                        video.is_some_and(|v| self.shown(v) == Some((person.participant, Source::Camera)))
                    } else {
                        audio.is_some_and(|a| self.heard(a) == Some(person.participant))
                    }
                };
                if let Some(home) = homes.iter().position(sits).filter(|&home| owner[home].is_none()) {
                    owner[home] = Some(person);
                }
            }
        }
        let wanted_screens: Vec<ParticipantId> =
            candidates.iter().filter(|c| c.screen == Published::Yes).map(|c| c.participant).collect();
        let screen_at = |video: usize| match self.shown(video) {
            Some((who, Source::Screen)) => wanted_screens.contains(&who),
            _ => false,
        };
        for person in &people {
            if owner.iter().flatten().any(|o| o.participant == person.participant) {
                continue;
            }
            let free = |home: &usize| owner[*home].is_none();
            let quiet = |home: &usize| free(home) && !homes[*home].1.is_some_and(screen_at);
            let home = (0..homes.len()).find(quiet).or_else(|| (0..homes.len()).find(free));
            if let Some(home) = home {
                owner[home] = Some(person);
            }
        }

        let mut heard = vec![None; self.audio.len()];
        let mut shown: Vec<Option<Shown>> = vec![None; self.video.len()];
        let mut reserved = vec![false; self.video.len()];
        for (&(audio, video), owner) in homes.iter().zip(&owner) {
            let Some(person) = owner else { continue };
            if let Some(audio) = audio
                && person.microphone != Published::No
            {
                heard[audio] = Some(person.participant);
            }
            if let Some(video) = video {
                reserved[video] = true;
                if person.camera != Published::No {
                    shown[video] = Some((person.participant, Source::Camera));
                }
            }
        }
        // Screens: where they were, else beside the people, from the far end.
        let mut waiting = Vec::new();
        for &who in &wanted_screens {
            let screen = Some((who, Source::Screen));
            match (0..self.video.len()).find(|&v| !reserved[v] && self.shown(v) == screen) {
                Some(video) => {
                    reserved[video] = true;
                    shown[video] = screen;
                }
                None => waiting.push(who),
            }
        }
        for who in waiting {
            let unsynchronised = (0..self.video.len()).find(|&v| !reserved[v] && self.video[v].pair.is_none());
            if let Some(video) = unsynchronised.or_else(|| (0..self.video.len()).rev().find(|&v| !reserved[v])) {
                reserved[video] = true;
                shown[video] = Some((who, Source::Screen));
            }
        }
        for (slot, heard) in self.audio.iter_mut().zip(heard) {
            slot.heard = heard;
        }
        for (slot, shown) in self.video.iter_mut().zip(shown) {
            slot.shown = shown;
        }
    }

    /// The cameras and screens that a larger room shows, as many as there are slots.
    fn choose_shown(&self, candidates: &[Candidate]) -> Vec<Shown> {
        let member = |shown: Shown| self.video.iter().any(|slot| slot.shown == Some(shown));
        let mut ranked = Vec::new();
        let in_focus = |shown| self.focus.is_some_and(|focus| (focus.participant, focus.source) == shown);
        for c in candidates {
            if c.screen == Published::Yes {
                let rank = match c.pinned {
                    _ if in_focus((c.participant, Source::Screen)) => 5,
                    true => 4,
                    false => 3,
                };
                ranked.push((rank, c, (c.participant, Source::Screen)));
            }
            if c.camera == Published::Yes {
                let rank = match (c.pinned, c.on_stage) {
                    _ if in_focus((c.participant, Source::Camera)) => 5,
                    (true, _) => 4,
                    (false, true) => 2,
                    (false, false) => 0,
                };
                ranked.push((rank, c, (c.participant, Source::Camera)));
            }
        }
        ranked.sort_by(|(rank_a, a, shown_a), (rank_b, b, shown_b)| {
            (rank_b.cmp(rank_a))
                .then(b.last_active.cmp(&a.last_active))
                .then(member(*shown_b).cmp(&member(*shown_a)))
                .then(a.joined.cmp(&b.joined))
        });
        ranked.truncate(self.video.len());
        ranked.into_iter().map(|(_, _, shown)| shown).collect()
    }

    fn place_shown(&mut self, wanted: &[Shown]) {
        for slot in &mut self.video {
            slot.shown = slot.shown.filter(|shown| wanted.contains(shown));
        }
        for &(who, source) in wanted {
            if self.video.iter().any(|slot| slot.shown == Some((who, source))) {
                continue;
            }
            let free = |slot: &VideoSlot| slot.shown.is_none();
            let voice = |slot: &VideoSlot| {
                slot.pair.and_then(|k| self.audio.iter().find(|a| a.pair == Some(k))).and_then(|a| a.heard)
            };
            let place = match source {
                Source::Screen => (self.video.iter())
                    .position(|slot| free(slot) && slot.pair.is_none())
                    .or_else(|| self.video.iter().rposition(free)),
                _ => (self.video.iter())
                    .position(|slot| free(slot) && voice(slot) == Some(who))
                    .or_else(|| self.video.iter().position(|s| free(s) && s.pair.is_some() && voice(s).is_none()))
                    .or_else(|| self.video.iter().position(|s| free(s) && s.pair.is_some()))
                    .or_else(|| self.video.iter().position(free)),
            };
            if let Some(place) = place {
                self.video[place].shown = Some((who, source));
            }
        }
    }

    /// The voices that a larger room hears, as many as there are slots.
    fn choose_heard(&self, candidates: &[Candidate]) -> Vec<ParticipantId> {
        let member = |who| self.audio.iter().any(|slot| slot.heard == Some(who));
        let rank = |c: &Candidate| -> (u8, i64, bool) {
            let member = member(c.participant);
            match (c.pinned, c.speaking) {
                (true, _) => (2, 0, member),
                (false, true) => (1, i64::from(c.loudness + if member { MEMBER_BONUS_DB } else { 0 }), member),
                (false, false) => (0, i64::try_from(c.last_active).unwrap_or(i64::MAX), member),
            }
        };
        let mut ranked: Vec<&Candidate> = candidates.iter().filter(|c| c.microphone == Published::Yes).collect();
        ranked.sort_by(|a, b| rank(b).cmp(&rank(a)).then(a.joined.cmp(&b.joined)));
        ranked.truncate(self.audio.len());
        ranked.into_iter().map(|c| c.participant).collect()
    }

    /// Places voices after faces: a voice belongs beside its face, because a browser synchronises the two slots of a pair, and an
    /// audio slot may change hands at any packet.
    fn place_heard(&mut self, wanted: &[ParticipantId]) {
        let before: Vec<Option<ParticipantId>> = self.audio.iter().map(|slot| slot.heard).collect();
        let face = |slot: &AudioSlot| {
            let video = slot.pair.and_then(|k| self.video.iter().find(|v| v.pair == Some(k)))?;
            video.shown.filter(|(who, source)| *source == Source::Camera && wanted.contains(who)).map(|(who, _)| who)
        };
        let mut heard: Vec<Option<ParticipantId>> = self.audio.iter().map(face).collect();
        for stay in [true, false] {
            for &who in wanted {
                if heard.contains(&Some(who)) {
                    continue;
                }
                let fits = |i: &usize| heard[*i].is_none() && (!stay || before[*i] == Some(who));
                if let Some(place) = (0..heard.len()).find(fits) {
                    heard[place] = Some(who);
                }
            }
        }
        for (slot, heard) in self.audio.iter_mut().zip(heard) {
            slot.heard = heard;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
