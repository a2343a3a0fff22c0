//! Reads a packet from front to back, so that every part that is not there becomes an error that says which part,
//! where, and how much was needed.

use super::RtcpError;

/// What is left to read, and where in the compound it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, offset: 0 }
    }

    pub(super) const fn offset(&self) -> usize {
        self.offset
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn bytes(&mut self, part: &'static str, needed: usize) -> Result<&'a [u8], RtcpError> {
        let Some((taken, rest)) = self.rest.split_at_checked(needed) else {
            return Err(RtcpError::Truncated { part, offset: self.offset, needed, available: self.rest.len() });
        };
        self.rest = rest;
        self.offset += needed;
        Ok(taken)
    }

    pub(super) fn take<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], RtcpError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(part, N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self, part: &'static str) -> Result<u8, RtcpError> {
        Ok(u8::from_be_bytes(self.take(part)?))
    }

    pub(super) fn u16(&mut self, part: &'static str) -> Result<u16, RtcpError> {
        Ok(u16::from_be_bytes(self.take(part)?))
    }

    pub(super) fn u32(&mut self, part: &'static str) -> Result<u32, RtcpError> {
        Ok(u32::from_be_bytes(self.take(part)?))
    }

    /// Takes `needed` bytes off as a cursor of their own.
    pub(super) fn split_off(&mut self, part: &'static str, needed: usize) -> Result<Self, RtcpError> {
        let offset = self.offset;
        Ok(Self { rest: self.bytes(part, needed)?, offset })
    }

    /// Leaves out as many bytes at the end as the last one says, itself included; an error is that byte.
    pub(super) fn strip_padding(&mut self) -> Result<(), u8> {
        let found = self.rest.last().copied().unwrap_or_default();
        match self.rest.len().checked_sub(usize::from(found)) {
            Some(len) if found > 0 => {
                self.rest = &self.rest[..len];
                Ok(())
            }
            _ => Err(found),
        }
    }
}
