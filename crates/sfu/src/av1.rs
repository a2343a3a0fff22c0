//! What forwarding reads of AV1 packets (the RTP payload format for AV1): where a coded video sequence begins, and of the dependency descriptor,
//! a header extension, the mandatory fields with the frame number, which stays continuous in a slot whose source changes. Dependencies point
//! back by differences of frame numbers, so all numbers of a source shift alike and none closes up. Of the template structure only the
//! layers and their sizes are read; OBUs are not looked at.

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

/// The most spatial layers: AV1's frames count them with two bits. The list has room for VP9's.
const MAX_SPATIAL: usize = 8;

/// The layers of a structure's templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplateLayers {
    offset: u8,
    /// Of each template the spatial layer and the temporal one.
    layers: [(u8, u8); MAX_TEMPLATES],
    /// How many spatial layers there are.
    spatial_layers: usize,
    /// Width and height in pixels of each spatial layer, if the structure says so.
    sizes: Option<[(u16, u16); MAX_SPATIAL]>,
}

impl Default for TemplateLayers {
    fn default() -> Self {
        Self { offset: 0, layers: [(0, 0); MAX_TEMPLATES], spatial_layers: 1, sizes: None }
    }
}

/// The bits of a structure, most significant first; `None` beyond the end.
struct Bits<'a> {
    value: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// A number of up to 16 bits.
    fn number(&mut self, count: usize) -> Option<u16> {
        let bit = |at: usize| self.value.get(at / 8).map(|byte| byte >> (7 - at % 8) & 1);
        let read = (self.at..self.at + count).try_fold(0, |read: u16, at| Some(read << 1 | u16::from(bit(at)?)));
        self.at += count;
        read
    }

    /// A number below `end`, which is not 0 (`ns(n)` of the AV1 specification, section 4.10.7).
    fn below(&mut self, end: u16) -> Option<u16> {
        let width = (u16::BITS - end.leading_zeros()) as usize;
        let short = (1 << width) - end;
        let number = self.number(width - 1)?;
        if number < short { Some(number) } else { Some((number << 1) - short + self.number(1)?) }
    }
}

impl TemplateLayers {
    /// Reads them from the value of a header extension that has a structure; `None` if it ends too early.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        // Behind the mandatory fields: five flags, the offset, the number of decode targets, then the layers.
        let mut bits = Bits { value, at: MANDATORY * 8 + 5 };
        let mut read = Self { offset: bits.number(6)? as u8, ..Self::default() };
        let targets = usize::from(bits.number(5)?) + 1;
        let (mut spatial, mut temporal, mut templates) = (0_u8, 0_u8, 0);
        for template in &mut read.layers {
            *template = (spatial, temporal);
            templates += 1;
            match bits.number(2)? {
                0 => {}
                1 => temporal += 1,
                2 => (spatial, temporal) = (spatial + 1, 0),
                _ => break,
            }
        }
        read.spatial_layers = usize::from(spatial) + 1;
        read.sizes = sizes(bits, templates, targets, read.spatial_layers);
        Some(read)
    }

    /// The temporal layer of frames that follow a template, 0 being the base.
    #[must_use]
    pub fn temporal(&self, template: u8) -> u8 {
        self.of(template).1
    }

    /// The spatial layer of frames that follow a template, 0 being the smallest; `None` where the stream has one only.
    #[must_use]
    pub fn spatial(&self, template: u8) -> Option<u8> {
        (self.spatial_layers > 1).then(|| self.of(template).0)
    }

    /// Width and height in pixels of each spatial layer, the smallest first, and how many there are; `None` where the structure does not say so.
    #[must_use]
    pub fn sizes(&self) -> Option<([(u16, u16); MAX_SPATIAL], usize)> {
        self.sizes.map(|sizes| (sizes, self.spatial_layers))
    }

    fn of(&self, template: u8) -> (u8, u8) {
        let at = usize::from(template.wrapping_sub(self.offset)) % MAX_TEMPLATES;
        self.layers.get(at).copied().unwrap_or_default()
    }
}

/// The render sizes at the end of a structure, behind its templates' decode target indications, differences and chains.
fn sizes(mut bits: Bits<'_>, templates: usize, targets: usize, layers: usize) -> Option<[(u16, u16); MAX_SPATIAL]> {
    bits.at += templates * targets * 2;
    for _ in 0..templates {
        while bits.number(1)? == 1 {
            bits.number(4)?;
        }
    }
    let chains = bits.below(targets as u16 + 1)?;
    if chains > 0 {
        for _ in 0..targets {
            bits.below(chains)?;
        }
        bits.at += templates * usize::from(chains) * 4;
    }
    if bits.number(1)? == 0 {
        return None;
    }
    let mut sizes = [(0, 0); MAX_SPATIAL];
    for size in sizes.get_mut(..layers)? {
        *size = (bits.number(16)?.saturating_add(1), bits.number(16)?.saturating_add(1));
    }
    Some(sizes)
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
        assert_eq!([0, 1, 2, 3].map(|template| spatial.spatial(template)), [0, 0, 1, 1].map(Some));
        assert_eq!(layers.spatial(1), None, "there is one only");
        for len in 0..value.len() - 1 {
            assert_eq!(TemplateLayers::parse(&value[..len]), None, "{len}");
        }
        assert!(TemplateLayers::parse(&[0; 40]).is_some(), "endless templates end at the sixty-fourth");
    }

    #[test]
    fn the_sizes_behind_templates_chains_and_differences_are_read() {
        // L2T1 as libwebrtc describes it, in 320 × 180 and 640 × 360.
        let mut text = String::from("100000000000000000000001") + "10000"; // The mandatory fields, and a structure
        text += &("000000".to_owned() + "00001" + "00100011"); // from template 0 on, of two targets, with two templates for each size.
        text += "1111111101010101"; // What they are to the targets.
        text += &("0".to_owned() + "100010" + "100000" + "10001100000"); // How far back they refer: not, 2, 1, 2 and 1.
        text += &("11".to_owned() + "01" + "00000000001000100001000000010001"); // Two chains, whom they protect, how far back they are.
        text += "1";
        for length in [319_u16, 179, 639, 359] {
            text += &format!("{length:016b}");
        }
        let byte = |bits: &[u8]| bits.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0')) << (8 - bits.len());
        let value: Vec<u8> = text.as_bytes().chunks(8).map(byte).collect();
        let sizes = TemplateLayers::parse(&value).and_then(|layers| layers.sizes());
        assert_eq!(sizes.map(|(sizes, layers)| sizes[..layers].to_vec()), Some(vec![(320, 180), (640, 360)]));
    }

    #[test]
    fn a_sequence_begins_where_the_aggregation_header_says_so() {
        assert!(starts_sequence(&[0x18, 0x0A]) && starts_sequence(&[0x28, 0x0B]));
        assert!(!starts_sequence(&[0x10, 0x32]) && !starts_sequence(&[0x98]) && !starts_sequence(&[]));
    }
}
