//! Offers to negotiate with and a look at answers, for the tests of the negotiation.
#![allow(clippy::unwrap_used, dead_code)]

use ringback_transport::sdp::{
    Fingerprint, FingerprintAlgorithm, IceCredentials, Line, Negotiation, NegotiationConfig, Session,
};

/// Offers as clients write them. Chromium 156, Firefox ESR and aiortc 1.16 wrote theirs, and so did the `webrtc` crate; the
/// other three are written after those clients' form.
pub(crate) const FIXTURES: [(&str, &str); 7] = [
    ("chromium", include_str!("../fixtures/chromium.sdp")),
    ("firefox", include_str!("../fixtures/firefox.sdp")),
    ("safari", include_str!("../fixtures/safari.sdp")),
    ("webrtc-rs", include_str!("../fixtures/webrtc-rs.sdp")),
    ("pion", include_str!("../fixtures/pion.sdp")),
    ("aiortc", include_str!("../fixtures/aiortc.sdp")),
    ("ffmpeg-whip", include_str!("../fixtures/ffmpeg-whip.sdp")),
];

/// The offer with which Chromium continues the one in `FIXTURES`: ICE restarted, one slot stopped, a pair more.
pub(crate) const CHROMIUM_AGAIN: &str = include_str!("../fixtures/chromium-again.sdp");

pub(crate) fn fixture(name: &str) -> &'static str {
    FIXTURES.iter().find(|(known, _)| *known == name).unwrap().1
}

pub(crate) fn config() -> NegotiationConfig {
    let local_ice = IceCredentials { ufrag: "serverufrag".into(), pwd: "serverpasswordserverpassword".into() };
    let fingerprint = Fingerprint { algorithm: FingerprintAlgorithm::Sha256, value: vec![0xAB; 32] };
    let candidates = vec!["192.0.2.1:7000".parse().unwrap(), "[2001:db8::1]:7000".parse().unwrap()];
    NegotiationConfig { ssrc_seed: 1, ..NegotiationConfig::new(local_ice, fingerprint, candidates) }
}

pub(crate) fn negotiation() -> Negotiation {
    Negotiation::new(config())
}

/// A small complete offer. Each line is `(mid, kind, direction)`; kind `data` is the data channels' line.
pub(crate) fn offer(lines: &[(&str, &str, &str)]) -> String {
    let mids: Vec<&str> = lines.iter().map(|(mid, _, _)| *mid).collect();
    let mut text = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\na=ice-ufrag:clientufrag\r\n\
         a=ice-pwd:clientpasswordclientpassword\r\na=fingerprint:sha-256 {}\r\na=setup:actpass\r\n",
        mids.join(" "),
        vec!["CD"; 32].join(":"),
    );
    for (mid, kind, direction) in lines {
        text += &match *kind {
            "audio" => format!(
                "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:{mid}\r\na={direction}\r\na=rtcp-mux\r\n\
                 a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=rtpmap:111 opus/48000/2\r\n"
            ),
            "video" => format!(
                "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:{mid}\r\na={direction}\r\na=rtcp-mux\r\n\
                 a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\n\
                 a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
            ),
            _ => format!("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:{mid}\r\na=sctp-port:5000\r\n"),
        };
    }
    text
}

/// One media line of an SDP text: the `m=` value and the attributes after it.
#[derive(Debug, PartialEq)]
pub(crate) struct TextLine {
    pub(crate) name: String,
    pub(crate) attributes: Vec<String>,
}

impl TextLine {
    pub(crate) fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|found| found == attribute)
    }

    /// The values of `a=key:…`.
    pub(crate) fn values(&self, key: &str) -> Vec<&str> {
        self.attributes.iter().filter_map(|found| found.strip_prefix(key)?.strip_prefix(':')).collect()
    }

    pub(crate) fn mid(&self) -> &str {
        self.values("mid").first().copied().unwrap_or_default().trim()
    }

    pub(crate) fn port(&self) -> &str {
        self.name.split_whitespace().nth(1).unwrap_or_default()
    }

    pub(crate) fn kind(&self) -> &str {
        self.name.split_whitespace().next().unwrap_or_default()
    }
}

/// The session part's attributes and the media lines of an SDP text.
pub(crate) fn read(sdp: &str) -> (Vec<String>, Vec<TextLine>) {
    let mut session = Vec::new();
    let mut lines: Vec<TextLine> = Vec::new();
    for text in sdp.split('\n').map(|line| line.trim_end_matches('\r')) {
        if let Some(name) = text.strip_prefix("m=") {
            lines.push(TextLine { name: name.trim().to_owned(), attributes: Vec::new() });
        } else if let Some(attribute) = text.strip_prefix("a=") {
            let attributes = lines.last_mut().map_or(&mut session, |line| &mut line.attributes);
            attributes.push(attribute.to_owned());
        }
    }
    (session, lines)
}

pub(crate) fn line<'a>(session: &'a Session, mid: &str) -> &'a Line {
    session.lines.iter().find(|line| line.mid == mid).unwrap()
}
