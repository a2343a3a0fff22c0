//! A client with nothing but data channels: a small ICE agent in control (RFC 8445, to one ICE-lite candidate), DTLS and SCTP from
//! `ringback-transport`, on a socket of its own.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use ringback_transport::demux::{DatagramKind, classify};
use ringback_transport::dtls::{Certificate, DtlsAssociation, DtlsEvent, DtlsRole};
use ringback_transport::ice::IceCredentials;
use ringback_transport::sctp::{Delivery, Reliability, SctpAssociation, SctpEvent};
use rtc_crypto::providers::RingCrypto;
use rtc_stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter, TransactionId};
use tokio::net::UdpSocket;

const HURRY: Duration = Duration::from_millis(100);
const CHECK_INTERVAL: Duration = Duration::from_millis(2500);

/// An offer of data channels alone.
pub(crate) fn offer(certificate: &Certificate) -> (IceCredentials, String) {
    let ice = IceCredentials::random();
    let sdp = format!(
        "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n\
         a=fingerprint:{}\r\na=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:16384\r\n",
        ice.ufrag,
        ice.pwd,
        certificate.fingerprint()
    );
    (ice, sdp)
}

/// See the [module](self).
pub(crate) struct DataClient {
    pub(crate) socket: Rc<UdpSocket>,
    server: SocketAddr,
    local: IceCredentials,
    remote: IceCredentials,
    role: DtlsRole,
    dtls: DtlsAssociation,
    sctp: Option<SctpAssociation>,
    /// Reactions and hands, once they are being opened.
    channels: Option<[u16; 2]>,
    open: usize,
    next_check: Instant,
    buffer: Vec<u8>,
}

impl DataClient {
    pub(crate) fn new(local: IceCredentials, certificate: Certificate, answer: &str) -> anyhow::Result<Self> {
        let attribute = |name: &str| {
            let prefix = format!("a={name}:");
            answer
                .lines()
                .find_map(|line| line.strip_prefix(&prefix))
                .with_context(|| format!("the answer has no {name}"))
        };
        let candidate = |line: &str| {
            let mut fields = line.strip_prefix("a=candidate:")?.split(' ').skip(4);
            Some(SocketAddr::new(fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        };
        let remote =
            IceCredentials { ufrag: attribute("ice-ufrag")?.to_owned(), pwd: attribute("ice-pwd")?.to_owned() };
        let role = if attribute("setup")? == "passive" { DtlsRole::Client } else { DtlsRole::Server };
        let fingerprint = attribute("fingerprint")?.parse().context("the answer's fingerprint")?;
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: Rc::new(UdpSocket::from_std(socket)?),
            server: answer.lines().find_map(candidate).context("the answer has no candidate")?,
            local,
            remote,
            role,
            dtls: DtlsAssociation::new(certificate, role, vec![fingerprint])?,
            sctp: None,
            channels: None,
            open: 0,
            next_check: Instant::now(),
            buffer: vec![0; 2048],
        })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open >= 2
    }

    /// Reacts; whether that was sent.
    pub(crate) fn react(&mut self, now: Instant, emoji: &str) -> bool {
        let (Some(sctp), Some([taps, _])) = (&mut self.sctp, self.channels) else { return false };
        let sent = sctp.send(now, taps, false, format!(r#"{{"v":1,"type":"react","r":"{emoji}"}}"#).as_bytes()).is_ok();
        self.flush(now);
        sent
    }

    /// Takes in what has come.
    pub(crate) fn drain(&mut self, mut heard: impl FnMut(Instant, &[u8])) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Ok((len, _)) = self.socket.try_recv_from(&mut buffer) {
            let now = Instant::now();
            self.handle(now, &buffer[..len], &mut heard);
        }
        self.buffer = buffer;
        self.flush(Instant::now());
    }

    fn handle(&mut self, now: Instant, datagram: &[u8], heard: &mut impl FnMut(Instant, &[u8])) {
        match classify(datagram) {
            DatagramKind::Stun => {
                let _ = self.dtls.start(now);
            }
            DatagramKind::Dtls => {
                let mut events = Vec::new();
                let _ = self.dtls.handle(now, datagram, &mut events);
                for event in events {
                    match event {
                        DtlsEvent::Established => {
                            self.sctp = SctpAssociation::new(self.role == DtlsRole::Client, now).ok()
                        }
                        DtlsEvent::Data(data) => {
                            let mut events = Vec::new();
                            if let Some(sctp) = &mut self.sctp {
                                let _ = sctp.handle(now, data.freeze(), &mut events);
                            }
                            self.data(now, events, heard);
                        }
                        DtlsEvent::Closed => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn data(&mut self, now: Instant, events: Vec<SctpEvent>, heard: &mut impl FnMut(Instant, &[u8])) {
        for event in events {
            match event {
                SctpEvent::Open { .. } => self.open += 1,
                SctpEvent::Message { data, .. } => heard(now, &data),
                _ => {}
            }
        }
        let Some(sctp) = self.sctp.as_mut().filter(|sctp| sctp.is_established()) else { return };
        if self.channels.is_none() {
            let lossy = Delivery { ordered: false, reliability: Reliability::Retransmissions(0) };
            let taps = sctp.open(now, "reactions", "", lossy);
            let hands = sctp.open(now, "hands", "", Delivery::RELIABLE);
            self.channels = taps.ok().zip(hands.ok()).map(|(taps, hands)| [taps, hands]);
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant, mut heard: impl FnMut(Instant, &[u8])) {
        if self.dtls.poll_timeout().is_some_and(|at| at <= now) {
            let _ = self.dtls.handle_timeout(now);
        }
        if let Some(sctp) = &mut self.sctp {
            let mut events = Vec::new();
            let _ = sctp.handle_timeout(now, &mut events);
            self.data(now, events, &mut heard);
        }
        if now >= self.next_check {
            self.next_check = now + if self.is_open() { CHECK_INTERVAL } else { HURRY };
            if let Ok(check) = self.check() {
                let _ = self.socket.try_send_to(&check, self.server);
            }
        }
        self.flush(now);
    }

    fn flush(&mut self, now: Instant) {
        while let Some(packet) = self.sctp.as_mut().and_then(SctpAssociation::poll_transmit) {
            let _ = self.dtls.send(now, &packet);
        }
        while let Some(datagram) = self.dtls.poll_transmit() {
            let _ = self.socket.try_send_to(&datagram, self.server);
        }
    }

    /// A nominating check (RFC 8445, section 7.1).
    fn check(&self) -> anyhow::Result<Vec<u8>> {
        let mut message = Message::new();
        message.build(&[Box::new(BINDING_REQUEST), Box::new(TransactionId::new())])?;
        message.add(ATTR_USERNAME, format!("{}:{}", self.remote.ufrag, self.local.ufrag).as_bytes());
        message.add(ATTR_PRIORITY, &[0x6E, 0, 1, 0xFF]);
        message.add(ATTR_ICE_CONTROLLING, &7_u64.to_be_bytes());
        message.add(ATTR_USE_CANDIDATE, &[]);
        MessageIntegrity::new_raw_integrity_with_provider(self.remote.pwd.as_bytes(), &RingCrypto)
            .add_to(&mut message)?;
        FINGERPRINT.add_to(&mut message)?;
        Ok(message.raw)
    }
}
