//! State by SSRC for one connection: a short list that is searched from where the last packet was found. It never
//! forgets, since forgetting a replay window or a rollover counter would accept a packet, or use a nonce, twice; so it
//! is bounded instead.

use super::SrtpError;

/// How many SSRCs one connection may have in one direction. A participant publishes about a dozen (simulcast layers,
/// their RTX, audio, screen) and receives three per slot. A higher limit costs memory a hostile peer can claim (32
/// bytes each for received ones) and a longer search for packets of an SSRC without state.
pub const MAX_STREAMS: usize = 256;

pub(super) struct Streams<S> {
    // Apart from the states, so that a search reads little memory.
    ssrcs: Vec<u32>,
    states: Vec<S>,
    last: usize,
}

impl<S> Streams<S> {
    pub(super) const fn new() -> Self {
        Self { ssrcs: Vec::new(), states: Vec::new(), last: 0 }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, ssrc: u32) -> Option<&mut S> {
        if self.ssrcs.get(self.last) != Some(&ssrc) {
            self.last = self.ssrcs.iter().position(|known| *known == ssrc)?;
        }
        self.states.get_mut(self.last)
    }

    /// Whether one more may come.
    pub(super) fn has_room_for(&self, ssrc: u32) -> Result<(), SrtpError> {
        if self.ssrcs.len() >= MAX_STREAMS {
            return Err(SrtpError::TooManyStreams { ssrc, limit: MAX_STREAMS });
        }
        Ok(())
    }

    /// Adds an SSRC that has no state yet, after [`has_room_for`](Self::has_room_for) said yes.
    #[cold]
    pub(super) fn insert(&mut self, ssrc: u32, state: S) {
        self.last = self.ssrcs.len();
        self.ssrcs.push(ssrc);
        self.states.push(state);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ssrcs.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_ssrc_keeps_its_own_state_up_to_the_limit() {
        let mut streams = Streams::new();
        for ssrc in 0..MAX_STREAMS as u32 {
            assert!(streams.get_mut(ssrc).is_none());
            streams.has_room_for(ssrc).unwrap();
            streams.insert(ssrc, ssrc * 10);
        }
        for ssrc in [255, 255, 0, 100, 0] {
            assert_eq!(streams.get_mut(ssrc), Some(&mut (ssrc * 10)));
            assert!(streams.get_mut(256).is_none());
        }
        assert_eq!(streams.has_room_for(256), Err(SrtpError::TooManyStreams { ssrc: 256, limit: 256 }));
        assert_eq!(streams.len(), MAX_STREAMS);
    }
}
