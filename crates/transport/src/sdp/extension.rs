//! RTP header extensions in SDP (RFC 8285): which are known, which ids the offerer gave them, and in which direction
//! each may be used. Reading and writing them in packets is `rtp`'s business.

use rtc_sdp::MediaDescription;
use rtc_sdp::description::common::Attribute;

use super::direction::Direction;

/// The header extensions that mean something to a forwarding server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extension {
    /// The mid of the line a packet belongs to (RFC 9143).
    Mid,
    /// The simulcast layer (RFC 8852).
    Rid,
    /// The simulcast layer that a retransmission repairs (RFC 8852).
    RepairedRid,
    /// When the packet left, in 24 bits of 6.18 fixed-point seconds.
    AbsSendTime,
    /// A sequence number over the whole transport (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    TransportCc,
    /// The sender's audio level (RFC 6464).
    AudioLevel,
    /// AV1's dependency descriptor.
    DependencyDescriptor,
    /// Which simulcast layers a sender has, with sizes and bitrates.
    VideoLayersAllocation,
    /// How long a receiver should hold a frame.
    PlayoutDelay,
}

impl Extension {
    /// How many there are.
    const COUNT: usize = 9;

    /// Those a forwarding server uses; the dependency descriptor only where AV1 is. Never among them is video orientation: without it senders turn
    /// the pixels themselves, and recordings need no turning.
    pub const DEFAULT: [Self; 8] = [
        Self::Mid,
        Self::Rid,
        Self::RepairedRid,
        Self::AbsSendTime,
        Self::TransportCc,
        Self::AudioLevel,
        Self::DependencyDescriptor,
        Self::PlayoutDelay,
    ];

    fn from_uri(uri: &str) -> Option<Self> {
        match uri {
            "urn:ietf:params:rtp-hdrext:sdes:mid" => Some(Self::Mid),
            "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id" => Some(Self::Rid),
            "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id" => Some(Self::RepairedRid),
            "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time" => Some(Self::AbsSendTime),
            "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01" => Some(Self::TransportCc),
            "urn:ietf:params:rtp-hdrext:ssrc-audio-level" => Some(Self::AudioLevel),
            "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension" => {
                Some(Self::DependencyDescriptor)
            }
            "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00" => {
                Some(Self::VideoLayersAllocation)
            }
            "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay" => Some(Self::PlayoutDelay),
            _ => None,
        }
    }
}

/// The negotiated header extensions of a line, looked up by id and by meaning without hashing or searching. The two
/// directions differ where the offerer restricts one (`a=extmap:3/recvonly`).
#[derive(Clone, PartialEq)]
pub struct ExtensionMap {
    /// By extension: the id to write, 0 for none.
    ids: [u8; Extension::COUNT],
    /// By id: what it means on packets from the offerer.
    extensions: [Option<Extension>; 256],
}

impl Default for ExtensionMap {
    fn default() -> Self {
        Self { ids: [0; Extension::COUNT], extensions: [None; 256] }
    }
}

impl std::fmt::Debug for ExtensionMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let read = self.extensions.iter().enumerate().filter_map(|(id, extension)| Some((id, (*extension)?)));
        f.debug_map().entries(read).finish()
    }
}

impl ExtensionMap {
    /// The id with which to write `extension` on packets *to* the offerer; `None` if the offerer does not take it.
    #[inline]
    pub fn id_of(&self, extension: Extension) -> Option<u8> {
        match self.ids[extension as usize] {
            0 => None,
            id => Some(id),
        }
    }

    /// What `id` means on packets *from* the offerer; `None` if nothing was agreed on.
    #[inline]
    pub fn extension(&self, id: u8) -> Option<Extension> {
        self.extensions[usize::from(id)]
    }

    /// Agrees on `extension` under `id`, for packets from (`read`) or to (`write`) the offerer or both.
    pub fn insert(&mut self, extension: Extension, id: u8, read: bool, write: bool) {
        if read {
            self.extensions[usize::from(id)] = Some(extension);
        }
        if write {
            self.ids[extension as usize] = id;
        }
    }
}

/// One offered `a=extmap` that is known.
#[derive(Debug, Clone)]
pub(super) struct Offered {
    extension: Extension,
    id: u8,
    direction: Option<Direction>,
    uri: String,
}

/// The known extensions of a line, session-wide ones included. Ids above 14 need the two-byte form, which is only taken
/// from an offerer that can mix both (`a=extmap-allow-mixed`), so that small packets keep the short form. Ids for later
/// choice (4096 and above) are left out, which declines them.
pub(super) fn offered(line: &MediaDescription, session: &[Attribute], mixed: bool) -> Vec<Offered> {
    let mut found: Vec<Offered> = Vec::new();
    for attribute in line.attributes.iter().chain(session).filter(|attribute| attribute.key == "extmap") {
        let mut fields = attribute.value.as_deref().unwrap_or_default().split_whitespace();
        let (Some(id), Some(uri)) = (fields.next(), fields.next()) else { continue };
        let (id, direction) = match id.split_once('/') {
            Some((id, direction)) => match Direction::from_name(direction) {
                Some(direction) => (id, Some(direction)),
                None => continue,
            },
            None => (id, None),
        };
        let (Some(extension), Ok(id)) = (Extension::from_uri(uri), id.parse::<u8>()) else { continue };
        let id_is_usable = matches!(id, 1..=14) || (mixed && id > 15);
        let is_new = found.iter().all(|known| known.extension != extension && known.id != id);
        if id_is_usable && is_new {
            found.push(Offered { extension, id, direction, uri: uri.to_owned() });
        }
    }
    found
}

/// The id under which `extension` is offered.
pub(super) fn id_offered(offered: &[Offered], extension: Extension) -> Option<u8> {
    offered.iter().find(|offer| offer.extension == extension).map(|offer| offer.id)
}

/// What is accepted of `offered` on a line that is answered with `line_direction`: the map, and the values of the
/// answer's `a=extmap` attributes.
pub(super) fn accept(
    offered: &[Offered],
    wanted: &[Extension],
    line_direction: Direction,
) -> (ExtensionMap, Vec<String>) {
    let mut map = ExtensionMap::default();
    let mut answer = Vec::new();
    for offer in offered.iter().filter(|offer| wanted.contains(&offer.extension)) {
        // Layers are told apart only on what the offerer sends; a slot carries one.
        let about_layers = matches!(offer.extension, Extension::Rid | Extension::RepairedRid);
        if about_layers && !line_direction.receives() {
            continue;
        }
        let own = offer.direction.unwrap_or(Direction::SendRecv).reversed();
        if own == Direction::Inactive {
            continue;
        }
        map.insert(offer.extension, offer.id, own.receives(), own.sends() && !about_layers);
        // A restricted offer is answered with the complementary restriction (RFC 8285, section 7).
        answer.push(match offer.direction {
            Some(_) => format!("{}/{} {}", offer.id, own.name(), offer.uri),
            None => format!("{} {}", offer.id, offer.uri),
        });
    }
    (map, answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(extmaps: &[&str]) -> MediaDescription {
        extmaps.iter().fold(MediaDescription::default(), |line, extmap| {
            line.with_value_attribute("extmap".into(), (*extmap).into())
        })
    }

    const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
    const DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
    const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";

    #[test]
    fn a_restricted_direction_is_answered_by_its_complement_and_kept() {
        let extmaps = [format!("3 {MID}"), format!("6/recvonly {DELAY}"), format!("9/sendonly {RID}")];
        let extmaps: Vec<&str> = extmaps.iter().map(String::as_str).collect();
        let (map, answer) = accept(&offered(&line(&extmaps), &[], false), &Extension::DEFAULT, Direction::RecvOnly);
        assert_eq!(answer, [format!("3 {MID}"), format!("6/sendonly {DELAY}"), format!("9/recvonly {RID}")]);
        assert_eq!((map.id_of(Extension::Mid), map.extension(3)), (Some(3), Some(Extension::Mid)));
        assert_eq!((map.id_of(Extension::PlayoutDelay), map.extension(6)), (Some(6), None));
        assert_eq!((map.id_of(Extension::Rid), map.extension(9)), (None, Some(Extension::Rid)));
    }

    #[test]
    fn video_orientation_and_the_unknown_are_declined() {
        let orientation =
            line(&["13 urn:3gpp:video-orientation", "5 urn:example:unknown", "x", "99999 urn:x", "4/up a"]);
        let (map, answer) = accept(&offered(&orientation, &[], true), &Extension::DEFAULT, Direction::SendRecv);
        assert_eq!(answer, Vec::<String>::new());
        assert_eq!(map, ExtensionMap::default());
    }

    #[test]
    fn a_large_id_needs_an_offerer_that_mixes_both_forms() {
        let large = line(&[&format!("20 {MID}")]);
        assert!(offered(&large, &[], false).is_empty());
        assert_eq!(offered(&large, &[], true).len(), 1);
        assert!(offered(&line(&[&format!("15 {MID}"), &format!("0 {MID}")]), &[], true).is_empty());
    }

    #[test]
    fn an_id_or_an_extension_that_comes_twice_counts_once() {
        let twice = line(&[&format!("1 {MID}"), &format!("2 {MID}"), &format!("1 {DELAY}")]);
        assert_eq!(offered(&twice, &[], false).len(), 1);
    }
}
