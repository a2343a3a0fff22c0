//! Which packets get a few bytes of RTP padding (RFC 3550, section 5.1), so that they travel in one train: the system takes datagrams of one size to one destination
//! at the price of one. An encoder cuts a frame into pieces that differ by a byte, the larger ones last (Chromium does), and each step up ends a train. So a piece that
//! others follow gets a byte more than it needs, and one that is a little shorter than the train that waits is filled up to it. A state machine: one per
//! connection, asked packet by packet; who may be sent padding at all is decided elsewhere.
//!
//! All padding of a connection together stays within a twentieth of what is sent.

/// Padding is at most one byte for so many that are sent: a twentieth more traffic buys the sender's time; where there is no room for it, none is added.
const SHARE: u32 = 20;

/// What may be saved up for padding at most, in bytes: enough for the pieces of one frame after another, too little to be noticed in a queue.
const MOST_SAVED: u32 = 1_000;

/// A single packet grows by at most this part of itself, and so does not eat up what many could share.
const MOST_OF_ONE: usize = 8;

/// By so much the pieces of a frame grow towards its end.
const HEADROOM: usize = 1;

/// What may come after a packet, to travel with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another piece of its frame.
    Piece,
    /// The voice of somebody else.
    Voice,
    /// Who knows.
    Unknown,
}

/// Decides on the padding of one connection. See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Leveller {
    /// The length of the longer ones of the last voices, in bytes: those that come next will mostly not be longer.
    voice: usize,
    /// What may be spent, in parts of a byte: [`SHARE`] of them are one.
    saved: u32,
}

impl Leveller {
    /// The bytes of padding for a packet of `len` bytes. `train`: the length that joins the train that waits, if one does, as if it were not sealed; `next`: what
    /// may follow. At most 255, what RTP can say.
    #[inline]
    pub(crate) fn padding(&mut self, len: usize, train: Option<usize>, next: Next) -> usize {
        if next == Next::Voice {
            self.voice = self.voice.saturating_sub(1).max(len);
        }
        self.saved = self.saved.saturating_add(len as u32).min(MOST_SAVED * SHARE);
        let wanted = match train {
            Some(train) if len <= train => train - len,
            _ => match next {
                Next::Piece => HEADROOM,
                Next::Voice => self.voice - len,
                Next::Unknown => 0,
            },
        };
        if wanted > (len / MOST_OF_ONE).min(255) {
            return 0;
        }
        match self.saved.checked_sub(wanted as u32 * SHARE) {
            Some(left) => {
                self.saved = left;
                wanted
            }
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sends packets to one destination; returns how many trains they make, and the bytes of padding.
    fn trains(leveller: Option<&mut Leveller>, packets: &[(usize, Next)]) -> (usize, usize) {
        let mut leveller = leveller;
        let (mut trains, mut padded, mut waiting) = (0, 0, None);
        for &(len, next) in packets {
            let padding = leveller.as_mut().map_or(0, |leveller| leveller.padding(len, waiting, next));
            padded += padding;
            let len = len + padding;
            match waiting {
                Some(train) if len == train => {}
                Some(train) if len < train => waiting = None,
                _ => {
                    trains += 1;
                    waiting = Some(len);
                }
            }
        }
        (trains, padded)
    }

    /// A frame as libwebrtc cuts it: pieces of nearly one size, the larger ones last.
    fn frame(bytes: usize) -> Vec<(usize, Next)> {
        let count = bytes.div_ceil(1_180);
        let (size, larger) = (bytes / count, bytes % count);
        let next = |at| if at + 1 < count { Next::Piece } else { Next::Unknown };
        (0..count).map(|at| (size + usize::from(at >= count - larger), next(at))).collect()
    }

    #[test]
    fn the_pieces_of_a_frame_become_one_train() {
        let mut leveller = Leveller::default();
        for bytes in (2_000..40_000).step_by(777) {
            let frame = frame(bytes);
            let (plain, _) = trains(None, &frame);
            let (levelled, padded) = trains(Some(&mut leveller), &frame);
            assert_eq!(levelled, 1, "{bytes} bytes, {plain} trains before");
            assert!(padded <= frame.len(), "{padded} bytes of padding for {} packets", frame.len());
        }
    }

    #[test]
    fn a_packet_for_itself_gets_none() {
        assert_eq!(Leveller::default().padding(900, None, Next::Unknown), 0);
    }

    #[test]
    fn voices_of_nearly_one_size_share_a_train_and_others_do_not() {
        let mut leveller = Leveller::default();
        let voices = |lengths: &[usize]| lengths.iter().map(|len| (*len, Next::Unknown)).collect::<Vec<_>>();
        assert_eq!(trains(Some(&mut leveller), &voices(&[120, 116, 118])), (1, 6));
        let (_, padded) = trains(Some(&mut leveller), &voices(&[120, 60]));
        assert_eq!(padded, 0);
    }

    #[test]
    fn voices_that_wait_for_one_another_are_filled_up_to_the_longer_ones_of_late() {
        let mut leveller = Leveller::default();
        let mut state = 1_u32;
        let (mut all, mut bytes, mut padding) = (0, 0, 0);
        for _ in 0..300 {
            let voices = [(); 3].map(|()| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (116 + (state >> 24) as usize % 9, Next::Voice)
            });
            let (trains, padded) = trains(Some(&mut leveller), &voices);
            all += trains;
            bytes += voices.iter().map(|(len, _)| len).sum::<usize>();
            padding += padded;
        }
        assert!(all < 300 * 3 / 2, "{all} trains for 300 times three voices");
        assert!(padding * 20 <= bytes);
    }

    proptest! {
        #[test]
        fn all_padding_together_is_within_a_twentieth(
            packets in prop::collection::vec((40..1_400_usize, prop::option::of(40..1_450_usize), 0..3_usize), 1..400),
        ) {
            let mut leveller = Leveller::default();
            let (mut sent, mut padded) = (0, 0);
            for (len, train, next) in packets {
                let next = [Next::Piece, Next::Voice, Next::Unknown][next];
                let padding = leveller.padding(len, train, next);
                sent += len;
                padded += padding;
                prop_assert!(padded * 20 <= sent, "{padded} bytes of padding for {sent}");
                let joins = train.is_some_and(|train| len + padding == train);
                prop_assert!(padding == 0 || joins || next == Next::Voice || padding == HEADROOM);
            }
        }
    }
}
