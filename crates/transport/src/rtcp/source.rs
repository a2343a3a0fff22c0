//! Who a source is, and that it leaves: SDES and BYE (RFC 3550, sections 6.5 and 6.6).

use super::RtcpError;
use super::cursor::Cursor;

/// The item type of the canonical name, which ties the streams of one participant together (RFC 3550, section 6.5.1).
pub const CNAME: u8 = 1;

/// One item of a source description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SdesItem<'a> {
    /// The source described.
    pub ssrc: u32,
    /// The type of the item, [`CNAME`] or another of RFC 3550 section 12.2.
    pub item_type: u8,
    /// The text, UTF-8 as far as its sender keeps to the RFC.
    pub text: &'a [u8],
}

/// Source descriptions: chunks of items, a chunk for each source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sdes<'a> {
    chunk_count: u8,
    chunks: &'a [u8],
}

impl<'a> Sdes<'a> {
    pub(super) fn parse(count: u8, body: Cursor<'a>) -> Result<Self, RtcpError> {
        match (Items { cursor: body, chunks_left: count, chunk: None }).find_map(Result::err) {
            Some(malformed) => Err(malformed),
            None => Ok(Self { chunk_count: count, chunks: body.rest() }),
        }
    }

    /// The items of all sources, in order.
    pub fn items(&self) -> impl Iterator<Item = SdesItem<'a>> + use<'a> {
        Items { cursor: Cursor::new(self.chunks), chunks_left: self.chunk_count, chunk: None }.map_while(Result::ok)
    }

    /// The canonical names, each with its source.
    pub fn cnames(&self) -> impl Iterator<Item = (u32, &'a [u8])> + use<'a> {
        self.items().filter(|item| item.item_type == CNAME).map(|item| (item.ssrc, item.text))
    }
}

/// Walks items; after an error it is at its end.
struct Items<'a> {
    cursor: Cursor<'a>,
    chunks_left: u8,
    /// The chunk being read: its source, and where it began.
    chunk: Option<(u32, usize)>,
}

impl<'a> Items<'a> {
    fn read(&mut self) -> Result<Option<SdesItem<'a>>, RtcpError> {
        loop {
            let (ssrc, start) = match self.chunk {
                Some(chunk) => chunk,
                None if self.chunks_left == 0 => return Ok(None),
                None => {
                    self.chunks_left -= 1;
                    let start = self.cursor.offset();
                    let chunk = (self.cursor.u32("the SSRC of an SDES chunk")?, start);
                    self.chunk = Some(chunk);
                    chunk
                }
            };
            let item_type = self.cursor.u8("the type of an SDES item")?;
            if item_type == 0 {
                // The list of items ends with one to four zero bytes, at the next word.
                let used = self.cursor.offset() - start;
                self.cursor.bytes("the end of an SDES chunk", used.next_multiple_of(4) - used)?;
                self.chunk = None;
                continue;
            }
            let len = self.cursor.u8("the length of an SDES item")?;
            let text = self.cursor.bytes("the text of an SDES item", len.into())?;
            return Ok(Some(SdesItem { ssrc, item_type, text }));
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<SdesItem<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read().transpose();
        if matches!(item, None | Some(Err(_))) {
            (self.chunks_left, self.chunk) = (0, None);
        }
        item
    }
}

/// Sources that leave, with a reason if they give one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bye<'a> {
    ssrcs: &'a [u8],
    /// The reason, UTF-8 as far as its sender keeps to the RFC; empty without one.
    pub reason: &'a [u8],
}

impl<'a> Bye<'a> {
    pub(super) fn parse(count: u8, mut body: Cursor<'a>) -> Result<Self, RtcpError> {
        let ssrcs = body.bytes("the sources that leave", usize::from(count) * 4)?;
        let reason = if body.is_empty() {
            &[][..]
        } else {
            let len = body.u8("the length of the reason")?;
            body.bytes("the reason", len.into())?
        };
        Ok(Self { ssrcs, reason })
    }

    /// The sources that leave.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        self.ssrcs.as_chunks().0.iter().map(|ssrc| u32::from_be_bytes(*ssrc))
    }
}
