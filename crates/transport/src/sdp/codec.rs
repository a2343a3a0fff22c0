//! Codecs in offers and answers: reading `a=rtpmap`, `a=fmtp` and `a=rtcp-fb` of a line, choosing by preference, and the
//! parameters an answer gives. Payload types belong to the offerer; an answer only ever uses the offerer's.

use rtc_sdp::MediaDescription;

use super::{MediaKind, h264};

/// Codecs this server knows by name. Which of them it accepts is for [`CodecPreferences`] to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodecName {
    /// Opus (RFC 7587).
    Opus,
    /// Redundant audio (RFC 2198) around Opus.
    Red,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
    /// H.264 (RFC 6184).
    H264,
    /// AV1 (AOM's RTP specification).
    Av1,
}

impl CodecName {
    /// Every one, in the order in which a room prefers them unless told otherwise.
    pub const ALL: [Self; 6] = [Self::Opus, Self::Red, Self::Vp8, Self::Vp9, Self::H264, Self::Av1];

    /// Its name in `a=rtpmap`, such as `VP9`.
    pub fn name(self) -> &'static str {
        self.rtpmap().split('/').next().unwrap_or_default()
    }

    /// The codec of a name, in upper or lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    /// The name, clock rate and channels of `a=rtpmap`.
    fn rtpmap(self) -> &'static str {
        match self {
            Self::Opus => "opus/48000/2",
            Self::Red => "red/48000/2",
            Self::Vp8 => "VP8/90000",
            Self::Vp9 => "VP9/90000",
            Self::H264 => "H264/90000",
            Self::Av1 => "AV1/90000",
        }
    }

    /// The kind of media it codes.
    pub fn kind(self) -> MediaKind {
        match self {
            Self::Opus | Self::Red => MediaKind::Audio,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 => MediaKind::Video,
        }
    }

    /// The RTP clock in Hz.
    pub fn clock_rate(self) -> u32 {
        match self.kind() {
            MediaKind::Audio => 48_000,
            MediaKind::Video => 90_000,
        }
    }
}

/// Which codecs a room accepts, and in which order an answer lists them: a browser sends with the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecPreferences {
    names: Vec<CodecName>,
}

impl CodecPreferences {
    /// Accepts `names`, most preferred first. Audio and video do not compete, so their order among each other is free.
    pub fn new(names: impl IntoIterator<Item = CodecName>) -> Self {
        Self { names: names.into_iter().collect() }
    }

    /// The same codecs with `first` in front, accepted if they were not.
    #[must_use]
    pub fn preferring(self, first: impl IntoIterator<Item = CodecName>) -> Self {
        let mut names: Vec<CodecName> = Vec::new();
        for name in first.into_iter().chain(self.names) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Self { names }
    }

    /// The accepted codecs, most preferred first.
    pub fn names(&self) -> &[CodecName] {
        &self.names
    }

    /// Those of one kind of media that may stand alone, for a message.
    pub(super) fn of_kind(&self, kind: MediaKind) -> String {
        let alone = self.names.iter().filter(|name| name.kind() == kind && **name != CodecName::Red);
        let names = alone.map(|name| name.rtpmap());
        names.collect::<Vec<_>>().join(" or ")
    }
}

impl Default for CodecPreferences {
    /// All codecs, Opus and VP8 first: every WebRTC endpoint has to support those (RFC 7874, RFC 7742). RED behind Opus is received from
    /// whoever chooses to send it; a browser sends it where it stands before Opus.
    fn default() -> Self {
        Self::new(CodecName::ALL)
    }
}

impl<const N: usize> From<[CodecName; N]> for CodecPreferences {
    fn from(names: [CodecName; N]) -> Self {
        Self::new(names)
    }
}

/// RTCP feedback that was negotiated for a codec (RFC 4585, RFC 5104, and Google's two).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedbackSet {
    /// `nack`: lost packets are reported and sent again.
    pub nack: bool,
    /// `nack pli`: a keyframe may be asked for.
    pub pli: bool,
    /// `ccm fir`: the same, with a sequence number.
    pub fir: bool,
    /// `transport-cc`: transport-wide congestion feedback.
    pub transport_cc: bool,
    /// `goog-remb`: the receiver's bandwidth estimate.
    pub remb: bool,
}

impl FeedbackSet {
    fn add(&mut self, feedback: &str) {
        match feedback {
            "nack" => self.nack = true,
            "nack pli" => self.pli = true,
            "ccm fir" => self.fir = true,
            "transport-cc" => self.transport_cc = true,
            "goog-remb" => self.remb = true,
            _ => {}
        }
    }

    /// The values of `a=rtcp-fb` after the payload type.
    fn names(self) -> impl Iterator<Item = &'static str> {
        [
            (self.remb, "goog-remb"),
            (self.transport_cc, "transport-cc"),
            (self.fir, "ccm fir"),
            (self.nack, "nack"),
            (self.pli, "nack pli"),
        ]
        .into_iter()
        .filter_map(|(negotiated, name)| negotiated.then_some(name))
    }
}

/// A codec that was agreed on for a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec {
    /// Which one.
    pub name: CodecName,
    /// The offerer's payload type.
    pub payload_type: u8,
    /// The offerer's payload type for its retransmissions (RFC 4588).
    pub rtx_payload_type: Option<u8>,
    /// The RTP clock in Hz.
    pub clock_rate: u32,
    /// The offerer's format parameters: what it can receive, such as an H.264 profile.
    pub fmtp: String,
    /// The feedback both sides use.
    pub feedback: FeedbackSet,
}

impl Codec {
    /// The value of a format parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        parameter(&self.fmtp, name)
    }

    /// Of RED: the payload type of its blocks, by the first of its format parameters (`111/111`).
    pub fn block_payload_type(&self) -> Option<u8> {
        let (first, _) = self.fmtp.split_once('/')?;
        payload_type(first.trim()).filter(|_| self.name == CodecName::Red)
    }

    /// Whether a line that negotiated this codec can be sent what another line's offerer sends as `sent`.
    pub fn takes(&self, sent: &Self) -> bool {
        self.name == sent.name
            && match self.name {
                CodecName::H264 => h264::Profile::of(self).decodes(h264::Profile::of(sent)),
                // Of these a room takes one profile each.
                CodecName::Opus | CodecName::Red | CodecName::Vp8 | CodecName::Vp9 | CodecName::Av1 => true,
            }
    }

    /// Whether rooms take this format of the codec: those that browsers send. More would lengthen each answer by a third for nobody.
    fn is_taken(&self) -> bool {
        let profile = |name| self.parameter(name).is_none_or(|profile| profile == "0");
        match self.name {
            CodecName::Opus | CodecName::Red | CodecName::Vp8 => true,
            CodecName::Vp9 => profile("profile-id"),
            CodecName::Av1 => profile("profile"),
            CodecName::H264 => h264::is_taken(self),
        }
    }

    /// The format parameters of the answer: what this server, that is the other participants, can receive.
    fn answer_fmtp(&self) -> String {
        match self.name {
            CodecName::Opus => {
                // No `stereo`: voices are mono, and a stereo sender would double what every subscriber receives. DTX (RFC 7587, section
                // 3.1.3): of a room most are silent most of the time.
                format!("minptime={};useinbandfec=1;usedtx=1", self.minptime())
            }
            // The offerer's limits on frame size are about what it receives.
            CodecName::Vp8 => String::new(),
            // Profiles and the payload types inside RED are part of the format: the answer repeats them.
            CodecName::Red | CodecName::Vp9 | CodecName::Av1 => self.fmtp.clone(),
            CodecName::H264 => h264::answer_fmtp(self),
        }
    }

    /// The offerer's shortest packet in milliseconds; 10 if it says none (RFC 7587 allows 3 to 120).
    fn minptime(&self) -> u8 {
        self.parameter("minptime")
            .and_then(|value| value.parse().ok())
            .filter(|value| (3..=120).contains(value))
            .unwrap_or(10)
    }

    /// Adds the codec, and its retransmissions, to a line of the answer.
    pub(super) fn describe(&self, line: MediaDescription) -> MediaDescription {
        let payload_type = self.payload_type;
        let mut line = add_format(line, payload_type, self.name.rtpmap(), &self.answer_fmtp());
        for feedback in self.feedback.names() {
            line = line.with_value_attribute("rtcp-fb".into(), format!("{payload_type} {feedback}"));
        }
        match self.rtx_payload_type {
            Some(rtx) => add_format(line, rtx, "rtx/90000", &format!("apt={payload_type}")),
            None => line,
        }
    }
}

fn add_format(mut line: MediaDescription, payload_type: u8, rtpmap: &str, fmtp: &str) -> MediaDescription {
    line.media_name.formats.push(payload_type.to_string());
    let line = line.with_value_attribute("rtpmap".into(), format!("{payload_type} {rtpmap}"));
    if fmtp.is_empty() { line } else { line.with_value_attribute("fmtp".into(), format!("{payload_type} {fmtp}")) }
}

/// The value of `name` among `;`-separated `name=value` parameters.
fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The values of all attributes `key` of a line that begin with `payload_type`, without it.
fn about<'a>(line: &'a MediaDescription, key: &'a str, payload_type: &'a str) -> impl Iterator<Item = &'a str> {
    line.attributes.iter().filter(move |attribute| attribute.key == key).filter_map(move |attribute| {
        let (about, rest) = attribute.value.as_deref()?.split_once(' ')?;
        (about == payload_type || (about == "*" && key == "rtcp-fb")).then(|| rest.trim())
    })
}

/// The payload type of a format, unless RTP must not use it: 64 to 95 would be taken for RTCP on the same port
/// (RFC 5761, section 4).
fn payload_type(format: &str) -> Option<u8> {
    let number: u8 = format.parse().ok()?;
    matches!(number, 0..=63 | 96..=127).then_some(number)
}

/// What `a=rtpmap` says, in lower case: codec names are case-insensitive.
fn mapping(line: &MediaDescription, format: &str) -> Option<String> {
    about(line, "rtpmap", format).next().map(str::to_ascii_lowercase)
}

/// The known codec that a format of an offer is.
fn known(line: &MediaDescription, format: &str) -> Option<CodecName> {
    match mapping(line, format)?.as_str() {
        // RFC 7587 wants the channels; GStreamer's webrtcbin leaves them out where it only receives.
        "opus/48000/2" | "opus/48000" => Some(CodecName::Opus),
        "red/48000/2" => Some(CodecName::Red),
        "vp8/90000" => Some(CodecName::Vp8),
        "vp9/90000" => Some(CodecName::Vp9),
        "h264/90000" => Some(CodecName::H264),
        "av1/90000" | "av1x/90000" => Some(CodecName::Av1),
        _ => None,
    }
}

/// All codecs of an offered line that this server knows, in the offerer's order.
pub(super) fn offered(line: &MediaDescription, kind: MediaKind) -> Vec<Codec> {
    let formats = &line.media_name.formats;
    let rtx: Vec<(u8, u8)> = formats
        .iter()
        .filter(|format| mapping(line, format).as_deref() == Some("rtx/90000"))
        .filter_map(|format| {
            let apt = about(line, "fmtp", format).find_map(|fmtp| parameter(fmtp, "apt"))?;
            Some((payload_type(apt)?, payload_type(format)?))
        })
        .collect();
    let mut codecs: Vec<Codec> = Vec::new();
    for format in formats {
        let (Some(payload_type), Some(name)) = (payload_type(format), known(line, format)) else { continue };
        if name.kind() != kind || codecs.iter().any(|codec| codec.payload_type == payload_type) {
            continue;
        }
        let mut feedback = FeedbackSet::default();
        about(line, "rtcp-fb", format).for_each(|name| feedback.add(name));
        let printable = |fmtp: &&str| fmtp.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        codecs.push(Codec {
            name,
            payload_type,
            rtx_payload_type: rtx.iter().find(|(apt, _)| *apt == payload_type).map(|(_, rtx)| *rtx),
            clock_rate: name.clock_rate(),
            fmtp: about(line, "fmtp", format).find(printable).unwrap_or_default().to_owned(),
            feedback,
        });
    }
    codecs
}

/// Those of `offered` that are accepted, most preferred first; of H.264 what every decoder reads comes first. Redundant audio is nothing without
/// the Opus that its blocks are.
pub(super) fn choose(offered: &[Codec], preferences: &CodecPreferences) -> Vec<Codec> {
    let mut chosen: Vec<Codec> = Vec::new();
    for name in &preferences.names {
        let of_name = chosen.len();
        chosen.extend(offered.iter().filter(|codec| codec.name == *name && codec.is_taken()).cloned());
        if *name == CodecName::H264 {
            chosen[of_name..].sort_by_key(|codec| h264::Profile::of(codec) != h264::Profile::ConstrainedBaseline);
        }
    }
    let opus: Vec<u8> = chosen.iter().filter(|c| c.name == CodecName::Opus).map(|c| c.payload_type).collect();
    chosen.retain(|c| c.name != CodecName::Red || c.block_payload_type().is_some_and(|block| opus.contains(&block)));
    chosen
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn line(kind: &str, formats: &str, attributes: &[&str]) -> MediaDescription {
        let mut line = MediaDescription::new_jsep_media_description(kind.into(), vec![]);
        line.media_name.formats = formats.split(' ').map(str::to_owned).collect();
        for attribute in attributes {
            let (key, value) = attribute.split_once(':').unwrap();
            line = line.with_value_attribute(key.into(), value.into());
        }
        line
    }

    #[test]
    fn retransmissions_and_feedback_belong_to_the_codec_they_name() {
        let offer = line(
            "video",
            "98 96 97 99",
            &[
                "rtpmap:96 VP8/90000",
                "rtpmap:98 VP9/90000",
                "rtpmap:97 rtx/90000",
                "fmtp:97 apt=96",
                "rtpmap:99 rtx/90000",
                "fmtp:99 apt=98",
                "rtcp-fb:96 nack",
                "rtcp-fb:* ccm fir",
                "fmtp:98 profile-id=0",
            ],
        );
        let codecs =
            choose(&offered(&offer, MediaKind::Video), &CodecPreferences::new([CodecName::Vp8, CodecName::Vp9]));
        let seen: Vec<_> =
            codecs.iter().map(|codec| (codec.name, codec.payload_type, codec.rtx_payload_type)).collect();
        assert_eq!(seen, [(CodecName::Vp8, 96, Some(97)), (CodecName::Vp9, 98, Some(99))]);
        assert_eq!(codecs[0].feedback, FeedbackSet { nack: true, fir: true, ..Default::default() });
        assert_eq!(codecs[1].feedback, FeedbackSet { fir: true, ..Default::default() });
        assert_eq!(codecs[1].parameter("profile-id"), Some("0"));
    }

    #[test]
    fn opus_is_answered_with_error_correction_and_dtx_and_without_stereo() {
        for (offered_fmtp, answered) in [
            ("minptime=20;useinbandfec=0;stereo=1;usedtx=1", "minptime=20;useinbandfec=1;usedtx=1"),
            ("maxplaybackrate=48000;stereo=1", "minptime=10;useinbandfec=1;usedtx=1"),
            ("minptime=9999", "minptime=10;useinbandfec=1;usedtx=1"),
        ] {
            let fmtp = format!("fmtp:111 {offered_fmtp}");
            let offer = line("audio", "111", &["rtpmap:111 OPUS/48000/2", &fmtp]);
            assert_eq!(offered(&offer, MediaKind::Audio)[0].answer_fmtp(), answered);
        }
    }

    #[test]
    fn opus_without_its_channels_is_opus() {
        let offer = line("audio", "97", &["rtpmap:97 OPUS/48000"]);
        assert_eq!(offered(&offer, MediaKind::Audio)[0].name, CodecName::Opus);
    }

    #[test]
    fn payload_types_that_rtcp_would_be_mistaken_for_are_not_used() {
        for (format, known) in [("72", 0), ("95", 0), ("128", 0), ("300", 0), ("-1", 0), ("63", 1), ("127", 1)] {
            let mapping = format!("rtpmap:{format} VP8/90000");
            assert_eq!(offered(&line("video", format, &[&mapping]), MediaKind::Video).len(), known, "{format}");
        }
    }

    #[test]
    fn redundant_audio_alone_is_no_codec() {
        let both = CodecPreferences::new([CodecName::Opus, CodecName::Red]);
        let offer = line("audio", "63 111", &["rtpmap:63 red/48000/2", "fmtp:63 111/111"]);
        assert!(choose(&offered(&offer, MediaKind::Audio), &both).is_empty());
        let offer = offer.with_value_attribute("rtpmap".into(), "111 opus/48000/2".into());
        let chosen = choose(&offered(&offer, MediaKind::Audio), &both);
        assert_eq!(chosen.iter().map(|codec| codec.payload_type).collect::<Vec<_>>(), [111, 63]);
        assert_eq!(chosen[1].answer_fmtp(), "111/111");
        assert_eq!(chosen[1].block_payload_type(), Some(111));
        for other in ["63 9/9", "63 111", "63 999/999"] {
            let offer = line("audio", "63 111", &["rtpmap:63 red/48000/2", "rtpmap:111 opus/48000/2"]);
            let offer = offer.with_value_attribute("fmtp".into(), other.into());
            assert_eq!(choose(&offered(&offer, MediaKind::Audio), &both).len(), 1, "RED around {other}");
        }
    }

    #[test]
    fn preferred_codecs_come_first_and_the_others_after_them() {
        let preferences = CodecPreferences::default().preferring([CodecName::Av1, CodecName::Red]);
        use CodecName::{Av1, H264, Opus, Red, Vp8, Vp9};
        assert_eq!(preferences.names(), [Av1, Red, Opus, Vp8, Vp9, H264]);
        assert_eq!(CodecPreferences::from([Opus]).preferring([Vp9, Vp9]).names(), [Vp9, Opus]);
        assert_eq!(CodecName::from_name("h264"), Some(H264));
        assert_eq!((CodecName::from_name("h265"), CodecName::from_name("")), (None, None));
    }

    #[test]
    fn of_each_codec_the_formats_that_browsers_send_are_taken() {
        let offer = line(
            "video",
            "98 100 102 104 108 39 45 46",
            &[
                "rtpmap:98 VP9/90000",
                "fmtp:98 profile-id=0",
                "rtpmap:100 VP9/90000",
                "fmtp:100 profile-id=2",
                "rtpmap:102 H264/90000",
                "fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
                "rtpmap:104 H264/90000",
                "fmtp:104 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f",
                "rtpmap:108 H264/90000",
                "fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
                "rtpmap:39 H264/90000",
                "fmtp:39 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f",
                "rtpmap:45 AV1/90000",
                "rtpmap:46 AV1/90000",
                "fmtp:46 level-idx=5;profile=1;tier=0",
            ],
        );
        let chosen = choose(&offered(&offer, MediaKind::Video), &CodecPreferences::default());
        let payload_types: Vec<u8> = chosen.iter().map(|codec| codec.payload_type).collect();
        assert_eq!(payload_types, [98, 108, 102, 39, 45], "constrained baseline before the offerer's own order");
        assert!(chosen[2].takes(&chosen[1]) && !chosen[1].takes(&chosen[2]) && !chosen[0].takes(&chosen[1]));
    }
}
