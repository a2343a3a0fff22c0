//! Reading an offer: from text by way of `rtc-sdp`'s types to what the negotiation decides on, with every check that
//! needs nothing but the offer itself. What a peer may leave out under BUNDLE (RFC 9143) is looked for where it may be
//! instead: on the line that leads the group, then for the session, then on any line.

use std::io::Cursor;

use rtc_sdp::{MediaDescription, SessionDescription};

use super::direction::Direction;
use super::extension::{self, Offered};
use super::{
    Codec, Extension, Fingerprint, FingerprintError, IceCredentials, MediaKind, NegotiationError, PublishLine,
};
use super::{codec, source};

/// Longest offer that is read, in bytes; as much as a frame of the signaling protocol. Chromium's offer for a room of
/// seven slots has 50 KiB.
pub(super) const MAX_OFFER_LEN: usize = 256 << 10;

/// Most media lines: about 30 paired slots. Each line costs a subscriber's browser a receiver, and every answer lists
/// them all.
pub(super) const MAX_LINES: usize = 64;

/// Longest mid: what fits a one-byte header extension (RFC 8285).
const MAX_MID_LEN: usize = 16;

/// An offer, read and checked for itself.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) lines: Vec<OfferedLine>,
    /// The mids of the BUNDLE group in its order; `None` without one.
    pub(super) bundle: Option<Vec<String>>,
    pub(super) ice: IceCredentials,
    pub(super) fingerprints: Vec<Fingerprint>,
    pub(super) setup: Setup,
    /// `a=extmap-allow-mixed` for the session.
    pub(super) mixed: bool,
    /// The id of the MID header extension, the same on every line.
    pub(super) mid_extension: Option<u8>,
}

/// `a=setup` of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setup {
    ActPass,
    Active,
    Passive,
}

/// One media line of an offer.
#[derive(Debug)]
pub(super) struct OfferedLine {
    /// Empty for a removed line that has none.
    pub(super) mid: String,
    /// `audio`, `video`, `application`, ….
    pub(super) media: String,
    pub(super) protocol: String,
    pub(super) formats: Vec<String>,
    /// Port 0 without `a=bundle-only`.
    pub(super) removed: bool,
    pub(super) content: Content,
}

/// What a media line carries.
#[derive(Debug)]
pub(super) enum Content {
    Media(OfferedMedia),
    DataChannels,
    /// Nothing this server knows.
    Other,
}

/// An audio or video line.
#[derive(Debug)]
pub(super) struct OfferedMedia {
    pub(super) kind: MediaKind,
    pub(super) direction: Direction,
    pub(super) codecs: Vec<Codec>,
    pub(super) extensions: Vec<Offered>,
    /// `a=extmap-allow-mixed` on the line itself.
    pub(super) mixed: bool,
    pub(super) rtcp_rsize: bool,
    pub(super) simulcast: bool,
    pub(super) publish: PublishLine,
}

impl Offer {
    /// Reads an offer.
    pub(super) fn parse(text: &str) -> Result<Self, NegotiationError> {
        if text.len() > MAX_OFFER_LEN {
            return Err(NegotiationError::TooLarge { bytes: text.len(), limit: MAX_OFFER_LEN });
        }
        let session = SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes()))
            .map_err(|error| NegotiationError::Syntax(shortened(&error.to_string())))?;
        let count = session.media_descriptions.len();
        if count > MAX_LINES {
            return Err(NegotiationError::TooManyLines { count, limit: MAX_LINES });
        }
        let mut lines = Vec::with_capacity(count);
        for (position, line) in session.media_descriptions.iter().enumerate() {
            lines.push(read_line(position, line, &session)?);
        }
        check_mids(&lines)?;
        let active: Vec<usize> = (0..count).filter(|position| !lines[*position].removed).collect();
        if active.is_empty() {
            let reason = (count > 0).then_some(super::RejectReason::Removed);
            return Err(NegotiationError::NothingUsable(reason));
        }
        if session.has_attribute("ice-lite") {
            return Err(NegotiationError::IceLite);
        }
        let bundle = bundle(&session);
        if bundle.is_none() && active.len() > 1 {
            return Err(NegotiationError::MissingBundle);
        }
        let leads = |position: &&usize| bundle.iter().flatten().next() == Some(&lines[**position].mid);
        let lead = active.iter().find(leads).or(active.first());
        let lead = lead.and_then(|position| session.media_descriptions.get(*position));
        let places = Places { lead, session: &session, rest: &session.media_descriptions };
        for position in &active {
            let multiplexed =
                session.media_descriptions[*position].has_attribute("rtcp-mux") || places.anywhere("rtcp-mux");
            if matches!(lines[*position].content, Content::Media(_)) && !multiplexed {
                return Err(NegotiationError::MissingRtcpMux { mid: lines[*position].mid.clone() });
            }
        }
        let mid_extension = mid_extension(&lines)?;
        check_ssrcs(&lines)?;
        Ok(Self {
            bundle,
            ice: places.ice()?,
            fingerprints: places.fingerprints()?,
            setup: places.setup()?,
            mixed: session.has_attribute("extmap-allow-mixed"),
            mid_extension,
            lines,
        })
    }
}

/// Where an attribute of the shared transport may stand, best first.
struct Places<'a> {
    lead: Option<&'a MediaDescription>,
    session: &'a SessionDescription,
    rest: &'a [MediaDescription],
}

impl<'a> Places<'a> {
    /// The values of `key` in each place.
    fn values(&self, key: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
        let of_line = move |line: &'a MediaDescription| &line.attributes;
        let places =
            self.lead.map(of_line).into_iter().chain([&self.session.attributes]).chain(self.rest.iter().map(of_line));
        places.map(move |attributes| {
            let matching = attributes.iter().filter(|attribute| attribute.key == key);
            matching.filter_map(|attribute| attribute.value.as_deref().map(str::trim)).collect()
        })
    }

    /// Whether the flag `key` stands on the leading line or for the session.
    fn anywhere(&self, key: &str) -> bool {
        self.lead.is_some_and(|lead| lead.has_attribute(key)) || self.session.has_attribute(key)
    }

    fn ice(&self) -> Result<IceCredentials, NegotiationError> {
        let mut pairs = self.values("ice-ufrag").zip(self.values("ice-pwd"));
        let credentials = pairs.find_map(|(ufrag, pwd)| {
            Some(IceCredentials { ufrag: (*ufrag.first()?).to_owned(), pwd: (*pwd.first()?).to_owned() })
        });
        let credentials = credentials.ok_or(NegotiationError::MissingIceCredentials)?;
        if credentials.is_valid() { Ok(credentials) } else { Err(NegotiationError::InvalidIceCredentials) }
    }

    fn fingerprints(&self) -> Result<Vec<Fingerprint>, NegotiationError> {
        let values = self.values("fingerprint").find(|values| !values.is_empty()).unwrap_or_default();
        let mut fingerprints: Vec<Fingerprint> = Vec::new();
        for value in values {
            match value.parse() {
                Ok(fingerprint) => fingerprints.push(fingerprint),
                // Several may be given; one that is understood is enough.
                Err(FingerprintError::Algorithm(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if fingerprints.is_empty() { Err(NegotiationError::MissingFingerprint) } else { Ok(fingerprints) }
    }

    fn setup(&self) -> Result<Setup, NegotiationError> {
        match self.values("setup").find_map(|values| values.first().copied()) {
            Some("actpass") => Ok(Setup::ActPass),
            // An offer that does not say means this (RFC 4145, section 4.1).
            Some("active") | None => Ok(Setup::Active),
            Some("passive") => Ok(Setup::Passive),
            Some(other) => Err(NegotiationError::Setup(shortened(other))),
        }
    }
}

fn read_line(
    position: usize,
    line: &MediaDescription,
    session: &SessionDescription,
) -> Result<OfferedLine, NegotiationError> {
    let name = &line.media_name;
    let removed = name.port.value == 0 && !line.has_attribute("bundle-only");
    let mid = line.attribute("mid").flatten().map(str::trim).unwrap_or_default().to_owned();
    if mid.is_empty() && !removed {
        return Err(NegotiationError::MissingMid { line: position });
    }
    if mid.len() > MAX_MID_LEN || !mid.bytes().all(is_token) {
        return Err(NegotiationError::InvalidMid { line: position, mid: shortened(&mid) });
    }
    let protocol = name.protos.join("/");
    let content = match name.media.as_str() {
        "audio" => Content::Media(read_media(MediaKind::Audio, line, session)),
        "video" => Content::Media(read_media(MediaKind::Video, line, session)),
        "application" if name.formats.iter().any(|format| format == "webrtc-datachannel") => Content::DataChannels,
        _ => Content::Other,
    };
    Ok(OfferedLine { mid, media: name.media.clone(), protocol, formats: name.formats.clone(), removed, content })
}

fn read_media(kind: MediaKind, line: &MediaDescription, session: &SessionDescription) -> OfferedMedia {
    let own = line.attributes.iter().find_map(|attribute| Direction::from_name(&attribute.key));
    let inherited = || session.attributes.iter().find_map(|attribute| Direction::from_name(&attribute.key));
    let direction = own.or_else(inherited).unwrap_or(Direction::SendRecv);
    let mixed = line.has_attribute("extmap-allow-mixed");
    let mixed_anywhere = mixed || session.has_attribute("extmap-allow-mixed");
    OfferedMedia {
        kind,
        direction,
        codecs: codec::offered(line, kind),
        extensions: extension::offered(line, &session.attributes, mixed_anywhere),
        mixed,
        rtcp_rsize: line.has_attribute("rtcp-rsize"),
        simulcast: source::offers_simulcast(line),
        publish: if direction.sends() { source::publish(line) } else { PublishLine::default() },
    }
}

/// A character of a token (RFC 8866, section 9).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte)
}

fn check_mids(lines: &[OfferedLine]) -> Result<(), NegotiationError> {
    for (position, line) in lines.iter().enumerate() {
        if !line.mid.is_empty() && lines[..position].iter().any(|earlier| earlier.mid == line.mid) {
            return Err(NegotiationError::DuplicateMid { mid: line.mid.clone() });
        }
    }
    Ok(())
}

/// The active audio and video lines.
fn media(lines: &[OfferedLine]) -> impl Iterator<Item = (&str, &OfferedMedia)> {
    lines.iter().filter(|line| !line.removed).filter_map(|line| match &line.content {
        Content::Media(media) => Some((line.mid.as_str(), media)),
        _ => None,
    })
}

fn mid_extension(lines: &[OfferedLine]) -> Result<Option<u8>, NegotiationError> {
    let mut agreed = None;
    for (mid, media) in media(lines) {
        let Some(id) = extension::id_offered(&media.extensions, Extension::Mid) else { continue };
        if *agreed.get_or_insert(id) != id {
            return Err(NegotiationError::ConflictingMidExtension { mid: mid.to_owned() });
        }
    }
    Ok(agreed)
}

fn check_ssrcs(lines: &[OfferedLine]) -> Result<(), NegotiationError> {
    let mut seen: Vec<(u32, &str)> = Vec::new();
    for (mid, media) in media(lines) {
        for ssrc in media.publish.ssrcs.iter().flat_map(|declared| [Some(declared.ssrc), declared.rtx]).flatten() {
            if let Some((_, first)) = seen.iter().find(|(known, first)| *known == ssrc && *first != mid) {
                let (first, second) = ((*first).to_owned(), mid.to_owned());
                return Err(NegotiationError::DuplicateSsrc { ssrc, first, second });
            }
            seen.push((ssrc, mid));
        }
    }
    Ok(())
}

fn bundle(session: &SessionDescription) -> Option<Vec<String>> {
    session.attributes.iter().filter(|attribute| attribute.key == "group").find_map(|attribute| {
        let mut fields = attribute.value.as_deref()?.split_whitespace();
        (fields.next()? == "BUNDLE").then(|| fields.map(str::to_owned).collect())
    })
}

/// Enough of what a peer wrote to recognise it in a message.
fn shortened(text: &str) -> String {
    const ENOUGH: usize = 120;
    let mut short: String =
        text.chars().take(ENOUGH).map(|character| if character.is_control() { ' ' } else { character }).collect();
    if text.chars().nth(ENOUGH).is_some() {
        short.push('…');
    }
    short
}
