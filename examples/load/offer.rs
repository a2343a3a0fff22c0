//! The SDP of a load client: an offer in the shape that browsers write, and what it must know of the answer. It offers no transport-wide
//! feedback and no REMB, since it sends neither.

use std::fmt::Write;
use std::net::SocketAddr;

use anyhow::Context;
use ringback_transport::dtls::{Certificate, DtlsRole};
use ringback_transport::ice::IceCredentials;
use ringback_transport::sdp::Fingerprint;
use serde_json::{Value, json};

pub(crate) const OPUS: u8 = 111;
pub(crate) const VP8: u8 = 96;
const RTX: u8 = 97;

pub(crate) const MICROPHONE: u32 = 1001;
pub(crate) const CAMERA: u32 = 2001;
const CAMERA_RTX: u32 = 2002;

/// Header extension ids.
pub(crate) const LEVEL: u8 = 1;
pub(crate) const MID: u8 = 4;
pub(crate) const RID: u8 = 10;
const REPAIRED_RID: u8 = 11;

/// What a client publishes and how much it receives.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lines {
    pub(crate) microphone: bool,
    pub(crate) camera: bool,
    pub(crate) simulcast: bool,
    /// Pairs of an audio and a video slot.
    pub(crate) pairs: usize,
}

impl Lines {
    /// The tracks of `room.join`.
    pub(crate) fn tracks(&self) -> Value {
        let mut tracks = Vec::new();
        if self.microphone {
            tracks.push(json!({ "mid": "mic", "source": "microphone" }));
        }
        if self.camera {
            tracks.push(json!({ "mid": "cam", "source": "camera" }));
        }
        Value::Array(tracks)
    }

    /// The offer.
    pub(crate) fn offer(&self, ice: &IceCredentials, certificate: &Certificate) -> String {
        let mut lines = Vec::new();
        if self.microphone {
            lines.push(("mic".to_owned(), true, format!("a=sendonly\r\na=ssrc:{MICROPHONE} cname:load\r\n")));
        }
        if self.camera && self.simulcast {
            let layers = "a=sendonly\r\na=rid:q send\r\na=rid:h send\r\na=rid:f send\r\na=simulcast:send q;h;f\r\n";
            lines.push(("cam".to_owned(), false, layers.to_owned()));
        } else if self.camera {
            let ssrcs = format!(
                "a=sendonly\r\na=ssrc-group:FID {CAMERA} {CAMERA_RTX}\r\na=ssrc:{CAMERA} cname:load\r\na=ssrc:{CAMERA_RTX} cname:load\r\n"
            );
            lines.push(("cam".to_owned(), false, ssrcs));
        }
        for pair in 0..self.pairs {
            lines.push((format!("a{pair}"), true, "a=recvonly\r\n".to_owned()));
            lines.push((format!("v{pair}"), false, "a=recvonly\r\n".to_owned()));
        }
        let mids: Vec<&str> = lines.iter().map(|(mid, ..)| mid.as_str()).collect();
        let mut sdp = format!(
            "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\na=msid-semantic: WMS\r\n",
            mids.join(" ")
        );
        let fingerprint = certificate.fingerprint();
        for (mid, audio, rest) in &lines {
            let (kind, formats) = if *audio { ("audio", OPUS.to_string()) } else { ("video", format!("{VP8} {RTX}")) };
            let _ = write!(
                sdp,
                "m={kind} 9 UDP/TLS/RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n\
                 a=fingerprint:{fingerprint}\r\na=setup:actpass\r\na=mid:{mid}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
                 a=extmap:{MID} urn:ietf:params:rtp-hdrext:sdes:mid\r\n",
                ice.ufrag, ice.pwd
            );
            let _ = if *audio {
                write!(
                    sdp,
                    "a=extmap:{LEVEL} urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=rtpmap:{OPUS} opus/48000/2\r\n\
                     a=fmtp:{OPUS} minptime=10;useinbandfec=1\r\n"
                )
            } else {
                write!(
                    sdp,
                    "a=extmap:{RID} urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
                     a=extmap:{REPAIRED_RID} urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n\
                     a=rtpmap:{VP8} VP8/90000\r\na=rtcp-fb:{VP8} ccm fir\r\na=rtcp-fb:{VP8} nack\r\na=rtcp-fb:{VP8} nack pli\r\n\
                     a=rtpmap:{RTX} rtx/90000\r\na=fmtp:{RTX} apt={VP8}\r\n"
                )
            };
            sdp.push_str(rest);
        }
        sdp
    }
}

/// The answer to an offer of things to receive: all of them, in the formats that it names.
pub(crate) fn answer_to(offer: &str, ice: &IceCredentials, certificate: &Certificate) -> String {
    let fingerprint = certificate.fingerprint();
    let (session, media) = offer.split_once("\r\nm=").unwrap_or((offer, ""));
    let group = session.lines().find(|line| line.starts_with("a=group:")).unwrap_or("a=group:BUNDLE");
    let mut sdp = format!(
        "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n{group}\r\na=msid-semantic: WMS\r\n"
    );
    for section in media.split("\r\nm=") {
        let first = section.lines().next().unwrap_or_default();
        let _ = write!(
            sdp,
            "m={first}\r\nc=IN IP4 0.0.0.0\r\na=recvonly\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:{fingerprint}\r\na=setup:active\r\n\
             a=rtcp-mux\r\n",
            ice.ufrag, ice.pwd
        );
        let same = ["a=mid:", "a=rtpmap:", "a=fmtp:"];
        for line in section.lines().filter(|line| same.iter().any(|start| line.starts_with(start))) {
            let _ = write!(sdp, "{line}\r\n");
        }
    }
    sdp
}

/// What a client must know of an answer, or of an offer that it answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) ice: IceCredentials,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) role: DtlsRole,
    pub(crate) server: SocketAddr,
    /// The SSRC of each slot.
    pub(crate) slots: Vec<u32>,
}

impl Answer {
    pub(crate) fn parse(answer: &str) -> anyhow::Result<Self> {
        let attribute = |name: &str| {
            let prefix = format!("a={name}:");
            answer
                .lines()
                .find_map(|line| line.strip_prefix(&prefix))
                .with_context(|| format!("the answer has no {name}"))
        };
        let candidate = |line: &str| {
            let mut fields = line.strip_prefix("a=candidate:")?.split(' ').skip(2);
            fields.next().filter(|transport| transport.eq_ignore_ascii_case("udp"))?;
            let mut fields = fields.skip(1);
            Some(SocketAddr::new(fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        };
        let ssrc = |section: &str| {
            let line = section.lines().find_map(|line| line.strip_prefix("a=ssrc:"))?;
            line.split(' ').next()?.parse().ok()
        };
        Ok(Self {
            ice: IceCredentials { ufrag: attribute("ice-ufrag")?.to_owned(), pwd: attribute("ice-pwd")?.to_owned() },
            fingerprint: attribute("fingerprint")?.parse().context("the answer's fingerprint")?,
            // To an offer of either role we answer `active`.
            role: if attribute("setup")? == "active" { DtlsRole::Server } else { DtlsRole::Client },
            server: answer.lines().find_map(candidate).context("the answer has no candidate")?,
            slots: answer.split("\r\nm=").skip(1).filter_map(ssrc).collect(),
        })
    }
}
