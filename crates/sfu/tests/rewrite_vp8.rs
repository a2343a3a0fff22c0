//! Any bytes may come in as a VP8 payload; what goes out has the same length, and differs in its three counters only.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use ringback_sfu::vp8::{Vp8Descriptor, Vp8Rewriter, dimensions, is_keyframe};

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..24)) {
        let keyframe = is_keyframe(&payload);
        if dimensions(&payload).is_some() {
            prop_assert!(keyframe);
        }
        if let Ok(descriptor) = Vp8Descriptor::parse(&payload) {
            prop_assert!(descriptor.len < payload.len(), "at least a byte of VP8 data follows");
        }
    }

    #[test]
    fn rewriting_touches_only_the_counters(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..16), 1..60)) {
        let mut rewriter = Vp8Rewriter::new();
        for (index, payload) in payloads.iter().enumerate() {
            let Ok(descriptor) = Vp8Descriptor::parse(payload) else { continue };
            if index % 17 == 0 {
                rewriter.switch();
            }
            let Some(fields) = rewriter.rewrite(&descriptor) else { continue };
            let mut written = payload.clone();
            fields.write_into(&descriptor, &mut written).unwrap();
            prop_assert_eq!(&written[descriptor.len..], &payload[descriptor.len..]);
            let again = Vp8Descriptor::parse(&written).unwrap();
            let uncounted = |descriptor: Vp8Descriptor| Vp8Descriptor {
                picture_id: descriptor.picture_id.map(|id| ringback_sfu::vp8::PictureId { value: 0, ..id }),
                tl0_picture_index: descriptor.tl0_picture_index.map(|_| 0),
                key_index: descriptor.key_index.map(|_| 0),
                ..descriptor
            };
            prop_assert_eq!(uncounted(again), uncounted(descriptor));
        }
    }

    #[test]
    fn picture_ids_are_consecutive_whatever_is_left_out(frames in prop::collection::vec((any::<bool>(), 1_usize..4), 1..200), first in 0_u16..0x8000) {
        let mut rewriter = Vp8Rewriter::new();
        let mut expected = 0_u16;
        for (index, &(forwarded, packets)) in frames.iter().enumerate() {
            let [high, low] = (first.wrapping_add(index as u16) | 0x8000).to_be_bytes();
            let descriptor = Vp8Descriptor::parse(&[0x90, 0x80, high, low, 0x01]).unwrap();
            for _ in 0..packets {
                if forwarded || index == 0 {
                    prop_assert_eq!(rewriter.rewrite(&descriptor).unwrap().picture_id, Some(expected & 0x7FFF));
                } else {
                    rewriter.skip(&descriptor);
                }
            }
            if forwarded || index == 0 {
                expected += 1;
            }
        }
    }
}
