//! A server's `Connection` and a far end, joined by a link on virtual time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringback_transport::connection::{Connection, ConnectionConfig, ConnectionEvent, Incoming};
use ringback_transport::dtls::{Certificate, DtlsRole};
use ringback_transport::error::TransportError;
use ringback_transport::ice::IceCredentials;
use ringback_transport::srtp::{GcmLibrary, MAX_OVERHEAD, SrtpProfile};

use super::far::FarEnd;
use super::link::Link;

pub struct Call {
    pub now: Instant,
    pub link: Link,
    pub server: SocketAddr,
    pub connection: Connection,
    pub far: FarEnd,
    pub events: Vec<ConnectionEvent>,
    pub media: Vec<Vec<u8>>,
    /// What the connection said about single datagrams.
    pub errors: Vec<TransportError>,
    /// Bytes on the heap that the connection has allocated and not freed.
    pub held: i64,
    scratch: Vec<u8>,
}

/// What differs from an ordinary call.
pub struct Setup {
    pub link: Link,
    pub server_role: DtlsRole,
    pub sctp: bool,
    pub far_profiles: Vec<SrtpProfile>,
    /// The server expects another certificate than the far end's.
    pub wrong_fingerprint: bool,
}

impl Setup {
    pub fn seeded(seed: u64) -> Self {
        Self {
            link: Link::new(seed),
            server_role: DtlsRole::Server,
            sctp: false,
            far_profiles: vec![SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmSha1_80],
            wrong_fingerprint: false,
        }
    }
}

pub fn far_address(port: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 9], port))
}

impl Call {
    pub fn new(setup: Setup) -> Self {
        let now = Instant::now();
        let server = SocketAddr::from(([203, 0, 113, 1], 3478));
        let credentials = [IceCredentials::random(), IceCredentials::random()];
        let certificates = [Certificate::generate().unwrap(), Certificate::generate().unwrap()];
        let announced =
            if setup.wrong_fingerprint { Certificate::generate().unwrap() } else { certificates[1].clone() };
        let config = ConnectionConfig {
            certificate: certificates[0].clone(),
            local_ice: credentials[0].clone(),
            remote_ice: credentials[1].clone(),
            remote_fingerprints: vec![announced.fingerprint()],
            dtls_role: setup.server_role,
            sctp: setup.sctp,
            gcm: GcmLibrary::fastest(),
        };
        let far_role = match setup.server_role {
            DtlsRole::Client => DtlsRole::Server,
            DtlsRole::Server => DtlsRole::Client,
        };
        let [local, remote] = credentials;
        let mut far = FarEnd::new(
            now,
            [far_address(5000), server],
            [remote, local],
            certificates[1].clone(),
            far_role,
            vec![certificates[0].fingerprint()],
        );
        far.wants_sctp = setup.sctp;
        far.dtls = far.dtls.with_srtp_profiles(setup.far_profiles);
        let mut connection = None;
        let held = allocation_counter::measure(|| connection = Some(Connection::new(config, now).unwrap()));
        Self {
            now,
            link: setup.link,
            server,
            connection: connection.unwrap(),
            far,
            events: Vec::new(),
            media: Vec::new(),
            errors: Vec::new(),
            held: held.bytes_current,
            scratch: Vec::with_capacity(2048),
        }
    }

    /// Calls the connection and keeps account of the memory it holds on to.
    pub fn metered<T>(&mut self, call: impl FnOnce(&mut Connection, &mut Vec<u8>) -> T) -> T {
        let mut result = None;
        let info = allocation_counter::measure(|| result = Some(call(&mut self.connection, &mut self.scratch)));
        self.held += info.bytes_current;
        result.unwrap()
    }

    /// A call that is up.
    pub fn connected(setup: Setup) -> Self {
        let mut call = Self::new(setup);
        call.run(Self::is_connected, Duration::from_secs(20));
        assert!(call.is_connected(), "{:?} {:?}", call.events, call.far.dtls_error);
        call
    }

    pub fn is_connected(&self) -> bool {
        self.connection.is_connected() && self.far.srtp.is_some()
    }

    pub fn flush(&mut self) {
        let poll = |connection: &mut Connection, scratch: &mut Vec<u8>| {
            let (to, datagram) = connection.poll_transmit()?;
            scratch.clear();
            scratch.extend_from_slice(&datagram);
            Some(to.remote)
        };
        while let Some(to) = self.metered(poll) {
            self.link.send(self.now, self.server, to, &self.scratch);
        }
        while let Some((to, datagram)) = self.far.poll_transmit(self.now) {
            self.link.send(self.now, self.far.address, to, &datagram);
        }
        while let Some(event) = self.metered(|connection, _| connection.poll_event()) {
            self.events.push(event);
        }
    }

    /// Hands a datagram to the server, as if it had come from there.
    pub fn inject(&mut self, from: SocketAddr, bytes: &[u8]) -> Result<Incoming, TransportError> {
        let mut datagram = bytes.to_vec();
        let now = self.now;
        let incoming = self.metered(|connection, _| connection.handle_datagram(now, from.into(), &mut datagram))?;
        if let Incoming::Rtp(length) = incoming {
            self.media.push(datagram[..length].to_vec());
        }
        Ok(incoming)
    }

    pub fn run(&mut self, until: impl Fn(&Self) -> bool, limit: Duration) {
        let end = self.now + limit;
        loop {
            self.flush();
            if until(self) {
                return;
            }
            let timeouts = [self.connection.poll_timeout(), self.far.poll_timeout(), self.link.next_arrival()];
            let next = timeouts.into_iter().flatten().min().unwrap_or(end);
            if next >= end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            for mut datagram in self.link.arrivals(self.now) {
                if datagram.to == self.server {
                    if let Err(error) = self.inject(datagram.from, &datagram.bytes) {
                        self.errors.push(error);
                    }
                } else if datagram.to == self.far.address {
                    self.far.handle(self.now, &mut datagram.bytes);
                }
            }
            let now = self.now;
            self.metered(|connection, _| connection.handle_timeout(now));
            self.far.handle_timeout(self.now);
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run(|_| false, time);
    }

    /// Sends an RTP packet from the server to the far end.
    pub fn send_rtp(&mut self, plain: &[u8]) {
        let mut buffer = plain.to_vec();
        buffer.resize(plain.len() + MAX_OVERHEAD, 0);
        let to = self.connection.path().unwrap().remote;
        let length = self.connection.srtp_sender().unwrap().protect_rtp(&mut buffer, plain.len()).unwrap();
        self.link.send(self.now, self.server, to, &buffer[..length]);
    }

    pub fn lost_consent(&self) -> bool {
        self.events.iter().any(|event| matches!(event, ConnectionEvent::ConsentLost))
    }

    pub fn failure(&self) -> Option<String> {
        self.events.iter().find_map(|event| match event {
            ConnectionEvent::Failed(error) => Some(error.to_string()),
            _ => None,
        })
    }
}

/// A plain RTP packet.
pub fn rtp(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend(sequence.to_be_bytes());
    packet.extend(1000_u32.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}
