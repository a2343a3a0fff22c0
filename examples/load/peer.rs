//! One load client's transport: a small ICE agent in control (RFC 8445, to one ICE-lite candidate), DTLS and SRTP from `ringback-transport`, on
//! a socket of its own. What the media says is for its owner to look at.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringback_transport::demux::{DatagramKind, classify};
use ringback_transport::dtls::{Certificate, DtlsAssociation, DtlsEvent};
use ringback_transport::ice::IceCredentials;
use ringback_transport::socket::{SendArena, SocketOptions, UdpSocket};
use ringback_transport::srtp::{MAX_OVERHEAD, SrtpReceiver, SrtpSender};
use rtc_crypto::providers::RingCrypto;
use rtc_stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter, TransactionId};
use rtc_stun::xoraddr::XorMappedAddress;

use crate::offer::Answer;

/// How often it checks until the server answers; then a browser's keepalive does, well within consent's 30 s (RFC 7675).
const HURRY: Duration = Duration::from_millis(50);
const CHECK_INTERVAL: Duration = Duration::from_millis(2500);

/// How a binding request begins (RFC 8489).
const REQUEST: [u8; 2] = [0, 1];

/// What a joined client needs to come up.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) local: IceCredentials,
    pub(crate) certificate: Certificate,
    pub(crate) answer: Answer,
}

pub(crate) struct Peer {
    /// Shared, so that waiting for it holds nothing else.
    pub(crate) socket: Rc<UdpSocket>,
    server: SocketAddr,
    local: IceCredentials,
    remote: IceCredentials,
    dtls: DtlsAssociation,
    srtp: Option<(SrtpSender, SrtpReceiver)>,
    next_check: Instant,
    /// To a check of the server's: Janus checks, too, though it says that it is lite.
    answer: Option<Vec<u8>>,
}

impl Peer {
    /// Binds a socket of the current runtime to this address. `joined`: whether what arrives is taken in joined (GRO). What leaves does so one by one, as from a browser.
    pub(crate) fn new(setup: Setup, bind: IpAddr, joined: bool) -> anyhow::Result<Self> {
        let options = SocketOptions::default().with_receive_buffer(1 << 20).with_send_buffer(1 << 20);
        let Setup { local, certificate, answer } = setup;
        Ok(Self {
            socket: Rc::new(UdpSocket::bind_with(
                SocketAddr::new(bind, 0),
                &options.with_trains(joined).with_trains_sent(false).with_arrival_times(true),
            )?),
            server: answer.server,
            local,
            remote: answer.ice,
            dtls: DtlsAssociation::new(certificate, answer.role, vec![answer.fingerprint])?,
            srtp: None,
            next_check: Instant::now(),
            answer: None,
        })
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.srtp.is_some()
    }

    pub(crate) fn srtp_receiver(&mut self) -> Option<&mut SrtpReceiver> {
        self.srtp.as_mut().map(|(_, receiver)| receiver)
    }

    /// Takes STUN and DTLS in; says what it was, for the owner to take media.
    pub(crate) fn handle(&mut self, now: Instant, datagram: &[u8]) -> anyhow::Result<DatagramKind> {
        let kind = classify(datagram);
        match kind {
            DatagramKind::Stun if datagram.starts_with(&REQUEST) => self.answer = Some(self.success(datagram)?),
            DatagramKind::Stun => self.dtls.start(now)?,
            DatagramKind::Dtls => {
                let mut events = Vec::new();
                self.dtls.handle(now, datagram, &mut events)?;
                if events.iter().any(|event| matches!(event, DtlsEvent::Established)) {
                    let (outbound, inbound) = self.dtls.srtp_keys()?;
                    self.srtp = Some((SrtpSender::new(outbound)?, SrtpReceiver::new(&inbound)?));
                }
            }
            _ => {}
        }
        Ok(kind)
    }

    /// Does what is due, and queues what is to be sent.
    pub(crate) fn transmit(&mut self, now: Instant, arena: &mut SendArena) -> anyhow::Result<()> {
        if now >= self.next_check {
            self.next_check = now + if self.is_connected() { CHECK_INTERVAL } else { HURRY };
            queue(arena, &self.check()?, self.server);
        }
        if let Some(answer) = self.answer.take() {
            queue(arena, &answer, self.server);
        }
        if self.dtls.poll_timeout().is_some_and(|at| at <= now) {
            self.dtls.handle_timeout(now)?;
        }
        while let Some(datagram) = self.dtls.poll_transmit() {
            queue(arena, &datagram, self.server);
        }
        Ok(())
    }

    /// Seals a plain RTP packet and queues it.
    pub(crate) fn queue_rtp(&mut self, plain: &[u8], arena: &mut SendArena) -> anyhow::Result<()> {
        let Some((sender, _)) = &mut self.srtp else { return Ok(()) };
        if arena.reserve(plain.len() + MAX_OVERHEAD).is_none() {
            self.socket.send(arena);
        }
        if let Some(space) = arena.reserve(plain.len() + MAX_OVERHEAD) {
            space[..plain.len()].copy_from_slice(plain);
            let sealed = sender.protect_rtp(space, plain.len())?;
            arena.commit(sealed, self.server);
        }
        Ok(())
    }

    /// The answer to a check.
    fn success(&self, request: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut asked = Message::new();
        asked.unmarshal_binary(request)?;
        let (ip, port) = (self.server.ip(), self.server.port());
        let mut message = Message::new();
        message.build(&[
            Box::new(BINDING_SUCCESS),
            Box::new(asked.transaction_id),
            Box::new(XorMappedAddress { ip, port }),
            Box::new(MessageIntegrity::new_raw_integrity_with_provider(self.local.pwd.as_bytes(), &RingCrypto)),
            Box::new(FINGERPRINT),
        ])?;
        Ok(message.raw)
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

fn queue(arena: &mut SendArena, datagram: &[u8], to: SocketAddr) {
    if let Some(space) = arena.reserve(datagram.len()) {
        space.copy_from_slice(datagram);
        arena.commit(datagram.len(), to);
    }
}
