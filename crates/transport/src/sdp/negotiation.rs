//! The offer/answer state machine: decides line by line what is accepted, gives receiving lines their slots, and keeps
//! all of it stable from offer to offer. An offer that is refused changes nothing.

use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::answer::{self, AnswerLine, AnswerMedia};
use super::direction::Direction;
use super::offer::{Content, Offer, OfferedLine, OfferedMedia, Setup};
use super::{
    Accepted, Codec, CodecName, CodecPreferences, DtlsRole, Extension, ExtensionMap, Fingerprint, IceCredentials, Line,
    MediaKind,
};
use super::{NegotiationError, RejectReason, Session, SlotLine};
use super::{codec, extension};

/// What a [`Negotiation`] answers with.
#[derive(Debug, Clone)]
pub struct NegotiationConfig {
    /// This server's ICE credentials until the offerer restarts ICE.
    pub local_ice: IceCredentials,
    /// The fingerprint of this server's certificate.
    pub fingerprint: Fingerprint,
    /// Where this server is reached, most preferred first: UDP host candidates.
    pub candidates: Vec<SocketAddr>,
    /// Where it takes TCP connections as well, most preferred first: passive host candidates (RFC 6544).
    pub tcp_candidates: Vec<SocketAddr>,
    /// Seeds the choice of SSRCs and of the SDP session id, so that a run can be repeated.
    pub ssrc_seed: u64,
    /// The codecs that are accepted.
    pub codecs: CodecPreferences,
    /// The header extensions that are accepted.
    pub extensions: Vec<Extension>,
}

impl NegotiationConfig {
    /// Without TCP, with a random seed and the default codecs and header extensions.
    pub fn new(local_ice: IceCredentials, fingerprint: Fingerprint, candidates: Vec<SocketAddr>) -> Self {
        Self {
            local_ice,
            fingerprint,
            candidates,
            tcp_candidates: Vec::new(),
            ssrc_seed: rand::rng().random(),
            codecs: CodecPreferences::default(),
            extensions: Extension::DEFAULT.to_vec(),
        }
    }
}

/// The negotiation with one offerer, from its first offer to its last.
#[derive(Debug, Clone)]
pub struct Negotiation {
    config: NegotiationConfig,
    random: StdRng,
    local_ice: IceCredentials,
    session_id: u64,
    /// Counts the answers, for `o=`.
    version: u64,
    agreed: Option<Agreed>,
    /// By position, what each line was last.
    lines: Vec<KnownLine>,
    slots: Vec<Slot>,
}

/// What must not change, or whose change means something.
#[derive(Debug, Clone)]
struct Agreed {
    remote_ice: IceCredentials,
    fingerprints: Vec<Fingerprint>,
    dtls_role: DtlsRole,
}

/// A line of an answered offer.
#[derive(Debug, Clone)]
struct KnownLine {
    mid: String,
    media: String,
    /// Neither side put port 0: the place must not be taken by another line.
    in_use: bool,
}

/// A receive slot, kept while its line lives, whatever its direction is meanwhile.
#[derive(Debug, Clone)]
struct Slot {
    mid: String,
    kind: MediaKind,
    /// The k of the k-th slot of this kind.
    number: usize,
    ssrc: u32,
    /// Chosen even where no codec retransmits yet, so that it never has to change.
    rtx_ssrc: u32,
}

impl Negotiation {
    /// A negotiation that waits for its first offer.
    pub fn new(config: NegotiationConfig) -> Self {
        let mut random = StdRng::seed_from_u64(config.ssrc_seed);
        Self {
            local_ice: config.local_ice.clone(),
            // 62 bits, as JSEP asks for (RFC 8829, section 5.2.1).
            session_id: random.random::<u64>() >> 2,
            random,
            version: 0,
            agreed: None,
            lines: Vec::new(),
            slots: Vec::new(),
            config,
        }
    }

    /// Answers an offer, the first or a later one.
    ///
    /// # Errors
    /// Says what of the offer cannot be answered; then everything is as before, and another offer may follow. A line
    /// that alone cannot be served is no error: it is rejected, and [`Line::rejected`] says why.
    pub fn accept(&mut self, offer: &str) -> Result<Accepted, NegotiationError> {
        let offer = Offer::parse(offer)?;
        let mut next = self.clone();
        let accepted = next.answer(&offer)?;
        *self = next;
        Ok(accepted)
    }

    fn answer(&mut self, offer: &Offer) -> Result<Accepted, NegotiationError> {
        self.check_places(offer)?;
        let dtls_role = self.dtls_role(offer)?;
        let ice_restarted = self.agreed.as_ref().is_some_and(|agreed| agreed.remote_ice != offer.ice);
        if ice_restarted {
            // Both sides change theirs in a restart (RFC 8839, section 4.4.1.1.1).
            self.local_ice = IceCredentials::random();
        }
        self.slots.retain(|slot| offer.lines.iter().any(|line| line.mid == slot.mid && !line.removed));

        let mut sctp = false;
        let mut lines = Vec::new();
        let mut answered = Vec::new();
        for offered in &offer.lines {
            let reject = rejection(offered, offer);
            let answer = match (&offered.content, reject) {
                (Content::Media(media), None) => {
                    let (line, answer) = self.answer_media(offered, media, offer);
                    lines.push(line);
                    answer
                }
                (Content::Media(media), Some(reason)) => {
                    lines.push(rejected(offered, media.kind, reason));
                    AnswerLine::Rejected(reason)
                }
                (Content::DataChannels, None) if !sctp => {
                    sctp = true;
                    AnswerLine::DataChannels
                }
                (_, reason) => AnswerLine::Rejected(reason.unwrap_or(RejectReason::Protocol)),
            };
            answered.push(answer);
        }
        if answered.iter().all(|answer| matches!(answer, AnswerLine::Rejected(_))) {
            return Err(self.nothing_usable(offer, &answered));
        }
        self.name_pairs(&mut lines);

        self.version += 1;
        self.lines = offer
            .lines
            .iter()
            .zip(&answered)
            .map(|(offered, answer)| KnownLine {
                mid: offered.mid.clone(),
                media: offered.media.clone(),
                in_use: answer.reason().is_none(),
            })
            .collect();
        self.agreed =
            Some(Agreed { remote_ice: offer.ice.clone(), fingerprints: offer.fingerprints.clone(), dtls_role });
        let answer = answer::Answer {
            session_id: self.session_id,
            version: self.version,
            ice: &self.local_ice,
            fingerprint: &self.config.fingerprint,
            candidates: &self.config.candidates,
            tcp_candidates: &self.config.tcp_candidates,
            dtls_role,
        }
        .write(offer, &answered);
        let session = Session {
            remote_ice: offer.ice.clone(),
            local_ice: self.local_ice.clone(),
            remote_fingerprints: offer.fingerprints.clone(),
            dtls_role,
            lines,
            mid_extension: offer.mid_extension,
            sctp,
        };
        Ok(Accepted { answer, session, ice_restarted })
    }

    /// Lines keep their places: none vanishes, and only a place that is no longer in use goes to another line
    /// (RFC 8829, section 5.2.2).
    fn check_places(&self, offer: &Offer) -> Result<(), NegotiationError> {
        let (count, before) = (offer.lines.len(), self.lines.len());
        if count < before {
            return Err(NegotiationError::LinesMissing { count, before });
        }
        for (position, (line, known)) in offer.lines.iter().zip(&self.lines).enumerate() {
            if !known.in_use || (line.removed && line.mid.is_empty()) {
                continue;
            }
            if line.mid != known.mid {
                let (expected, found) = (known.mid.clone(), line.mid.clone());
                return Err(NegotiationError::MidChanged { line: position, expected, found });
            }
            if line.media != known.media {
                return Err(NegotiationError::KindChanged { mid: line.mid.clone() });
            }
        }
        Ok(())
    }

    /// This server's role: passive if it may choose, and what it was once there is an association.
    fn dtls_role(&self, offer: &Offer) -> Result<DtlsRole, NegotiationError> {
        let insisted = match offer.setup {
            Setup::ActPass => None,
            Setup::Active => Some(DtlsRole::Server),
            Setup::Passive => Some(DtlsRole::Client),
        };
        let Some(agreed) = &self.agreed else { return Ok(insisted.unwrap_or(DtlsRole::Server)) };
        let same_role = insisted.is_none_or(|role| role == agreed.dtls_role);
        if same_role && agreed.fingerprints == offer.fingerprints {
            Ok(agreed.dtls_role)
        } else {
            Err(NegotiationError::DtlsChanged)
        }
    }

    /// Why every line was rejected: the first reason that is not the offerer's own doing.
    fn nothing_usable(&self, offer: &Offer, answered: &[AnswerLine]) -> NegotiationError {
        let mut reasons =
            offer.lines.iter().zip(answered).filter_map(|(line, answer)| answer.reason().map(|reason| (line, reason)));
        match reasons.find(|(_, reason)| *reason != RejectReason::Removed) {
            Some((OfferedLine { mid, content: Content::Media(media), .. }, RejectReason::NoCodec)) => {
                NegotiationError::NoUsableCodec { mid: mid.clone(), expected: self.config.codecs.of_kind(media.kind) }
            }
            found => NegotiationError::NothingUsable(Some(found.map_or(RejectReason::Removed, |(_, reason)| reason))),
        }
    }

    fn answer_media(&mut self, offered: &OfferedLine, media: &OfferedMedia, offer: &Offer) -> (Line, AnswerLine) {
        let codecs = codec::choose(&media.codecs, &self.config.codecs);
        if codecs.is_empty() {
            let reason = RejectReason::NoCodec;
            self.slots.retain(|slot| slot.mid != offered.mid);
            return (rejected(offered, media.kind, reason), AnswerLine::Rejected(reason));
        }
        let direction = media.direction.reversed();
        let mixed = media.mixed || offer.mixed;
        let wanted = wanted(&self.config.extensions, &codecs, direction, mixed);
        let (extensions, extmaps) = extension::accept(&media.extensions, &wanted, direction);
        let publish = direction.receives().then(|| {
            let mut publish = media.publish.clone();
            // Without the extension nothing tells layers apart; the offerer then sends one stream.
            let tells_layers =
                extension::id_offered(&media.extensions, Extension::Rid).and_then(|id| extensions.extension(id));
            if tells_layers.is_none() {
                publish.rids.clear();
            }
            publish
        });
        let retransmits = codecs.iter().any(|codec| codec.rtx_payload_type.is_some());
        let slot = direction.sends().then(|| {
            let slot = self.slot(&offered.mid, media.kind, offer);
            let rtx_ssrc = retransmits.then_some(slot.rtx_ssrc);
            SlotLine { pair: Some(slot.number), ssrc: slot.ssrc, rtx_ssrc, cname: stream(slot.number) }
        });
        let line =
            Line { mid: offered.mid.clone(), kind: media.kind, codecs, extensions, publish, slot, rejected: None };
        let answer = AnswerMedia {
            line: line.clone(),
            direction,
            extmaps,
            mixed: media.mixed,
            rtcp_rsize: media.rtcp_rsize,
            simulcast: media.simulcast,
        };
        (line, AnswerLine::Media(Box::new(answer)))
    }

    /// The slot of a line; a new one gets the lowest number that is free for its kind.
    fn slot(&mut self, mid: &str, kind: MediaKind, offer: &Offer) -> Slot {
        if let Some(slot) = self.slots.iter().find(|slot| slot.mid == mid) {
            return slot.clone();
        }
        let taken = |number: &usize| self.slots.iter().any(|slot| slot.kind == kind && slot.number == *number);
        let number = (0..).find(|number| !taken(number)).unwrap_or_default();
        let ssrc = self.unused_ssrc(offer, None);
        let rtx_ssrc = self.unused_ssrc(offer, Some(ssrc));
        let slot = Slot { mid: mid.to_owned(), kind, number, ssrc, rtx_ssrc };
        self.slots.push(slot.clone());
        slot
    }

    /// An SSRC that neither side uses (RFC 3550, section 8).
    fn unused_ssrc(&mut self, offer: &Offer, sibling: Option<u32>) -> u32 {
        loop {
            let ssrc: u32 = self.random.random();
            let own = self.slots.iter().any(|slot| slot.ssrc == ssrc || slot.rtx_ssrc == ssrc) || sibling == Some(ssrc);
            let theirs = offer.lines.iter().any(|line| match &line.content {
                Content::Media(media) => {
                    media.publish.ssrcs.iter().any(|declared| declared.ssrc == ssrc || declared.rtx == Some(ssrc))
                }
                _ => false,
            });
            if ssrc != 0 && !own && !theirs {
                return ssrc;
            }
        }
    }

    /// A slot is one of a pair only if its counterpart is there.
    fn name_pairs(&self, lines: &mut [Line]) {
        let slots: Vec<(MediaKind, Option<usize>)> =
            lines.iter().filter_map(|line| Some((line.kind, line.slot.as_ref()?.pair))).collect();
        for line in lines {
            let kind = line.kind;
            if let Some(slot) = &mut line.slot {
                let paired = slots.iter().any(|(other, number)| *other != kind && *number == slot.pair);
                slot.pair = slot.pair.filter(|_| paired);
            }
        }
    }
}

/// The header extensions to agree on for a line. Browsers describe the frames of any codec once they may, and only AV1's receivers need it: a
/// publisher's line has the dependency descriptor only where AV1 is what it will send. Its values can be too long for the one-byte form.
fn wanted(configured: &[Extension], codecs: &[Codec], direction: Direction, mixed: bool) -> Vec<Extension> {
    let is_av1 = |codec: &Codec| codec.name == CodecName::Av1;
    let described = codecs.first().is_some_and(is_av1) || (direction.sends() && codecs.iter().any(is_av1));
    let fits = |extension: &&Extension| **extension != Extension::DependencyDescriptor || (described && mixed);
    configured.iter().filter(fits).copied().collect()
}

/// The msid stream, and CNAME, of the k-th slots: a browser plays the tracks of one stream in sync.
fn stream(number: usize) -> String {
    format!("slot-{number}")
}

/// Why a line is rejected whatever its content.
fn rejection(line: &OfferedLine, offer: &Offer) -> Option<RejectReason> {
    let protocols: &[&str] = match line.content {
        Content::Media(_) => &["UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP"],
        Content::DataChannels => &["UDP/DTLS/SCTP", "DTLS/SCTP"],
        Content::Other => &[],
    };
    if line.removed {
        Some(RejectReason::Removed)
    } else if !protocols.contains(&line.protocol.as_str()) {
        Some(RejectReason::Protocol)
    } else if offer.bundle.as_ref().is_some_and(|mids| !mids.contains(&line.mid)) {
        Some(RejectReason::NotBundled)
    } else {
        None
    }
}

fn rejected(line: &OfferedLine, kind: MediaKind, reason: RejectReason) -> Line {
    Line {
        mid: line.mid.clone(),
        kind,
        codecs: Vec::new(),
        extensions: ExtensionMap::default(),
        publish: None,
        slot: None,
        rejected: Some(reason),
    }
}
