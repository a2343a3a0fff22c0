//! Whose datagram is it? By the remote address once ICE has validated it, and before that by the user name of a STUN request.
//! An address is learnt only from a request that its connection accepted, so strangers leave nothing behind.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use rand::Rng;

/// A connection, by its room's and its own place.
pub(super) type Place = (usize, usize);

/// Addresses of one connection that are remembered: a browser's candidates and those it moved from. The oldest goes first.
const MAX_ADDRESSES: usize = 16;

/// Hashes addresses, and other numbers, in a few multiplications, keyed at random per process, so that nobody can choose addresses that collide.
#[derive(Debug, Clone, Copy)]
pub(super) struct AddressHasher(u64);

impl Default for AddressHasher {
    fn default() -> Self {
        static KEY: OnceLock<u64> = OnceLock::new();
        Self(*KEY.get_or_init(|| rand::rng().random()))
    }
}

impl AddressHasher {
    fn fold(&mut self, value: u64) {
        // A folded multiply mixes all bits of both halves; the constant is 2^64 / φ, odd and without pattern.
        let product = u128::from(self.0 ^ value) * 0x9E37_79B9_7F4A_7C15;
        self.0 = (product as u64) ^ (product >> 64) as u64 ^ 0xA076_1D64_78BD_642F;
    }
}

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.fold(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.fold(value as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// An address as two words: the hash of a `SocketAddr` would go over it field by field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AddressKey(u64, u64, u16);

impl std::hash::Hash for AddressKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0 ^ u64::from(self.2).rotate_left(48));
        if self.1 != 0 {
            state.write_u64(self.1);
        }
    }
}

impl From<SocketAddr> for AddressKey {
    fn from(address: SocketAddr) -> Self {
        match address.ip() {
            IpAddr::V4(ip) => Self(u64::from(ip.to_bits()), 0, address.port()),
            IpAddr::V6(ip) => {
                let bits = ip.to_bits();
                Self((bits >> 64) as u64, bits as u64 | 1 << 63, address.port())
            }
        }
    }
}

type AddressMap = HashMap<AddressKey, Place, BuildHasherDefault<AddressHasher>>;

/// The routing tables.
#[derive(Debug, Default)]
pub(super) struct Routes {
    by_address: AddressMap,
    by_ufrag: HashMap<String, Place>,
}

impl Routes {
    /// Whose this address is.
    #[inline]
    pub(super) fn by_address(&self, from: SocketAddr) -> Option<Place> {
        self.by_address.get(&AddressKey::from(from)).copied()
    }

    /// Who is called this in STUN requests.
    pub(super) fn by_ufrag(&self, local_ufrag: &str) -> Option<Place> {
        self.by_ufrag.get(local_ufrag).copied()
    }

    /// Gives a connection a name.
    pub(super) fn add_ufrag(&mut self, local_ufrag: &str, place: Place) {
        self.by_ufrag.insert(local_ufrag.to_owned(), place);
    }

    /// An address proved to be this connection's. `addresses` are the connection's own notes.
    pub(super) fn learn(&mut self, from: SocketAddr, place: Place, addresses: &mut Vec<SocketAddr>) {
        self.by_address.insert(AddressKey::from(from), place);
        if addresses.contains(&from) {
            return;
        }
        if addresses.len() == MAX_ADDRESSES {
            let oldest = addresses.remove(0);
            self.drop_address(oldest, place);
        }
        addresses.push(from);
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, place: Place, addresses: &[SocketAddr], ufrags: &[String]) {
        for &address in addresses {
            self.drop_address(address, place);
        }
        for ufrag in ufrags {
            if self.by_ufrag.get(ufrag) == Some(&place) {
                self.by_ufrag.remove(ufrag);
            }
        }
    }

    fn drop_address(&mut self, address: SocketAddr, place: Place) {
        let key = AddressKey::from(address);
        if self.by_address.get(&key) == Some(&place) {
            self.by_address.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn an_address_is_routed_until_its_connection_is_gone() {
        let mut routes = Routes::default();
        let mut known = Vec::new();
        routes.learn(address(1), (0, 1), &mut known);
        routes.learn(SocketAddr::from(([0; 16], 1)), (0, 2), &mut Vec::new());
        assert_eq!(routes.by_address(address(1)), Some((0, 1)));
        assert_eq!(routes.by_address(SocketAddr::from(([0; 16], 1))), Some((0, 2)));
        routes.forget((0, 1), &known, &[]);
        assert_eq!(routes.by_address(address(1)), None);
    }

    #[test]
    fn a_connection_that_moves_all_the_time_keeps_a_bounded_trail() {
        let mut routes = Routes::default();
        let mut known = Vec::new();
        for port in 1..1000 {
            routes.learn(address(port), (0, 1), &mut known);
        }
        assert_eq!(routes.by_address.len(), MAX_ADDRESSES);
        assert_eq!(routes.by_address(address(999)), Some((0, 1)));
    }

    #[test]
    fn an_address_that_went_over_to_somebody_else_stays_theirs() {
        let mut routes = Routes::default();
        let mut first = Vec::new();
        routes.learn(address(7), (0, 1), &mut first);
        routes.learn(address(7), (0, 2), &mut Vec::new());
        routes.forget((0, 1), &first, &[]);
        assert_eq!(routes.by_address(address(7)), Some((0, 2)));
    }
}
