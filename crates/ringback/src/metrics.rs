//! What an operator watches, in the text format that Prometheus scrapes (OpenMetrics 1.0): sessions, calls by outcome, notes by state, and what each media
//! worker has counted. Read when asked; nothing here runs per packet, and nothing names a user.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use ringback_sfu::WorkerStatistics;
use ringback_signaling::SignalingStatistics;

/// The media type of [`Engine::metrics`](crate::Engine::metrics).
pub const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    kind: String,
    outcome: String,
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

/// What the engine itself has counted since it began. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    calls: Family<CallLabels, Counter>,
    notes: Family<NoteLabels, Counter>,
}

impl Counts {
    /// A call is over.
    pub(crate) fn call(&self, kind: &str, outcome: &str) {
        self.calls.get_or_create(&CallLabels { kind: kind.to_owned(), outcome: outcome.to_owned() }).inc();
    }

    /// Something happened to a note: `note.sent`, `note.expired` …
    pub(crate) fn note(&self, kind: &str, event: &str) {
        self.notes.get_or_create(&NoteLabels { kind: kind.to_owned(), event: event.to_owned() }).inc();
    }

    /// Everything as text.
    pub(crate) fn text(&self, signaling: &SignalingStatistics, workers: &[WorkerStatistics]) -> String {
        let mut registry = Registry::with_prefix("ringback");
        registry.register("calls", "Calls that are over, by kind and outcome", self.calls.clone());
        registry.register("notes", "What happened to notes, by kind of note and event", self.notes.clone());
        let now = |registry: &mut Registry, name: &str, help: &str, value: usize| {
            let gauge: Gauge = Gauge::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            registry.register(name, help, gauge);
        };
        now(&mut registry, "sessions", "Live signaling sessions", signaling.sessions);
        now(&mut registry, "calls_live", "Calls that ring or are active", signaling.live_calls);
        now(&mut registry, "rooms_occupied", "Rooms with somebody in them", signaling.occupied_rooms);
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
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &registry) {
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }
}

type Read<N> = (&'static str, &'static str, fn(&WorkerStatistics) -> N);

/// What a worker holds now.
const HELD: &[Read<usize>] = &[
    ("worker_rooms", "Open rooms", |of| of.rooms),
    ("worker_participants", "Participants in them", |of| of.participants),
    ("worker_streams", "TCP connections", |of| of.streams),
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
    ("worker_datagrams_sent", "Datagrams the system took", |of| of.datagrams_sent),
    ("worker_datagrams_dropped", "Datagrams the system did not take", |of| of.datagrams_dropped),
    ("worker_streams_refused", "TCP connections ended before they had proved anything", |of| of.streams_refused),
    ("worker_streams_congested", "Times that video was left out for want of room on a TCP connection", |of| {
        of.streams_congested
    }),
    ("worker_panics", "Rooms and connections that a bug ended", |of| of.panics),
    ("worker_data_dropped", "Data-channel messages that the engine did not take", |of| of.data_dropped),
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
        let signaling = SignalingStatistics { sessions: 3, live_calls: 1, occupied_rooms: 1 };
        let text = counts.text(&signaling, &[worker, WorkerStatistics::default()]);
        for line in [
            "ringback_calls_total{kind=\"voice\",outcome=\"no_answer\"} 2",
            "ringback_notes_total{kind=\"voice\",event=\"note.sent\"} 1",
            "ringback_sessions 3",
            "ringback_worker_packets_forwarded_total{worker=\"0\"} 7",
            "ringback_worker_packets_forwarded_total{worker=\"1\"} 0",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
