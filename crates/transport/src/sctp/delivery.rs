//! How a data channel delivers: in order or not, reliably or for a while only (RFC 8831, section 6.1; RFC 8832, section
//! 5.1). Plain values; the association acts on them.

use rtc_datachannel::data_channel::DataChannel;
use rtc_datachannel::message::message_channel_open::ChannelType;

/// How reliably a channel delivers (RFC 8831, section 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Whether messages keep their order.
    pub ordered: bool,
    /// How long delivery is attempted.
    pub reliability: Reliability,
}

/// How long delivery of a message is attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reliability {
    /// Until it arrives.
    Full,
    /// So many retransmissions.
    Retransmissions(u16),
    /// So many milliseconds.
    Milliseconds(u16),
}

impl Delivery {
    /// In order, until it arrives.
    pub const RELIABLE: Self = Self { ordered: true, reliability: Reliability::Full };

    pub(super) fn channel_type(self) -> (ChannelType, u32) {
        let (retransmissions, milliseconds) = match self.reliability {
            Reliability::Full => (None, None),
            Reliability::Retransmissions(count) => (Some(count), None),
            Reliability::Milliseconds(time) => (None, Some(time)),
        };
        DataChannel::get_channel_type_and_reliability_parameter(self.ordered, retransmissions, milliseconds)
    }
}
