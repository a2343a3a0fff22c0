//! A compact headless participant on a real UDP socket, or a TCP connection where it has one: an ICE agent in control, DTLS and SRTP from the transport crate, an offer with
//! a microphone, a camera and slots. It neither encodes nor decodes; it sends what it is given and keeps what it gets. It is
//! driven by [`Peer::pump`], so that one thread can drive many.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub, missing_docs)]

pub mod call;
pub mod media;
pub mod sdp;
pub mod tcp;

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ringback_transport::demux::{DatagramKind, classify};
use ringback_transport::dtls::{Certificate, DtlsAssociation, DtlsEvent, DtlsRole};
use ringback_transport::ice::IceCredentials;
use ringback_transport::rtp::RtpHeader;
use ringback_transport::sctp::{Delivery, SctpAssociation, SctpEvent};
use ringback_transport::srtp::{MAX_OVERHEAD, SrtpReceiver, SrtpSender};
use rtc_crypto::providers::RingCrypto;
use rtc_stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter, TransactionId};

/// How often it checks, as browsers do once connected.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// What a participant offers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spec {
    pub microphone: bool,
    pub camera: bool,
    pub simulcast: bool,
    /// What its video lines are offered with, under payload type 96 and with RTX under 97.
    pub video: Format,
    /// Offers redundant audio, before Opus.
    pub red: bool,
    pub pairs: usize,
    pub data: bool,
    /// Wants to be told when each packet left (abs-send-time).
    pub send_times: bool,
}

/// A video codec, as offers name it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Vp8,
    Vp9,
    H264,
    /// With the dependency descriptor.
    Av1,
}

/// An RTP packet that arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    pub at: Instant,
    pub header: RtpHeader,
    pub packet: Vec<u8>,
}

impl Arrived {
    pub fn payload(&self) -> &[u8] {
        self.header.payload(&self.packet)
    }
}

pub struct Peer {
    pub socket: UdpSocket,
    /// By which everything goes and comes while there is one.
    pub tcp: Option<tcp::Tcp>,
    pub spec: Spec,
    pub local: IceCredentials,
    pub certificate: Certificate,
    pub remote: Option<IceCredentials>,
    pub server: Option<SocketAddr>,
    pub dtls: Option<DtlsAssociation>,
    pub srtp: Option<(SrtpSender, SrtpReceiver)>,
    /// Whether arriving RTP is kept, or only counted.
    pub keep: bool,
    pub rtp: Vec<Arrived>,
    pub rtp_count: u64,
    pub rtcp: Vec<Vec<u8>>,
    pub closed: bool,
    pub sctp: Option<SctpAssociation>,
    pub data: Vec<SctpEvent>,
    pub check: bool,
    next_check: Instant,
    buffer: Box<[u8]>,
}

impl Peer {
    pub fn new(spec: Spec) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket,
            tcp: None,
            spec,
            local: IceCredentials::random(),
            certificate: Certificate::generate().unwrap(),
            remote: None,
            server: None,
            dtls: None,
            srtp: None,
            keep: true,
            rtp: Vec::new(),
            rtp_count: 0,
            rtcp: Vec::new(),
            closed: false,
            sctp: None,
            data: Vec::new(),
            check: true,
            next_check: Instant::now(),
            buffer: vec![0; 65536].into_boxed_slice(),
        }
    }

    /// Takes the answer to [`sdp::offer`].
    pub fn answer(&mut self, answer: &str) {
        let answer = sdp::Answer::parse(answer);
        self.server = Some(answer.candidates[0]);
        self.remote = Some(answer.ice);
        if self.dtls.is_none() {
            let role = if answer.setup == "passive" { DtlsRole::Client } else { DtlsRole::Server };
            let expected = vec![answer.fingerprint];
            self.dtls = Some(DtlsAssociation::new(self.certificate.clone(), role, expected).unwrap());
        }
        self.next_check = Instant::now();
    }

    pub fn is_connected(&self) -> bool {
        self.srtp.is_some()
    }

    /// A check as it would send it.
    pub fn honest_check(&self) -> Vec<u8> {
        self.nominating_check(&self.remote.clone().unwrap())
    }

    fn nominating_check(&self, remote: &IceCredentials) -> Vec<u8> {
        let mut message = Message::new();
        message.build(&[Box::new(BINDING_REQUEST), Box::new(TransactionId::new())]).unwrap();
        message.add(ATTR_USERNAME, format!("{}:{}", remote.ufrag, self.local.ufrag).as_bytes());
        message.add(ATTR_PRIORITY, &[0x6E, 0, 1, 0xFF]);
        message.add(ATTR_ICE_CONTROLLING, &7_u64.to_be_bytes());
        message.add(ATTR_USE_CANDIDATE, &[]);
        MessageIntegrity::new_raw_integrity_with_provider(remote.pwd.as_bytes(), &RingCrypto)
            .add_to(&mut message)
            .unwrap();
        FINGERPRINT.add_to(&mut message).unwrap();
        message.raw
    }

    /// Reads what has arrived, and does what is due.
    pub fn pump(&mut self) {
        let now = Instant::now();
        let (Some(_), Some(remote)) = (self.server, self.remote.clone()) else { return };
        if self.check && now >= self.next_check {
            // In a hurry until the server answers.
            let hurry = Duration::from_millis(50);
            self.next_check = now + if self.is_connected() { CHECK_INTERVAL } else { hurry };
            let check = self.nominating_check(&remote);
            self.send(&check);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        if let Some(tcp) = &mut self.tcp {
            tcp.write();
        }
        while let Some(len) = self.tcp.as_mut().and_then(|tcp| tcp.receive(&mut buffer)) {
            self.handle(now, &mut buffer[..len]);
        }
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((len, _)) => self.handle(now, &mut buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // A closed port of the other side's is reported here.
                Err(_) => {}
            }
        }
        self.buffer = buffer;
        let Some(dtls) = &mut self.dtls else { return };
        if dtls.poll_timeout().is_some_and(|at| at <= now) {
            let _ = dtls.handle_timeout(now);
        }
        if let Some(sctp) = &mut self.sctp {
            sctp.handle_timeout(now, &mut self.data).unwrap();
            while let Some(packet) = sctp.poll_transmit() {
                dtls.send(now, &packet).unwrap();
            }
        }
        while let Some(datagram) = self.dtls.as_mut().and_then(|dtls| dtls.poll_transmit()) {
            self.send(&datagram);
        }
    }

    /// Sends a datagram as it is.
    pub fn send(&mut self, datagram: &[u8]) {
        match &mut self.tcp {
            Some(tcp) => tcp.send(datagram),
            None => drop(self.socket.send_to(datagram, self.server.unwrap())),
        }
    }

    /// Opens a TCP connection from this address, by which everything goes from now on; the one before, if any, is closed.
    pub async fn connect_tcp(&mut self, from: &str) {
        self.tcp = Some(tcp::Tcp::connect(from.parse().unwrap(), self.server.unwrap()).await);
        self.next_check = Instant::now();
    }

    /// Goes on over UDP; the TCP connection is handed out, still open.
    pub fn leave_tcp(&mut self) -> Option<tcp::Tcp> {
        self.next_check = Instant::now();
        self.tcp.take()
    }

    fn handle(&mut self, now: Instant, datagram: &mut [u8]) {
        match classify(datagram) {
            DatagramKind::Stun => {
                if let Some(dtls) = &mut self.dtls {
                    dtls.start(now).unwrap();
                }
            }
            DatagramKind::Dtls => {
                let Some(dtls) = &mut self.dtls else { return };
                let mut events = Vec::new();
                dtls.handle(now, datagram, &mut events).unwrap();
                for event in events {
                    match event {
                        DtlsEvent::Established => {
                            let (outbound, inbound) = dtls.srtp_keys().unwrap();
                            let sender = SrtpSender::new(outbound).unwrap();
                            self.srtp = Some((sender, SrtpReceiver::new(&inbound).unwrap()));
                            if self.spec.data {
                                self.sctp = Some(SctpAssociation::new(true, now).unwrap());
                            }
                        }
                        DtlsEvent::Closed => self.closed = true,
                        DtlsEvent::Data(data) => {
                            if let Some(sctp) = &mut self.sctp {
                                sctp.handle(now, data.freeze(), &mut self.data).unwrap();
                            }
                        }
                    }
                }
            }
            DatagramKind::Rtp => {
                self.rtp_count += 1;
                if !self.keep {
                    return;
                }
                let Some((_, receiver)) = &mut self.srtp else { return };
                let len = receiver.unprotect_rtp(datagram).unwrap();
                let packet = datagram[..len].to_vec();
                self.rtp.push(Arrived { at: Instant::now(), header: RtpHeader::parse(&packet).unwrap(), packet });
            }
            DatagramKind::Rtcp => {
                let Some((_, receiver)) = &mut self.srtp else { return };
                let len = receiver.unprotect_rtcp(datagram).unwrap();
                self.rtcp.push(datagram[..len].to_vec());
            }
            _ => panic!("the server sent something unknown"),
        }
    }

    /// Opens a data channel; it can be used once it is open.
    pub fn open_channel(&mut self, label: &str) -> u16 {
        let sctp = self.sctp.as_mut().unwrap();
        sctp.open(Instant::now(), label, "", Delivery::RELIABLE).unwrap()
    }

    pub fn close_channel(&mut self, channel: u16) {
        self.sctp.as_mut().unwrap().close_channel(Instant::now(), channel);
    }

    pub fn send_data(&mut self, channel: u16, text: &str) {
        self.sctp.as_mut().unwrap().send(Instant::now(), channel, false, text.as_bytes()).unwrap();
    }

    /// Seals a plain packet without sending it.
    pub fn seal_rtp(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut sealed = plain.to_vec();
        sealed.resize(plain.len() + MAX_OVERHEAD, 0);
        let len = self.srtp.as_mut().unwrap().0.protect_rtp(&mut sealed, plain.len()).unwrap();
        sealed.truncate(len);
        sealed
    }

    pub fn send_rtp(&mut self, plain: &[u8]) {
        let sealed = self.seal_rtp(plain);
        self.send(&sealed);
    }

    pub fn send_rtcp(&mut self, plain: &[u8]) {
        let mut sealed = plain.to_vec();
        sealed.resize(plain.len() + MAX_OVERHEAD, 0);
        let len = self.srtp.as_mut().unwrap().0.protect_rtcp(&mut sealed, plain.len()).unwrap();
        self.send(&sealed[..len]);
    }
}
