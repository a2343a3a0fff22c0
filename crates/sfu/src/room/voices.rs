//! Voices: how loud each microphone is, by its client's word or by our own ears, and what the stage detector makes of it: who speaks,
//! who is on the stage.

use std::time::Instant;

use ringback_transport::sdp::CodecName;

use super::Room;
use super::listening::{Turn, Wish, take_turns};
use crate::decoding::{Heard, Unheard, packet_ms};
use crate::events::SfuEvent;
use crate::forward::{Packet, codec};
use crate::ids::Source;
use crate::level_source::{LevelSource, Word};
use crate::publisher::Track;
use crate::speaking::parse_level;
use crate::stage::{StageChange, StageReason};

/// The loudness of a voice follows its level by this fraction (one eighth) with each packet: about 160 ms at 20 ms a packet.
const LOUDNESS_SHARE: i32 = 8;

/// How loud a voice is before anything is known of it, in dBov × 16.
const UNHEARD: i32 = -127 * 16;

/// What a room knows of a member's voice.
#[derive(Debug)]
pub(super) struct Voice {
    /// Whether their light is on.
    pub(super) speaking: bool,
    /// Smoothed, in dBov × 16.
    pub(super) loudness: i32,
    /// When they last spoke, in ms since the room began; 0: never.
    pub(super) last_active: u64,
    /// Which of the room's changes of the stage put them there last; 0: none has.
    pub(super) staged: u64,
    /// Muted, without a microphone, or not admitted.
    silent: bool,
    source: LevelSource,
    turn: Turn,
}

impl Voice {
    pub(super) fn new() -> Self {
        Self {
            speaking: false,
            loudness: UNHEARD,
            last_active: 0,
            staged: 0,
            silent: true,
            source: LevelSource::new(),
            turn: Turn::default(),
        }
    }
}

impl Voice {
    /// Whose word counts for their level.
    pub(super) fn word(&self) -> Word {
        self.source.word()
    }
}

/// The Opus that a microphone's packet holds; of RED the newest block.
pub(super) fn opus_of<'p>(track: &Track, packet: &Packet<'p>) -> Option<&'p [u8]> {
    let payload = match track.codecs.get(usize::from(packet.codec))?.name {
        CodecName::Opus => packet.payload,
        CodecName::Red => packet.payload.get(codec::red_primary(packet.payload)?..)?,
        _ => return None,
    };
    (!payload.is_empty()).then_some(payload)
}

impl Room {
    /// A voice packet has come: what it says of its level (RFC 6464), and its Opus.
    pub(super) fn on_voice(&mut self, now: Instant, key: usize, rtp_time: u32, level: Option<u8>, opus: &[u8]) {
        let Some(member) = self.members.get_mut(key) else { return };
        let claim = level.and_then(|level| parse_level(&[level]));
        // What is no Opus is encrypted end to end: its length says nothing, its level does.
        let ms = packet_ms(opus).unwrap_or(20.0);
        let loudness = claim.map(|(loudness, _)| loudness);
        match (member.voice.source.on_packet(now, loudness, opus.len(), ms), claim) {
            (Some(level), Some((_, voice))) => self.heard(now, key, rtp_time, level, voice),
            _ if member.voice.turn.is_listened() => {
                let (participant, claim) = (member.id, loudness);
                self.ears.listen(Unheard { participant, rtp_time, claim, ms, payload: opus });
            }
            _ => {}
        }
    }

    /// A voice packet was listened to.
    pub(crate) fn on_heard(&mut self, now: Instant, key: usize, heard: Heard) {
        let Some(voice) = self.members.get_mut(key).map(|member| &mut member.voice) else { return };
        if voice.turn.on_heard(now, heard.level.is_some()) {
            voice.source.on_undecodable();
        }
        let Some(level) = heard.level else { return };
        let before = voice.source.word();
        voice.source.on_heard(heard.claim, level, heard.ms);
        // From when trust is back on, the client's later packets are ahead of what is still being listened to.
        if before != Word::Client && !voice.silent {
            self.heard(now, key, heard.rtp_time, level, true);
        }
    }

    /// How loud a voice packet is, 0 (loudest) to 127 (silence) -dBov, and whether it is said to be voice.
    fn heard(&mut self, now: Instant, key: usize, rtp_time: u32, level: u8, is_voice: bool) {
        let Some(member) = self.members.get_mut(key) else { return };
        member.voice.loudness += (-i32::from(level) * 16 - member.voice.loudness) / LOUDNESS_SHARE;
        let change = self.stage.on_level(now, member.id, rtp_time, level, is_voice);
        self.staged(change);
        let Some(member) = self.members.get_mut(key) else { return };
        if member.voice.speaking {
            member.voice.last_active = now.saturating_duration_since(self.origin).as_millis() as u64 + 1;
        }
    }

    /// The stage learns whether a member can be heard.
    pub(super) fn sync_voice(&mut self, now: Instant, key: usize) {
        let (Some(member), Some(publisher)) = (self.members.get_mut(key), self.publishers.get(key)) else { return };
        let microphone = publisher.tracks.iter().find(|track| track.source == Source::Microphone);
        member.voice.silent = !member.admitted || microphone.is_none_or(|track| track.muted);
        let change = self.stage.set_muted(now, member.id, member.voice.silent);
        self.staged(change);
    }

    /// Lets lights of voices that send nothing go out, the stage move on, and microphones take turns at the ears.
    pub(super) fn tick_voices(&mut self, now: Instant) {
        let change = self.stage.handle_timeout(now);
        self.staged(change);
        if !self.leads {
            // The deciding shard hears everybody, and says what it heard.
            return;
        }
        let mut wishes = std::mem::take(&mut self.wishes);
        wishes.clear();
        let on_stage = self.stage.on_stage();
        for (key, member) in &mut self.members {
            let voice = &mut member.voice;
            if voice.silent || !voice.source.wants_ears(now) || !voice.turn.is_open(now) {
                voice.turn.rest();
                continue;
            }
            wishes.push(Wish {
                member: key,
                restlessness: voice.source.restlessness(),
                speaks: voice.speaking || on_stage == Some(member.id),
                turn: voice.turn,
            });
        }
        take_turns(now, &mut wishes);
        for wish in &wishes {
            if let Some(member) = self.members.get_mut(wish.member) {
                member.voice.turn = wish.turn;
            }
        }
        self.wishes = wishes;
    }

    /// Takes note of what the stage detector has just decided, and of the lights it has switched.
    pub(super) fn staged(&mut self, change: Option<StageChange>) {
        let mut any = false;
        while let Some((participant, lit)) = self.stage.poll_speaking() {
            if let Some((_, member)) = self.members.iter_mut().find(|(_, member)| member.id == participant) {
                any |= member.voice.speaking != lit;
                member.voice.speaking = lit;
            }
        }
        if any {
            self.changed = true;
            self.tell_speaking();
        }
        let Some(StageChange { participant, reason }) = change else { return };
        self.notices.extend(self.stage_notice(reason).map(|stage| (None, stage)));
        self.changed = true;
        if let Some((_, member)) = self.members.iter_mut().find(|(_, member)| Some(member.id) == participant) {
            self.stages += 1;
            member.voice.staged = self.stages;
        }
        if self.leads {
            self.events.push_back(SfuEvent::Stage { room: self.id, participant, reason });
        }
    }

    pub(super) fn tell_speaking(&mut self) {
        if !self.leads {
            return;
        }
        self.notices.extend(self.stage_notice(StageReason::Speaking).map(|stage| (None, stage)));
        let speaking = self.members.iter().filter(|(_, m)| m.voice.speaking).map(|(_, m)| m.id).collect();
        self.events.push_back(SfuEvent::Speaking { room: self.id, speaking });
    }
}
