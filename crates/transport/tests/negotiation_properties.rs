//! What holds for every offer, well-formed or not.
#![allow(clippy::unwrap_used)]

mod negotiation_text;

use std::collections::HashSet;
use std::io::Cursor;

use negotiation_text::{FIXTURES, negotiation, offer, read};
use proptest::prelude::*;
use ringback_transport::sdp::{Accepted, MediaKind};
use rtc_sdp::SessionDescription;

/// A change to an offer's text, with positions taken modulo what there is.
#[derive(Debug, Clone)]
enum Mutation {
    Remove(usize),
    Double(usize),
    Swap(usize, usize),
    Replace(usize, String),
    InsertInto(usize, usize, String),
    CutShort(usize, usize),
    Take(usize, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let text = prop_oneof![
        "[ -~]{0,20}",
        "\\PC{0,8}",
        Just("m=video 0 UDP/TLS/RTP/SAVPF 96".to_owned()),
        Just("m=audio 9 UDP/TLS/RTP/SAVPF 111".to_owned()),
        Just("a=mid:0".to_owned()),
        Just("a=bundle-only".to_owned()),
        "a=(ssrc|rid|simulcast|extmap|fmtp|rtpmap|rtcp-fb|group|msid|setup|fingerprint|ssrc-group):[ -~]{0,20}",
        "r=[0-9a-zé ]{0,12}",
    ];
    prop_oneof![
        any::<usize>().prop_map(Mutation::Remove),
        any::<usize>().prop_map(Mutation::Double),
        any::<(usize, usize)>().prop_map(|(one, other)| Mutation::Swap(one, other)),
        (any::<usize>(), text.clone()).prop_map(|(line, text)| Mutation::Replace(line, text)),
        (any::<usize>(), any::<usize>(), text).prop_map(|(line, at, text)| Mutation::InsertInto(line, at, text)),
        any::<(usize, usize)>().prop_map(|(line, at)| Mutation::CutShort(line, at)),
        any::<(usize, usize)>().prop_map(|(fixture, line)| Mutation::Take(fixture, line)),
    ]
}

fn mutate(text: &str, mutations: &[Mutation]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for mutation in mutations {
        let count = lines.len();
        if count == 0 {
            break;
        }
        let character = |text: &str, at: usize| {
            text.char_indices().map(|(at, _)| at).nth(at % (text.len() + 1)).unwrap_or(text.len())
        };
        match mutation {
            Mutation::Remove(line) => drop(lines.remove(line % count)),
            Mutation::Double(line) => lines.insert(line % count, lines[line % count].clone()),
            Mutation::Swap(one, other) => lines.swap(one % count, other % count),
            Mutation::Replace(line, text) => lines[line % count].clone_from(text),
            Mutation::InsertInto(line, at, text) => {
                let line = &mut lines[line % count];
                line.insert_str(character(line, *at), text);
            }
            Mutation::CutShort(line, at) => {
                let line = &mut lines[line % count];
                line.truncate(character(line, *at));
            }
            Mutation::Take(fixture, line) => {
                let other: Vec<&str> = FIXTURES[fixture % FIXTURES.len()].1.lines().collect();
                lines.insert(line % count, other[line % other.len()].to_owned());
            }
        }
    }
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

/// An answer has the offer's lines, by the reading of `rtc-sdp`, which is not this crate's.
fn fits(offer: &str, accepted: &Accepted) {
    let read = |text: &str| {
        let description = SessionDescription::unmarshal(&mut Cursor::new(text)).unwrap();
        let lines = description.media_descriptions.iter();
        lines
            .map(|line| {
                let mid = line.attribute("mid").flatten().unwrap_or_default().trim().to_owned();
                (line.media_name.media.clone(), line.media_name.protos.clone(), mid)
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(read(&accepted.answer), read(offer));
    let slots = accepted.session.lines.iter().filter_map(|line| line.slot.as_ref());
    let ssrcs: Vec<u32> = slots.flat_map(|slot| [Some(slot.ssrc), slot.rtx_ssrc]).flatten().collect();
    assert_eq!(ssrcs.iter().collect::<HashSet<_>>().len(), ssrcs.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn a_mutated_offer_is_refused_or_answered_line_by_line(
        fixture in 0..FIXTURES.len(),
        mutations in prop::collection::vec(mutation(), 1..12),
    ) {
        let (_, original) = FIXTURES[fixture];
        let mutated = mutate(original, &mutations);
        if let Ok(accepted) = negotiation().accept(&mutated) {
            fits(&mutated, &accepted);
        }
        // The same as a later offer.
        let mut later = negotiation();
        let first = later.accept(original).unwrap();
        match later.accept(&mutated) {
            Ok(accepted) => fits(&mutated, &accepted),
            Err(_) => prop_assert_eq!(&later.accept(original).unwrap().session, &first.session),
        }
    }

    #[test]
    fn any_text_is_refused_or_answered(text in "\\PC{0,200}") {
        let _ = negotiation().accept(&text);
        let _ = negotiation().accept(&format!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{text}"));
    }

    #[test]
    fn the_kth_audio_and_the_kth_video_slot_are_a_pair(
        kinds in prop::collection::vec((any::<bool>(), 0..4usize), 1..40),
    ) {
        let mids: Vec<String> = (0..kinds.len()).map(|mid| format!("m{mid}")).collect();
        let lines: Vec<(&str, &str, &str)> = kinds
            .iter()
            .zip(&mids)
            .map(|((audio, direction), mid)| {
                let direction = ["sendonly", "recvonly", "sendrecv", "inactive"][*direction];
                (mid.as_str(), if *audio { "audio" } else { "video" }, direction)
            })
            .collect();
        let offer = offer(&lines);
        let accepted = negotiation().accept(&offer).unwrap();
        fits(&offer, &accepted);
        let slots = |kind| {
            let lines = accepted.session.lines.iter();
            lines.filter(move |line| line.kind == kind).filter_map(|line| line.slot.clone()).collect::<Vec<_>>()
        };
        let (audio, video) = (slots(MediaKind::Audio), slots(MediaKind::Video));
        let pairs = audio.len().min(video.len());
        for (number, slot) in audio.iter().enumerate().chain(video.iter().enumerate()) {
            prop_assert_eq!(slot.pair, (number < pairs).then_some(number));
        }
        for (audio, video) in audio.iter().zip(&video) {
            prop_assert_eq!(&audio.cname, &video.cname);
        }
        for (line, (_, _, direction)) in read(&accepted.answer).1.iter().zip(&lines) {
            let answered = match *direction {
                "sendonly" => "recvonly",
                "recvonly" => "sendonly",
                same => same,
            };
            prop_assert!(line.has(answered));
        }
    }
}
