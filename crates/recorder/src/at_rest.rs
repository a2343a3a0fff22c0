//! Bytes at rest, encrypted with a key of the embedder's, in the [age format](https://age-encryption.org/v1): chunks of 64 KiB, each authenticated, of which any can be read without the others, so that
//! players seek as ever. It protects a disk, a bucket and their backups; not rows, not takes that are being recorded, and not from whoever has the running process.

use std::fmt;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::Arc;

use age::x25519::Identity;
use bytes::Bytes;

use crate::error::RecorderError;

/// The ending of the key of an encrypted object.
pub(crate) const EXTENSION: &str = ".age";

/// More than the header of a file for one recipient has, which is about 200 bytes; it is read with each range.
pub(crate) const HEAD: u64 = 1_024;

/// Plain bytes of a chunk, and what its tag adds (age-encryption.org/v1, "Payload").
const CHUNK: u64 = 64 * 1024;
const TAG: u64 = 16;

/// A key: an age identity, `AGE-SECRET-KEY-1…`, as `age-keygen` makes it.
#[derive(Clone)]
pub struct AtRestKey(Arc<Identity>);

impl AtRestKey {
    /// A new one.
    pub fn generate() -> Self {
        Self(Arc::new(Identity::generate()))
    }

    /// Reads one.
    ///
    /// # Errors
    /// Where it is none; the text is not repeated.
    pub fn parse(text: &str) -> Result<Self, RecorderError> {
        let key = text
            .trim()
            .parse()
            .map_err(|_: &str| RecorderError::AtRest("an age identity, AGE-SECRET-KEY-1…, is expected"))?;
        Ok(Self(Arc::new(key)))
    }

    /// Its public half, which tells it from others.
    pub fn public(&self) -> String {
        self.0.to_public().to_string()
    }
}

impl fmt::Debug for AtRestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AtRestKey").field(&self.public()).finish()
    }
}

impl PartialEq for AtRestKey {
    fn eq(&self, other: &Self) -> bool {
        self.public() == other.public()
    }
}

impl Eq for AtRestKey {}

/// Encrypts a whole object.
pub(crate) fn seal(key: &AtRestKey, plain: &[u8]) -> Result<Bytes, RecorderError> {
    let failed = |_| RecorderError::AtRest("it cannot be encrypted");
    let recipient = key.0.to_public();
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient));
    let encryptor = encryptor.map_err(|_| RecorderError::AtRest("it cannot be encrypted"))?;
    let mut sealed = Vec::with_capacity(plain.len() + plain.len() / 4_096 + HEAD as usize);
    let mut writer = encryptor.wrap_output(&mut sealed).map_err(failed)?;
    writer.write_all(plain).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(sealed.into())
}

/// Where chunks lie in an object, as its first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    begin: u64,
}

impl Layout {
    /// Reads it from the first [`HEAD`] bytes of an object.
    pub(crate) fn of(head: &[u8]) -> Result<Self, RecorderError> {
        let mut head = Cursor::new(head);
        age::Decryptor::new(&mut head).map_err(|_| RecorderError::AtRest("an object is no age file"))?;
        Ok(Self { begin: head.position() })
    }

    /// How many plain bytes an object of this size holds.
    pub(crate) fn plain_size(self, size: u64) -> u64 {
        let sealed = size.saturating_sub(self.begin);
        sealed.saturating_sub(TAG * sealed.div_ceil(CHUNK + TAG))
    }

    /// Which of its bytes hold a range of the plain ones.
    pub(crate) fn sealed(self, plain: &Range<u64>) -> Range<u64> {
        let at = |chunk: u64| self.begin + chunk * (CHUNK + TAG);
        at(plain.start / CHUNK)..at(plain.end.div_ceil(CHUNK))
    }
}

/// Decrypts a range out of the chunks that hold it.
pub(crate) fn open(keys: &[AtRestKey], head: Bytes, chunks: Bytes, plain: &Range<u64>) -> Result<Bytes, RecorderError> {
    if plain.is_empty() {
        return Ok(Bytes::new());
    }
    let broken = |_| RecorderError::AtRest("an object is damaged, or cut");
    let layout = Layout::of(&head)?;
    let input = Parts { head, chunks, chunks_at: layout.sealed(plain).start, at: 0 };
    let decryptor = age::Decryptor::new(input).map_err(|_| RecorderError::AtRest("an object is no age file"))?;
    let identities = keys.iter().map(|key| &*key.0 as &dyn age::Identity);
    let reader = decryptor.decrypt(identities);
    let mut reader =
        reader.map_err(|_| RecorderError::AtRest("an object was encrypted with a key that is not among ours"))?;
    // To the beginning of a chunk it comes from within: coming from elsewhere it would look for the end of the file.
    if plain.start.is_multiple_of(CHUNK) {
        reader.seek(SeekFrom::Start(plain.start + 1)).map_err(broken)?;
    }
    reader.seek(SeekFrom::Start(plain.start)).map_err(broken)?;
    let length = usize::try_from(plain.end - plain.start).map_err(|_| RecorderError::AtRest("a range is too long"))?;
    let mut opened = vec![0; length];
    reader.read_exact(&mut opened).map_err(broken)?;
    Ok(opened.into())
}

/// An object of which two parts are at hand: its beginning, and some chunks.
struct Parts {
    head: Bytes,
    chunks: Bytes,
    chunks_at: u64,
    at: u64,
}

impl Read for Parts {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let from_chunks =
            self.at.checked_sub(self.chunks_at).and_then(|at| self.chunks.get(usize::try_from(at).ok()?..));
        let part = from_chunks.or_else(|| self.head.get(usize::try_from(self.at).ok()?..)).unwrap_or_default();
        let length = part.len().min(buf.len());
        buf[..length].copy_from_slice(&part[..length]);
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for Parts {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            // Where it ends is not known here.
            SeekFrom::End(_) => None,
        };
        self.at = at.ok_or(io::ErrorKind::Unsupported)?;
        Ok(self.at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(size: usize) -> Vec<u8> {
        (0..size).map(|n| (n as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
    }

    /// Reads a range as a store does: the head, and only the chunks that are needed.
    fn range(keys: &[AtRestKey], sealed: &Bytes, plain: Range<u64>) -> Result<Bytes, RecorderError> {
        let head = sealed.slice(..sealed.len().min(HEAD as usize));
        let chunks = Layout::of(&head)?.sealed(&plain);
        let cut = |at: u64| (at as usize).min(sealed.len());
        open(keys, head, sealed.slice(cut(chunks.start)..cut(chunks.end)), &plain)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_range_is_read_without_the_rest(size in 1..300_000_usize, from in 0.0..1.0_f64, length in 0.0..1.0_f64) {
            let (key, plain) = (AtRestKey::generate(), plain(size));
            let sealed = seal(&key, &plain).unwrap();
            prop_assert!(!sealed.windows(32).any(|window| size >= 32 && window == &plain[..32]));
            prop_assert_eq!(Layout::of(&sealed).unwrap().plain_size(sealed.len() as u64), size as u64);
            let start = (from * size as f64) as usize;
            let end = (start + (length * size as f64) as usize).min(size);
            let read = range(&[key], &sealed, start as u64..end as u64).unwrap();
            prop_assert_eq!(&read[..], &plain[start..end]);
        }
    }

    #[test]
    fn chunks_that_are_exactly_full_are_read_to_their_ends() {
        let key = AtRestKey::generate();
        for size in [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let plain = plain(size as usize);
            let sealed = seal(&key, &plain).unwrap();
            assert_eq!(Layout::of(&sealed).unwrap().plain_size(sealed.len() as u64), size);
            for start in
                [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, size - 1].into_iter().filter(|start| *start < size)
            {
                let read = range(std::slice::from_ref(&key), &sealed, start..size).unwrap();
                assert_eq!(&read[..], &plain[start as usize..], "{start} of {size}");
            }
        }
    }

    #[test]
    fn a_new_key_leaves_what_an_old_one_encrypted_readable_and_a_strangers_does_not() {
        let (old, new) = (AtRestKey::generate(), AtRestKey::generate());
        let sealed = seal(&old, &plain(1_000)).unwrap();
        assert_eq!(range(&[new.clone(), old], &sealed, 0..1_000).unwrap(), plain(1_000));
        assert!(matches!(range(&[new], &sealed, 0..1_000), Err(RecorderError::AtRest(_))));
    }

    #[test]
    fn a_bit_that_was_changed_is_not_served() {
        let key = AtRestKey::generate();
        let mut sealed = seal(&key, &plain(200_000)).unwrap().to_vec();
        let last = sealed.len() - 1;
        sealed[last] ^= 1;
        let sealed = Bytes::from(sealed);
        assert!(range(std::slice::from_ref(&key), &sealed, 0..100).is_ok(), "that chunk is whole");
        assert!(matches!(range(&[key], &sealed, 199_000..200_000), Err(RecorderError::AtRest(_))));
    }

    #[test]
    fn a_key_is_never_shown() {
        let text = AtRestKey::generate().0.to_string();
        let secret = age::secrecy::ExposeSecret::expose_secret(&text);
        let key = AtRestKey::parse(secret).unwrap();
        assert!(!format!("{key:?}").contains(&secret[20..40]) && format!("{key:?}").contains("age1"));
        let error = AtRestKey::parse("AGE-SECRET-KEY-1QQQ").unwrap_err().to_string();
        assert!(!error.contains("QQQ"), "{error}");
    }
}
