//! As much of VP8 as keeping it needs: where the payload descriptor ends (RFC 7741, 4.2), and whether a frame is a keyframe and of which size
//! (RFC 6386, 9.1). No decoding.

/// The VP8 payload descriptor of an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// How many bytes it has.
    pub(crate) length: usize,
    /// Whether the packet begins a picture: start of the first partition.
    pub(crate) begins: bool,
}

impl Descriptor {
    /// Reads it from the beginning of a payload; `None` where that is too short.
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let begins = first & 0x10 != 0 && first & 0x0F == 0;
        let mut length = 1;
        if first & 0x80 != 0 {
            let extended = *payload.get(length)?;
            length += 1;
            if extended & 0x80 != 0 {
                length += if payload.get(length)? & 0x80 != 0 { 2 } else { 1 };
            }
            length += usize::from(extended & 0x40 != 0);
            length += usize::from(extended & 0x30 != 0);
        }
        (payload.len() > length).then_some(Self { length, begins })
    }
}

/// Width and height in pixels of a VP8 frame if it is a keyframe.
pub(crate) fn keyframe_size(frame: &[u8]) -> Option<(u16, u16)> {
    let &[tag, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1, ..] = frame else { return None };
    // The upper two bits are a scaling hint.
    let (width, height) = (u16::from_le_bytes([w0, w1]) & 0x3FFF, u16::from_le_bytes([h0, h1]) & 0x3FFF);
    (tag & 1 == 0 && width > 0 && height > 0).then_some((width, height))
}
