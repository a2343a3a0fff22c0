//! What subscribers get who lose much of it.

use ringback_transport::rtcp::ReceptionReport;

use super::meeting::Meeting;
use crate::retransmission::restore_rtx;

/// The slot's SSRC, and that of its retransmissions.
const SLOT: u32 = 1001;
const REPAIR: u32 = 1006;

/// A meeting whose looker loses so many of 256 packets for so long that this is known to be nothing that less traffic would help.
fn losing(fraction_lost: u8) -> Meeting {
    let mut meeting = Meeting::of(1);
    let report = ReceptionReport { ssrc: SLOT, fraction_lost, ..ReceptionReport::default() };
    let looker = meeting.looker();
    for _ in 0..40 {
        meeting.scene.control(looker, |writer| {
            writer.receiver_report(5, &[report]).unwrap();
        });
        meeting.go_on(1_000);
    }
    meeting
}

/// What comes to the looker in a second: the slot's packets, and those that are sent again, under their old numbers.
fn second(meeting: &mut Meeting) -> [Vec<(u16, Vec<u8>)>; 2] {
    let looker = meeting.looker();
    meeting.scene.sink.take(looker);
    meeting.go_on(1_000);
    let came = meeting.scene.sink.take(looker);
    let of = |ssrc| came.iter().filter(move |(header, _)| header.ssrc == ssrc);
    let repair = of(REPAIR).map(|(_, payload)| restore_rtx(payload).unwrap());
    [
        of(SLOT).map(|(header, payload)| (header.sequence, payload.clone())).collect(),
        repair.map(|(sequence, payload)| (sequence, payload.to_vec())).collect(),
    ]
}

#[test]
fn pictures_that_others_refer_to_go_out_twice_while_a_tenth_is_lost() {
    let mut meeting = losing(26);
    let [pictures, copies] = second(&mut meeting);
    assert_eq!((pictures.len(), copies.len()), (50, 13), "one of four is of the base");
    assert!(copies.iter().all(|copy| pictures.contains(copy)), "to the last byte");
    meeting.go_on(15_000);
    let [pictures, copies] = second(&mut meeting);
    assert_eq!((pictures.len(), copies.len()), (50, 0), "no report has told of more");
}

#[test]
fn a_little_loss_brings_no_copies() {
    let [pictures, copies] = second(&mut losing(10));
    assert_eq!((pictures.len(), copies.len()), (50, 0));
}

#[test]
fn what_is_asked_for_goes_out_once_and_twice_while_a_tenth_is_lost() {
    for (fraction_lost, times) in [(0, 1), (26, 2)] {
        let mut meeting = losing(fraction_lost);
        let [pictures, _] = second(&mut meeting);
        let looker = meeting.looker();
        let lost = pictures.last().unwrap();
        meeting.scene.control(looker, |writer| {
            writer.nack(5, SLOT, [lost.0]).unwrap();
        });
        let came = meeting.scene.sink.take(looker);
        assert_eq!(came.len(), times);
        for (header, payload) in &came {
            assert_eq!((header.ssrc, restore_rtx(payload).unwrap()), (REPAIR, (lost.0, &lost.1[..])));
        }
        assert!(came.windows(2).all(|pair| pair[0].0.sequence != pair[1].0.sequence));
    }
}
