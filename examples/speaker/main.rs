//! The speaker detector on recorded conversations: replays a folder of scenes, scores what came out, and prints the table of
//! ours beside the published algorithms.
//!
//! ```sh
//! cargo run --release --example speaker -- replay crates/sfu/speaker/dev --preset balanced > out.json
//! cargo run --release --example speaker -- score crates/sfu/speaker/dev out.json
//! cargo run --release --example speaker -- table crates/sfu/speaker/dev
//! cargo run --release --example speaker -- lights crates/sfu/speaker/dev
//! ```

mod lights;
mod score;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand, ValueEnum};
use lights::{LightFigures, LightTally};
use ringback_sfu::stage::Preset;
use score::{Figures, Labels, Tally};
use trace::{Light, Scene, Switches};

/// What other algorithms reach on the dev scenes, by the same scorer; the public ones were re-implemented from their sources
/// and ran at their defaults. In the order of [`Figures`].
const PUBLISHED: &[(&str, [f64; 8])] = &[
    ("Jitsi", [68.6, 476.0, 2254.0, 22.5, 1.43, 0.47, 4.1, 45.6]),
    ("mediasoup ActiveSpeaker", [70.5, 457.0, 2680.0, 21.5, 1.50, 0.48, 3.5, 47.3]),
    ("mediasoup AudioLevel", [74.8, 794.0, 1566.0, 8.3, 5.40, 0.00, 8.8, 50.6]),
    ("LiveKit", [75.1, 714.0, 1612.0, 7.7, 4.74, 5.10, 25.3, 38.4]),
    ("Signal", [67.7, 508.0, 2103.0, 27.6, 1.11, 0.26, 1.9, 44.0]),
    ("Janus", [13.2, f64::NAN, f64::NAN, 86.2, 0.02, 0.00, 0.0, -37.3]),
    ("loudest with hysteresis", [82.9, 240.0, 905.0, 8.5, 5.21, 4.86, 10.9, 52.8]),
    ("oracle, 400 ms late", [92.3, 400.0, 400.0, 0.0, 0.00, 0.04, 0.0, 89.4]),
];

#[derive(Parser)]
#[command(about = "Replays conversations through the speaker detector, and scores it.")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Replays every *.asl scene of a folder; prints {"scene": [[t_ms, participant], …]}.
    Replay {
        /// The folder with the scenes.
        folder: PathBuf,
        /// How eager the stage is.
        #[arg(long, value_enum, default_value = "balanced")]
        preset: PresetName,
    },
    /// Scores what was replayed against the labels in the folder.
    Score {
        /// The folder with the labels.
        folder: PathBuf,
        /// Outputs of `replay`, of this program or another.
        #[arg(required = true)]
        outputs: Vec<PathBuf>,
        /// Prints a line for each kind of scene, too.
        #[arg(long)]
        kinds: bool,
    },
    /// Replays and scores the voice lights: those of the detector, and those that look at each microphone alone.
    Lights {
        /// The folder with scenes and labels.
        folder: PathBuf,
    },
    /// Replays and scores every preset, beside the published algorithms (whose figures are those on the dev scenes).
    Table {
        /// The folder with scenes and labels.
        folder: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum PresetName {
    Fast,
    Balanced,
    Calm,
}

impl From<PresetName> for Preset {
    fn from(name: PresetName) -> Self {
        match name {
            PresetName::Fast => Self::Fast,
            PresetName::Balanced => Self::Balanced,
            PresetName::Calm => Self::Calm,
        }
    }
}

fn main() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match Args::parse().command {
        Command::Replay { folder, preset } => {
            let replayed = replay(&folder, preset.into())?;
            serde_json::to_writer(&mut out, &replayed)?;
            writeln!(out)?;
        }
        Command::Score { folder, outputs, kinds } => {
            writeln!(out, "{}", heading())?;
            for output in outputs {
                let bytes = std::fs::read(&output).with_context(|| format!("reading {}", output.display()))?;
                let replayed = serde_json::from_slice(&bytes)
                    .with_context(|| format!("{} is not what replay prints", output.display()))?;
                let tallies = score(&folder, &replayed)?;
                if kinds {
                    for (kind, tally) in by_kind(&tallies) {
                        writeln!(out, "{}", line(&kind, &tally.figures()))?;
                    }
                }
                let name = output.file_stem().unwrap_or_default().to_string_lossy();
                writeln!(out, "{}", line(&name, &total(&tallies).figures()))?;
            }
        }
        Command::Lights { folder } => {
            writeln!(
                out,
                "{:<26} {:>8} {:>6} {:>6} {:>6} {:>6} {:>8} {:>9} {:>9}",
                "", "≤100ms%", "med ms", "p95 ms", "miss%", "lit%", "astray%", "strays/m", "changes/m"
            )?;
            let detector = |scene: &Scene| scene.lights(Preset::Balanced);
            for (name, figures) in
                [("each alone", lights(&folder, &Scene::plain_lights)?), ("the detector", lights(&folder, &detector)?)]
            {
                let LightFigures { soon, median, p95, missed, lit, astray, strayed, changes } = figures;
                writeln!(
                    out,
                    "{name:<26} {soon:>7.1} {median:>6.0} {p95:>6.0} {missed:>6.1} {lit:>6.1} {astray:>8.1} {strayed:>9.2} {changes:>9.2}"
                )?;
            }
        }
        Command::Table { folder } => {
            writeln!(out, "{}", heading())?;
            for &(name, [right, median, p95, missed, false_switches, flaps, backchannels, score]) in PUBLISHED {
                let figures = Figures { right, median, p95, missed, false_switches, flaps, backchannels, score };
                writeln!(out, "{}", line(name, &figures))?;
            }
            for preset in Preset::ALL {
                let figures = total(&score(&folder, &replay(&folder, preset)?)?).figures();
                writeln!(out, "{}", line(&format!("Ringback, {}", preset.name()), &figures))?;
            }
        }
    }
    Ok(())
}

/// Names of the files with this extension, in order.
fn names(folder: &Path, extension: &str) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            names.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
        }
    }
    if names.is_empty() {
        bail!("{} has no *.{extension}", folder.display());
    }
    names.sort();
    Ok(names)
}

fn replay(folder: &Path, preset: Preset) -> anyhow::Result<BTreeMap<String, Switches>> {
    let scene = |name: String| {
        let scene = Scene::read(&folder.join(format!("{name}.asl")))?;
        Ok((name, scene.replay(preset)))
    };
    names(folder, "asl")?.into_iter().map(scene).collect()
}

fn score(folder: &Path, replayed: &BTreeMap<String, Switches>) -> anyhow::Result<BTreeMap<String, Tally>> {
    let tally = |name: String| {
        let labels = Labels::read(&folder.join(format!("{name}.json")))?;
        let none = Switches::new();
        let tally = labels.score(replayed.get(&name).unwrap_or(&none));
        Ok((name, tally))
    };
    names(folder, "json")?.into_iter().map(tally).collect()
}

fn lights(folder: &Path, replay: &dyn Fn(&Scene) -> Vec<Light>) -> anyhow::Result<LightFigures> {
    let mut total = LightTally::default();
    for name in names(folder, "asl")? {
        let scene = Scene::read(&folder.join(format!("{name}.asl")))?;
        let labels = Labels::read(&folder.join(format!("{name}.json")))?;
        total.add(LightTally::of(&labels, &replay(&scene)));
    }
    Ok(total.figures())
}

fn total<'a>(tallies: impl IntoIterator<Item = (&'a String, &'a Tally)>) -> Tally {
    let mut total = Tally::default();
    for (_, tally) in tallies {
        total.add(tally.clone());
    }
    total
}

/// Scenes `p8_tv_a` and `p8_tv_b` are of one kind, and so are all of real meetings, `ami_…`.
fn by_kind(tallies: &BTreeMap<String, Tally>) -> BTreeMap<String, Tally> {
    let mut kinds = BTreeMap::<String, Tally>::new();
    for (name, tally) in tallies {
        let kind = if name.starts_with("ami_") {
            "ami"
        } else {
            name.rsplit_once('_').map_or(name.as_str(), |(kind, _)| kind)
        };
        kinds.entry(kind.to_owned()).or_default().add(tally.clone());
    }
    kinds
}

fn heading() -> String {
    format!(
        "{:<26} {:>6} {:>6} {:>6} {:>6} {:>7} {:>6} {:>6} {:>6}",
        "", "right%", "med ms", "p95 ms", "miss%", "FS/min", "flap/m", "bc%", "SCORE"
    )
}

fn line(name: &str, figures: &Figures) -> String {
    let Figures { right, median, p95, missed, false_switches, flaps, backchannels, score } = figures;
    format!(
        "{name:<26} {right:>6.1} {median:>6.0} {p95:>6.0} {missed:>6.1} {false_switches:>7.2} {flaps:>6.2} {backchannels:>6.1} {score:>6.1}"
    )
}
