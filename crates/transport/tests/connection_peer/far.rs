//! The far end of a call: a tiny ICE agent in control, the same DTLS and SRTP, an address that can change.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringback_transport::demux::{DatagramKind, classify};
use ringback_transport::dtls::{Certificate, DtlsAssociation, DtlsEvent, DtlsRole};
use ringback_transport::ice::IceCredentials;
use ringback_transport::sctp::{SctpAssociation, SctpEvent};
use ringback_transport::sdp::Fingerprint;
use ringback_transport::srtp::{SrtpReceiver, SrtpSender};
use rtc_stun::message::BINDING_SUCCESS;

use super::stun::{decode, nominating_check};

/// How often it checks, as browsers do.
pub const CHECK_INTERVAL: Duration = Duration::from_millis(500);

pub struct FarEnd {
    pub address: SocketAddr,
    server: SocketAddr,
    pub local: IceCredentials,
    pub remote: IceCredentials,
    next_check: Instant,
    pub checks: bool,
    pub answered_checks: usize,
    pub dtls: DtlsAssociation,
    role: DtlsRole,
    pub dtls_error: Option<String>,
    pub srtp: Option<(SrtpSender, SrtpReceiver)>,
    pub media: Vec<Vec<u8>>,
    pub sctp: Option<SctpAssociation>,
    pub wants_sctp: bool,
    pub data_events: Vec<SctpEvent>,
    pub data_error: Option<String>,
    /// SCTP packets that came while there was no association to take them.
    pub packets: Vec<Vec<u8>>,
    pub closed: bool,
    out: VecDeque<Vec<u8>>,
}

impl FarEnd {
    pub fn new(
        now: Instant,
        [address, server]: [SocketAddr; 2],
        [local, remote]: [IceCredentials; 2],
        certificate: Certificate,
        role: DtlsRole,
        expected: Vec<Fingerprint>,
    ) -> Self {
        Self {
            address,
            server,
            local,
            remote,
            next_check: now,
            checks: true,
            answered_checks: 0,
            dtls: DtlsAssociation::new(certificate, role, expected).unwrap(),
            role,
            dtls_error: None,
            srtp: None,
            media: Vec::new(),
            sctp: None,
            wants_sctp: false,
            data_events: Vec::new(),
            data_error: None,
            packets: Vec::new(),
            closed: false,
            out: VecDeque::new(),
        }
    }

    pub fn handle(&mut self, now: Instant, datagram: &mut [u8]) {
        match classify(datagram) {
            DatagramKind::Stun => {
                assert_eq!(decode(datagram, &self.remote.pwd).typ, BINDING_SUCCESS);
                self.answered_checks += 1;
                // A real agent starts DTLS once the pair works.
                self.dtls.start(now).unwrap();
            }
            DatagramKind::Dtls => {
                let mut events = Vec::new();
                if let Err(error) = self.dtls.handle(now, datagram, &mut events) {
                    self.dtls_error.get_or_insert(error.to_string());
                }
                for event in events {
                    match event {
                        DtlsEvent::Established => {
                            let (outbound, inbound) = self.dtls.srtp_keys().unwrap();
                            self.srtp =
                                Some((SrtpSender::new(outbound).unwrap(), SrtpReceiver::new(&inbound).unwrap()));
                            if self.wants_sctp {
                                let active = self.role == DtlsRole::Client;
                                self.sctp = Some(SctpAssociation::new(active, now).unwrap());
                            }
                        }
                        DtlsEvent::Data(data) => {
                            let Some(sctp) = &mut self.sctp else {
                                self.packets.push(data.to_vec());
                                continue;
                            };
                            if let Err(error) = sctp.handle(now, data.freeze(), &mut self.data_events) {
                                self.data_error.get_or_insert(error.to_string());
                            }
                        }
                        DtlsEvent::Closed => self.closed = true,
                    }
                }
            }
            DatagramKind::Rtp => {
                let Some((_, receiver)) = &mut self.srtp else { return };
                let length = receiver.unprotect_rtp(datagram).unwrap();
                self.media.push(datagram[..length].to_vec());
            }
            kind => panic!("the far end received {kind:?}"),
        }
    }

    pub fn send_rtp(&mut self, plain: &[u8]) {
        let datagram = self.seal_rtp(plain);
        self.out.push_back(datagram);
    }

    pub fn seal_rtp(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut buffer = plain.to_vec();
        buffer.resize(plain.len() + ringback_transport::srtp::MAX_OVERHEAD, 0);
        let (sender, _) = self.srtp.as_mut().unwrap();
        let length = sender.protect_rtp(&mut buffer, plain.len()).unwrap();
        buffer.truncate(length);
        buffer
    }

    /// Hands SCTP's packets, or hostile ones, to DTLS.
    pub fn send_packet(&mut self, now: Instant, packet: &[u8]) {
        self.dtls.send(now, packet).unwrap();
    }

    pub fn poll_transmit(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        while let Some(packet) = self.sctp.as_mut().and_then(SctpAssociation::poll_transmit) {
            let _ = self.dtls.send(now, &packet);
        }
        let dtls = self.dtls.poll_transmit().map(|datagram| datagram.to_vec());
        self.out.pop_front().or(dtls).map(|datagram| (self.server, datagram))
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let sctp = self.sctp.as_ref().and_then(SctpAssociation::poll_timeout);
        self.checks.then_some(self.next_check).into_iter().chain(self.dtls.poll_timeout()).chain(sctp).min()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.checks && now >= self.next_check {
            self.next_check = now + CHECK_INTERVAL;
            self.out.push_back(nominating_check(&self.remote, &self.local));
        }
        if let Err(error) = self.dtls.handle_timeout(now) {
            self.dtls_error.get_or_insert(error.to_string());
        }
        if let Some(Err(error)) = self.sctp.as_mut().map(|sctp| sctp.handle_timeout(now, &mut self.data_events)) {
            self.data_error.get_or_insert(error.to_string());
        }
    }
}
