//! Flows over one seeded link on virtual time: each a voice and a picture of 30 frames a second that follows its estimate, through the SFU's
//! [`Pacer`], to a receiver that sends transport-wide feedback back over a link of its own.

use std::time::{Duration, Instant};

use ringback_link::{Link, Profile};
use ringback_sfu::feedback::TransportFeedbackRecorder;
use ringback_sfu::pacer::Pacer;

use super::camera::{Camera, Frame};
use super::control::Control;

/// The size of a video packet, of padding, and of a voice's packets, on the wire.
pub const PACKET: usize = 1200;
const PADDING: usize = 250;
const VOICE: usize = 130;
static ZEROS: [u8; 1500] = [0; 1500];

/// What the picture can be.
#[derive(Debug, Clone)]
pub enum Picture {
    /// Anything up to so many bits per second.
    UpTo(f64),
    /// What the allocator grants of a camera with three layers.
    Simulcast,
}

/// What one flow did.
#[derive(Debug, Default, Clone)]
pub struct Record {
    /// Estimate each 100 ms, in bits per second.
    pub estimates: Vec<f64>,
    pub budgets: Vec<f64>,
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
    /// When another step was granted, in seconds.
    pub changes: Vec<f64>,
    /// The step that flowed, each 100 ms.
    pub steps: Vec<usize>,
    /// Video packets that left and that arrived.
    pub video: (u64, u64),
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
    camera: Option<Camera>,
    begins: Duration,
    sequence: u16,
    pacer: Pacer,
    is_measured: bool,
    padding: usize,
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
    seed: u64,
    /// The size of what probes are filled up with: padding, unless old packets are tried in its place.
    pub padding: usize,
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
            seed,
            padding: PADDING,
            flows: Vec::new(),
            queue: Vec::new(),
            capacity: Vec::new(),
        }
    }

    pub fn start(&self) -> Instant {
        self.start
    }

    pub fn add(&mut self, control: impl Control + 'static, picture: Picture, begins: Duration) {
        let seed = self.seed ^ self.flows.len() as u64;
        self.flows.push(Flow {
            control: Box::new(control),
            camera: matches!(picture, Picture::Simulcast).then(|| Camera::new(seed)),
            picture,
            begins,
            sequence: self.flows.len() as u16 * 20_000,
            pacer: Pacer::new(),
            is_measured: false,
            padding: self.padding,
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
            flow.record.video.1 += u64::from(datagram.kind == Kind::Video);
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
            self.flows[feedback.flow].on_feedback(at, &feedback.packets);
        }
        if ms.is_multiple_of(10) {
            let rate = conditions.rate.unwrap_or(u64::MAX);
            self.queue.push((rate > 0).then(|| self.down.queued_bytes() as f64 * 8e3 / rate as f64));
        }
        if ms.is_multiple_of(100) {
            self.capacity.push(conditions.rate.unwrap_or(u64::MAX) as f64);
            for flow in &mut self.flows {
                flow.record.estimates.push(flow.control.estimate());
                flow.record.budgets.push(flow.control.budget());
                flow.record.lines.push(flow.control.line());
                flow.record.delivered.push(std::mem::take(&mut flow.bits) * 10.0);
                flow.record.voice_delay.push(std::mem::take(&mut flow.late));
                flow.record.steps.push(flow.camera.as_ref().map_or(0, Camera::step));
            }
        }
        self.now += Duration::from_millis(1);
    }
}

impl Flow {
    fn on_feedback(&mut self, now: Instant, packets: &[(u16, Option<i64>)]) {
        self.control.on_feedback(now, packets);
        self.is_measured = true;
        if let Some(camera) = &mut self.camera {
            camera.set_budget(now, self.control.budget());
        }
    }

    fn send(&mut self, index: usize, elapsed: Duration, now: Instant, link: &mut Link<Datagram>) {
        let ms = elapsed.as_millis();
        if ms.is_multiple_of(5) {
            let before = self.control.budget();
            self.control.tick(now);
            let budget = self.control.budget();
            self.camera.iter_mut().filter(|_| budget != before).for_each(|camera| camera.interrupt(now, budget));
            // Before anything is measured nobody waits.
            self.pacer.set_budget(self.is_measured.then(|| self.control.budget() as u64));
        }
        if ms.is_multiple_of(20) {
            self.record.voice.0 += 1;
            self.pacer.on_sent(now, VOICE);
            self.packet(index, now, VOICE, Kind::Voice, link);
            self.look(elapsed, now);
        }
        if ms.is_multiple_of(33) {
            self.picture(index, elapsed, now, link);
        }
        while let Some(len) = self.pacer.release(now, |_, packet| packet.len()) {
            self.packet(index, now, len, Kind::Video, link);
        }
        while self.pacer.waiting_bytes() == 0 && self.control.padding(now) >= self.padding {
            self.record.padding_bytes += self.padding as u64;
            self.packet(index, now, self.padding, Kind::Padding, link);
        }
    }

    fn look(&mut self, elapsed: Duration, now: Instant) {
        let Some(camera) = &mut self.camera else { return };
        if camera.look(elapsed, now) {
            self.record.changes.push(elapsed.as_secs_f64());
        }
        self.control.want(camera.desired());
    }

    fn picture(&mut self, index: usize, elapsed: Duration, now: Instant, link: &mut Link<Datagram>) {
        let is_full = self.pacer.is_full();
        let frame = match (&self.picture, &mut self.camera) {
            (_, Some(camera)) => camera.picture(elapsed, is_full),
            (Picture::UpTo(most), None) => {
                let rate = (self.control.budget() - VOICE as f64 * 8.0 * 50.0).clamp(0.0, *most);
                (!is_full).then_some(Frame { bytes: rate / 8.0 * 0.033, is_key: false })
            }
            (Picture::Simulcast, None) => None,
        };
        let Some(Frame { bytes, is_key }) = frame else { return };
        let packets = (bytes / PACKET as f64).ceil();
        let len = ((bytes / packets) as usize).max(60);
        for _ in 0..packets as usize {
            if self.pacer.may_pass(now, len, is_key) {
                self.pacer.on_sent(now, len);
                self.packet(index, now, len, Kind::Video, link);
            } else if !self.pacer.hold(0, len, is_key, |_| ()) {
                self.camera.iter_mut().for_each(|camera| camera.cut_off(elapsed));
                break;
            }
        }
    }

    fn packet(&mut self, index: usize, now: Instant, len: usize, kind: Kind, link: &mut Link<Datagram>) {
        self.control.on_sent(now, self.sequence, len);
        self.record.bytes += len as u64;
        self.record.video.0 += u64::from(kind == Kind::Video);
        link.send(now, Datagram { flow: index, sequence: self.sequence, len, kind, sent: now });
        self.sequence = self.sequence.wrapping_add(1);
    }
}
