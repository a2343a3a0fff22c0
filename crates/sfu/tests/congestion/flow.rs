//! Flows over one seeded link on virtual time: each a voice and a picture of 30 frames a second that follows its estimate, to a receiver that sends
//! transport-wide feedback back over a link of its own.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ringback_link::{Link, Profile};
use ringback_sfu::feedback::TransportFeedbackRecorder;

use super::control::Control;

/// The size of a video packet, of padding, and of a voice's packets, on the wire.
const PACKET: usize = 1200;
const PADDING: usize = 250;
const VOICE: usize = 130;
static ZEROS: [u8; 1500] = [0; 1500];

/// What the picture can be.
#[derive(Debug, Clone)]
pub enum Picture {
    /// Anything up to so many bits per second.
    UpTo(f64),
    /// One of these, in bits per second, from the smallest on.
    Layers(&'static [f64]),
}

/// What one flow did.
#[derive(Debug, Default, Clone)]
pub struct Record {
    /// Estimate each 100 ms, in bits per second.
    pub estimates: Vec<f64>,
    /// How long packets stand in line by the estimator's account, in ms, each 100 ms.
    pub lines: Vec<f64>,
    /// Bits that arrived in each 100 ms, padding left out.
    pub delivered: Vec<f64>,
    /// How late each 100 ms's voice was at worst, compared with an empty link, in ms.
    pub voice_delay: Vec<f64>,
    /// Voice packets that left and that arrived.
    pub voice: (u64, u64),
    pub padding_bytes: u64,
    pub bytes: u64,
    /// When the layer changed, in seconds.
    pub changes: Vec<f64>,
    /// The layer each 100 ms.
    pub layers: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Datagram {
    flow: usize,
    sequence: u16,
    len: usize,
    kind: Kind,
    sent: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Voice,
    Video,
    Padding,
}

impl AsRef<[u8]> for Datagram {
    fn as_ref(&self) -> &[u8] {
        // What the link adds counts in the size on the wire.
        &ZEROS[..self.len - 28]
    }
}

#[derive(Debug, Clone)]
struct Feedback {
    flow: usize,
    packets: Vec<(u16, Option<i64>)>,
}

impl AsRef<[u8]> for Feedback {
    fn as_ref(&self) -> &[u8] {
        &ZEROS[..40 + self.packets.len() * 2]
    }
}

struct Flow {
    control: Box<dyn Control>,
    picture: Picture,
    begins: Duration,
    sequence: u16,
    layer: usize,
    next_layer: Option<(usize, Duration)>,
    looked: Duration,
    key: bool,
    pending: VecDeque<usize>,
    credit: f64,
    recorder: TransportFeedbackRecorder,
    record: Record,
    bits: f64,
    late: f64,
}

/// Flows that share a link.
pub struct World {
    start: Instant,
    now: Duration,
    down: Link<Datagram>,
    up: Link<Feedback>,
    profile: Profile,
    flows: Vec<Flow>,
    /// How long the queue before the link was each 10 ms, in ms; `None` while nothing leaves it.
    pub queue: Vec<Option<f64>>,
    /// What the link took each 100 ms, in bits per second.
    pub capacity: Vec<f64>,
}

impl World {
    pub fn new(down: Profile, up: Profile, seed: u64) -> Self {
        let start = Instant::now();
        Self {
            start,
            now: Duration::ZERO,
            down: Link::new(down.clone(), seed).with_origin(start),
            up: Link::new(up, seed ^ 0x5EED).with_origin(start),
            profile: down,
            flows: Vec::new(),
            queue: Vec::new(),
            capacity: Vec::new(),
        }
    }

    pub fn start(&self) -> Instant {
        self.start
    }

    pub fn add(&mut self, control: impl Control + 'static, picture: Picture, begins: Duration) {
        self.flows.push(Flow {
            control: Box::new(control),
            picture,
            begins,
            sequence: self.flows.len() as u16 * 20_000,
            layer: 0,
            next_layer: None,
            looked: Duration::ZERO,
            key: true,
            pending: VecDeque::new(),
            credit: 0.0,
            recorder: TransportFeedbackRecorder::new(),
            record: Record::default(),
            bits: 0.0,
            late: 0.0,
        });
    }

    pub fn record(&self, flow: usize) -> &Record {
        &self.flows[flow].record
    }

    /// Runs for so many seconds.
    pub fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 1000 {
            self.step();
        }
    }

    fn step(&mut self) {
        let (elapsed, now) = (self.now, self.start + self.now);
        let ms = elapsed.as_millis();
        let conditions = *self.profile.at(elapsed).0;
        for (index, flow) in self.flows.iter_mut().enumerate() {
            if elapsed >= flow.begins {
                flow.send(index, elapsed, now, &mut self.down);
            }
        }
        while let Some((at, datagram)) = self.down.poll(now) {
            let flow = &mut self.flows[datagram.flow];
            flow.recorder.on_packet(at, datagram.sequence);
            if datagram.kind != Kind::Padding {
                flow.bits += datagram.len as f64 * 8.0;
            }
            if datagram.kind == Kind::Voice {
                flow.record.voice.1 += 1;
                let late = (at - datagram.sent).saturating_sub(conditions.delay);
                flow.late = flow.late.max(late.as_secs_f64() * 1e3);
            }
        }
        for (index, flow) in self.flows.iter_mut().enumerate() {
            while let Some(feedback) = flow.recorder.poll(now) {
                let mut clock = i64::from(feedback.reference_time) * 256;
                let status = |(n, delta): (u16, &Option<i16>)| {
                    let arrival = delta.map(|delta| {
                        clock += i64::from(delta);
                        clock
                    });
                    (feedback.base_sequence.wrapping_add(n), arrival)
                };
                let packets = (0..).zip(feedback.deltas).map(status).collect();
                self.up.send(now, Feedback { flow: index, packets });
            }
        }
        while let Some((at, feedback)) = self.up.poll(now) {
            self.flows[feedback.flow].control.on_feedback(at, &feedback.packets);
        }
        if ms.is_multiple_of(10) {
            let rate = conditions.rate.unwrap_or(u64::MAX);
            self.queue.push((rate > 0).then(|| self.down.queued_bytes() as f64 * 8e3 / rate as f64));
        }
        if ms.is_multiple_of(100) {
            self.capacity.push(conditions.rate.unwrap_or(u64::MAX) as f64);
            for flow in &mut self.flows {
                flow.record.estimates.push(flow.control.estimate());
                flow.record.lines.push(flow.control.line());
                flow.record.delivered.push(std::mem::take(&mut flow.bits) * 10.0);
                flow.record.voice_delay.push(std::mem::take(&mut flow.late));
                flow.record.layers.push(flow.layer);
            }
        }
        self.now += Duration::from_millis(1);
    }
}

impl Flow {
    fn send(&mut self, index: usize, elapsed: Duration, now: Instant, link: &mut Link<Datagram>) {
        let ms = elapsed.as_millis();
        if ms.is_multiple_of(5) {
            self.control.tick(now);
        }
        if ms.is_multiple_of(20) {
            self.record.voice.0 += 1;
            self.packet(index, now, VOICE, Kind::Voice, link);
        }
        self.choose_layer(elapsed);
        let voice = VOICE as f64 * 8.0 * 50.0;
        if ms.is_multiple_of(33) {
            let rate = match self.picture {
                Picture::UpTo(most) => (self.control.budget() - voice).clamp(0.0, most),
                Picture::Layers(layers) => layers[self.layer],
            };
            // A keyframe is four frames' worth.
            let frame = rate / 8.0 * 0.033 * if std::mem::take(&mut self.key) { 4.0 } else { 1.0 };
            let packets = (frame / PACKET as f64).ceil();
            for _ in 0..packets as usize {
                self.pending.push_back(((frame / packets) as usize).max(60));
            }
        }
        self.pace(index, now, link);
        while self.control.padding(now) >= PADDING {
            self.record.padding_bytes += PADDING as u64;
            self.packet(index, now, PADDING, Kind::Padding, link);
        }
    }

    /// Video leaves at 2.5 times the budget.
    fn pace(&mut self, index: usize, now: Instant, link: &mut Link<Datagram>) {
        self.credit = (self.credit + self.control.budget() * 2.5 / 8e3).min(3.0 * PACKET as f64);
        while let Some(&len) = self.pending.front().filter(|_| self.credit > 0.0) {
            self.pending.pop_front();
            self.credit -= len as f64;
            self.packet(index, now, len, Kind::Video, link);
        }
    }

    fn choose_layer(&mut self, elapsed: Duration) {
        let Picture::Layers(layers) = self.picture else { return };
        if let Some((layer, _)) = self.next_layer.take_if(|(_, at)| *at <= elapsed) {
            self.layer = layer;
            self.key = true;
            self.pending.clear();
            self.record.changes.push(elapsed.as_secs_f64());
        }
        let budget = self.control.budget() - VOICE as f64 * 8.0 * 50.0;
        let fits = |share: f64| layers.iter().rposition(|rate| *rate <= budget * share).unwrap_or(0);
        let looks = elapsed >= self.looked + Duration::from_millis(500);
        let wanted = if fits(1.0) < self.layer { Some(fits(1.0)) } else { looks.then(|| fits(0.9)) };
        if looks {
            self.looked = elapsed;
        }
        if let Some(layer) = wanted.filter(|layer| *layer != self.layer && self.next_layer.is_none()) {
            // Until the publisher's keyframe is there.
            self.next_layer = Some((layer, elapsed + Duration::from_millis(150)));
        }
    }

    fn packet(&mut self, index: usize, now: Instant, len: usize, kind: Kind, link: &mut Link<Datagram>) {
        self.control.on_sent(now, self.sequence, len);
        self.record.bytes += len as u64;
        link.send(now, Datagram { flow: index, sequence: self.sequence, len, kind, sent: now });
        self.sequence = self.sequence.wrapping_add(1);
    }
}
