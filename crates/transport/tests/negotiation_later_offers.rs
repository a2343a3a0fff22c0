//! What stays and what may change from offer to offer.
#![allow(clippy::unwrap_used)]

mod negotiation_text;

use negotiation_text::{CHROMIUM_AGAIN, fixture, line, negotiation, offer, read};
use ringback_transport::sdp::{DtlsRole, NegotiationError, RejectReason, SlotLine};

const FIRST: [(&str, &str, &str); 4] =
    [("0", "audio", "sendonly"), ("1", "audio", "recvonly"), ("2", "video", "recvonly"), ("3", "data", "")];

fn slot(accepted: &ringback_transport::sdp::Accepted, mid: &str) -> SlotLine {
    line(&accepted.session, mid).slot.clone().unwrap()
}

#[test]
fn the_same_offer_again_is_answered_the_same_but_for_its_version() {
    for (client, offer) in negotiation_text::FIXTURES {
        let mut negotiation = negotiation();
        let first = negotiation.accept(offer).unwrap();
        let second = negotiation.accept(offer).unwrap();
        assert!(!second.ice_restarted, "{client}");
        assert_eq!(first.session, second.session, "{client}");
        let (first, second) = (first.answer.lines(), second.answer.lines());
        let differing: Vec<_> = first.zip(second).filter(|(first, second)| first != second).collect();
        assert_eq!(differing.len(), 1, "{client}");
        assert!(differing[0].0.starts_with("o=- ") && differing[0].0.ends_with(" 1 IN IP4 127.0.0.1"), "{client}");
        assert!(differing[0].1.ends_with(" 2 IN IP4 127.0.0.1"), "{client}");
    }
}

#[test]
fn chromium_may_restart_ice_stop_a_slot_and_add_a_pair_in_one_offer() {
    let mut negotiation = negotiation();
    let first = negotiation.accept(fixture("chromium")).unwrap();
    let second = negotiation.accept(CHROMIUM_AGAIN).unwrap();
    assert!(second.ice_restarted);
    assert_ne!(first.session.local_ice, second.session.local_ice);
    assert_ne!(first.session.remote_ice, second.session.remote_ice);
    assert!(second.answer.contains(&second.session.local_ice.pwd));
    assert_eq!(line(&second.session, "5").rejected, Some(RejectReason::Removed));
    for kept in first.session.lines.iter().filter(|line| line.mid != "5" && line.mid != "11") {
        let now = line(&second.session, &kept.mid);
        assert_eq!(kept.slot.as_ref().map(|slot| slot.ssrc), now.slot.as_ref().map(|slot| slot.ssrc), "{}", kept.mid);
    }
    // Audio slot 2 went with line 5; the new audio line takes its number, and so the video slot keeps a counterpart.
    assert_eq!(slot(&second, "17").pair, Some(2));
    assert_eq!(slot(&second, "11").pair, Some(2));
    assert_ne!(slot(&second, "17").ssrc, slot(&first, "5").ssrc);
    assert_eq!(slot(&second, "18").pair, None);
}

#[test]
fn slots_survive_a_pause() {
    let mut negotiation = negotiation();
    let first = negotiation.accept(&offer(&FIRST)).unwrap();
    let mut paused = FIRST;
    paused[2].2 = "inactive";
    let second = negotiation.accept(&offer(&paused)).unwrap();
    assert!(line(&second.session, "2").slot.is_none());
    assert_eq!(slot(&second, "1").pair, None);
    let third = negotiation.accept(&offer(&FIRST)).unwrap();
    assert_eq!(slot(&third, "2"), slot(&first, "2"));
    assert_eq!(slot(&third, "1"), slot(&first, "1"));
}

#[test]
fn a_removed_lines_place_may_be_taken_by_another() {
    let mut negotiation = negotiation();
    negotiation.accept(&offer(&FIRST)).unwrap();
    let removed = offer(&FIRST).replace("m=video 9", "m=video 0");
    let accepted = negotiation.accept(&removed).unwrap();
    assert_eq!(read(&accepted.answer).1[2].port(), "0");
    let mut reused = FIRST;
    reused[2] = ("9", "audio", "recvonly");
    let accepted = negotiation.accept(&offer(&reused)).unwrap();
    assert!(line(&accepted.session, "9").slot.is_some());
}

#[test]
fn lines_in_use_keep_their_place_name_and_kind() {
    let mut negotiation = negotiation();
    negotiation.accept(&offer(&FIRST)).unwrap();
    let error = negotiation.accept(&offer(&FIRST[..3])).unwrap_err();
    assert_eq!(error, NegotiationError::LinesMissing { count: 3, before: 4 });
    let mut renamed = FIRST;
    renamed[1].0 = "x";
    let error = negotiation.accept(&offer(&renamed)).unwrap_err();
    let expected = NegotiationError::MidChanged { line: 1, expected: "1".into(), found: "x".into() };
    assert_eq!(error, expected);
    let mut changed = FIRST;
    changed[1].1 = "video";
    assert_eq!(negotiation.accept(&offer(&changed)).unwrap_err(), NegotiationError::KindChanged { mid: "1".into() });
    assert!(negotiation.accept(&offer(&FIRST)).is_ok());
}

#[test]
fn the_dtls_role_stays_and_another_certificate_needs_another_connection() {
    let mut negotiation = negotiation();
    let passive = offer(&FIRST).replace("setup:actpass", "setup:passive");
    assert_eq!(negotiation.accept(&passive).unwrap().session.dtls_role, DtlsRole::Client);
    let second = negotiation.accept(&offer(&FIRST)).unwrap();
    assert_eq!(second.session.dtls_role, DtlsRole::Client);
    assert!(second.answer.contains("a=setup:active") && !second.answer.contains("a=setup:passive"));
    let turned = offer(&FIRST).replace("setup:actpass", "setup:active");
    assert_eq!(negotiation.accept(&turned).unwrap_err(), NegotiationError::DtlsChanged);
    let other_certificate = offer(&FIRST).replace("CD:", "CE:");
    assert_eq!(negotiation.accept(&other_certificate).unwrap_err(), NegotiationError::DtlsChanged);
}
