//! What an operator watches, in the text format that Prometheus scrapes (OpenMetrics 1.0): sessions, calls by outcome, notes by state, images, how far the log of events and
//! its webhooks have come, and what each media worker has counted. Read when asked; nothing here runs per packet, and nothing names a user.

mod images;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dashmap::DashMap;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;
use ringback_imagine::ImagineStatistics;
use ringback_sfu::{DELAY_BOUNDS, Delays, WorkerStatistics};
use ringback_signaling::SignalingStatistics;
use ringback_signaling::protocol::{QualityTimes, UserQuality};

pub(crate) use images::ImageCounts;

/// The media type of [`Engine::metrics`](crate::Engine::metrics).
pub const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    kind: String,
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QualityLabels {
    kind: String,
    level: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NoteLabels {
    kind: String,
    event: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkerLabels {
    worker: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CipherLabels {
    worker: usize,
    library: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    webhook: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PostLabels {
    webhook: String,
    outcome: String,
}

/// What the engine itself has counted since it began. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    calls: Family<CallLabels, Counter>,
    call_quality: Family<QualityLabels, Counter<f64, std::sync::atomic::AtomicU64>>,
    notes: Family<NoteLabels, Counter>,
    events_lost: Counter,
    event_delay: Histogram,
    webhook_posts: Family<PostLabels, Counter>,
    webhook_delay: Family<WebhookLabels, Histogram>,
    /// How far each webhook has come.
    webhooks_done: Arc<DashMap<String, u64>>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            call_quality: Family::default(),
            notes: Family::default(),
            events_lost: Counter::default(),
            event_delay: delays(),
            webhook_posts: Family::default(),
            webhook_delay: Family::new_with_constructor(delays),
            webhooks_done: Arc::default(),
        }
    }
}

/// Delays in seconds: from a millisecond, four times as much with each bucket, to more than an hour.
fn delays() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 12))
}

/// From one time in Unix milliseconds to another, in seconds.
fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1_000.0
}

impl Counts {
    /// A call is over.
    pub(crate) fn call(&self, kind: &str, outcome: &str) {
        self.calls.get_or_create(&CallLabels { kind: kind.to_owned(), outcome: outcome.to_owned() }).inc();
    }

    /// In a call that is over connections were good, or not, for so long.
    pub(crate) fn call_quality(&self, kind: &str, of: &[UserQuality]) {
        let times = of.iter().fold(QualityTimes::default(), |sum, user| sum.and(user.times));
        for (level, ms) in
            [("good", times.good_ms), ("fair", times.fair_ms), ("poor", times.poor_ms), ("lost", times.lost_ms)]
        {
            let labels = QualityLabels { kind: kind.to_owned(), level: level.to_owned() };
            self.call_quality.get_or_create(&labels).inc_by(seconds(0, ms));
        }
    }

    /// Something happened to a note: `note.sent`, `note.expired` …
    pub(crate) fn note(&self, kind: &str, event: &str) {
        self.notes.get_or_create(&NoteLabels { kind: kind.to_owned(), event: event.to_owned() }).inc();
    }

    /// An event that happened at `at` was put into the log, in Unix milliseconds.
    pub(crate) fn logged(&self, at: u64, now: u64) {
        self.event_delay.observe(seconds(at, now));
    }

    /// So many events could not be put into the log.
    pub(crate) fn events_lost(&self, events: u64) {
        self.events_lost.inc_by(events);
    }

    /// An event was posted: `taken`, `refused`, `gone` or `failed`.
    pub(crate) fn webhook_posted(&self, webhook: &str, outcome: &str) {
        self.webhook_posts
            .get_or_create(&PostLabels { webhook: webhook.to_owned(), outcome: outcome.to_owned() })
            .inc();
    }

    /// The receiver has taken an event that happened at `at`, in Unix milliseconds.
    pub(crate) fn webhook_delay(&self, webhook: &str, at: u64, now: u64) {
        self.webhook_delay.get_or_create(&WebhookLabels { webhook: webhook.to_owned() }).observe(seconds(at, now));
    }

    /// A webhook is done with all events up to this one.
    pub(crate) fn webhook_done(&self, webhook: &str, sequence: u64) {
        self.webhooks_done.insert(webhook.to_owned(), sequence);
    }

    /// Everything as text; `newest` is the last event of the log, where there is one, and `images` is there where there is a service that makes them.
    pub(crate) fn text(
        &self,
        signaling: &SignalingStatistics,
        workers: &[WorkerStatistics],
        newest: Option<u64>,
        images: Option<(&ImageCounts, &ImagineStatistics)>,
    ) -> String {
        let mut registry = Registry::with_prefix("ringback");
        registry.register("calls", "Calls that are over, by kind and outcome", self.calls.clone());
        registry.register(
            "call_quality_seconds",
            "For how long connections in calls that are over were how good",
            self.call_quality.clone(),
        );
        registry.register("notes", "What happened to notes, by kind of note and event", self.notes.clone());
        let now = |registry: &mut Registry, name: &str, help: &str, value: usize| {
            let gauge: Gauge = Gauge::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            registry.register(name, help, gauge);
        };
        now(&mut registry, "sessions", "Live signaling sessions", signaling.sessions);
        now(&mut registry, "calls_live", "Calls that ring or are active", signaling.live_calls);
        now(&mut registry, "rooms_occupied", "Rooms with somebody in them", signaling.occupied_rooms);
        now(&mut registry, "workers", "Media workers that run", workers.len());
        if let Some(newest) = newest {
            now(
                &mut registry,
                "event_log_sequence",
                "The last event of the log",
                usize::try_from(newest).unwrap_or(usize::MAX),
            );
            self.register_events(&mut registry, newest);
        }
        if let Some((counts, now)) = images {
            counts.register(&mut registry, now);
        }
        for (name, help, value) in HELD {
            let family = Family::<WorkerLabels, Gauge>::default();
            for (worker, statistics) in workers.iter().enumerate() {
                family
                    .get_or_create(&WorkerLabels { worker })
                    .set(i64::try_from(value(statistics)).unwrap_or(i64::MAX));
            }
            registry.register(*name, *help, family);
        }
        for (name, help, value) in COUNTED {
            let family = Family::<WorkerLabels, Counter>::default();
            for (worker, statistics) in workers.iter().enumerate() {
                family.get_or_create(&WorkerLabels { worker }).inc_by(value(statistics));
            }
            registry.register(*name, *help, family);
        }
        let ciphers = Family::<CipherLabels, Gauge>::default();
        for (worker, statistics) in workers.iter().enumerate() {
            ciphers.get_or_create(&CipherLabels { worker, library: statistics.gcm.name().to_owned() }).set(1);
        }
        registry.register("worker_cipher", "1 for the library whose AES-GCM protects media", ciphers);
        let delays = Family::<WorkerLabels, WorkerDelay>::default();
        for (worker, statistics) in workers.iter().enumerate() {
            delays.get_or_create(&WorkerLabels { worker }).0.set(statistics.delays).ok();
        }
        registry.register(
            "worker_delay_seconds",
            "For how long a worker has had packets in its hands, batch by batch: from the socket until what came of them was given back to the system",
            delays,
        );
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &registry) {
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }

    fn register_events(&self, registry: &mut Registry, newest: u64) {
        registry.register("events_lost", "Events that could not be put into the log", self.events_lost.clone());
        registry.register(
            "event_log_delay_seconds",
            "From what happened until it is in the log",
            self.event_delay.clone(),
        );
        registry.register("webhook_posts", "Events posted, each time, by what came of it", self.webhook_posts.clone());
        registry.register(
            "webhook_delay_seconds",
            "From what happened until the receiver has taken it",
            self.webhook_delay.clone(),
        );
        let backlog = Family::<WebhookLabels, Gauge>::default();
        for webhook in self.webhooks_done.iter() {
            let waiting = i64::try_from(newest.saturating_sub(*webhook.value())).unwrap_or(i64::MAX);
            backlog.get_or_create(&WebhookLabels { webhook: webhook.key().clone() }).set(waiting);
        }
        registry.register("webhook_backlog", "Events of the log that the receiver has not taken yet", backlog);
    }
}

/// A histogram that a worker has kept.
#[derive(Debug, Default)]
struct WorkerDelay(OnceLock<Delays>);

impl EncodeMetric for WorkerDelay {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Delays { counts, sum } = self.0.get().copied().unwrap_or_default();
        let bounds = DELAY_BOUNDS.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        encoder.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl TypedMetric for WorkerDelay {
    const TYPE: MetricType = MetricType::Histogram;
}

type Read<N> = (&'static str, &'static str, fn(&WorkerStatistics) -> N);

/// What a worker holds now.
const HELD: &[Read<usize>] = &[
    ("worker_rooms", "Open rooms", |of| of.rooms),
    ("worker_participants", "Participants in them", |of| of.participants),
    ("worker_rooms_shared", "Open rooms that span other workers too", |of| of.rooms_shared),
    ("worker_streams", "TCP connections", |of| of.streams),
    ("worker_networks_measured", "Participants whose network is measured", |of| of.networks_measured),
    ("worker_bandwidth_bits", "What these networks take together, in bits per second", |of| {
        usize::try_from(of.bandwidth).unwrap_or(usize::MAX)
    }),
];

/// What a worker has counted since it began.
const COUNTED: &[Read<u64>] = &[
    ("worker_datagrams_received", "Datagrams received", |of| of.datagrams_received),
    ("worker_datagrams_unrouted", "Datagrams that belong to no connection", |of| of.datagrams_unrouted),
    ("worker_datagrams_refused", "Datagrams that a connection refused: forged, replayed, malformed", |of| {
        of.datagrams_refused
    }),
    ("worker_handshakes_dropped", "Unauthenticated work dropped because media goes first", |of| of.handshakes_dropped),
    ("worker_packets_received", "RTP packets taken in", |of| of.packets_received),
    ("worker_packets_forwarded", "RTP packets queued for subscribers", |of| of.packets_forwarded),
    ("worker_packets_unsent", "RTP packets that could not be sealed or queued", |of| of.packets_unsent),
    ("worker_packets_relayed", "RTP packets handed to other workers of their room", |of| of.packets_relayed),
    ("worker_relays_dropped", "RTP packets that another worker was too far behind to take", |of| of.relays_dropped),
    ("worker_datagrams_sent", "Datagrams the system took", |of| of.datagrams_sent),
    ("worker_trains_sent", "Trains in which it took them; a datagram for itself counts as one", |of| of.trains_sent),
    ("worker_padding_bytes", "Padding that let packets travel in one train", |of| of.padding_sent),
    ("worker_datagrams_dropped", "Datagrams the system did not take", |of| of.datagrams_dropped),
    ("worker_streams_refused", "TCP connections ended before they had proved anything", |of| of.streams_refused),
    ("worker_streams_congested", "Times that video was left out for want of room on a TCP connection", |of| {
        of.streams_congested
    }),
    ("worker_panics", "Rooms and connections that a bug ended", |of| of.panics),
    ("worker_data_dropped", "Data-channel messages that the engine did not take", |of| of.data_dropped),
    ("worker_voices_decoded", "Voice packets decoded because their client tells no levels", |of| of.voices_decoded),
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn calls_notes_and_workers_are_counted_under_their_labels() {
        let counts = Counts::default();
        counts.call("voice", "no_answer");
        counts.call("voice", "no_answer");
        counts.note("voice", "note.sent");
        let mut worker = WorkerStatistics::default();
        worker.packets_forwarded = 7;
        worker.delays.counts[1] = 3;
        worker.delays.counts[10] = 1;
        worker.delays.sum = Duration::from_millis(70);
        let signaling = SignalingStatistics { sessions: 3, live_calls: 1, occupied_rooms: 1 };
        let workers = [worker, WorkerStatistics::default()];
        let text = counts.text(&signaling, &workers, None, None);
        for line in [
            "ringback_calls_total{kind=\"voice\",outcome=\"no_answer\"} 2",
            "ringback_notes_total{kind=\"voice\",event=\"note.sent\"} 1",
            "ringback_sessions 3",
            "ringback_workers 2",
            "ringback_worker_packets_forwarded_total{worker=\"0\"} 7",
            "ringback_worker_packets_forwarded_total{worker=\"1\"} 0",
            "ringback_worker_delay_seconds_bucket{le=\"0.0001\",worker=\"0\"} 3",
            "ringback_worker_delay_seconds_bucket{le=\"0.05\",worker=\"0\"} 3",
            "ringback_worker_delay_seconds_bucket{le=\"+Inf\",worker=\"0\"} 4",
            "ringback_worker_cipher{worker=\"0\",library=\"ring\"} 1",
            "ringback_worker_delay_seconds_sum{worker=\"0\"} 0.07",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert!(!text.contains("event_log"), "there is no log");

        counts.webhook_done("billing", 40);
        counts.webhook_posted("billing", "refused");
        counts.logged(1_000, 1_500);
        let text = counts.text(&signaling, &workers, Some(42), None);
        for line in [
            "ringback_event_log_sequence 42",
            "ringback_webhook_backlog{webhook=\"billing\"} 2",
            "ringback_webhook_posts_total{webhook=\"billing\",outcome=\"refused\"} 1",
            "ringback_event_log_delay_seconds_sum 0.5",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
        }
    }
}
