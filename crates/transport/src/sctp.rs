//! The SCTP association of one peer and its data channels (RFC 8831), on `rtc-sctp`, opened by DCEP (RFC 8832) from
//! either side. Messages are whole, of 16 KiB at most in both directions, and delivered as soon as SCTP allows. It is
//! not a general SCTP: one association, streams only as data channels, no out-of-band negotiated ones. Packets come
//! from and go to DTLS. No socket, no clock.

mod bundle;
mod delivery;
mod error;
mod guard;

use std::collections::VecDeque;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc_datachannel::data_channel::DataChannel;
use rtc_datachannel::message::Message;
use rtc_datachannel::message::message_channel_ack::DataChannelAck;
use rtc_datachannel::message::message_channel_open::{CHANNEL_PRIORITY_NORMAL, ChannelType, DataChannelOpen};
use rtc_sctp::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier, ReliabilityType, ServerConfig, StreamEvent, StreamId, TransportConfig,
};
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error as RtcError;
use rtc_shared::marshal::{Marshal, Unmarshal};

pub use delivery::{Delivery, Reliability};
pub use error::SctpError;
use guard::{ChunkGuard, MAX_STREAMS};

/// The largest message in either direction, in bytes: what every browser can send in one piece (RFC 8831, section 6.6),
/// and more than control messages need. `a=max-message-size` says so in SDP.
pub const MAX_MESSAGE: usize = 16 * 1024;

/// The receive window, in bytes: two messages. More would be faster on long paths; it is also what a hostile peer can
/// make us hold.
const RECEIVE_BUFFER: u32 = 2 * MAX_MESSAGE as u32;

/// Bytes queued for sending over all channels before [`SctpAssociation::send`] refuses more.
const SEND_BUFFER: usize = 128 * 1024;

/// … of it for channels that may lose messages. What is late there is useless, and must not stand in the way of what has to arrive; the
/// caller sends something newer instead.
const LOSSY_SEND_BUFFER: usize = 32 * 1024;

/// How long the library waits with an acknowledgement, for more to acknowledge (RFC 9260, section 6.2).
const ACKNOWLEDGEMENT_DELAY: Duration = Duration::from_millis(200);

/// Channels at a time. Applications use a handful.
const MAX_CHANNELS: usize = 16;

/// Bytes in a label or a protocol name.
const MAX_NAME: usize = 256;

/// `rtc-sctp` knows peers by address; the one peer has this one. From the documentation range (RFC 5737).
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 5000));

/// Configurations that all associations share.
struct Shared {
    endpoint: Arc<EndpointConfig>,
    server: Arc<ServerConfig>,
    client: ClientConfig,
}

static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    let transport = TransportConfig::default()
        .with_max_message_size(MAX_MESSAGE as u32)
        .with_max_receive_buffer_size(RECEIVE_BUFFER)
        .with_max_num_inbound_streams(MAX_STREAMS)
        .with_max_num_outbound_streams(MAX_STREAMS);
    Shared {
        endpoint: Arc::new(EndpointConfig::new()),
        server: Arc::new(ServerConfig::new(transport.clone())),
        client: ClientConfig::new(transport),
    }
});

/// What happened on the data channels, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SctpEvent {
    /// A channel is open: the peer opened it, or has acknowledged ours.
    Open {
        /// Its SCTP stream id.
        channel: u16,
        /// Its label.
        label: String,
        /// Its subprotocol, or empty.
        protocol: String,
    },
    /// A message arrived. Text is not checked to be UTF-8.
    Message {
        /// The channel.
        channel: u16,
        /// Binary, or else text.
        binary: bool,
        /// The message, [`MAX_MESSAGE`] bytes at most.
        data: Bytes,
    },
    /// A channel was closed.
    Closed {
        /// The channel.
        channel: u16,
    },
    /// Something the peer sent was refused; everything else goes on.
    Refused {
        /// The channel.
        channel: u16,
        /// Why.
        error: SctpError,
    },
}

struct Channel {
    id: StreamId,
    label: String,
    protocol: String,
    open: bool,
    /// Whether messages may be lost on it.
    lossy: bool,
}

/// The association and its channels. See the module's documentation.
pub struct SctpAssociation {
    /// Whether this side begins, and opens even streams: the DTLS client does (RFC 8832, section 6).
    active: bool,
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    guard: ChunkGuard,
    /// When the library acknowledges what has come last, if it does not before.
    acknowledge_at: Option<Instant>,
    established: bool,
    ended: bool,
    channels: Vec<Channel>,
    transmits: VecDeque<Bytes>,
}

impl fmt::Debug for SctpAssociation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SctpAssociation")
            .field("established", &self.established)
            .field("channels", &self.channels.len())
            .finish_non_exhaustive()
    }
}

impl SctpAssociation {
    /// An association over a DTLS association that is up. The DTLS client is active and begins; the server waits.
    ///
    /// # Errors
    /// When it cannot even begin.
    pub fn new(is_dtls_client: bool, now: Instant) -> Result<Self, SctpError> {
        let server = (!is_dtls_client).then(|| Arc::clone(&SHARED.server));
        let endpoint = Endpoint::new(PEER, TransportProtocol::UDP, Arc::clone(&SHARED.endpoint), server);
        let mut this = Self {
            active: is_dtls_client,
            endpoint,
            association: None,
            guard: ChunkGuard::default(),
            acknowledge_at: None,
            established: false,
            ended: false,
            channels: Vec::new(),
            transmits: VecDeque::new(),
        };
        if this.active {
            let begun = this.endpoint.connect(now, SHARED.client.clone(), PEER);
            this.association = Some(begun.map_err(|error| SctpError::Ended(error.to_string()))?);
            this.collect(now);
        }
        Ok(this)
    }

    /// Whether channels can be opened.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.established && !self.ended
    }

    /// Takes in a packet, and adds what it brought about to `events`. A malformed or excessive one is dropped.
    ///
    /// # Errors
    /// When the association has ended by it; its channels are closed then.
    pub fn handle(&mut self, now: Instant, packet: Bytes, events: &mut Vec<SctpEvent>) -> Result<(), SctpError> {
        if self.ended || !self.guard.admits(&packet) {
            return Ok(());
        }
        self.guarded(now, events, |this, events| {
            match this.endpoint.handle(now, PEER, None, packet) {
                Some((handle, DatagramEvent::NewAssociation(association))) if this.association.is_none() => {
                    this.association = Some((handle, association));
                }
                Some((handle, DatagramEvent::AssociationEvent(event))) => match &mut this.association {
                    Some((known, association)) if *known == handle => association.handle_event(event),
                    _ => {}
                },
                _ => {}
            }
            this.settle(now, events)?;
            // What else is due is never due just then, except by a coincidence that does no harm.
            let due = now + ACKNOWLEDGEMENT_DELAY;
            if this.poll_timeout() == Some(due) {
                this.acknowledge_at = Some(due);
            }
            Ok(())
        })
    }

    /// Lets an acknowledgement that waits go with what is sent now (RFC 9260, section 6.2).
    fn acknowledge_now(&mut self) {
        let due = self.acknowledge_at.take();
        // Only what is due at that moment happens, and that is the acknowledgement.
        if let Some(due) = due.filter(|&due| self.poll_timeout() == Some(due))
            && let Some((_, association)) = &mut self.association
        {
            association.handle_timeout(due);
        }
    }

    /// Opens a channel. It can be used once [`SctpEvent::Open`] says so.
    ///
    /// # Errors
    /// Before the association is up, with too many channels, or with too long a name.
    pub fn open(&mut self, now: Instant, label: &str, protocol: &str, delivery: Delivery) -> Result<u16, SctpError> {
        if !self.is_established() {
            return Err(SctpError::NotEstablished);
        }
        let first = u16::from(!self.active);
        let taken = |id: &u16| self.channels.iter().any(|channel| channel.id == *id);
        let id = (first..MAX_STREAMS).step_by(2).find(|id| !taken(id));
        let (Some(id), true) = (id, self.channels.len() < MAX_CHANNELS) else {
            return Err(SctpError::TooManyChannels { max: MAX_CHANNELS });
        };
        if label.len() > MAX_NAME || protocol.len() > MAX_NAME {
            return Err(SctpError::BadOpen { channel: id, reason: "its label or protocol is too long" });
        }
        let (channel_type, reliability_parameter) = delivery.channel_type();
        let request = Message::DataChannelOpen(DataChannelOpen {
            channel_type,
            priority: CHANNEL_PRIORITY_NORMAL,
            reliability_parameter,
            label: label.as_bytes().to_vec(),
            protocol: protocol.as_bytes().to_vec(),
        });
        let (_, association) = self.association.as_mut().ok_or(SctpError::NotEstablished)?;
        let failed = |error: RtcError| SctpError::Ended(error.to_string());
        // A stream that the peer has used before, without a channel, exists already.
        let _ = association.open_stream(id, PayloadProtocolIdentifier::Binary);
        write_dcep(association, now, id, &request).map_err(failed)?;
        set_delivery(association, id, channel_type, reliability_parameter).map_err(failed)?;
        let lossy = delivery.reliability != Reliability::Full;
        self.channels.push(Channel { id, label: label.to_owned(), protocol: protocol.to_owned(), open: false, lossy });
        self.collect(now);
        Ok(id)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the channel is not open, the message too large, or too much is waiting already.
    pub fn send(&mut self, now: Instant, channel: u16, binary: bool, data: &[u8]) -> Result<(), SctpError> {
        if data.len() > MAX_MESSAGE {
            return Err(SctpError::MessageTooLarge { channel, len: data.len(), max: MAX_MESSAGE });
        }
        let known = self.channels.iter().find(|known| known.id == channel && known.open && !self.ended);
        let max = match known.ok_or(SctpError::NotOpen(channel))?.lossy {
            true => LOSSY_SEND_BUFFER,
            false => SEND_BUFFER,
        };
        let (_, association) = self.association.as_mut().ok_or(SctpError::NotEstablished)?;
        let queued = self
            .channels
            .iter()
            .filter_map(|channel| association.stream(channel.id).and_then(|stream| stream.buffered_amount()).ok());
        let queued: usize = queued.sum();
        if queued + data.len() > max {
            return Err(SctpError::SendBufferFull { queued, max });
        }
        // An empty message travels as one zero byte (RFC 8831, section 6.6).
        let message = DataChannel::get_data_channel_message(!binary, BytesMut::from(data));
        association
            .stream(channel)
            .and_then(|mut stream| stream.write_chunk_with_ppi(now, &message.payload.freeze(), message.ppi))
            .map_err(|_| SctpError::NotOpen(channel))?;
        self.acknowledge_now();
        self.collect(now);
        Ok(())
    }

    /// Closes a channel: its stream is reset (RFC 8831, section 6.7). Unknown ones are ignored.
    pub fn close_channel(&mut self, now: Instant, channel: u16) {
        let before = self.channels.len();
        self.channels.retain(|known| known.id != channel);
        if self.channels.len() < before {
            self.reset(now, channel);
            self.collect(now);
        }
    }

    /// Ends the association; the ABORT is to be polled.
    pub fn close(&mut self, now: Instant) {
        if let Some((_, association)) = &mut self.association {
            let _ = association.abort();
        }
        self.collect(now);
        self.ended = true;
    }

    /// The next packet, for DTLS.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmits.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (_, association) = self.association.as_ref().filter(|_| !self.ended)?;
        association.poll_timeout()
    }

    /// Repeats what was not acknowledged, acknowledges what arrived.
    ///
    /// # Errors
    /// When the association cannot be had; its channels are closed then.
    pub fn handle_timeout(&mut self, now: Instant, events: &mut Vec<SctpEvent>) -> Result<(), SctpError> {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return Ok(());
        }
        self.guarded(now, events, |this, events| {
            if let Some((_, association)) = &mut this.association {
                association.handle_timeout(now);
            }
            this.settle(now, events)
        })
    }

    /// Works off what the library has to say, then collects what it wants sent.
    fn settle(&mut self, now: Instant, events: &mut Vec<SctpEvent>) -> Result<(), SctpError> {
        while let Some(event) = self.association.as_mut().and_then(|(_, association)| association.poll()) {
            match event {
                Event::Connected => {
                    self.established = true;
                    self.guard.established();
                }
                Event::HandshakeFailed { reason } => return Err(SctpError::Ended(reason.to_string())),
                Event::AssociationLost { id, .. } => self.lost(id, events),
                Event::Stream(StreamEvent::Readable { id }) => self.read(now, id, events),
                _ => {}
            }
        }
        let Some((_, association)) = &mut self.association else { return Ok(()) };
        // Who opened a stream is known by its first message; the library's list of them only grows.
        while association.accept_stream().is_some() {}
        if self.established && association.is_closed() {
            return Err(SctpError::Ended("aborted, or closed by the peer".to_owned()));
        }
        self.collect(now);
        if self.guard.is_overrun() {
            return Err(SctpError::EndlessMessage { max: MAX_MESSAGE });
        }
        Ok(())
    }

    /// Delivers what a stream has ready.
    fn read(&mut self, now: Instant, id: StreamId, events: &mut Vec<SctpEvent>) {
        loop {
            let Some((_, association)) = &mut self.association else { return };
            let Ok(Some(message)) = association.stream(id).and_then(|mut stream| stream.read_sctp()) else { return };
            let Ok(data) = message.to_payload(MAX_MESSAGE) else {
                let error = SctpError::MessageTooLarge { channel: id, len: message.len(), max: MAX_MESSAGE };
                events.push(SctpEvent::Refused { channel: id, error });
                continue;
            };
            let known = self.channels.iter().any(|channel| channel.id == id);
            let (binary, data) = match message.ppi {
                PayloadProtocolIdentifier::Dcep => {
                    self.handle_dcep(now, id, &data, events);
                    continue;
                }
                PayloadProtocolIdentifier::String => (false, data.freeze()),
                PayloadProtocolIdentifier::Binary => (true, data.freeze()),
                PayloadProtocolIdentifier::StringEmpty => (false, Bytes::new()),
                PayloadProtocolIdentifier::BinaryEmpty => (true, Bytes::new()),
                _ => continue,
            };
            if known {
                events.push(SctpEvent::Message { channel: id, binary, data });
            } else {
                events.push(SctpEvent::Refused { channel: id, error: SctpError::NotOpen(id) });
            }
        }
    }

    fn handle_dcep(&mut self, now: Instant, id: StreamId, mut data: &[u8], events: &mut Vec<SctpEvent>) {
        let known = self.channels.iter_mut().find(|channel| channel.id == id);
        let refused = match (Message::unmarshal(&mut data), known) {
            (Ok(Message::DataChannelAck(_)), Some(channel)) => {
                if !channel.open {
                    channel.open = true;
                    let (label, protocol) = (channel.label.clone(), channel.protocol.clone());
                    events.push(SctpEvent::Open { channel: id, label, protocol });
                }
                return;
            }
            (Ok(Message::DataChannelOpen(request)), None) => match self.accept(now, id, request) {
                Ok(event) => {
                    events.push(event);
                    return;
                }
                Err(error) => error,
            },
            (Ok(Message::DataChannelOpen(_)), Some(_)) => {
                SctpError::BadOpen { channel: id, reason: "it is open already" }
            }
            _ => SctpError::BadOpen { channel: id, reason: "the DCEP message makes no sense" },
        };
        if !self.channels.iter().any(|channel| channel.id == id) {
            self.reset(now, id);
        }
        events.push(SctpEvent::Refused { channel: id, error: refused });
    }

    /// Accepts a channel the peer opens.
    fn accept(&mut self, now: Instant, id: StreamId, request: DataChannelOpen) -> Result<SctpEvent, SctpError> {
        let bad = |reason| SctpError::BadOpen { channel: id, reason };
        if self.channels.len() >= MAX_CHANNELS {
            return Err(SctpError::TooManyChannels { max: MAX_CHANNELS });
        }
        if request.label.len() > MAX_NAME || request.protocol.len() > MAX_NAME {
            return Err(bad("its label or protocol is too long"));
        }
        let text = |bytes| String::from_utf8(bytes).map_err(|_| bad("its label or protocol is not UTF-8"));
        let (label, protocol) = (text(request.label)?, text(request.protocol)?);
        let (_, association) = self.association.as_mut().ok_or(SctpError::NotEstablished)?;
        let acknowledgement = Message::DataChannelAck(DataChannelAck {});
        write_dcep(association, now, id, &acknowledgement)
            .and_then(|()| set_delivery(association, id, request.channel_type, request.reliability_parameter))
            .map_err(|_| bad("its stream is gone"))?;
        let (_, reliability) = DataChannel::get_reliability_params(request.channel_type);
        let lossy = reliability != ReliabilityType::Reliable;
        self.channels.push(Channel { id, label: label.clone(), protocol: protocol.clone(), open: true, lossy });
        Ok(SctpEvent::Open { channel: id, label, protocol })
    }

    /// A stream was reset by the peer, or went with the association.
    fn lost(&mut self, id: StreamId, events: &mut Vec<SctpEvent>) {
        let before = self.channels.len();
        self.channels.retain(|channel| channel.id != id);
        if self.channels.len() < before {
            events.push(SctpEvent::Closed { channel: id });
        }
    }

    fn reset(&mut self, now: Instant, id: StreamId) {
        if let Some((_, association)) = &mut self.association {
            let _ = association.stream(id).and_then(|mut stream| stream.close(now));
        }
    }

    fn collect(&mut self, now: Instant) {
        let Some((_, association)) = &mut self.association else { return };
        while let Some(transmit) = association.poll_transmit(now) {
            if let Payload::RawEncode(mut packets) = transmit.message {
                packets.iter().for_each(|packet| self.guard.observe(packet));
                bundle::bundle(&mut packets);
                self.transmits.extend(packets);
            }
        }
    }

    /// Calls the library, and turns an error or a panic into the end of this association.
    fn guarded(
        &mut self,
        now: Instant,
        events: &mut Vec<SctpEvent>,
        call: impl FnOnce(&mut Self, &mut Vec<SctpEvent>) -> Result<(), SctpError>,
    ) -> Result<(), SctpError> {
        let error = match catch_unwind(AssertUnwindSafe(|| call(self, events))) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => {
                if let Some((_, association)) = &mut self.association {
                    let _ = association.abort();
                }
                self.collect(now);
                error
            }
            Err(panic) => {
                // The library's state is not to be trusted any more.
                self.association = None;
                let text = panic.downcast_ref::<&str>().map(ToString::to_string);
                SctpError::Panicked(text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default())
            }
        };
        self.ended = true;
        events.extend(self.channels.drain(..).map(|channel| SctpEvent::Closed { channel: channel.id }));
        Err(error)
    }
}

fn write_dcep(association: &mut Association, now: Instant, id: StreamId, message: &Message) -> Result<(), RtcError> {
    let message = message.marshal()?;
    association.stream(id)?.write_with_ppi(now, &message, PayloadProtocolIdentifier::Dcep)?;
    Ok(())
}

fn set_delivery(association: &mut Association, id: StreamId, kind: ChannelType, value: u32) -> Result<(), RtcError> {
    let (unordered, reliability) = DataChannel::get_reliability_params(kind);
    association.stream(id)?.set_reliability_params(unordered, reliability, value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_the_library_ends_the_association_and_closes_its_channels() {
        let now = Instant::now();
        let mut association = SctpAssociation::new(true, now).unwrap();
        association.channels.push(Channel {
            id: 2,
            label: String::new(),
            protocol: String::new(),
            open: true,
            lossy: false,
        });
        let mut events = Vec::new();
        let error = association.guarded(now, &mut events, |_, _| panic!("out of bounds")).unwrap_err();
        assert_eq!(error, SctpError::Panicked("out of bounds".to_owned()));
        assert_eq!(events, [SctpEvent::Closed { channel: 2 }]);
        assert_eq!(association.poll_timeout(), None);
        assert_eq!(association.send(now, 2, true, b"late"), Err(SctpError::NotOpen(2)));
        association.handle(now, Bytes::from_static(&[0; 40]), &mut events).unwrap();
        association.close(now);
    }
}
