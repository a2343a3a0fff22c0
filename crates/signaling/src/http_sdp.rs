//! What WHIP and WHEP (RFC 9725, draft-ietf-wish-whep) must see of an SDP text before and after the media side does: which lines
//! send or receive, whether all of them were accepted, and the ICE credentials that a restart changes. It reads line by
//! line and negotiates nothing: what an offer means is for the media side.

use crate::protocol::{MediaKind, Source, TrackClaim};

/// The media type of offers and answers.
pub(crate) const SDP: &str = "application/sdp";
/// The media type of what a PATCH carries (RFC 8840).
pub(crate) const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// The longest ufrag and password, in bytes (RFC 8839, section 5.4).
const MAX_CREDENTIAL: usize = 256;

/// What is wrong with an offer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SdpError {
    /// It is no SDP offer.
    #[error("{0}")]
    Malformed(String),
    /// It is one, but not one that can be served here.
    #[error("{0}")]
    Unsuitable(String),
}

/// An SDP text, cut at its `m=` lines.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Description<'a> {
    session: Vec<&'a str>,
    media: Vec<Media<'a>>,
}

/// An `m=` line and the lines up to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Media<'a> {
    lines: Vec<&'a str>,
}

/// The value of the attribute `a=key:…`, or of the flag `a=key`, which is empty.
fn attribute<'a>(lines: &[&'a str], key: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| {
        let rest = line.strip_prefix("a=")?.strip_prefix(key)?;
        rest.strip_prefix(':').or_else(|| rest.is_empty().then_some(""))
    })
}

const DIRECTIONS: [&str; 4] = ["sendrecv", "sendonly", "recvonly", "inactive"];

impl<'a> Description<'a> {
    fn read(text: &'a str) -> Self {
        let mut description = Self { session: Vec::new(), media: Vec::new() };
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            if line.starts_with("m=") {
                description.media.push(Media { lines: vec![line] });
            } else {
                match description.media.last_mut() {
                    Some(media) => media.lines.push(line),
                    None => description.session.push(line),
                }
            }
        }
        description
    }

    /// An offer that begins like one and has m-lines.
    fn read_offer(text: &'a str) -> Result<Self, SdpError> {
        let offer = Self::read(text);
        if offer.session.first() != Some(&"v=0") {
            return Err(SdpError::Malformed("the body is no SDP: it must begin with v=0".into()));
        }
        if offer.media.is_empty() {
            return Err(SdpError::Malformed("the SDP has no m-line".into()));
        }
        Ok(offer)
    }

    /// Which way a line's media goes, as the offerer sees it.
    fn direction(&self, media: &Media<'_>) -> &'static str {
        let of = |lines: &[&str]| DIRECTIONS.into_iter().find(|name| attribute(lines, name).is_some());
        of(&media.lines).or_else(|| of(&self.session)).unwrap_or("sendrecv")
    }

    /// Makes every audio and video line go one way, `sendonly` or `recvonly`, where it may go both ways.
    ///
    /// # Errors
    /// When a line goes the other way, or none is left.
    fn insist(mut self, wanted: &'static str) -> Result<Self, SdpError> {
        let other = if wanted == "sendonly" { "recvonly" } else { "sendonly" };
        for at in 0..self.media.len() {
            let media = &self.media[at];
            if media.kind().is_none() || media.is_refused() {
                continue;
            }
            let direction = self.direction(media);
            if direction == other {
                let message = format!("m-line {at} is {direction}, and this resource takes only {wanted} lines");
                return Err(SdpError::Unsuitable(message));
            }
            if direction == "sendrecv" {
                let lines = &mut self.media[at].lines;
                lines.retain(|line| *line != "a=sendrecv");
                lines.push(if wanted == "sendonly" { "a=sendonly" } else { "a=recvonly" });
            }
        }
        if self.going(wanted).next().is_none() {
            return Err(SdpError::Unsuitable(format!("the offer has no {wanted} audio or video line")));
        }
        Ok(self)
    }

    /// The audio and video lines that go this way.
    fn going(&self, direction: &'static str) -> impl Iterator<Item = (&Media<'a>, MediaKind)> {
        let media = self.media.iter().filter(|media| !media.is_refused());
        media
            .filter_map(|media| Some((media, media.kind()?)))
            .filter(move |(media, _)| self.direction(media) == direction)
    }

    fn credentials(&self) -> Option<Credentials> {
        let media = self.media.iter().filter(|media| !media.is_refused()).map(|media| &media.lines);
        let mut places = media.chain([&self.session]);
        places.find_map(|lines| {
            let (ufrag, pwd) = (attribute(lines, "ice-ufrag")?, attribute(lines, "ice-pwd")?);
            Some(Credentials { ufrag: ufrag.trim().to_owned(), pwd: pwd.trim().to_owned() })
        })
    }

    fn write(&self) -> String {
        let lines = self.session.iter().chain(self.media.iter().flat_map(|media| &media.lines));
        lines.flat_map(|line| [line, "\r\n"]).collect()
    }
}

impl Media<'_> {
    fn kind(&self) -> Option<MediaKind> {
        match self.lines.first()?.split_whitespace().next()? {
            "m=audio" => Some(MediaKind::Audio),
            "m=video" => Some(MediaKind::Video),
            _ => None,
        }
    }

    /// Port 0, and not only because another line of the bundle has the port.
    fn is_refused(&self) -> bool {
        let port = self.lines.first().and_then(|line| line.split_whitespace().nth(1));
        port == Some("0") && attribute(&self.lines, "bundle-only").is_none()
    }

    fn mid(&self) -> &str {
        attribute(&self.lines, "mid").map(str::trim).unwrap_or_default()
    }
}

/// What a WHIP client offers: the text with every line sendonly, and what its lines carry.
///
/// # Errors
/// When it is no offer, offers to receive, or has two lines of a kind: which one is the camera nobody could tell.
pub(crate) fn publishing(offer: &str) -> Result<(String, Vec<TrackClaim>), SdpError> {
    let offer = Description::read_offer(offer)?.insist("sendonly")?;
    let mut tracks: Vec<TrackClaim> = Vec::new();
    for (media, kind) in offer.going("sendonly") {
        let source = match kind {
            MediaKind::Audio => Source::Microphone,
            MediaKind::Video => Source::Camera,
        };
        if tracks.iter().any(|track| track.source == source) {
            let message = "one audio and one video line may send, and this offer has more".to_owned();
            return Err(SdpError::Unsuitable(message));
        }
        tracks.push(TrackClaim { mid: media.mid().to_owned(), source, muted: false });
    }
    Ok((offer.write(), tracks))
}

/// What a WHEP client offers: the text with every line recvonly.
///
/// # Errors
/// When it is no offer, or offers to send.
pub(crate) fn playing(offer: &str) -> Result<String, SdpError> {
    Ok(Description::read_offer(offer)?.insist("recvonly")?.write())
}

/// Whether an answer takes every audio and video line of its offer: WHIP knows no partial success (RFC 9725, section 4.4.4).
///
/// # Errors
/// Names the line that was not taken.
pub(crate) fn taken_whole(offer: &str, answer: &str) -> Result<(), SdpError> {
    let (offer, answer) = (Description::read(offer), Description::read(answer));
    for (at, (offered, answered)) in offer.media.iter().zip(&answer.media).enumerate() {
        if offered.kind().is_some() && !offered.is_refused() && answered.is_refused() {
            let line = offered.lines.first().copied().unwrap_or_default().trim_start_matches("m=");
            let kind = line.split_whitespace().next().unwrap_or_default();
            let message = format!("m-line {at} ({kind}): none of its codecs is taken here");
            return Err(SdpError::Unsuitable(message));
        }
    }
    Ok(())
}

/// The ICE credentials of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    ufrag: String,
    pwd: String,
}

/// The ICE credentials in an offer or a fragment, if there are any.
///
/// # Errors
/// When they are none (RFC 8839, section 5.4).
pub(crate) fn credentials(text: &str) -> Result<Option<Credentials>, SdpError> {
    let Some(found) = Description::read(text).credentials() else { return Ok(None) };
    let fits = |value: &str, least: usize| {
        (least..=MAX_CREDENTIAL).contains(&value.len())
            && value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'='))
    };
    // Some clients put `-`, `_` or `=` in them; the media side has the last word.
    if fits(&found.ufrag, 4) && fits(&found.pwd, 22) {
        Ok(Some(found))
    } else {
        Err(SdpError::Malformed("a=ice-ufrag must have 4 to 256 characters and a=ice-pwd 22 to 256".into()))
    }
}

/// The offer with other ICE credentials: what its offerer would offer to restart ICE.
pub(crate) fn with_credentials(offer: &str, new: &Credentials) -> String {
    let lines = offer.lines().map(|line| {
        if line.starts_with("a=ice-ufrag:") {
            format!("a=ice-ufrag:{}\r\n", new.ufrag)
        } else if line.starts_with("a=ice-pwd:") {
            format!("a=ice-pwd:{}\r\n", new.pwd)
        } else {
            format!("{line}\r\n")
        }
    });
    lines.collect()
}

/// What the answer to a restart says of ICE: the fragment of RFC 9725, section 4.3.3.
pub(crate) fn restart_fragment(answer: &str) -> String {
    let answer = Description::read(answer);
    let of_session =
        answer.session.iter().filter(|line| ["a=ice-lite", "a=group:"].iter().any(|key| line.starts_with(key)));
    let carries_candidates = |media: &&Media<'_>| attribute(&media.lines, "candidate").is_some();
    let lead = answer.media.iter().find(carries_candidates);
    let about_ice = ["m=", "a=mid:", "a=ice-", "a=candidate:", "a=end-of-candidates"];
    let of_lead = lead.into_iter().flat_map(|media| &media.lines);
    let of_lead = of_lead.filter(|line| about_ice.iter().any(|key| line.starts_with(key)));
    of_session.chain(of_lead).flat_map(|line| [line, "\r\n"]).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendonly\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=bundle-only\r\na=mid:1\r\na=sendrecv\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n";

    #[test]
    fn the_lines_that_send_become_a_microphone_and_a_camera() {
        let (sdp, tracks) = publishing(OFFER).unwrap();
        let tracks: Vec<_> = tracks.iter().map(|track| (track.mid.as_str(), track.source)).collect();
        assert_eq!(tracks, [("0", Source::Microphone), ("1", Source::Camera)]);
        assert!(!sdp.contains("sendrecv") && sdp.matches("a=sendonly").count() == 2, "{sdp}");
        assert_eq!(publishing(&sdp).unwrap().0, sdp);
    }

    #[test]
    fn a_line_without_a_direction_goes_both_ways_and_is_made_to_go_one() {
        let silent = OFFER.replace("a=sendonly\r\n", "").replace("a=sendrecv\r\n", "");
        assert_eq!(publishing(&silent).unwrap().0.matches("a=sendonly").count(), 2);
        assert_eq!(playing(&silent).unwrap().matches("a=recvonly").count(), 2);
        let by_session = silent.replace("t=0 0\r\n", "t=0 0\r\na=recvonly\r\n");
        assert_eq!(playing(&by_session).unwrap(), by_session);
    }

    #[test]
    fn what_goes_the_wrong_way_or_is_too_much_is_refused_by_name() {
        let unsuitable = |result: Result<String, SdpError>| match result {
            Err(SdpError::Unsuitable(message)) => message,
            other => panic!("{other:?}"),
        };
        assert!(unsuitable(playing(OFFER)).starts_with("m-line 0 is sendonly"));
        let receiving = OFFER.replace("sendonly", "recvonly");
        assert!(unsuitable(publishing(&receiving).map(|(sdp, _)| sdp)).starts_with("m-line 0 is recvonly"));
        let twice = OFFER.replace("m=video 0", "m=audio 9");
        assert!(unsuitable(publishing(&twice).map(|(sdp, _)| sdp)).contains("one audio and one video"));
        let inactive = OFFER.replace("sendonly", "inactive").replace("sendrecv", "inactive");
        assert!(unsuitable(publishing(&inactive).map(|(sdp, _)| sdp)).contains("no sendonly"));
        for text in ["", "hello", "v=0\r\ns=-\r\n", "{}"] {
            assert!(matches!(publishing(text), Err(SdpError::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn an_answer_that_refuses_a_line_is_no_whole_answer() {
        let answer = OFFER.replace("a=bundle-only\r\n", "").replace("m=video 0", "m=video 9");
        assert_eq!(taken_whole(OFFER, &answer), Ok(()));
        let partial = answer.replace("m=video 9", "m=video 0");
        let refused = taken_whole(OFFER, &partial).unwrap_err().to_string();
        assert!(refused.starts_with("m-line 1 (video)"), "{refused}");
    }

    #[test]
    fn a_restart_changes_the_credentials_of_every_line_and_answers_with_ice_only() {
        let fragment = "a=ice-ufrag:wxyz\r\na=ice-pwd:9876543210987654321098\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n";
        let new = credentials(fragment).unwrap().unwrap();
        let restart = with_credentials(OFFER, &new);
        assert_eq!(credentials(&restart).unwrap(), Some(new));
        assert_eq!((restart.matches("wxyz").count(), restart.matches("abcd").count()), (2, 0));
        let answer = OFFER.replace("a=group", "a=ice-lite\r\na=group").replacen(
            "a=sendonly",
            "a=candidate:1 1 udp 1 192.0.2.1 7 typ host\r\na=end-of-candidates",
            1,
        );
        assert_eq!(
            restart_fragment(&answer),
            "a=ice-lite\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
             a=candidate:1 1 udp 1 192.0.2.1 7 typ host\r\na=end-of-candidates\r\n\
             a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
        );
    }

    #[test]
    fn credentials_are_checked_before_they_are_put_into_an_offer() {
        assert_eq!(credentials("a=candidate:1 1 udp 1 192.0.2.1 7 typ host"), Ok(None));
        for text in ["a=ice-ufrag:abc\na=ice-pwd:0123456789012345678901", "a=ice-ufrag:abcd\na=ice-pwd:short"] {
            assert!(matches!(credentials(text), Err(SdpError::Malformed(_))), "{text}");
        }
        let injected = "a=ice-ufrag:abcd a=x\na=ice-pwd:0123456789012345678901";
        assert!(credentials(injected).is_err());
    }
}
