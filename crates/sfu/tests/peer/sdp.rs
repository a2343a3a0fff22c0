//! The peer's SDP: an offer in the shape that browsers write, and what it must know of an answer.

use std::fmt::Write;
use std::net::SocketAddr;

use ringback_sfu::{JoinOffer, Source, TrackClaim};
use ringback_transport::ice::IceCredentials;
use ringback_transport::sdp::Fingerprint;

use super::media::{
    CAMERA, CAMERA_RTX, DEPENDENCY, LEVEL, MICROPHONE, MID, OPUS, RED, REPAIRED_RID, RID, RTX, SEND_TIME, TRANSPORT,
    VP8,
};
use super::{Format, Peer};

const DEPENDENCY_URI: &str = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/// The offer of a peer, with what its m-lines carry: `mic`, `cam`, then slot pairs `a0`, `v0`, `a1` …
pub fn offer(peer: &Peer) -> JoinOffer {
    let mut lines = Vec::new();
    let mut tracks = Vec::new();
    if peer.spec.microphone {
        lines.push(("mic".to_owned(), "audio", format!("a=sendonly\r\na=ssrc:{MICROPHONE} cname:peer\r\n")));
        tracks.push(TrackClaim { mid: "mic".into(), source: Source::Microphone, muted: false });
    }
    if peer.spec.camera {
        let ssrcs = if peer.spec.simulcast {
            "a=rid:q send\r\na=rid:h send\r\na=simulcast:send q;h\r\n".to_owned()
        } else {
            format!(
                "a=ssrc-group:FID {CAMERA} {CAMERA_RTX}\r\na=ssrc:{CAMERA} cname:peer\r\na=ssrc:{CAMERA_RTX} cname:peer\r\n"
            )
        };
        lines.push(("cam".to_owned(), "video", format!("a=sendonly\r\n{ssrcs}")));
        tracks.push(TrackClaim { mid: "cam".into(), source: Source::Camera, muted: false });
    }
    for k in 0..peer.spec.pairs {
        lines.push((format!("a{k}"), "audio", "a=recvonly\r\n".to_owned()));
        lines.push((format!("v{k}"), "video", "a=recvonly\r\n".to_owned()));
    }
    if peer.spec.data {
        lines.push(("data".to_owned(), "application", String::new()));
    }
    let mids: Vec<&str> = lines.iter().map(|(mid, ..)| mid.as_str()).collect();
    let mut sdp = format!(
        "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\na=msid-semantic: WMS\r\n",
        mids.join(" ")
    );
    let (ice, fingerprint) = (&peer.local, peer.certificate.fingerprint());
    for (mid, kind, rest) in &lines {
        let (protocol, formats) = match *kind {
            "audio" if peer.spec.red => ("UDP/TLS/RTP/SAVPF", format!("{RED} {OPUS}")),
            "audio" => ("UDP/TLS/RTP/SAVPF", OPUS.to_string()),
            "video" => ("UDP/TLS/RTP/SAVPF", format!("{VP8} {RTX}")),
            _ => ("UDP/DTLS/SCTP", "webrtc-datachannel".to_owned()),
        };
        write!(
            sdp,
            "m={kind} 9 {protocol} {formats}\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n\
             a=fingerprint:{fingerprint}\r\na=setup:actpass\r\na=mid:{mid}\r\n",
            ice.ufrag, ice.pwd
        )
        .unwrap();
        if *kind == "application" {
            sdp.push_str("a=sctp-port:5000\r\na=max-message-size:262144\r\n");
            continue;
        }
        write!(
            sdp,
            "a=rtcp-mux\r\na=rtcp-rsize\r\na=extmap:{MID} urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
             a=extmap:{TRANSPORT} http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n"
        )
        .unwrap();
        if peer.spec.send_times {
            write!(sdp, "a=extmap:{SEND_TIME} http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n").unwrap();
        }
        if *kind == "audio" {
            write!(
                sdp,
                "a=extmap:{LEVEL} urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=rtpmap:{OPUS} opus/48000/2\r\n\
                 a=fmtp:{OPUS} minptime=10;useinbandfec=1\r\na=rtcp-fb:{OPUS} transport-cc\r\n"
            )
            .unwrap();
            if peer.spec.red {
                write!(sdp, "a=rtpmap:{RED} red/48000/2\r\na=fmtp:{RED} {OPUS}/{OPUS}\r\n").unwrap();
            }
        } else {
            let (name, more) = match peer.spec.video {
                Format::Vp8 => ("VP8", String::new()),
                Format::Vp9 => ("VP9", format!("a=fmtp:{VP8} profile-id=0\r\n")),
                Format::H264 => ("H264", format!("a=fmtp:{VP8} packetization-mode=1;profile-level-id=42e01f\r\n")),
                Format::Av1 => ("AV1", format!("a=extmap:{DEPENDENCY} {DEPENDENCY_URI}\r\na=extmap-allow-mixed\r\n")),
            };
            write!(
                sdp,
                "a=extmap:{RID} urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
                 a=extmap:{REPAIRED_RID} urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n\
                 a=rtpmap:{VP8} {name}/90000\r\na=rtcp-fb:{VP8} goog-remb\r\na=rtcp-fb:{VP8} transport-cc\r\n\
                 a=rtcp-fb:{VP8} ccm fir\r\na=rtcp-fb:{VP8} nack\r\na=rtcp-fb:{VP8} nack pli\r\n\
                 a=rtpmap:{RTX} rtx/90000\r\na=fmtp:{RTX} apt={VP8}\r\n{more}"
            )
            .unwrap();
        }
        sdp.push_str(rest);
    }
    JoinOffer { sdp, tracks }
}

/// What a peer must know of an answer.
pub struct Answer {
    pub ice: IceCredentials,
    pub fingerprint: Fingerprint,
    pub setup: String,
    pub candidates: Vec<SocketAddr>,
    /// … and where it takes TCP connections.
    pub tcp_candidates: Vec<SocketAddr>,
    /// MID, SSRC and RTX SSRC of each slot.
    pub slots: Vec<(String, u32, Option<u32>)>,
}

impl Answer {
    pub fn parse(answer: &str) -> Self {
        let attribute = |name: &str| {
            let prefix = format!("a={name}:");
            answer.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("no {name}")).to_owned()
        };
        let candidate = |line: &str, protocol: &str| {
            let mut fields = line.strip_prefix("a=candidate:")?.split(' ').skip(2);
            if fields.next() != Some(protocol) {
                return None;
            }
            let mut fields = fields.skip(1);
            Some(SocketAddr::new(fields.next()?.parse().unwrap(), fields.next()?.parse().unwrap()))
        };
        let mut slots: Vec<(String, u32, Option<u32>)> = Vec::new();
        for section in answer.split("\r\nm=").skip(1) {
            let find = |prefix: &str| section.lines().find_map(|line| line.strip_prefix(prefix));
            let ssrcs = section.lines().filter_map(|line| line.strip_prefix("a=ssrc:"));
            let mut ssrcs: Vec<u32> = ssrcs.map(|rest| rest.split(' ').next().unwrap().parse().unwrap()).collect();
            ssrcs.dedup();
            let group: Option<Vec<u32>> = find("a=ssrc-group:FID ")
                .map(|rest| rest.split(' ').map(|ssrc| ssrc.trim().parse().unwrap()).collect());
            if let Some(&first) = ssrcs.first() {
                let (ssrc, rtx) = group.map_or((first, None), |group| (group[0], Some(group[1])));
                slots.push((find("a=mid:").unwrap().trim().to_owned(), ssrc, rtx));
            }
        }
        let candidates = |protocol| answer.lines().filter_map(|line| candidate(line, protocol)).collect();
        Self {
            ice: IceCredentials { ufrag: attribute("ice-ufrag"), pwd: attribute("ice-pwd") },
            fingerprint: attribute("fingerprint").parse().unwrap(),
            setup: attribute("setup"),
            candidates: candidates("udp"),
            tcp_candidates: candidates("tcp"),
            slots,
        }
    }

    /// The SSRC of a slot.
    pub fn ssrc(&self, mid: &str) -> u32 {
        self.slots.iter().find(|(slot, ..)| slot == mid).unwrap_or_else(|| panic!("no slot {mid}")).1
    }

    /// The RTX SSRC of a slot.
    pub fn rtx(&self, mid: &str) -> Option<u32> {
        self.slots.iter().find(|(slot, ..)| slot == mid).and_then(|(.., rtx)| *rtx)
    }
}
