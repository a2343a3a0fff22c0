//! One peer's transport: the ICE-lite agent, DTLS, SRTP and SCTP put together, sans-I/O. Datagrams go in, plain RTP and
//! RTCP come out in place; what is to be sent, events and deadlines are polled. It forwards nothing and knows no
//! tracks: outbound media is sealed by its owner with [`Connection::srtp_sender`]. An error says something about one
//! datagram; what ends the connection comes as an event.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use crate::demux::{DatagramKind, classify};
use crate::dtls::{Certificate, DtlsAssociation, DtlsError, DtlsEvent, DtlsRole};
use crate::error::TransportError;
use crate::ice::{IceAgent, IceCredentials};
use crate::path::Path;
use crate::sctp::{Delivery, SctpAssociation, SctpError, SctpEvent};
use crate::sdp::Fingerprint;
use crate::srtp::{GcmLibrary, SrtpProfile, SrtpReceiver, SrtpSender};

/// What a connection is made of: mostly what the negotiation found out.
#[derive(Debug, Clone)]
pub struct ConnectionConfig {
    /// The certificate whose fingerprint our SDP has.
    pub certificate: Certificate,
    /// The ICE credentials in our SDP.
    pub local_ice: IceCredentials,
    /// The ICE credentials in the peer's SDP.
    pub remote_ice: IceCredentials,
    /// The fingerprints in the peer's SDP; its certificate must match one.
    pub remote_fingerprints: Vec<Fingerprint>,
    /// Our role in the DTLS handshake.
    pub dtls_role: DtlsRole,
    /// Whether data channels were negotiated.
    pub sctp: bool,
    /// Whose AES-GCM protects media.
    pub gcm: GcmLibrary,
}

/// What a datagram turned out to be. Plain packets lie at the start of the buffer that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    /// An RTP packet of so many bytes.
    Rtp(usize),
    /// A compound RTCP packet of so many bytes.
    Rtcp(usize),
    /// Nothing for the caller; there may be something to send, or events.
    Nothing,
}

/// What happened to a connection, in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// The DTLS handshake is complete: media can flow.
    Connected {
        /// How media is protected.
        profile: SrtpProfile,
    },
    /// The peer moved: it is reached by the new path from now on.
    PathChanged {
        /// The path before.
        from: Path,
        /// The path now.
        to: Path,
    },
    /// The connection is over, because of this. Nothing follows.
    Failed(TransportError),
    /// No authenticated check came by the selected path for 30 seconds. Nothing is sent until an ICE restart.
    ConsentLost,
    /// A data channel is open: the peer opened it, or has acknowledged ours.
    DataChannelOpen {
        /// Its number.
        channel: u16,
        /// Its label.
        label: String,
        /// Its subprotocol, or empty.
        protocol: String,
    },
    /// A message arrived on a data channel. Text is not checked to be UTF-8.
    DataMessage {
        /// The channel.
        channel: u16,
        /// Binary, or else text.
        binary: bool,
        /// The message, 16 KiB at most.
        data: Bytes,
    },
    /// A data channel was closed.
    DataChannelClosed {
        /// The channel.
        channel: u16,
    },
    /// Something that came over data channels was refused; everything else goes on.
    DataRefused {
        /// The channel.
        channel: u16,
        /// Why.
        error: SctpError,
    },
    /// There are no data channels any more; media goes on.
    DataFailed(SctpError),
    /// The peer closed the connection. Nothing follows.
    Closed,
}

impl From<SctpEvent> for ConnectionEvent {
    fn from(event: SctpEvent) -> Self {
        match event {
            SctpEvent::Open { channel, label, protocol } => Self::DataChannelOpen { channel, label, protocol },
            SctpEvent::Message { channel, binary, data } => Self::DataMessage { channel, binary, data },
            SctpEvent::Closed { channel } => Self::DataChannelClosed { channel },
            SctpEvent::Refused { channel, error } => Self::DataRefused { channel, error },
        }
    }
}

/// Both directions of SRTP.
struct Srtp {
    sender: SrtpSender,
    receiver: SrtpReceiver,
}

/// The transport of one peer. See the module's documentation.
pub struct Connection {
    ice: IceAgent,
    dtls: DtlsAssociation,
    /// Kept between datagrams to spare an allocation for each.
    dtls_events: Vec<DtlsEvent>,
    srtp: Option<Box<Srtp>>,
    is_dtls_client: bool,
    wants_sctp: bool,
    gcm: GcmLibrary,
    sctp: Option<Box<SctpAssociation>>,
    ended: bool,
    stun_replies: VecDeque<(Path, Bytes)>,
    events: VecDeque<ConnectionEvent>,
}

impl Connection {
    /// A connection that waits for the peer's first connectivity check.
    ///
    /// # Errors
    /// When the configuration has no fingerprint to check the peer's certificate against.
    pub fn new(config: ConnectionConfig, now: Instant) -> Result<Self, TransportError> {
        Ok(Self {
            ice: IceAgent::new(config.local_ice, config.remote_ice, now),
            dtls: DtlsAssociation::new(config.certificate, config.dtls_role, config.remote_fingerprints)?,
            dtls_events: Vec::new(),
            srtp: None,
            is_dtls_client: config.dtls_role == DtlsRole::Client,
            wants_sctp: config.sctp,
            gcm: config.gcm,
            sctp: None,
            ended: false,
            stun_replies: VecDeque::new(),
            events: VecDeque::new(),
        })
    }

    /// Takes in a datagram, which is decrypted in place if it carries media. Allocates nothing for media.
    ///
    /// # Errors
    /// About this datagram only; it is to be dropped, and counted by who wants to know.
    #[inline]
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: Path,
        datagram: &mut [u8],
    ) -> Result<Incoming, TransportError> {
        match classify(datagram) {
            DatagramKind::Rtp => {
                let length = self.receiver_for(from)?.unprotect_rtp(datagram)?;
                Ok(Incoming::Rtp(length))
            }
            DatagramKind::Rtcp => {
                let length = self.receiver_for(from)?.unprotect_rtcp(datagram)?;
                Ok(Incoming::Rtcp(length))
            }
            DatagramKind::Stun => self.handle_stun(now, from, datagram).map(|()| Incoming::Nothing),
            DatagramKind::Dtls => self.handle_dtls(now, from, datagram).map(|()| Incoming::Nothing),
            DatagramKind::Unknown => Err(TransportError::UnknownDatagram { len: datagram.len() }),
        }
    }

    /// What decrypts media that comes by this path.
    fn receiver_for(&mut self, from: Path) -> Result<&mut SrtpReceiver, TransportError> {
        if !self.ice.is_validated(from) {
            return Err(TransportError::UnvalidatedPath { from });
        }
        self.srtp.as_deref_mut().map(|srtp| &mut srtp.receiver).ok_or(TransportError::NotConnected)
    }

    fn handle_stun(&mut self, now: Instant, from: Path, datagram: &[u8]) -> Result<(), TransportError> {
        if self.ended {
            return Err(TransportError::NotConnected);
        }
        let before = self.ice.selected();
        let outcome = self.ice.handle(now, from, datagram)?;
        self.stun_replies.extend(outcome.reply.map(|reply| (from, reply)));
        if let (Some(from), Some(to)) = (before, outcome.selected) {
            self.events.push_back(ConnectionEvent::PathChanged { from, to });
        }
        if self.ice.selected().is_some() {
            let started = self.dtls.start(now);
            self.settle(started);
        }
        outcome.refused.map_or(Ok(()), |refused| Err(refused.into()))
    }

    fn handle_dtls(&mut self, now: Instant, from: Path, datagram: &[u8]) -> Result<(), TransportError> {
        if self.ended {
            return Err(TransportError::NotConnected);
        }
        if !self.ice.is_validated(from) {
            return Err(TransportError::UnvalidatedPath { from });
        }
        let mut dtls_events = std::mem::take(&mut self.dtls_events);
        let handled = self.dtls.handle(now, datagram, &mut dtls_events);
        for event in dtls_events.drain(..) {
            match event {
                DtlsEvent::Established => self.connected(now),
                DtlsEvent::Data(packet) => {
                    self.with_sctp(now, |sctp, events| sctp.handle(now, packet.freeze(), events));
                }
                DtlsEvent::Closed => {
                    self.end();
                    self.events.push_back(ConnectionEvent::Closed);
                }
            }
        }
        self.dtls_events = dtls_events;
        self.settle(handled);
        Ok(())
    }

    /// DTLS is established: there are keys for SRTP now.
    fn connected(&mut self, now: Instant) {
        let srtp = self.dtls.srtp_keys().map_err(TransportError::from).and_then(|(outbound, inbound)| {
            Ok(Srtp {
                sender: SrtpSender::with_library(outbound, self.gcm)?,
                receiver: SrtpReceiver::with_library(&inbound, self.gcm)?,
            })
        });
        match srtp {
            Ok(srtp) => {
                self.events.push_back(ConnectionEvent::Connected { profile: srtp.sender.profile() });
                self.srtp = Some(Box::new(srtp));
            }
            Err(error) => return self.fail(error),
        }
        if self.wants_sctp {
            match SctpAssociation::new(self.is_dtls_client, now) {
                Ok(sctp) => self.sctp = Some(Box::new(sctp)),
                Err(error) => self.events.push_back(ConnectionEvent::DataFailed(error)),
            }
            self.send_sctp(now);
        }
    }

    /// Lets SCTP do something, then passes on what came of it.
    fn with_sctp(
        &mut self,
        now: Instant,
        call: impl FnOnce(&mut SctpAssociation, &mut Vec<SctpEvent>) -> Result<(), SctpError>,
    ) {
        let Some(sctp) = &mut self.sctp else { return };
        let mut events = Vec::new();
        let outcome = call(sctp, &mut events);
        self.events.extend(events.into_iter().map(ConnectionEvent::from));
        self.send_sctp(now);
        if let Err(error) = outcome {
            self.sctp = None;
            self.events.push_back(ConnectionEvent::DataFailed(error));
        }
    }

    /// Hands SCTP's packets to DTLS.
    fn send_sctp(&mut self, now: Instant) {
        let Some(sctp) = &mut self.sctp else { return };
        while let Some(packet) = sctp.poll_transmit() {
            // Between the ends of DTLS and of SCTP there is nothing to send it with, nor anybody to read it.
            let _ = self.dtls.send(now, &packet);
        }
    }

    fn settle(&mut self, outcome: Result<(), DtlsError>) {
        if let Err(error) = outcome {
            self.fail(error.into());
        }
    }

    fn fail(&mut self, error: TransportError) {
        if !self.ended {
            self.end();
            self.events.push_back(ConnectionEvent::Failed(error));
        }
    }

    /// Where media goes: the selected path. `None` before the first valid check, when the path is no more, and when consent is
    /// lost.
    #[inline]
    #[must_use]
    pub fn path(&self) -> Option<Path> {
        self.ice.selected().filter(|_| !self.ended)
    }

    /// Whether datagrams that come by `path` are taken: it has proved lately that it is the peer's.
    #[must_use]
    pub fn is_validated(&self, path: Path) -> bool {
        self.ice.is_validated(path)
    }

    /// A path is no more: its TCP connection was closed. Media waits for the peer's next check by another.
    pub fn forget_path(&mut self, path: Path) {
        self.ice.forget(path);
    }

    /// The local ufrags by which [`request_username`](crate::ice::request_username) may name this connection.
    pub fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        self.ice.local_ufrags()
    }

    /// Whether media can be sent right now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.srtp.is_some() && self.path().is_some()
    }

    /// What seals outbound media. `None` before [`ConnectionEvent::Connected`] and after the end.
    #[inline]
    pub fn srtp_sender(&mut self) -> Option<&mut SrtpSender> {
        self.srtp.as_deref_mut().map(|srtp| &mut srtp.sender)
    }

    /// Opens a data channel; it can be used once [`ConnectionEvent::DataChannelOpen`] says so.
    ///
    /// # Errors
    /// [`TransportError::Sctp`] when there are no data channels, or too many.
    pub fn open_data_channel(
        &mut self,
        now: Instant,
        label: &str,
        protocol: &str,
        delivery: Delivery,
    ) -> Result<u16, TransportError> {
        let sctp = self.sctp.as_mut().ok_or(SctpError::NotEstablished)?;
        let channel = sctp.open(now, label, protocol, delivery)?;
        self.send_sctp(now);
        Ok(channel)
    }

    /// Sends a message of at most 16 KiB over a data channel.
    ///
    /// # Errors
    /// [`TransportError::Sctp`] when the channel is not open, the message too large, or too much is waiting already.
    pub fn send_data(&mut self, now: Instant, channel: u16, binary: bool, data: &[u8]) -> Result<(), TransportError> {
        let sctp = self.sctp.as_mut().ok_or(SctpError::NotEstablished)?;
        sctp.send(now, channel, binary, data)?;
        self.send_sctp(now);
        Ok(())
    }

    /// Closes a data channel. Unknown ones are ignored.
    pub fn close_data_channel(&mut self, now: Instant, channel: u16) {
        if let Some(sctp) = &mut self.sctp {
            sctp.close_channel(now, channel);
            self.send_sctp(now);
        }
    }

    /// Begins an ICE restart with new credentials. Media goes on over the old pair until the new one is nominated.
    pub fn restart_ice(&mut self, now: Instant, local: IceCredentials, remote: IceCredentials) {
        self.ice.restart(local, remote, now);
    }

    /// Closes the connection; the goodbye is to be polled.
    pub fn close(&mut self, now: Instant) {
        if self.ended {
            return;
        }
        if let Some(sctp) = &mut self.sctp {
            sctp.close(now);
            self.send_sctp(now);
        }
        self.dtls.close(now);
        self.end();
    }

    fn end(&mut self) {
        self.ended = true;
        self.srtp = None;
        self.sctp = None;
    }

    /// The next datagram to send and where to: STUN, DTLS, SCTP in DTLS.
    pub fn poll_transmit(&mut self) -> Option<(Path, Bytes)> {
        if let Some(reply) = self.stun_replies.pop_front() {
            return Some(reply);
        }
        let to = self.ice.selected()?;
        self.dtls.poll_transmit().map(|datagram| (to, datagram.freeze()))
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ConnectionEvent> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] is due. `None` when nothing is awaited.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.ended {
            return None;
        }
        let sctp = self.sctp.as_ref().and_then(|sctp| sctp.poll_timeout());
        [self.ice.poll_timeout(), self.dtls.poll_timeout(), sctp].into_iter().flatten().min()
    }

    /// Lets time pass: consent, handshake and data timers.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ended {
            return;
        }
        if self.ice.handle_timeout(now) {
            self.events.push_back(ConnectionEvent::ConsentLost);
        }
        let handled = self.dtls.handle_timeout(now);
        self.settle(handled);
        self.with_sctp(now, |sctp, events| sctp.handle_timeout(now, events));
    }
}
