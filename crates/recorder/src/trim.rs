//! Where a note begins and ends once silence at both ends is cut off, without encoding anything anew. Opus needs to hear 80 ms before it is right
//! (RFC 7845, 4.6), which stay in the file and are skipped by players; a video begins at a keyframe, or not later than it does.

use crate::loudness::Loudness;
use crate::timeline::{AudioFrame, Timeline, VideoFrame};

/// What stays before the first word, in samples: 200 ms, so that no breath is cut into.
const LEAD: i64 = 9_600;

/// What stays after the last word, in samples: 300 ms.
const TRAIL: i64 = 14_400;

/// What a decoder needs to hear beforehand, in samples: 80 ms.
const PRE_ROLL: i64 = 3_840;

/// The encoder's delay, which players skip at the very beginning: libopus has 6.5 ms.
const ENCODER_DELAY: i64 = 312;

/// What of a take becomes the note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut<'a> {
    pub(crate) audio: &'a [AudioFrame],
    pub(crate) video: &'a [VideoFrame],
    /// Samples that a player skips at the beginning of the sound.
    pub(crate) pre_skip: u16,
    /// From where to where the note goes, in the take's samples.
    pub(crate) begin: i64,
    pub(crate) end: i64,
}

/// All of it.
pub(crate) fn whole(take: &Timeline) -> Cut<'_> {
    let begin = [take.audio.first().map(|frame| frame.at), take.video.first().map(|frame| frame.at)];
    let begin = begin.into_iter().flatten().min().unwrap_or(0);
    let pre_skip = ENCODER_DELAY as u16;
    Cut { audio: &take.audio, video: &take.video, pre_skip, begin, end: take.end() }
}

/// A take without the silence at its ends.
pub(crate) fn silence<'a>(take: &'a Timeline, loudness: &Loudness) -> Cut<'a> {
    let whole = whole(take);
    let Some((origin, (from, to))) = take.audio.first().map(|frame| frame.at).zip(loudness.voice()) else {
        return whole;
    };
    let mut begin = (origin + from - LEAD).max(whole.begin);
    let end = (origin + to + TRAIL).min(whole.end);
    let video = match take.video.as_slice() {
        [] => &[],
        video => {
            // The last keyframe by which the voice has not begun.
            let first = video.iter().rposition(|frame| frame.keyframe.is_some() && frame.at <= begin).unwrap_or(0);
            let last = video.iter().rposition(|frame| frame.at < end).unwrap_or(0).max(first);
            begin = video.get(first).map_or(begin, |frame| frame.at.min(begin));
            video.get(first..=last).unwrap_or_default()
        }
    };
    if begin == whole.begin {
        let until = take.audio.iter().rposition(|frame| frame.at < end).map_or(0, |last| last + 1);
        return Cut { audio: take.audio.get(..until).unwrap_or_default(), video, end, ..whole };
    }
    // Beside pictures players cannot be trusted to skip, so that the sound begins as it will be heard.
    let pre_roll = if video.is_empty() { PRE_ROLL } else { 0 };
    let first = take.audio.partition_point(|frame| frame.end() <= begin - pre_roll);
    let last = take.audio.partition_point(|frame| frame.at < end).max(first);
    let audio = take.audio.get(first..last).unwrap_or_default();
    let skipped = audio.first().map_or(0, |frame| begin - frame.at).max(0);
    Cut { audio, video, pre_skip: u16::try_from(skipped).unwrap_or(u16::MAX), begin, end }
}
