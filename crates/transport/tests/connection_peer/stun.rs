//! Writes STUN messages as an ICE agent in control would, right and wrong ones.

use ringback_transport::ice::IceCredentials;
use rtc_crypto::providers::RingCrypto;
use rtc_stun::attributes::{
    ATTR_ICE_CONTROLLED, ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME, AttrType,
};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, MessageType, Setter, TransactionId};

/// A binding request under construction.
pub struct Request {
    pub message: Message,
    password: String,
}

impl Request {
    /// From the peer that has `remote` to the agent that has `local`, with USERNAME and PRIORITY.
    pub fn new(local: &IceCredentials, remote: &IceCredentials) -> Self {
        Self::of_kind(BINDING_REQUEST, local, remote)
    }

    pub fn of_kind(kind: MessageType, local: &IceCredentials, remote: &IceCredentials) -> Self {
        let mut message = Message::new();
        message.build(&[Box::new(kind), Box::new(TransactionId::new())]).unwrap();
        let request = Self { message, password: local.pwd.clone() };
        request
            .with(ATTR_USERNAME, format!("{}:{}", local.ufrag, remote.ufrag).as_bytes())
            .with(ATTR_PRIORITY, &[0x6E, 0, 1, 0xFF])
    }

    pub fn with(mut self, kind: AttrType, value: &[u8]) -> Self {
        self.message.add(kind, value);
        self
    }

    pub fn controlling(self) -> Self {
        self.with(ATTR_ICE_CONTROLLING, &7_u64.to_be_bytes())
    }

    pub fn controlled(self) -> Self {
        self.with(ATTR_ICE_CONTROLLED, &7_u64.to_be_bytes())
    }

    pub fn nominating(self) -> Self {
        self.with(ATTR_USE_CANDIDATE, &[])
    }

    pub fn signed(mut self) -> Self {
        let crypto = RingCrypto;
        MessageIntegrity::new_raw_integrity_with_provider(self.password.as_bytes(), &crypto)
            .add_to(&mut self.message)
            .unwrap();
        self
    }

    /// Adds FINGERPRINT and returns the bytes.
    pub fn fingerprinted(mut self) -> Vec<u8> {
        FINGERPRINT.add_to(&mut self.message).unwrap();
        self.message.raw
    }

    /// The usual: controlling, signed, fingerprinted.
    pub fn build(self) -> Vec<u8> {
        self.controlling().signed().fingerprinted()
    }
}

/// An ordinary nominating check.
pub fn nominating_check(local: &IceCredentials, remote: &IceCredentials) -> Vec<u8> {
    Request::new(local, remote).nominating().build()
}

/// An ordinary check that does not nominate.
pub fn check(local: &IceCredentials, remote: &IceCredentials) -> Vec<u8> {
    Request::new(local, remote).build()
}

/// Decodes an answer and checks its integrity under `password`.
pub fn decode(datagram: &[u8], password: &str) -> Message {
    let mut message = Message::new();
    message.unmarshal_binary(datagram).unwrap();
    MessageIntegrity::check(&mut message, password.as_bytes(), &RingCrypto).unwrap();
    FINGERPRINT.check(&message).unwrap();
    message
}
