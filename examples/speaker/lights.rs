//! How well voice lights follow who speaks: the lights of the detector, or the plain ones that look at each microphone alone,
//! over the utterances that a scene's labels have.

use std::collections::BTreeMap;

use crate::score::{Labels, percentile};
use crate::trace::Light;

/// A light has to come on within this time of an utterance's beginning, in ms.
const SOON: f64 = 100.0;
/// Utterances shorter than this, in ms, are not asked for.
const SHORTEST: f64 = 200.0;
/// A light that comes on this long before an utterance, or after it, is still its own, in ms: labels and levels are not aligned
/// to the packet.
const ALIGNED: f64 = 100.0;
/// A light may stay on this long after an utterance, in ms: it bridges the pauses between words.
const BRIDGE: f64 = 400.0;

/// Counts over one scene or several.
#[derive(Debug, Clone, Default)]
pub(crate) struct LightTally {
    latencies: Vec<f64>,
    utterances: u64,
    /// Speech and the part of it that was lit, in ms.
    speech: f64,
    speech_lit: f64,
    /// Lit time that belongs to no utterance, in ms, and the times that began so.
    astray: f64,
    strayed: u64,
    changes: u64,
    /// Minutes of all participants together.
    minutes: f64,
}

/// The figures of some lights.
pub(crate) struct LightFigures {
    /// Utterances that were lit within [`SOON`], in percent.
    pub(crate) soon: f64,
    /// Median and 95th percentile of the time until they were lit, in ms.
    pub(crate) median: f64,
    /// See `median`.
    pub(crate) p95: f64,
    /// Utterances that were never lit, in percent.
    pub(crate) missed: f64,
    /// Share of speech that was lit, in percent.
    pub(crate) lit: f64,
    /// Share of lit time that belongs to no utterance, in percent.
    pub(crate) astray: f64,
    /// Lights that came on for no utterance, a minute of one participant.
    pub(crate) strayed: f64,
    /// Changes a minute of one participant.
    pub(crate) changes: f64,
}

impl LightTally {
    /// Counts one scene.
    pub(crate) fn of(labels: &Labels, lights: &[Light]) -> Self {
        let end = labels.end() as f64;
        let mut spans = BTreeMap::<usize, Vec<(f64, f64)>>::new();
        for light in lights {
            let theirs = spans.entry(light.participant).or_default();
            match theirs.last_mut() {
                Some(last) if !light.lit => last.1 = light.at as f64,
                _ if light.lit => theirs.push((light.at as f64, end)),
                _ => {}
            }
        }
        let mut tally = Self {
            changes: lights.len() as u64,
            minutes: labels.participants() as f64 * end / 60_000.0,
            ..Self::default()
        };
        let overlap = |(a, b): (f64, f64), (c, d): (f64, f64)| (b.min(d) - a.max(c)).max(0.0);
        for (who, from, to, _) in labels.utterances() {
            let theirs = spans.get(who).map(Vec::as_slice).unwrap_or_default();
            tally.speech += to - from;
            tally.speech_lit += theirs.iter().map(|&span| overlap(span, (*from, *to))).sum::<f64>();
            if to - from < SHORTEST {
                continue;
            }
            tally.utterances += 1;
            let lit = theirs.iter().find(|(on, off)| *on <= to + ALIGNED && *off > *from);
            tally.latencies.extend(lit.map(|(on, _)| (on - from).max(0.0)));
        }
        for (who, theirs) in &spans {
            let own = || labels.utterances().iter().filter(|(speaker, ..)| speaker == who);
            for &(on, off) in theirs {
                // Utterances with their margins may overlap; the lit time of each is counted once.
                let mut margins: Vec<_> = own().map(|(_, from, to, _)| (from - ALIGNED, to + BRIDGE)).collect();
                margins.sort_by(|a, b| a.0.total_cmp(&b.0));
                let (mut covered, mut until) = (0.0, f64::MIN);
                for (from, to) in margins {
                    covered += overlap((on, off), (from.max(until), to));
                    until = until.max(to);
                }
                tally.astray += off - on - covered;
                tally.strayed += u64::from(!own().any(|(_, from, to, _)| on >= from - ALIGNED && on <= to + ALIGNED));
            }
        }
        tally
    }

    /// Adds another scene.
    pub(crate) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.utterances += other.utterances;
        self.speech += other.speech;
        self.speech_lit += other.speech_lit;
        self.astray += other.astray;
        self.strayed += other.strayed;
        self.changes += other.changes;
        self.minutes += other.minutes;
    }

    /// The figures.
    pub(crate) fn figures(&self) -> LightFigures {
        let mut latencies = self.latencies.clone();
        latencies.sort_by(f64::total_cmp);
        let percent = |part: f64, whole: f64| 100.0 * part / whole.max(1.0);
        let all = self.utterances as f64;
        let soon = latencies.iter().filter(|&&latency| latency <= SOON).count();
        LightFigures {
            soon: percent(soon as f64, all),
            median: percentile(&latencies, 0.5),
            p95: percentile(&latencies, 0.95),
            missed: percent(all - latencies.len() as f64, all),
            lit: percent(self.speech_lit, self.speech),
            astray: percent(self.astray, self.astray + self.speech_lit),
            strayed: self.strayed as f64 / self.minutes,
            changes: self.changes as f64 / self.minutes,
        }
    }
}
