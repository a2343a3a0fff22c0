//! Any bytes may come in as a VP9 payload or a dependency descriptor; what goes out has the same length, and differs in its counters only.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use ringback_sfu::av1::{DependencyDescriptor, TemplateLayers, starts_sequence};
use ringback_sfu::vp9::{Vp9Descriptor, Vp9Rewriter};

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..48)) {
        if let Ok(descriptor) = Vp9Descriptor::parse(&bytes) {
            prop_assert!(descriptor.len < bytes.len(), "at least a byte of VP9 data follows");
            let (sizes, layers) = Vp9Descriptor::sizes(&bytes);
            prop_assert_eq!(layers.checked_sub(1).map(|last| sizes[last]), descriptor.size);
        }
        if let Some((sizes, layers)) = TemplateLayers::parse(&bytes).and_then(|layers| layers.sizes()) {
            prop_assert!(layers > 0 && sizes[..layers].iter().all(|(width, height)| *width > 0 && *height > 0));
        }
        prop_assert_eq!(DependencyDescriptor::parse(&bytes).is_some(), bytes.len() >= 3);
        prop_assert!(!starts_sequence(&bytes) || !bytes.is_empty());
    }

    #[test]
    fn rewriting_touches_only_the_counters(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..32), 1..60)) {
        let mut rewriter = Vp9Rewriter::new();
        for (index, payload) in payloads.iter().enumerate() {
            let Ok(descriptor) = Vp9Descriptor::parse(payload) else { continue };
            if index % 17 == 0 {
                rewriter.switch();
            }
            let mut written = payload.clone();
            rewriter.rewrite(&descriptor).write_into(&descriptor, &mut written).unwrap();
            prop_assert_eq!(&written[descriptor.len..], &payload[descriptor.len..]);
            let again = Vp9Descriptor::parse(&written).unwrap();
            let uncounted = |descriptor: Vp9Descriptor| Vp9Descriptor {
                picture_id: descriptor.picture_id.map(|id| ringback_sfu::vp8::PictureId { value: 0, ..id }),
                tl0_picture_index: descriptor.tl0_picture_index.map(|_| 0),
                ..descriptor
            };
            prop_assert_eq!(uncounted(again), uncounted(descriptor));
        }
    }

    #[test]
    fn differences_of_picture_ids_survive_whatever_is_lost_and_however_often_the_source_changes(
        sources in prop::collection::vec((0_u16..0x8000, prop::collection::vec(1_u16..30, 1..40)), 1..6)
    ) {
        let mut rewriter = Vp9Rewriter::new();
        let mut newest = None;
        for (first, steps) in sources {
            rewriter.switch();
            let mut id = first;
            let mut translate = |id: u16| {
                let [high, low] = (id | 0x8000).to_be_bytes();
                let descriptor = Vp9Descriptor::parse(&[0x88, high, low, 0x82]).unwrap();
                rewriter.rewrite(&descriptor).picture_id.unwrap()
            };
            let mut before = translate(id);
            if let Some(newest) = newest {
                prop_assert_eq!(before, (newest + 1) & 0x7FFF, "the next source goes on");
            }
            for step in steps {
                id = (id + step) & 0x7FFF;
                let after = translate(id);
                prop_assert_eq!(after, (before + step) & 0x7FFF);
                before = after;
            }
            newest = Some(before);
        }
    }
}
