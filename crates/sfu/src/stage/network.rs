//! The network that judges a packet: one layer of gated recurrent units (Cho et al. 2014) with two outputs, the log-odds
//! that its sender is uttering something and that they have the floor. Inference only; crates/sfu/speaker/train has the
//! program that made the weights. Plain loops over rows, which the compiler turns into vector instructions.

/// How many numbers describe a packet: those of [`Level`](super::level::Level) and of [`Talk`](super::talk::Talk).
pub(super) const INPUTS: usize = 27;
/// How many units the network has, each with a number per participant. More know more, and cost time and memory.
pub(super) const UNITS: usize = 32;
/// Reset, update and candidate.
const GATES: usize = 3;
/// Utterance and floor.
const OUTPUTS: usize = 2;
const WEIGHTS: usize = (INPUTS + UNITS + 2) * GATES * UNITS + (UNITS + 1) * OUTPUTS;

/// The memory of the network for one participant.
pub(super) type Hidden = [f32; UNITS];

/// A value for each unit in each gate.
type Gates = [[f32; UNITS]; GATES];

/// The weights, in the order of the file: a row of weights for each input and for each unit, the biases of either, and the
/// rows and biases of the outputs.
#[derive(Debug)]
pub(super) struct Network {
    input: [Gates; INPUTS],
    recurrent: [Gates; UNITS],
    input_bias: Gates,
    recurrent_bias: Gates,
    output: [[f32; OUTPUTS]; UNITS],
    output_bias: [f32; OUTPUTS],
}

/// The trained network, part of the program: a file of another size does not compile.
pub(super) static TRAINED: Network = Network::from_le_bytes(include_bytes!("../../speaker/weights.f32le"));

/// Log-odds of what a packet's sender does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Judgement {
    /// Uttering anything: a turn or a "yeah".
    pub(super) utterance: f32,
    /// Having the floor.
    pub(super) floor: f32,
}

impl Network {
    const fn from_le_bytes(bytes: &[u8; 4 * WEIGHTS]) -> Self {
        let mut file = File { bytes, at: 0 };
        Self {
            input: file.gates(),
            recurrent: file.gates(),
            input_bias: file.rows(),
            recurrent_bias: file.rows(),
            output: file.rows(),
            output_bias: file.row(),
        }
    }

    /// Judges a packet by its inputs and what is remembered of its sender.
    pub(super) fn judge(&self, inputs: &[f32; INPUTS], hidden: &mut Hidden) -> Judgement {
        let [mut reset, mut update, mut candidate] = weigh(&self.input_bias, inputs, &self.input);
        let [reset_memory, update_memory, candidate_memory] = weigh(&self.recurrent_bias, hidden, &self.recurrent);
        // One short loop after the other: each becomes vector instructions.
        for unit in 0..UNITS {
            reset[unit] = sigmoid(reset[unit] + reset_memory[unit]);
        }
        for unit in 0..UNITS {
            update[unit] = sigmoid(update[unit] + update_memory[unit]);
        }
        for unit in 0..UNITS {
            candidate[unit] = tanh(candidate[unit] + reset[unit] * candidate_memory[unit]);
        }
        for unit in 0..UNITS {
            hidden[unit] = (1.0 - update[unit]) * candidate[unit] + update[unit] * hidden[unit];
        }
        let [mut utterance, mut floor] = self.output_bias;
        for (state, weights) in hidden.iter().zip(&self.output) {
            utterance += state * weights[0];
            floor += state * weights[1];
        }
        Judgement { utterance, floor }
    }
}

/// The file of weights, read front to back.
struct File<'a> {
    bytes: &'a [u8; 4 * WEIGHTS],
    at: usize,
}

impl File<'_> {
    const fn row<const COLUMNS: usize>(&mut self) -> [f32; COLUMNS] {
        let mut row = [0.0; COLUMNS];
        let mut i = 0;
        while i < COLUMNS {
            let b = self.at;
            row[i] = f32::from_le_bytes([self.bytes[b], self.bytes[b + 1], self.bytes[b + 2], self.bytes[b + 3]]);
            self.at += 4;
            i += 1;
        }
        row
    }

    const fn rows<const ROWS: usize, const COLUMNS: usize>(&mut self) -> [[f32; COLUMNS]; ROWS] {
        let mut rows = [[0.0; COLUMNS]; ROWS];
        let mut i = 0;
        while i < ROWS {
            rows[i] = self.row();
            i += 1;
        }
        rows
    }

    const fn gates<const ROWS: usize>(&mut self) -> [Gates; ROWS] {
        let mut gates = [[[0.0; UNITS]; GATES]; ROWS];
        let mut i = 0;
        while i < ROWS {
            gates[i] = self.rows();
            i += 1;
        }
        gates
    }
}

/// The bias and the weighted sum of rows. Gate by gate, so that the sums of one stay in registers.
fn weigh<const ROWS: usize>(bias: &Gates, values: &[f32; ROWS], rows: &[Gates; ROWS]) -> Gates {
    let mut sums = *bias;
    for (gate, sums) in sums.iter_mut().enumerate() {
        let mut sum = *sums;
        for (value, row) in values.iter().zip(rows) {
            for (sum, weight) in sum.iter_mut().zip(&row[gate]) {
                *sum += value * weight;
            }
        }
        *sums = sum;
    }
    sums
}

/// eˣ to about 1e-7 of its value, without a branch, so that loops of it vectorise: 2ⁿ·2ᶠ, 2ᶠ by its Taylor polynomial.
#[inline]
pub(super) fn exp(x: f32) -> f32 {
    /// Added to a float, leaves the nearest whole number in its low bits (1.5·2²³).
    const ROUND: f32 = 12_582_912.0;
    let exponent = x.clamp(-80.0, 80.0) * std::f32::consts::LOG2_E;
    let whole = exponent + ROUND;
    let part = (exponent - (whole - ROUND)) * std::f32::consts::LN_2;
    let power = 1.0
        + part * (1.0 + part * (0.5 + part * (1.0 / 6.0 + part * (1.0 / 24.0 + part * (1.0 / 120.0 + part / 720.0)))));
    f32::from_bits(power.to_bits().wrapping_add(whole.to_bits() << 23))
}

/// The probability of log-odds.
#[inline]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline]
fn tanh(x: f32) -> f32 {
    2.0 * sigmoid(2.0 * x) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_as_exact_as_a_float() {
        for step in -8_000..=8_000 {
            let x = step as f32 / 100.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 1e-5, "{x}");
        }
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert!(sigmoid(f32::NEG_INFINITY) < 1e-30);
    }
}
