//! H.264 profiles as offers name them (RFC 6184, section 8.1): which of them a room takes, and whose stream whose decoder can read. Levels are
//! limits on what is received, not properties of the stream, and are left to the sender.

use super::codec::Codec;

/// A profile, of those that differ for a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    ConstrainedHigh,
    High,
    /// Extended, the professional ones, and what is no profile.
    Other,
}

impl Profile {
    /// The profile of a format, by RFC 6184's table 5; Baseline where it names none.
    pub(super) fn of(codec: &Codec) -> Self {
        let Some(named) = codec.parameter("profile-level-id") else { return Self::Baseline };
        let number = u32::from_str_radix(named, 16).ok().filter(|_| named.len() == 6);
        let Some([_, profile, constraints, _]) = number.map(u32::to_be_bytes) else { return Self::Other };
        match (profile, constraints) {
            (0x42, iop) if iop & 0x4F == 0x40 => Self::ConstrainedBaseline,
            (0x4D, iop) if iop & 0x8F == 0x80 => Self::ConstrainedBaseline,
            (0x58, iop) if iop & 0xCF == 0xC0 => Self::ConstrainedBaseline,
            (0x42, iop) if iop & 0x4F == 0x00 => Self::Baseline,
            (0x58, iop) if iop & 0xCF == 0x80 => Self::Baseline,
            (0x4D, iop) if iop & 0xAF == 0x00 => Self::Main,
            (0x64, 0x0C) => Self::ConstrainedHigh,
            (0x64, 0x00) => Self::High,
            _ => Self::Other,
        }
    }

    /// Whether a decoder of this profile reads a stream of the other.
    pub(super) fn decodes(self, sent: Self) -> bool {
        match sent {
            Self::Other => false,
            Self::ConstrainedBaseline => self != Self::Other,
            Self::Baseline => self == Self::Baseline,
            Self::Main => matches!(self, Self::Main | Self::High),
            Self::ConstrainedHigh => matches!(self, Self::ConstrainedHigh | Self::High),
            Self::High => self == Self::High,
        }
    }
}

/// Whether rooms take this format. Only packetization mode 1, which every WebRTC endpoint has (RFC 7742, section 6.2): a mode 0 receiver
/// could not be sent what others send.
pub(super) fn is_taken(codec: &Codec) -> bool {
    codec.parameter("packetization-mode") == Some("1") && Profile::of(codec) != Profile::Other
}

/// The answer's format parameters: those that must be the offer's for the payload type to mean the same (RFC 6184, section 8.2.2). What the
/// offer says of its sender's own stream (`sprop-…`) is not for others to repeat.
pub(super) fn answer_fmtp(codec: &Codec) -> String {
    const REPEATED: [&str; 3] = ["level-asymmetry-allowed", "packetization-mode", "profile-level-id"];
    let repeated = REPEATED.iter().filter_map(|name| Some(format!("{name}={}", codec.parameter(name)?)));
    repeated.collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::super::codec::{CodecName, FeedbackSet};
    use super::*;

    fn format(fmtp: &str) -> Codec {
        Codec {
            name: CodecName::H264,
            payload_type: 102,
            rtx_payload_type: None,
            clock_rate: 90_000,
            fmtp: fmtp.to_owned(),
            feedback: FeedbackSet::default(),
        }
    }

    fn profile(id: &str) -> Profile {
        Profile::of(&format(&format!("packetization-mode=1;profile-level-id={id}")))
    }

    #[test]
    fn profiles_are_told_by_their_constraints() {
        for (ids, expected) in [
            (&["42e01f", "42C01F", "42401f", "4d801f", "58c01f"][..], Profile::ConstrainedBaseline),
            (&["42001f", "42801f", "58801f"], Profile::Baseline),
            (&["4d001f", "4d401f"], Profile::Main),
            (&["640c1f", "640C34"], Profile::ConstrainedHigh),
            (&["64001f"], Profile::High),
            (&["6e001f", "f4001f", "58001f", "42e0", "42e01f00", "+2e01f", "zzzzzz", ""], Profile::Other),
        ] {
            for id in ids {
                assert_eq!(profile(id), expected, "{id}");
            }
        }
        assert_eq!(Profile::of(&format("packetization-mode=1")), Profile::Baseline);
    }

    #[test]
    fn everybody_decodes_constrained_baseline_and_nobody_what_is_beyond_them() {
        let decodes = |ours: &str, theirs: &str| profile(ours).decodes(profile(theirs));
        for ours in ["42e01f", "42001f", "4d001f", "640c1f", "64001f"] {
            assert!(decodes(ours, "42c029"), "{ours}");
            assert!(decodes(ours, ours), "{ours}");
        }
        assert!(decodes("64001f", "4d001f") && decodes("64001f", "640c1f"));
        assert!(!decodes("42e01f", "42001f") && !decodes("42e01f", "4d001f") && !decodes("4d001f", "64001f"));
        assert!(!decodes("640c1f", "4d001f") && !decodes("f4001f", "42e01f") && !decodes("f4001f", "f4001f"));
    }

    #[test]
    fn only_packetization_mode_1_is_taken_and_the_answer_repeats_what_it_must() {
        assert!(!is_taken(&format("profile-level-id=42e01f")));
        assert!(!is_taken(&format("packetization-mode=0;profile-level-id=42e01f")));
        assert!(!is_taken(&format("packetization-mode=1;profile-level-id=f4001f")));
        let whip = format("sprop-parameter-sets=Z0LAH9kA,aMuMsg==;packetization-mode=1; profile-level-id=42C01F");
        assert!(is_taken(&whip));
        assert_eq!(answer_fmtp(&whip), "packetization-mode=1;profile-level-id=42C01F");
    }
}
