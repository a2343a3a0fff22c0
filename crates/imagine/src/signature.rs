//! What the signatures of webhooks have in common: keyed hashes (HMAC-SHA-256) compared in constant time, hexadecimal, and how old one may be. Pure.

use reqwest::header::HeaderMap;
use ring::hmac;

use crate::error::ImagineError;

/// How far a signed time may be from ours, in seconds: what fal and Standard Webhooks recommend. Longer lets an overheard webhook be sent again.
const TOLERANCE: u64 = 300;

const UNFIT: ImagineError = ImagineError::Webhook("its signature does not fit");

pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, ImagineError> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.ok_or(ImagineError::Webhook("a header of its signature is missing"))
}

/// Checks a keyed hash over pieces that follow one another.
pub(crate) fn check_hmac(secret: &[u8], pieces: &[&[u8]], signature: &[u8]) -> Result<(), ImagineError> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::verify(&key, &pieces.concat(), signature).map_err(|_| UNFIT)
}

/// Checks the time of a webhook, in Unix seconds.
pub(crate) fn check_time(text: &str, now: u64) -> Result<(), ImagineError> {
    match text.parse::<u64>() {
        Ok(time) if time.abs_diff(now) <= TOLERANCE => Ok(()),
        _ => Err(ImagineError::Webhook("it is too old, or its time is none")),
    }
}

pub(crate) fn from_hex(text: &str) -> Result<Vec<u8>, ImagineError> {
    let nibble = |byte: u8| (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
        _ => None,
    });
    pairs.collect::<Option<_>>().ok_or(UNFIT)
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
