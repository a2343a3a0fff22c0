//! What a page hears and sees over time: its peer connections' statistics each quarter of a second, whatever the page is, and what can be read from them. It knows
//! neither rooms nor servers.

#![allow(dead_code, reason = "each test file that includes this module uses its own part of it")]

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use super::browser::Page;

/// How often the statistics are read.
const INTERVAL: Duration = Duration::from_millis(250);

/// For every page to be watched: notes what all its peer connections receive.
pub(crate) const WATCH: &str = "{
    const Real = window.RTCPeerConnection;
    const peers = [];
    const pictures = new Map();
    window.reception = [];
    const look = async () => {
        const sum = { at: performance.now(), samples: 0, concealed: 0, voice_lost: 0, pictures: 0, height: 0, frozen: 0, bytes: 0, nacks: 0,
            keyframes_asked: 0 };
        for (const peer of peers.filter(({ connectionState }) => connectionState !== 'closed')) {
            for (const report of (await peer.getStats()).values()) {
                if (report.type !== 'inbound-rtp') continue;
                sum.bytes += report.bytesReceived ?? 0;
                if (report.kind === 'audio') {
                    sum.samples += report.totalSamplesReceived ?? 0;
                    sum.concealed += report.concealedSamples ?? 0;
                    sum.voice_lost += report.packetsLost ?? 0;
                } else {
                    const decoded = report.framesDecoded ?? 0;
                    if (decoded > (pictures.get(report.id) ?? 0)) sum.height = Math.max(sum.height, report.frameHeight ?? 0);
                    pictures.set(report.id, decoded);
                    sum.pictures += decoded;
                    sum.frozen += report.totalFreezesDuration ?? 0;
                    sum.nacks += report.nackCount ?? 0;
                    sum.keyframes_asked += report.pliCount ?? 0;
                }
            }
        }
        window.reception.push(sum);
    };
    if (Real) {
        window.RTCPeerConnection = class extends Real {
            constructor(...configuration) {
                super(...configuration);
                peers.push(this);
            }
        };
        setInterval(look, 250);
    }
}";

/// A script for a page whose media is to go through a link: the server's candidate in each answer becomes the link's.
pub(crate) fn through(server: SocketAddr, link: SocketAddr) -> String {
    let candidate = |address: SocketAddr| format!(" {} {} typ ", address.ip(), address.port());
    format!(
        "{{
            const real = RTCPeerConnection.prototype.setRemoteDescription;
            RTCPeerConnection.prototype.setRemoteDescription = function ({{ type, sdp }}) {{
                return real.call(this, {{ type, sdp: sdp.replaceAll({:?}, {:?}) }});
            }};
        }}",
        candidate(server),
        candidate(link)
    )
}

/// Sums since the page was opened.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
struct Look {
    /// In ms, by the page's clock.
    at: f64,
    /// Samples of voices, and those of them that were made up.
    samples: f64,
    concealed: f64,
    /// Packets of voices that never came.
    voice_lost: f64,
    /// Pictures decoded, and the height of the last ones in pixels; 0 where none came since the look before.
    pictures: f64,
    height: u32,
    /// Seconds in which a picture stood still, once it went on, as the browser tells a freeze.
    frozen: f64,
    /// Payload of all kinds.
    bytes: f64,
    nacks: f64,
    keyframes_asked: f64,
}

/// What a page has received, from its beginning to now.
#[derive(Debug)]
pub(crate) struct Reception(Vec<Look>);

impl Reception {
    /// Reads what a page prepared with [`WATCH`] has noted.
    pub(crate) async fn of(page: &Page) -> anyhow::Result<Self> {
        Ok(Self(page.eval_as("reception").await?))
    }

    /// Now, as the beginning or the end of a span.
    pub(crate) async fn now(page: &Page) -> anyhow::Result<usize> {
        page.eval_as("reception.length").await
    }

    /// What came in a span.
    pub(crate) fn span(&self, span: Range<usize>) -> Summary {
        let looks = self.0.get(span).unwrap_or_default();
        let (Some(first), Some(last)) = (looks.first(), looks.last()) else { return Summary::default() };
        let seconds = (last.at - first.at) / 1e3;
        let pairs = || looks.windows(2).map(|pair| (pair[0], pair[1]));
        let freezes = pairs().map(|(before, after)| after.frozen - before.frozen).fold(0.0, f64::max);
        let (mut still, mut longest) = (0.0, 0.0_f64);
        for (before, after) in pairs() {
            still = if after.pictures > before.pictures { 0.0 } else { still + (after.at - before.at) / 1e3 };
            longest = longest.max(still);
        }
        Summary {
            seconds,
            concealed: (last.concealed - first.concealed) / (last.samples - first.samples).max(1.0),
            voice_lost: last.voice_lost - first.voice_lost,
            frozen: (last.frozen - first.frozen) / seconds,
            longest_freeze: longest.max(freezes),
            pictures: (last.pictures - first.pictures) / seconds,
            kbps: (last.bytes - first.bytes) * 8e-3 / seconds,
            nacks: last.nacks - first.nacks,
            keyframes_asked: last.keyframes_asked - first.keyframes_asked,
            heard: last.samples > first.samples,
        }
    }

    /// How long after a moment pictures of more than so many lines came; `None`: they did not.
    pub(crate) fn until_higher(&self, since: usize, lines: u32) -> Option<f64> {
        let looks = self.0.get(since..)?;
        let higher = looks.iter().find(|look| look.height > lines)?;
        Some((higher.at - looks.first()?.at) / 1e3)
    }
}

/// A span in a few numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Summary {
    pub(crate) seconds: f64,
    /// The share of samples of voices that were made up.
    pub(crate) concealed: f64,
    pub(crate) voice_lost: f64,
    /// The share of time in which a picture stood still.
    pub(crate) frozen: f64,
    /// The longest freeze in seconds, also one that has not ended, to a quarter of a second.
    pub(crate) longest_freeze: f64,
    /// Pictures a second.
    pub(crate) pictures: f64,
    /// Payload of all kinds, in kbit/s.
    pub(crate) kbps: f64,
    pub(crate) nacks: f64,
    pub(crate) keyframes_asked: f64,
    /// Whether there was any voice.
    pub(crate) heard: bool,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, concealed, frozen, longest_freeze, pictures, kbps, nacks, keyframes_asked, .. } = self;
        write!(f, "{:.2} % of the voice made up, {:.2} % of {seconds:.0} s frozen", concealed * 100.0, frozen * 100.0)?;
        write!(f, " ({longest_freeze:.2} s at a time), {pictures:.1} pictures/s, {kbps:.0} kbit/s, ")?;
        write!(f, "{nacks:.0} times asked for packets, {keyframes_asked:.0} for keyframes")
    }
}
