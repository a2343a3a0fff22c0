//! The scorer: how well a list of switches follows the labels of a scene. It gives the figures of the Python scorer that the
//! published table was made with, to the last digit.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use crate::trace::Switches;

/// The scorer's grid, in ms.
const CELL: i64 = 20;

#[derive(Deserialize)]
struct Turn {
    spk: usize,
    due: i64,
    end: i64,
}

/// From, to, who has the floor (or -1), whether they speak, whom else it is right to show.
type Interval = (i64, i64, i64, u8, Vec<usize>);
/// Who, from, to, "turn" or "bc" (a backchannel).
pub(crate) type Utterance = (usize, f64, f64, String);

/// What is right in a scene.
#[derive(Deserialize)]
pub(crate) struct Labels {
    turns: Vec<Turn>,
    intervals: Vec<Interval>,
    utterances: Vec<Utterance>,
    /// What was done to each participant's sound; only their number counts here.
    channels: Vec<serde::de::IgnoredAny>,
}

/// 20 ms of a scene.
#[derive(Clone, Default)]
struct Cell {
    has_floor: bool,
    speech: bool,
    acceptable: Vec<usize>,
}

/// Counts over one scene or several.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    speech: u64,
    speech_right: u64,
    latencies: Vec<f64>,
    turns: u64,
    missed: u64,
    false_switches: u64,
    flaps: u64,
    backchannels: u64,
    backchannels_shown: u64,
    minutes: f64,
}

/// The figures of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// Share of speech time in which whoever is shown is acceptable, in percent.
    pub(crate) right: f64,
    /// Median and 95th percentile of the time from when a turn is due to its being shown, in ms.
    pub(crate) median: f64,
    /// See `median`.
    pub(crate) p95: f64,
    /// Turns never shown, in percent.
    pub(crate) missed: f64,
    /// Switches to somebody not acceptable, a minute.
    pub(crate) false_switches: f64,
    /// Highlights of less than a second, a minute.
    pub(crate) flaps: f64,
    /// Backchannels of at most half a second that were shown, in percent.
    pub(crate) backchannels: f64,
    /// All of it in one number.
    pub(crate) score: f64,
}

impl Labels {
    /// Reads a scene's labels.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} has no labels", path.display()))
    }

    /// Everything that was said, backchannels included.
    pub(crate) fn utterances(&self) -> &[Utterance] {
        &self.utterances
    }

    /// How many take part.
    pub(crate) fn participants(&self) -> usize {
        self.channels.len()
    }

    /// How long the scene is, in ms.
    pub(crate) fn end(&self) -> i64 {
        self.intervals.last().map_or(0, |interval| interval.1)
    }

    fn cells(&self) -> Vec<Cell> {
        let end = self.end();
        let mut cells = vec![Cell::default(); (end / CELL) as usize];
        for (from, to, primary, speech, acceptable) in &self.intervals {
            let range = (*from / CELL) as usize..((*to / CELL) as usize).min(cells.len());
            for cell in cells.get_mut(range).unwrap_or_default() {
                cell.has_floor = *primary >= 0;
                cell.speech = *speech != 0;
                cell.acceptable.extend(acceptable);
            }
        }
        cells
    }

    /// Scores one scene.
    pub(crate) fn score(&self, switches: &Switches) -> Tally {
        let cells = self.cells();
        let begin = self.turns.first().map_or(0, |turn| turn.due);
        let switches = changes(switches);
        let shown_at = |at: i64| {
            let next = switches.partition_point(|&(t, _)| t <= at);
            next.checked_sub(1).map(|last| switches[last].1)
        };
        // Whether it is right to show somebody at any time between two cells.
        let acceptable = |who: usize, from: i64, to: i64| {
            let range = from.max(0) as usize..to.clamp(0, cells.len() as i64) as usize;
            cells.get(range).unwrap_or_default().iter().any(|cell| cell.acceptable.contains(&who))
        };
        let mut tally = Tally { minutes: (cells.len() as i64 * CELL - begin) as f64 / 60_000.0, ..Tally::default() };
        for (i, cell) in cells.iter().enumerate() {
            let at = i as i64 * CELL;
            if cell.has_floor && cell.speech && at >= begin {
                tally.speech += 1;
                let right = shown_at(at + CELL / 2).is_some_and(|who| cell.acceptable.contains(&who));
                tally.speech_right += u64::from(right);
            }
        }
        for turn in &self.turns {
            tally.turns += 1;
            let shown = |&&(at, who): &&(i64, usize)| who == turn.spk && turn.due < at && at <= turn.end + 200;
            if shown_at(turn.due) == Some(turn.spk) {
                tally.latencies.push(0.0);
            } else if let Some((at, _)) = switches.iter().find(shown) {
                tally.latencies.push((at - turn.due) as f64);
            } else {
                tally.missed += 1;
            }
        }
        for (i, &(at, who)) in switches.iter().enumerate() {
            if at < begin {
                continue;
            }
            let cell = (at / CELL).min(cells.len() as i64 - 1);
            tally.false_switches += u64::from(!acceptable(who, cell - 20, cell + 2));
            tally.flaps += u64::from(switches.get(i + 1).is_some_and(|&(next, _)| next - at < 1_000));
        }
        for (who, from, to, kind) in &self.utterances {
            let cell_of = |at: f64| (at / CELL as f64).floor() as i64;
            let short = kind == "bc" && *from >= begin as f64 && to - from <= 500.0;
            if !short || acceptable(*who, cell_of(*from), cell_of(to + 600.0)) {
                continue;
            }
            tally.backchannels += 1;
            let range = *from..=to + 600.0;
            let shown = switches.iter().any(|&(at, shown)| shown == *who && range.contains(&(at as f64)));
            tally.backchannels_shown += u64::from(shown);
        }
        tally
    }
}

/// Leaves what changes: of simultaneous switches the last, and none to whoever is there already.
fn changes(switches: &Switches) -> Switches {
    let mut last_at_each_time = Switches::new();
    let mut shown = None;
    for &(at, who) in switches {
        if shown == Some(who) {
            continue;
        }
        shown = Some(who);
        match last_at_each_time.last_mut() {
            Some(last) if last.0 == at => *last = (at, who),
            _ => last_at_each_time.push((at, who)),
        }
    }
    last_at_each_time.dedup_by_key(|&mut (_, who)| who);
    last_at_each_time
}

/// A percentile, interpolated as numpy does.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 5_000.0 };
    let place = last as f64 * share;
    let (low, part) = (place.floor() as usize, place.fract());
    let (a, b) = (sorted[low], sorted[(low + 1).min(last)]);
    if part < 0.5 { a + (b - a) * part } else { b - (b - a) * (1.0 - part) }
}

impl Tally {
    /// Adds another scene.
    pub(crate) fn add(&mut self, other: Self) {
        self.speech += other.speech;
        self.speech_right += other.speech_right;
        self.latencies.extend(other.latencies);
        self.turns += other.turns;
        self.missed += other.missed;
        self.false_switches += other.false_switches;
        self.flaps += other.flaps;
        self.backchannels += other.backchannels;
        self.backchannels_shown += other.backchannels_shown;
        self.minutes += other.minutes;
    }

    /// The figures.
    pub(crate) fn figures(&self) -> Figures {
        let mut latencies = self.latencies.clone();
        latencies.sort_by(f64::total_cmp);
        let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole as f64;
        let right = percent(self.speech_right, self.speech);
        let (median, p95) = (percentile(&latencies, 0.5), percentile(&latencies, 0.95));
        let missed = percent(self.missed, self.turns);
        let false_switches = self.false_switches as f64 / self.minutes;
        let flaps = self.flaps as f64 / self.minutes;
        let backchannels = percent(self.backchannels_shown, self.backchannels.max(1));
        let score = right
            - 2.0 * false_switches
            - 2.0 * flaps
            - 0.5 * missed
            - 0.25 * backchannels
            - 5.0 * median / 1_000.0
            - 2.0 * p95 / 1_000.0;
        Figures { right, median, p95, missed, false_switches, flaps, backchannels, score }
    }
}
