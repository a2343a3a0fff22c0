//! Writing an answer as SDP text. It decides nothing.

use std::net::SocketAddr;

use rtc_sdp::description::common::{Address, Attribute, ConnectionInformation};
use rtc_sdp::description::media::{MediaName, RangedPort};
use rtc_sdp::description::session::{Origin, TimeDescription};
use rtc_sdp::{MediaDescription, SessionDescription};

use super::direction::Direction;
use super::offer::{Offer, OfferedLine};
use super::{DtlsRole, Fingerprint, IceCredentials, Line, MediaKind, RejectReason};

/// The SCTP port of data channels (RFC 8841); any would do inside DTLS, and this is the one everybody uses.
const SCTP_PORT: u16 = 5000;

/// Longest data channel message this server takes, in bytes: what every implementation can send without interleaving,
/// and a bound on what one peer can make the server reassemble.
const MAX_MESSAGE_SIZE: usize = 16_384;

/// What becomes of a line.
#[derive(Debug)]
pub(super) enum AnswerLine {
    Media(Box<AnswerMedia>),
    DataChannels,
    Rejected(RejectReason),
}

impl AnswerLine {
    /// Why it is rejected, if it is.
    pub(super) fn reason(&self) -> Option<RejectReason> {
        match self {
            Self::Rejected(reason) => Some(*reason),
            _ => None,
        }
    }
}

/// An accepted audio or video line.
#[derive(Debug)]
pub(super) struct AnswerMedia {
    pub(super) line: Line,
    /// As this server writes it.
    pub(super) direction: Direction,
    /// Values of `a=extmap`.
    pub(super) extmaps: Vec<String>,
    pub(super) mixed: bool,
    pub(super) rtcp_rsize: bool,
    pub(super) simulcast: bool,
}

/// What all lines of an answer share.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) session_id: u64,
    pub(super) version: u64,
    pub(super) ice: &'a IceCredentials,
    pub(super) fingerprint: &'a Fingerprint,
    pub(super) candidates: &'a [SocketAddr],
    pub(super) tcp_candidates: &'a [SocketAddr],
    pub(super) dtls_role: DtlsRole,
}

impl Answer<'_> {
    /// The text: as many lines as the offer, in its order.
    pub(super) fn write(&self, offer: &Offer, lines: &[AnswerLine]) -> String {
        let accepted = |mid: &&String| {
            offer.lines.iter().zip(lines).any(|(line, answer)| line.mid == **mid && answer.reason().is_none())
        };
        let group: Option<Vec<&String>> = offer.bundle.as_ref().map(|mids| mids.iter().filter(accepted).collect());
        // The first of the group carries the candidates (RFC 9143, section 7.3.1).
        let lead = match &group {
            Some(group) => group.first().map(|mid| mid.as_str()),
            None => offer
                .lines
                .iter()
                .zip(lines)
                .find(|(_, answer)| answer.reason().is_none())
                .map(|(line, _)| line.mid.as_str()),
        };

        let mut session = SessionDescription {
            origin: Origin {
                username: "-".into(),
                session_id: self.session_id,
                session_version: self.version,
                network_type: "IN".into(),
                address_type: "IP4".into(),
                unicast_address: "127.0.0.1".into(),
            },
            session_name: "-".into(),
            time_descriptions: vec![TimeDescription::default()],
            ..Default::default()
        };
        let mut say = |key: &str, value: Option<String>| session.attributes.push(Attribute::new(key.into(), value));
        say("ice-lite", None);
        if let Some(group) = &group {
            say("group", Some(group.iter().fold("BUNDLE".to_owned(), |list, mid| list + " " + mid)));
        }
        if offer.mixed {
            say("extmap-allow-mixed", None);
        }
        say("msid-semantic", Some("WMS *".into()));
        for (offered, answer) in offer.lines.iter().zip(lines) {
            let mut line = match answer {
                AnswerLine::Rejected(_) => rejected(offered),
                AnswerLine::DataChannels => self.transport(data_channels(offered)),
                AnswerLine::Media(media) => self.transport(describe(offered, media)),
            };
            if answer.reason().is_none() && lead == Some(offered.mid.as_str()) {
                line = self.candidates(line);
            }
            session.media_descriptions.push(line);
        }
        session.marshal()
    }

    fn transport(&self, line: MediaDescription) -> MediaDescription {
        let setup = match self.dtls_role {
            DtlsRole::Client => "active",
            DtlsRole::Server => "passive",
        };
        line.with_ice_credentials(self.ice.ufrag.clone(), self.ice.pwd.clone())
            .with_value_attribute("ice-options".into(), "ice2 trickle".into())
            .with_value_attribute("fingerprint".into(), self.fingerprint.to_string())
            .with_value_attribute("setup".into(), setup.into())
    }

    /// Host candidates (RFC 8839, section 5.1), in order of preference (RFC 8445, section 5.1.2.1; RFC 6544, section 4.2).
    fn candidates(&self, mut line: MediaDescription) -> MediaDescription {
        const HOST_PREFERENCE: u32 = 126;
        // Below whatever UDP can have but a relay, so that TCP carries media only where UDP does not.
        const TCP_HOST_PREFERENCE: u32 = 90;
        const PASSIVE: u32 = 4;
        let priority =
            |type_preference: u32, local_preference: u32| (type_preference << 24) | (local_preference << 8) | 255;
        let mut foundation = 0;
        for (position, address) in self.candidates.iter().enumerate() {
            let local_preference = u32::from(u16::MAX) - (position as u32).min(u32::from(u16::MAX));
            let priority = priority(HOST_PREFERENCE, local_preference);
            foundation += 1;
            let (ip, port) = (address.ip(), address.port());
            line = line.with_candidate(format!("{foundation} 1 udp {priority} {ip} {port} typ host"));
        }
        for (position, address) in self.tcp_candidates.iter().enumerate() {
            let other_preference = 0x1FFF - (position as u32).min(0x1FFF);
            let priority = priority(TCP_HOST_PREFERENCE, (PASSIVE << 13) | other_preference);
            foundation += 1;
            let (ip, port) = (address.ip(), address.port());
            line = line.with_candidate(format!("{foundation} 1 tcp {priority} {ip} {port} typ host tcptype passive"));
        }
        line.with_property_attribute("end-of-candidates".into())
    }
}

/// A line of the answer in the place of `offered`, named but empty.
fn begin(offered: &OfferedLine, port: isize, formats: Vec<String>) -> MediaDescription {
    let line = MediaDescription {
        media_name: MediaName {
            media: offered.media.clone(),
            port: RangedPort { value: port, range: None },
            protos: offered.protocol.split('/').map(str::to_owned).collect(),
            formats,
        },
        connection_information: Some(ConnectionInformation {
            network_type: "IN".into(),
            address_type: "IP4".into(),
            address: Some(Address { address: "0.0.0.0".into(), ttl: None, range: None }),
        }),
        ..Default::default()
    };
    if offered.mid.is_empty() { line } else { line.with_value_attribute("mid".into(), offered.mid.clone()) }
}

/// Port 0 rejects; the formats are only there because the grammar wants some.
fn rejected(offered: &OfferedLine) -> MediaDescription {
    begin(offered, 0, offered.formats.clone()).with_property_attribute(Direction::Inactive.name().into())
}

fn data_channels(offered: &OfferedLine) -> MediaDescription {
    begin(offered, DISCARD_PORT, vec!["webrtc-datachannel".into()])
        .with_value_attribute("sctp-port".into(), SCTP_PORT.to_string())
        .with_value_attribute("max-message-size".into(), MAX_MESSAGE_SIZE.to_string())
}

/// The port of an accepted line: the candidates say where to send (RFC 8829, section 5.2.1).
const DISCARD_PORT: isize = 9;

fn describe(offered: &OfferedLine, media: &AnswerMedia) -> MediaDescription {
    let mut line = begin(offered, DISCARD_PORT, Vec::new())
        .with_property_attribute(media.direction.name().into())
        .with_property_attribute("rtcp-mux".into());
    if media.rtcp_rsize {
        line = line.with_property_attribute("rtcp-rsize".into());
    }
    if media.mixed {
        line = line.with_property_attribute("extmap-allow-mixed".into());
    }
    for extmap in &media.extmaps {
        line = line.with_value_attribute("extmap".into(), extmap.clone());
    }
    for codec in &media.line.codecs {
        line = codec.describe(line);
    }
    if let Some(publish) = &media.line.publish {
        for rid in &publish.rids {
            line = line.with_value_attribute("rid".into(), format!("{rid} recv"));
        }
        if media.simulcast && !publish.rids.is_empty() {
            line = line.with_value_attribute("simulcast".into(), format!("recv {}", publish.rids.join(";")));
        }
    }
    if let Some(slot) = &media.line.slot {
        let kind = match media.line.kind {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        };
        // The CNAME names the stream: one clock, played in sync.
        let (stream, track) = (&slot.cname, format!("{}-{kind}", slot.cname));
        line = line.with_value_attribute("msid".into(), format!("{stream} {track}"));
        if let Some(rtx) = slot.rtx_ssrc {
            line = line.with_value_attribute("ssrc-group".into(), format!("FID {} {rtx}", slot.ssrc));
        }
        for ssrc in [Some(slot.ssrc), slot.rtx_ssrc].into_iter().flatten() {
            line = line
                .with_value_attribute("ssrc".into(), format!("{ssrc} cname:{stream}"))
                .with_value_attribute("ssrc".into(), format!("{ssrc} msid:{stream} {track}"));
        }
    }
    line
}
