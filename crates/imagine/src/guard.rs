//! Fetching from addresses that somebody else chose: a provider's link, and where that redirects to. Only public addresses over TLS, unless the operator has allowed a host. The
//! address that is checked is the one that is connected to, since the check sits in the resolver of the connection itself: a name that resolves differently
//! the next time (DNS rebinding) gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Client, Url};

use crate::error::ImagineError;
use crate::provider::{BoxFuture, FailReason, ProviderError, retry_after};

/// How many redirects are followed; delivery networks use one.
const REDIRECTS: usize = 3;

/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(15);

/// Finds a host's addresses. Without ports.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of a name.
    ///
    /// # Errors
    /// Where there are none.
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, std::io::Result<Vec<IpAddr>>>;
}

/// The system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, std::io::Result<Vec<IpAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) })
    }
}

/// Hosts that the operator allows, as `host:port`.
#[derive(Debug, Clone, Default)]
struct Allowed(Vec<(String, u16)>);

impl Allowed {
    fn parse(hosts: &[String]) -> Result<Self, ImagineError> {
        let parse = |entry: &String| {
            let (host, port) = entry.rsplit_once(':')?;
            Some((host.to_ascii_lowercase(), port.parse().ok()?))
        };
        let refused = |entry: &String| ImagineError::Config {
            provider: "allow_hosts".to_owned(),
            reason: format!("{entry:?} is not host:port"),
        };
        hosts.iter().map(|entry| parse(entry).ok_or_else(|| refused(entry))).collect::<Result<_, _>>().map(Self)
    }

    fn has_host(&self, host: &str) -> bool {
        self.0.iter().any(|(allowed, _)| allowed == host)
    }

    fn has(&self, host: &str, port: u16) -> bool {
        self.0.iter().any(|(allowed, at)| allowed == host && *at == port)
    }
}

struct Guarded {
    lookup: Arc<dyn Lookup>,
    allowed: Allowed,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, host) = (self.lookup.clone(), name.as_str().to_ascii_lowercase());
        let trusted = self.allowed.has_host(&host);
        Box::pin(async move {
            let found = lookup.lookup(&host).await?;
            // One private address among public ones is no accident.
            if !trusted && !found.iter().all(|ip| is_public(*ip)) {
                return Err(Box::<dyn std::error::Error + Send + Sync>::from(Private(host)));
            }
            let addresses: Addrs = Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addresses)
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0} has an address that is not public")]
struct Private(String);

/// Fetches pictures. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
    allowed: Allowed,
    max_bytes: u64,
}

impl Fetcher {
    /// One that takes at most `max_bytes` and `timeout`, and lets these hosts (`host:port`) be where and how they are.
    ///
    /// # Errors
    /// Where a host is not written so.
    pub fn new(
        max_bytes: u64,
        timeout: Duration,
        allow_hosts: &[String],
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, ImagineError> {
        let allowed = Allowed::parse(allow_hosts)?;
        let client = Client::builder()
            // A proxy of the environment would do the connecting, and so undo the check.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(Guarded { lookup, allowed: allowed.clone() }))
            .connect_timeout(SILENCE)
            .read_timeout(SILENCE)
            .timeout(timeout)
            .build()
            .map_err(ImagineError::Client)?;
        Ok(Self { client, allowed, max_bytes })
    }

    /// Fetches a picture, as bytes that may be anything yet.
    ///
    /// # Errors
    /// [`ProviderError`], which says whether another try may help.
    pub async fn fetch(&self, link: &str) -> Result<Bytes, ProviderError> {
        let mut url = Url::parse(link).map_err(|error| refused(FailReason::Address, error.to_string()))?;
        for _ in 0..=REDIRECTS {
            self.check(&url)?;
            let response = self.client.get(url.clone()).send().await.map_err(broken)?;
            let status = response.status();
            if status.is_redirection() {
                let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
                let next = to.and_then(|to| url.join(to).ok());
                url = next.ok_or_else(|| refused(FailReason::Address, "a redirect to nowhere".to_owned()))?;
                continue;
            }
            return match status.as_u16() {
                200 => self.body(response).await,
                400..=407 | 410 | 451 => Err(refused(FailReason::Gone, format!("status {status}"))),
                _ => Err(ProviderError::Again {
                    after: retry_after(response.headers()),
                    detail: format!("status {status}"),
                }),
            };
        }
        Err(refused(FailReason::Address, "too many redirects".to_owned()))
    }

    /// What can be said of a URL before its name is resolved.
    fn check(&self, url: &Url) -> Result<(), ProviderError> {
        let refuse =
            |why: &str| Err(refused(FailReason::Address, format!("{}: {why}", url.host_str().unwrap_or_default())));
        let Some(host) = url.host_str().map(str::to_ascii_lowercase) else { return refuse("no host") };
        let port = url.port_or_known_default().unwrap_or(0);
        if self.allowed.has(&host, port) && matches!(url.scheme(), "http" | "https") {
            return Ok(());
        }
        if self.allowed.has_host(&host) {
            return refuse("another port of an allowed host");
        }
        if url.scheme() != "https" {
            return refuse("not https");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("with a password");
        }
        // The resolver is not asked about literal addresses.
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match literal {
            Ok(ip) if !is_public(ip) => refuse("not a public address"),
            _ => Ok(()),
        }
    }

    async fn body(&self, mut response: reqwest::Response) -> Result<Bytes, ProviderError> {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        // Some stores know no better than `binary/octet-stream`; what it is, the decoder says.
        if !(kind.is_empty() || kind.starts_with("image/") || kind.ends_with("/octet-stream")) {
            return Err(refused(FailReason::Picture, format!("of type {kind:?}")));
        }
        let too_large = || refused(FailReason::Picture, format!("more than {} bytes", self.max_bytes));
        if response.content_length().is_some_and(|length| length > self.max_bytes) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            if (body.len() + piece.len()) as u64 > self.max_bytes {
                return Err(too_large());
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }
}

fn refused(reason: FailReason, detail: String) -> ProviderError {
    ProviderError::Failed { reason, detail }
}

fn broken(error: reqwest::Error) -> ProviderError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(private) = error.downcast_ref::<Private>() {
            return refused(FailReason::Address, private.to_string());
        }
        cause = error.source();
    }
    // Without the URL, which may let anybody in who reads the log.
    ProviderError::Again { after: None, detail: error.without_url().to_string() }
}

/// Whether an address is one of the public internet: no network of an operator's own, no machine itself, no metadata service.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(a == 0
        || ip.is_private()
        || ip.is_loopback()
        // Metadata services are here.
        || ip.is_link_local()
        // Carrier-grade NAT, RFC 6598; Alibaba Cloud's metadata service is here.
        || (a == 100 && b & 0xc0 == 64)
        // Protocol assignments and documentation, RFC 6890; relays of 6to4; benchmarks, RFC 2544.
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && b & 0xfe == 18)
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113)
        // Azure's WireServer, a public address that only means the host.
        || ip.octets() == [168, 63, 129, 16]
        // Multicast, reserved, broadcast.
        || a >= 224)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let parts = ip.segments();
    let inner = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // IPv4 in other clothes: mapped, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] => inner(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
        [0x2002, high, low, ..] => inner(high, low),
        // Teredo hides an address as well; documentation; benchmarks and ORCHID.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        // What is globally routed is in 2000::/3; loopback, ULA, link-local and multicast are not.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for public in ["1.1.1.1", "100.128.0.1", "172.32.0.1", "192.1.0.1", "2606:4700::1111", "64:ff9b::101:101"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.0.9",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "2001:0:1::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }
}
