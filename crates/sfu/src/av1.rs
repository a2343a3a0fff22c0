//! What forwarding reads of AV1 packets (the RTP payload format for AV1): where a coded video sequence begins, and of the dependency descriptor,
//! a header extension, the mandatory fields with the frame number, which stays continuous in a slot whose source changes. Dependencies point
//! back by differences of frame numbers, so all numbers of a source shift alike and none closes up. Of the template structure only the
//! layers are read; OBUs are not looked at.

/// The mandatory fields of a dependency descriptor, and whether a template structure follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DependencyDescriptor {
    /// This packet begins a frame.
    pub starts_frame: bool,
    /// This packet ends a frame.
    pub ends_frame: bool,
    /// The template that the frame follows (6 bits).
    pub template: u8,
    /// The frame's number.
    pub frame_number: u16,
    /// It brings the structure that the later ones refer to: a coded video sequence begins.
    pub has_structure: bool,
}

/// The length of the mandatory fields in bytes.
const MANDATORY: usize = 3;

impl DependencyDescriptor {
    /// Reads the value of the header extension; `None` if it is too short to be one.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (&[flags, high, low], rest) = value.split_first_chunk::<MANDATORY>()?;
        Some(Self {
            starts_frame: flags & 0x80 != 0,
            ends_frame: flags & 0x40 != 0,
            template: flags & 0x3F,
            frame_number: u16::from_be_bytes([high, low]),
            has_structure: rest.first().is_some_and(|flags| flags & 0x80 != 0),
        })
    }

    /// Writes a frame number over that of a value; one that is too short stays as it is.
    pub fn write_frame_number(value: &mut [u8], frame_number: u16) {
        if let Some(field) = value.get_mut(1..MANDATORY) {
            field.copy_from_slice(&frame_number.to_be_bytes());
        }
    }
}

/// Templates that there can be: their ids have 6 bits.
const MAX_TEMPLATES: usize = 64;

/// The temporal layers of a structure's templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplateLayers {
    offset: u8,
    temporal: [u8; MAX_TEMPLATES],
}

impl Default for TemplateLayers {
    fn default() -> Self {
        Self { offset: 0, temporal: [0; MAX_TEMPLATES] }
    }
}

impl TemplateLayers {
    /// Reads them from the value of a header extension that has a structure; `None` if it ends too early.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        // Behind the mandatory fields: five flags, the offset, the number of decode targets, then the layers.
        let mut at = MANDATORY * 8 + 5;
        let mut bits = |count: usize| {
            let bit = |at: usize| value.get(at / 8).map(|byte| byte >> (7 - at % 8) & 1);
            let read = (at..at + count).try_fold(0, |read: u8, at| Some(read << 1 | bit(at)?));
            at += count;
            read
        };
        let mut layers = Self { offset: bits(6)?, ..Self::default() };
        let _targets = bits(5)?;
        let mut temporal = 0;
        for template in &mut layers.temporal {
            *template = temporal;
            match bits(2)? {
                0 => {}
                1 => temporal += 1,
                2 => temporal = 0,
                _ => break,
            }
        }
        Some(layers)
    }

    /// The temporal layer of frames that follow a template, 0 being the base.
    #[must_use]
    pub fn temporal(&self, template: u8) -> u8 {
        let at = usize::from(template.wrapping_sub(self.offset)) % MAX_TEMPLATES;
        self.temporal.get(at).copied().unwrap_or_default()
    }
}

/// Whether an RTP payload is the first of a coded video sequence: the N bit of its aggregation header says so, and it goes on with nothing (Z).
#[must_use]
pub fn starts_sequence(payload: &[u8]) -> bool {
    payload.first().is_some_and(|aggregation| aggregation & 0x88 == 0x08)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mandatory_fields_are_read_and_the_number_is_written() {
        // As Chromium sends it with the first packet of a keyframe: the structure begins behind the third byte.
        let mut value = [0x80, 0x12, 0x34, 0x80, 0x03, 0x1E];
        let read = DependencyDescriptor::parse(&value);
        let expected = DependencyDescriptor {
            starts_frame: true,
            ends_frame: false,
            template: 0,
            frame_number: 0x1234,
            has_structure: true,
        };
        assert_eq!(read, Some(expected));
        DependencyDescriptor::write_frame_number(&mut value, 0xABCD);
        assert_eq!(value, [0x80, 0xAB, 0xCD, 0x80, 0x03, 0x1E]);
        assert!(!DependencyDescriptor::parse(&[0xC1, 0, 1]).is_none_or(|later| later.has_structure));
        assert!(DependencyDescriptor::parse(&[0xC1, 0]).is_none());
        DependencyDescriptor::write_frame_number(&mut value[..2], 7);
        assert_eq!(value[..2], [0x80, 0xAB]);
    }

    #[test]
    fn the_temporal_layers_of_templates_are_read() {
        // An offset of 62, two decode targets, and templates of layers 0, 0, 1, 1, 2, as L1T3 has them.
        let value = [0x80, 0, 1, 0x87, 0xC1, 0b0001_0001, 0b1100_0000];
        let layers = TemplateLayers::parse(&value).unwrap_or_default();
        let temporal: Vec<u8> = [62, 63, 0, 1, 2].iter().map(|template| layers.temporal(*template)).collect();
        assert_eq!(temporal, [0, 0, 1, 1, 2]);
        // A spatial layer begins with temporal layer 0 again.
        let spatial = TemplateLayers::parse(&[0x80, 0, 1, 0x80, 0x03, 0b0110_0111]).unwrap_or_default();
        assert_eq!([0, 1, 2, 3].map(|template| spatial.temporal(template)), [0, 1, 0, 1]);
        for len in 0..value.len() - 1 {
            assert_eq!(TemplateLayers::parse(&value[..len]), None, "{len}");
        }
        assert!(TemplateLayers::parse(&[0; 40]).is_some(), "endless templates end at the sixty-fourth");
    }

    #[test]
    fn a_sequence_begins_where_the_aggregation_header_says_so() {
        assert!(starts_sequence(&[0x18, 0x0A]) && starts_sequence(&[0x28, 0x0B]));
        assert!(!starts_sequence(&[0x10, 0x32]) && !starts_sequence(&[0x98]) && !starts_sequence(&[]));
    }
}
