//! How offers of real clients are answered.
#![allow(clippy::unwrap_used)]

mod negotiation_text;

use std::collections::HashSet;

use negotiation_text::{FIXTURES, config, fixture, line, negotiation, offer, read};
use ringback_transport::sdp::{
    CodecName, CodecPreferences, DeclaredSsrc, DtlsRole, Extension, FeedbackSet, FingerprintAlgorithm, MediaKind,
    Negotiation, NegotiationConfig, RejectReason,
};

#[test]
fn every_clients_offer_is_answered_line_by_line() {
    for (client, offer) in FIXTURES {
        let accepted = negotiation().accept(offer).unwrap_or_else(|error| panic!("{client}: {error}"));
        let (_, offered) = read(offer);
        let (session, answered) = read(&accepted.answer);
        assert_eq!(
            answered.iter().map(|line| (line.kind(), line.mid())).collect::<Vec<_>>(),
            offered.iter().map(|line| (line.kind(), line.mid())).collect::<Vec<_>>(),
            "{client}"
        );
        assert!(session.contains(&"ice-lite".to_owned()), "{client}");
        assert!(!accepted.ice_restarted);
        assert!(accepted.session.mid_extension.is_some() || client == "ffmpeg-whip", "{client}");
        assert_eq!(accepted.session.remote_fingerprints[0].algorithm, FingerprintAlgorithm::Sha256);
        for line in answered.iter().filter(|line| line.port() != "0") {
            assert_eq!(line.values("ice-ufrag"), ["serverufrag"], "{client}");
            assert_eq!(line.values("fingerprint"), [config().fingerprint.to_string()], "{client}");
            assert_eq!(line.has("rtcp-mux"), line.kind() != "application", "{client}");
            assert!(!line.attributes.iter().any(|attribute| attribute.contains("video-orientation")), "{client}");
        }
        let all_ssrcs: Vec<u32> = accepted
            .session
            .lines
            .iter()
            .filter_map(|line| line.slot.as_ref())
            .flat_map(|slot| [Some(slot.ssrc), slot.rtx_ssrc])
            .flatten()
            .collect();
        assert_eq!(all_ssrcs.iter().collect::<HashSet<_>>().len(), all_ssrcs.len(), "{client}: SSRCs differ");
    }
}

#[test]
fn browsers_get_paired_slots_simulcast_and_data_channels() {
    for browser in ["chromium", "firefox"] {
        let accepted = negotiation().accept(fixture(browser)).unwrap();
        let session = &accepted.session;
        assert!(session.sctp);
        assert_eq!(session.dtls_role, DtlsRole::Server);
        assert_eq!(session.lines.len(), 16);

        let microphone = line(session, "0");
        // Opus before RED: browsers send what comes first.
        let audio = if browser == "chromium" { &[CodecName::Opus, CodecName::Red][..] } else { &[CodecName::Opus] };
        assert_eq!(microphone.codecs.iter().map(|codec| codec.name).collect::<Vec<_>>(), audio);
        assert!(microphone.slot.is_none());
        assert_eq!(microphone.publish.as_ref().unwrap().ssrcs.len(), 1);
        assert_eq!(microphone.extensions.extension(1), Some(Extension::AudioLevel));

        let camera = line(session, "1");
        assert_eq!(camera.publish.as_ref().unwrap().rids, ["q", "h", "f"]);
        let all = FeedbackSet { nack: true, pli: true, fir: true, transport_cc: true, remb: true };
        assert_eq!(camera.codecs[0].feedback, all);
        assert!(camera.codecs[0].rtx_payload_type.is_some());
        let (_, answered) = read(&accepted.answer);
        assert_eq!(answered[1].values("rid"), ["q recv", "h recv", "f recv"]);
        assert_eq!(answered[1].values("simulcast"), ["recv q;h;f"]);
        assert!(answered[1].has("recvonly"));
        assert_eq!(answered[16].values("sctp-port"), ["5000"]);
        assert_eq!(answered[16].values("max-message-size"), ["16384"]);

        // Six audio slots (3 to 8) and seven video slots (9 to 15).
        for number in 0..6 {
            let (audio, video) = (&session.lines[3 + number], &session.lines[9 + number]);
            assert_eq!((audio.kind, video.kind), (MediaKind::Audio, MediaKind::Video));
            let (audio, video) = (audio.slot.as_ref().unwrap(), video.slot.as_ref().unwrap());
            assert_eq!((audio.pair, video.pair), (Some(number), Some(number)));
            assert_eq!(audio.cname, video.cname);
            assert_eq!((audio.rtx_ssrc.is_some(), video.rtx_ssrc.is_some()), (false, true));
            let stream = format!("slot-{number}");
            assert!(answered[3 + number].values("msid")[0].starts_with(&stream));
            assert!(answered[9 + number].values("msid")[0].starts_with(&stream));
            assert!(answered[9 + number].has("sendonly"));
            let group = format!("FID {} {}", video.ssrc, video.rtx_ssrc.unwrap());
            assert_eq!(answered[9 + number].values("ssrc-group"), [group]);
            let cname = format!("{} cname:{stream}", video.ssrc);
            assert!(answered[9 + number].values("ssrc").contains(&cname.as_str()));
        }
        let overflow = session.lines[15].slot.as_ref().unwrap();
        assert_eq!(overflow.pair, None);
        assert!(
            session.lines[..15].iter().all(|line| line.slot.as_ref().is_none_or(|slot| slot.cname != overflow.cname))
        );
    }
}

#[test]
fn candidates_stand_on_the_line_that_leads_the_bundle() {
    let accepted = negotiation().accept(fixture("chromium")).unwrap();
    let (session, answered) = read(&accepted.answer);
    assert_eq!(
        answered[0].values("candidate"),
        ["1 1 udp 2130706431 192.0.2.1 7000 typ host", "2 1 udp 2130706175 2001:db8::1 7000 typ host"]
    );
    assert!(answered[0].has("end-of-candidates"));
    assert!(answered[1..].iter().all(|line| line.values("candidate").is_empty()));
    assert!(session.iter().any(|attribute| attribute.starts_with("group:BUNDLE 0 1 2 3")));

    // The leading line is rejected: the next one leads.
    let offer = fixture("chromium").replacen("opus/48000/2", "speex/16000", 1);
    let accepted = negotiation().accept(&offer).unwrap();
    let (session, answered) = read(&accepted.answer);
    assert!(session.iter().any(|attribute| attribute.starts_with("group:BUNDLE 1 2 3")));
    assert_eq!((answered[0].port(), answered[1].values("candidate").len()), ("0", 2));
}

#[test]
fn tcp_candidates_follow_those_of_udp_and_are_preferred_to_none_of_them() {
    let tcp_candidates = config().candidates;
    let accepted =
        Negotiation::new(NegotiationConfig { tcp_candidates, ..config() }).accept(fixture("chromium")).unwrap();
    let (_, answered) = read(&accepted.answer);
    let candidates = answered[0].values("candidate");
    assert_eq!(
        candidates[2..],
        [
            "3 1 tcp 1520435199 192.0.2.1 7000 typ host tcptype passive",
            "4 1 tcp 1520434943 2001:db8::1 7000 typ host tcptype passive"
        ]
    );
    let priority = |candidate: &&str| candidate.split(' ').nth(3).unwrap().parse::<u32>().unwrap();
    assert!(candidates.is_sorted_by(|earlier, later| priority(earlier) > priority(later)), "{candidates:?}");
}

#[test]
fn firefoxes_one_way_extensions_are_honoured() {
    let accepted = negotiation().accept(fixture("firefox")).unwrap();
    let camera = line(&accepted.session, "1");
    assert_eq!(camera.extensions.extension(9), Some(Extension::Rid));
    assert_eq!((camera.extensions.extension(6), camera.extensions.id_of(Extension::PlayoutDelay)), (None, Some(6)));
    let (_, answered) = read(&accepted.answer);
    let extmaps = answered[1].values("extmap");
    assert!(extmaps.contains(&"6/sendonly http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"));
    assert!(extmaps.contains(&"9/recvonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"));
    assert!(answered[1].has("extmap-allow-mixed"));
}

#[test]
fn vp8_comes_first_whatever_the_offerer_prefers() {
    let accepted = negotiation().accept(fixture("safari")).unwrap();
    let camera = line(&accepted.session, "1");
    let codecs: Vec<_> = camera.codecs.iter().map(|codec| (codec.name, codec.payload_type)).collect();
    assert_eq!(codecs, [(CodecName::Vp8, 100), (CodecName::H264, 98), (CodecName::H264, 96)]);
    assert_eq!(read(&accepted.answer).1[1].name, "video 9 UDP/TLS/RTP/SAVPF 100 101 98 99 96 97");
}

#[test]
fn every_codec_of_a_browser_is_answered_under_its_own_payload_types() {
    let accepted = negotiation().accept(fixture("chromium")).unwrap();
    let camera = line(&accepted.session, "1");
    let codecs: Vec<_> = camera.codecs.iter().map(|codec| (codec.name, codec.payload_type)).collect();
    use CodecName::{Av1, H264, Vp8, Vp9};
    assert_eq!(codecs, [(Vp8, 96), (Vp9, 98), (H264, 108), (H264, 102), (H264, 116), (Av1, 45)]);
    assert!(camera.codecs.iter().all(|codec| codec.rtx_payload_type.is_some() && codec.feedback.nack));
    let answered = &read(&accepted.answer).1[1];
    let h264 = "108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
    for fmtp in ["98 profile-id=0", h264, "45 level-idx=5;profile=0;tier=0", "46 apt=45"] {
        assert!(answered.values("fmtp").contains(&fmtp), "{fmtp}");
    }
}

#[test]
fn the_dependency_descriptor_is_agreed_on_where_av1_is_sent() {
    const URI: &str = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
    let av1_first = CodecPreferences::default().preferring([CodecName::Av1]);
    let camera = |codecs: CodecPreferences, offer: &str| {
        let accepted = Negotiation::new(NegotiationConfig { codecs, ..config() }).accept(offer).unwrap();
        let camera = line(&accepted.session, "1").extensions.clone();
        let answered = read(&accepted.answer).1[1].values("extmap").iter().any(|extmap| extmap.ends_with(URI));
        assert_eq!(answered, camera.extension(12).is_some());
        camera.extension(12)
    };
    let chromium = fixture("chromium");
    let agreed = Some(Extension::DependencyDescriptor);
    assert_eq!(camera(av1_first.clone(), chromium), agreed);
    assert_eq!(camera(CodecPreferences::default(), chromium), None, "with VP8 it would only cost");
    let unmixed = chromium.replace("a=extmap-allow-mixed\r\n", "").replace("a=extmap-allow-mixed\n", "");
    assert_eq!(camera(av1_first, &unmixed), None, "it may need the two-byte form");

    // A slot takes it whatever comes first: what flows there is for others to say.
    let slot = format!(
        "{}a=rtpmap:45 AV1/90000\r\na=extmap:7 {URI}\r\na=extmap-allow-mixed\r\n",
        offer(&[("v", "video", "recvonly")]).replace("SAVPF 96 97", "SAVPF 96 97 45")
    );
    let accepted = negotiation().accept(&slot).unwrap();
    assert_eq!(line(&accepted.session, "v").extensions.id_of(Extension::DependencyDescriptor), Some(7));
}

#[test]
fn a_room_may_prefer_other_codecs() {
    let codecs = CodecPreferences::new([CodecName::Opus, CodecName::H264, CodecName::Vp8]);
    let mut negotiation = Negotiation::new(NegotiationConfig { codecs, ..config() });
    let accepted = negotiation.accept(fixture("safari")).unwrap();
    let payload_types: Vec<u8> = line(&accepted.session, "1").codecs.iter().map(|codec| codec.payload_type).collect();
    assert_eq!(payload_types, [98, 96, 100]);
    let answered = &read(&accepted.answer).1[1];
    assert_eq!(answered.name, "video 9 UDP/TLS/RTP/SAVPF 98 99 96 97 100 101");
    let high = "96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f";
    assert!(answered.values("fmtp").contains(&high));
}

#[test]
fn a_line_that_sends_and_receives_is_published_and_a_slot() {
    let accepted = negotiation().accept(fixture("pion")).unwrap();
    let (video, audio) = (line(&accepted.session, "0"), line(&accepted.session, "1"));
    let declared = DeclaredSsrc { ssrc: 1_522_163_519, rtx: Some(2_941_853_907) };
    assert_eq!(video.publish.as_ref().unwrap().ssrcs, [declared]);
    assert_eq!(video.publish.as_ref().unwrap().msid.as_ref().unwrap().track, "video");
    assert_eq!(video.slot.as_ref().unwrap().pair, Some(0));
    assert_eq!(audio.slot.as_ref().unwrap().pair, Some(0));
    assert!(read(&accepted.answer).1[0].has("sendrecv"));
}

#[test]
fn a_whip_client_may_insist_on_waiting_for_the_handshake() {
    let codecs = CodecPreferences::new([CodecName::Opus, CodecName::Vp8]);
    let accepted = Negotiation::new(NegotiationConfig { codecs, ..config() }).accept(fixture("ffmpeg-whip")).unwrap();
    assert_eq!(accepted.session.dtls_role, DtlsRole::Client);
    let (_, answered) = read(&accepted.answer);
    assert_eq!(answered[0].values("setup"), ["active"]);
    // It offers H.264 only, which this room does not take: the audio is served, and the video line says why not.
    assert_eq!(answered[1].name, "video 0 UDP/TLS/RTP/SAVPF 106 105");
    assert_eq!(line(&accepted.session, "1").rejected, Some(RejectReason::NoCodec));
    assert!(line(&accepted.session, "1").codecs.is_empty());
}

#[test]
fn an_undeclared_retransmission_ssrc_in_a_group_is_tolerated() {
    let accepted = negotiation().accept(fixture("ffmpeg-whip")).unwrap();
    let declared = DeclaredSsrc { ssrc: 1_276_384_562, rtx: Some(4_017_321_180) };
    assert_eq!(line(&accepted.session, "1").publish.as_ref().unwrap().ssrcs, [declared]);
}

#[test]
fn an_inactive_line_is_answered_inactive() {
    let accepted = negotiation().accept(&offer(&[("a", "audio", "inactive"), ("b", "video", "recvonly")])).unwrap();
    let inactive = line(&accepted.session, "a");
    assert!(inactive.publish.is_none() && inactive.slot.is_none() && inactive.rejected.is_none());
    assert!(read(&accepted.answer).1[0].has("inactive"));
    assert_eq!(line(&accepted.session, "b").slot.as_ref().unwrap().pair, None);
}

#[test]
fn layers_without_the_extension_that_tells_them_apart_are_declined() {
    let simulcast = "a=rid:q send\r\na=rid:f send\r\na=simulcast:send q;f\r\n";
    let offer = offer(&[("0", "video", "sendonly")]) + simulcast;
    let accepted = negotiation().accept(&offer).unwrap();
    assert!(line(&accepted.session, "0").publish.as_ref().unwrap().rids.is_empty());
    assert!(!accepted.answer.contains("simulcast"));
    let with_extension = offer + "a=extmap:5 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n";
    let accepted = negotiation().accept(&with_extension).unwrap();
    assert_eq!(line(&accepted.session, "0").publish.as_ref().unwrap().rids, ["q", "f"]);
}

#[test]
fn lines_outside_the_group_and_unknown_kinds_are_rejected_alone() {
    let offer = offer(&[("0", "audio", "sendonly"), ("1", "video", "sendonly"), ("2", "data", ""), ("3", "data", "")])
        .replace("BUNDLE 0 1 2 3", "BUNDLE 0 2 3 4")
        + "m=text 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:4\r\n";
    let accepted = negotiation().accept(&offer).unwrap();
    assert_eq!(line(&accepted.session, "1").rejected, Some(RejectReason::NotBundled));
    let (_, answered) = read(&accepted.answer);
    let ports: Vec<&str> = answered.iter().map(|line| line.port()).collect();
    assert_eq!(ports, ["9", "0", "9", "0", "0"]);
    assert_eq!(answered[4].name, "text 0 UDP/TLS/RTP/SAVPF 98");
}

#[test]
fn the_same_seed_gives_the_same_answer() {
    let answer = || negotiation().accept(fixture("chromium")).unwrap().answer;
    assert_eq!(answer(), answer());
    let other = Negotiation::new(NegotiationConfig { ssrc_seed: 2, ..config() }).accept(fixture("chromium")).unwrap();
    assert_ne!(answer(), other.answer);
}
