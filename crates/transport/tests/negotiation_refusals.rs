//! Offers that cannot be answered get an error that says why, and change nothing.
#![allow(clippy::unwrap_used)]

mod negotiation_text;

use negotiation_text::{fixture, negotiation, offer};
use ringback_transport::sdp::NegotiationError;

fn refusal(offer: &str) -> NegotiationError {
    negotiation().accept(offer).expect_err("the offer is refused")
}

fn two_lines() -> String {
    offer(&[("0", "audio", "sendonly"), ("1", "video", "recvonly")])
}

#[test]
fn three_hundred_lines_are_counted_and_refused() {
    let mids: Vec<String> = (0..300).map(|mid| mid.to_string()).collect();
    let lines: Vec<(&str, &str, &str)> = mids.iter().map(|mid| (mid.as_str(), "audio", "recvonly")).collect();
    let error = refusal(&offer(&lines));
    assert_eq!(error, NegotiationError::TooManyLines { count: 300, limit: 64 });
    assert_eq!(error.to_string(), "the offer has 300 m-lines, at most 64 are served");
    assert!(negotiation().accept(&offer(&lines[..64])).is_ok());
}

#[test]
fn an_offer_beyond_the_limit_is_not_even_parsed() {
    let large = two_lines() + &"a=x:y\r\n".repeat(40_000);
    let bytes = large.len();
    assert_eq!(refusal(&large), NegotiationError::TooLarge { bytes, limit: 256 << 10 });
}

#[test]
fn what_is_no_sdp_is_said_to_be_none() {
    for text in ["", "hello", "{\"type\":\"offer\"}", "v=0\r\n", "v=1\r\no=- 1 1 IN IP4 0.0.0.0\r\n", "\u{0}\u{ff}"] {
        let error = refusal(text);
        let is_syntax = matches!(error, NegotiationError::Syntax(_) | NegotiationError::NothingUsable(None));
        assert!(is_syntax, "{text:?}: {error}");
        assert!(error.to_string().len() < 400);
    }
}

#[test]
fn an_offer_without_a_codec_we_know_is_told_the_line_and_what_was_expected() {
    let offer = two_lines().replace("opus", "speex").replace("VP8", "theora");
    let error = refusal(&offer);
    assert_eq!(error, NegotiationError::NoUsableCodec { mid: "0".into(), expected: "opus/48000/2".into() });
    let message =
        "nothing in the offer can be used: m-line \"0\" offers no codec that is served here, expected opus/48000/2";
    assert_eq!(error.to_string(), message);
}

#[test]
fn each_missing_part_of_the_transport_is_named() {
    let without = |part: &str| {
        let offer = fixture("chromium");
        let kept = offer.lines().filter(|line| !line.starts_with(part));
        refusal(&kept.map(|line| format!("{line}\r\n")).collect::<String>())
    };
    assert_eq!(without("a=fingerprint"), NegotiationError::MissingFingerprint);
    assert_eq!(without("a=ice-ufrag"), NegotiationError::MissingIceCredentials);
    assert_eq!(without("a=ice-pwd"), NegotiationError::MissingIceCredentials);
    assert_eq!(without("a=mid"), NegotiationError::MissingMid { line: 0 });
    assert_eq!(without("a=group"), NegotiationError::MissingBundle);
    assert_eq!(without("a=rtcp-mux"), NegotiationError::MissingRtcpMux { mid: "0".into() });
}

#[test]
fn a_single_line_needs_no_bundle() {
    let single = offer(&[("0", "audio", "sendonly")]).replace("a=group:BUNDLE 0\r\n", "");
    assert!(!negotiation().accept(&single).unwrap().answer.contains("BUNDLE"));
}

#[test]
fn wrong_values_are_named() {
    let with = |from: &str, to: &str| refusal(&two_lines().replace(from, to));
    assert_eq!(
        with("a=ice-pwd:clientpasswordclientpassword", "a=ice-pwd:short"),
        NegotiationError::InvalidIceCredentials
    );
    assert!(matches!(with("sha-256 CD:", "sha-256 ZZ:"), NegotiationError::Fingerprint(_)));
    assert_eq!(with("sha-256 CD:", "sha-1 CD:"), NegotiationError::MissingFingerprint);
    assert_eq!(with("setup:actpass", "setup:holdconn"), NegotiationError::Setup("holdconn".into()));
    assert_eq!(with("a=mid:1", "a=mid:0"), NegotiationError::DuplicateMid { mid: "0".into() });
    assert!(matches!(with("a=mid:1", "a=mid:one mid"), NegotiationError::InvalidMid { line: 1, .. }));
    assert!(matches!(with("a=mid:1", "a=mid:12345678901234567"), NegotiationError::InvalidMid { line: 1, .. }));
    assert_eq!(with("a=setup:actpass", "a=setup:actpass\r\na=ice-lite"), NegotiationError::IceLite);
}

#[test]
fn contradictions_between_lines_are_named() {
    let conflicting = two_lines().replacen("extmap:1 urn", "extmap:2 urn", 1);
    assert_eq!(refusal(&conflicting), NegotiationError::ConflictingMidExtension { mid: "1".into() });
    let twice = offer(&[("0", "audio", "sendonly"), ("1", "audio", "sendonly")])
        .replace("a=rtcp-mux", "a=ssrc:77 cname:x\r\na=rtcp-mux");
    let duplicate = NegotiationError::DuplicateSsrc { ssrc: 77, first: "0".into(), second: "1".into() };
    assert_eq!(refusal(&twice), duplicate);
}

#[test]
fn a_refused_offer_leaves_the_negotiation_as_it_was() {
    let mut one = negotiation();
    let mut other = negotiation();
    one.accept(&two_lines()).unwrap();
    other.accept(&two_lines()).unwrap();
    let more = offer(&[("0", "audio", "sendonly"), ("1", "video", "recvonly"), ("2", "video", "recvonly")]);
    one.accept(&more.replace("setup:actpass", "setup:active").replace("CD:", "CE:")).unwrap_err();
    one.accept("nonsense").unwrap_err();
    assert_eq!(one.accept(&more).unwrap().answer, other.accept(&more).unwrap().answer);
}
