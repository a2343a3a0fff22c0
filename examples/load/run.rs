//! One load, from the first client to the last figure: fills a server's rooms, sends for a while, has receivers come and go where the plan says
//! so, and says what was counted. Several whiles may follow one another (`soak.rs`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Arguments;
use crate::join::Other;
use crate::peer::Setup;
use crate::process::Process;
use crate::publishers::Publishers;
use crate::receivers::Receivers;
use crate::scenario::{Plan, other_receivers};
use crate::tally::{Percentiles, Tally};
use crate::target::{Server, Session, Target, room_name};

/// How long all clients together may take to come up, besides a tenth of a second each.
const UP: Duration = Duration::from_secs(20);

/// Traffic before the measured one, in which keyframes are asked for and slots filled, and in which the server finds out what receivers that report arrivals take: it begins at
/// 500 kbit/s.
const WARM_UP: Duration = Duration::from_secs(4);

/// How long what is on its way gets to arrive; a bad network needs the longer one.
const SETTLE: Duration = Duration::from_millis(300);
const SETTLE_LINK: Duration = Duration::from_secs(2);

/// Joins under way at once: more only wait for one another.
const JOINING: usize = 8;

/// Who takes the place of a receiver that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coming {
    /// Somebody new, who logs in.
    New,
    /// The same one, by the same session.
    Again,
}

/// The load's parts, kept for as long as it runs.
pub(crate) struct Load {
    plan: Plan,
    process: Process,
    target: Arc<Target>,
    relay: Option<ringback_link::Relay>,
    /// Dropped after the rest.
    _cable: Option<crate::namespace::Cable>,
    receivers: Receivers,
    publishers: Publishers,
    others: Vec<Other>,
    /// How many of the other stack each room has.
    others_in: Vec<usize>,
    /// Those who only receive, the longest there first.
    subscribers: VecDeque<Subscriber>,
    /// The sessions of publishers.
    kept: Vec<Session>,
    count: u64,
    up: Duration,
}

struct Subscriber {
    number: u64,
    room: usize,
    session: Session,
}

/// What was counted in a while.
pub(crate) struct While {
    pub(crate) time: Duration,
    /// Packets that each publisher sent.
    sent: Vec<u64>,
    /// Receivers that came, and those whose media was there before it was over.
    joins: u64,
    pub(crate) cpu: Duration,
    wall: Duration,
    pub(crate) rss: u64,
    pub(crate) tally: Tally,
    /// Of the other stack: received, missing.
    others: (u64, u64),
}

impl While {
    pub(crate) fn delay(&self) -> Percentiles {
        Percentiles::of(&self.tally.ages.arrived)
    }

    /// Until packets arrive at the receiver's socket.
    pub(crate) fn added_delay(&self) -> Percentiles {
        self.delay().above_median(Percentiles::of(&self.tally.straight.arrived))
    }

    /// Until receivers have read them there.
    pub(crate) fn added_delay_read(&self) -> Percentiles {
        Percentiles::of(&self.tally.ages.read).above_median(Percentiles::of(&self.tally.straight.read))
    }

    /// Of one core.
    pub(crate) fn cpu_share(&self) -> f64 {
        (self.cpu.as_secs_f64() / self.wall.as_secs_f64() * 1000.0).round() / 1000.0
    }

    pub(crate) fn joins(&self) -> u64 {
        self.joins.min(self.tally.came_up)
    }

    /// What joining and leaving cost besides what the traffic does: joins that a processor second completes.
    pub(crate) fn joins_per_cpu_second(&self, steady: &Self) -> f64 {
        let media = steady.cpu.as_secs_f64() / steady.wall.as_secs_f64() * self.wall.as_secs_f64();
        self.joins() as f64 / (self.cpu.as_secs_f64() - media).max(0.01)
    }
}

impl Load {
    /// Starts clients and lets everybody in.
    pub(crate) async fn fill(plan: Plan, server: Server, arguments: &Arguments) -> anyhow::Result<Self> {
        let origin = Instant::now();
        let Server { process, target, relay, bind, cable } = server;
        let plan = if target.is_apart() { plan.apart() } else { plan };
        let receivers = Receivers::start(origin, bind, !arguments.no_gro)?;
        let publishers = Publishers::start(origin, (bind, !arguments.no_gro), receivers.straight)?;
        let mut load = Self {
            plan,
            process,
            target: Arc::new(target),
            relay,
            _cable: cable,
            receivers,
            publishers,
            others: Vec::new(),
            others_in: Vec::new(),
            subscribers: VecDeque::new(),
            kept: Vec::new(),
            count: 0,
            up: Duration::ZERO,
        };
        let began = Instant::now();
        load.let_in(arguments.other_stack).await?;
        load.wait_until_up().await?;
        load.up = began.elapsed();
        load.publishers.run(WARM_UP).await;
        tokio::time::sleep(load.settling()).await;
        Ok(load)
    }

    async fn let_in(&mut self, other_stack: Option<usize>) -> anyhow::Result<()> {
        let plan = self.plan.clone();
        let receiving = plan.rooms.iter().map(|room| room.receiving()).sum();
        let others = other_stack.unwrap_or_else(|| other_receivers(receiving));
        for (number, room) in plan.rooms.iter().enumerate() {
            for publisher in 0..room.publishers {
                let user = format!("publisher{number}x{publisher}");
                let (session, setup) = self.target.join(&user, number, room.publisher).await?;
                self.kept.push(session);
                self.publishers.join(setup, room.shapes.clone());
            }
            for _ in 0..room.receivers {
                let count = self.next_number();
                let (session, setup) = self.target.join(&format!("subscriber{count}"), number, room.receiver).await?;
                self.admit(Subscriber { number: count, room: number, session }, setup);
            }
            let here = others / plan.rooms.len() + usize::from(number < others % plan.rooms.len());
            // The other stack speaks our protocol only.
            let Target::Ringback(door) = &*self.target else {
                self.others_in.push(0);
                continue;
            };
            for other in 0..here {
                let (user, name) = (format!("other{number}x{other}"), room_name(number));
                self.others.push(door.join_other(&user, &name, room.receiver.pairs).await?);
            }
            self.others_in.push(here);
        }
        Ok(())
    }

    fn next_number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn admit(&mut self, subscriber: Subscriber, setup: Setup) {
        self.receivers.join(subscriber.number, setup);
        self.subscribers.push_back(subscriber);
    }

    async fn wait_until_up(&self) -> anyhow::Result<()> {
        let all = self.subscribers.len() + self.kept.len();
        let (limit, began) = (UP + Duration::from_millis(100) * all as u32, Instant::now());
        loop {
            let mut tally = self.receivers.report().await;
            tally.add(self.publishers.report().await);
            if let Some(failure) = tally.failed.first() {
                bail!("a client failed: {failure}");
            }
            if tally.connected == all {
                return Ok(());
            }
            if began.elapsed() > limit {
                bail!("{} of {all} clients are up after {limit:?}", tally.connected);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn settling(&self) -> Duration {
        if self.relay.is_some() { SETTLE_LINK } else { SETTLE }
    }

    /// Sends for so long, with so many receivers replaced each second, and counts.
    pub(crate) async fn measure(
        &mut self,
        time: Duration,
        replaced_per_second: u32,
        coming: Coming,
    ) -> anyhow::Result<While> {
        self.receivers.mark();
        self.publishers.mark();
        self.others.iter_mut().for_each(Other::mark);
        let (cpu, began) = (self.process.cpu()?, Instant::now());
        // Begun, and looked at when the coming and going is over.
        let sending = self.publishers.start_run(time);
        let joins = self.come_and_go(time, replaced_per_second, coming).await?;
        let sent = sending.await.unwrap_or_default();
        tokio::time::sleep(self.settling()).await;
        let (cpu, wall) = (self.process.cpu()? - cpu, began.elapsed());
        let rss = self.process.rss()?;
        let mut tally = self.receivers.report().await;
        tally.add(self.publishers.report().await);
        if tally.connected < tally.receivers {
            let missing = tally.receivers - tally.connected;
            tally.failed.push(format!("{missing} of {} clients are not connected", tally.receivers));
        }
        let others = self.others.iter().map(Other::counted).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        Ok(While { time, sent, joins, cpu, wall, rss, tally, others })
    }

    /// How many have come.
    async fn come_and_go(&mut self, time: Duration, per_second: u32, coming: Coming) -> anyhow::Result<u64> {
        if per_second == 0 || self.subscribers.is_empty() {
            return Ok(0);
        }
        let (began, every) = (Instant::now(), Duration::from_secs(1) / per_second);
        let (mut begun, mut joined, mut joining, mut leaving) = (0_u32, 0, JoinSet::new(), JoinSet::new());
        loop {
            let due = every * begun;
            if due < time && joining.len() < JOINING && began.elapsed() >= due {
                begun += 1;
                // To the room of whoever has been here longest, who goes.
                let Some(Subscriber { number, room, session }) = self.subscribers.pop_front() else { continue };
                self.receivers.leave(number);
                let (target, lines) = (self.target.clone(), self.plan.rooms[room].receiver);
                let number = self.next_number();
                let name = format!("subscriber{number}");
                match coming {
                    Coming::New => {
                        let gone = target.clone();
                        leaving.spawn(async move { gone.leave(session).await });
                        joining.spawn(async move {
                            let (session, setup) = target.join(&name, room, lines).await?;
                            anyhow::Ok((Subscriber { number, room, session }, setup))
                        });
                    }
                    Coming::Again => {
                        joining.spawn(async move {
                            let (session, setup) = target.join_again(session, &name, room, lines).await?;
                            anyhow::Ok((Subscriber { number, room, session }, setup))
                        });
                    }
                }
            }
            let until = if joining.len() < JOINING && due < time { due } else { time };
            if due >= time && joining.is_empty() {
                break;
            }
            tokio::select! {
                Some(done) = joining.join_next() => {
                    let (subscriber, setup) = done??;
                    self.admit(subscriber, setup);
                    joined += 1;
                }
                () = tokio::time::sleep(until.saturating_sub(began.elapsed())), if due < time => {}
            }
        }
        while let Some(done) = leaving.join_next().await {
            done?.context("somebody leaves")?;
        }
        Ok(joined)
    }

    /// The figures of a while, and the end of everything.
    pub(crate) async fn finish(mut self, of: While, arguments: &Arguments) -> anyhow::Result<Value> {
        let others = self.others.len();
        let (mut opened, mut wrong) = (0, 0);
        for one in self.others.drain(..) {
            let (seen, not_sent) = one.leave().await;
            (opened, wrong) = (opened + seen, wrong + not_sent);
        }
        let pin = self.process.pin;
        self.process.stop().await;

        let offered: u64 = of.sent.iter().sum();
        let whole = of.joins == 0 && self.plan.rooms.iter().all(|room| room.all_to_all);
        // Where layers and slots are chosen, or receivers change, only gaps tell what was lost.
        let (own, others_expected) = match whole {
            true => expected(&self.plan, &of.sent, &self.others_in),
            false => (of.tally.received + of.tally.missing, of.others.0 + of.others.1),
        };
        // What it asked for again it counts each time it comes.
        let other = of.others.0.min(others_expected);
        let arrived = of.tally.received + other;
        let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
        let mut failures = of.tally.failed.clone();
        failures.truncate(5);
        let mut report = json!({
            "scenario": self.plan.name,
            "seconds": of.time.as_secs_f64(),
            "rooms": self.plan.rooms.len(),
            "clients": of.tally.receivers + others,
            "up_seconds": (self.up.as_secs_f64() * 100.0).round() / 100.0,
            "offered": offered,
            "offered_per_second": (offered as f64 / of.time.as_secs_f64()).round(),
            "expected": own + others_expected,
            "arrived": arrived,
            "delivered": share(arrived, own + others_expected),
            "missing_in_sequence": of.tally.missing + of.others.1,
            "forwarded_per_cpu_second": (arrived as f64 / of.cpu.as_secs_f64().max(0.01)).round(),
            "cpu_seconds": (of.cpu.as_secs_f64() * 100.0).round() / 100.0,
            "cpu_share": of.cpu_share(),
            "pinned_to_core": pin,
            "rss_bytes": of.rss,
            "delay_us": of.delay().json(),
            "straight_us": Percentiles::of(&of.tally.straight.arrived).json(),
            "straight_read_us": Percentiles::of(&of.tally.straight.read).json(),
            "added_delay_us": of.added_delay().json(),
            "added_delay_read_us": of.added_delay_read().json(),
            "sampled": of.tally.opened,
            "sampled_wrong": of.tally.wrong,
            "other_stack": {
                "receivers": others, "arrived": other, "delivered": share(other, others_expected),
                "opened": opened, "wrong": wrong,
            },
            "failures": failures,
        });
        if of.joins > 0 {
            report["joins"] = json!(of.joins());
            report["joins_per_second"] = json!((of.joins() as f64 / of.time.as_secs_f64() * 10.0).round() / 10.0);
        }
        if let (Some(relay), Some(profile)) = (self.relay, &arguments.link) {
            let link = relay.stop().await;
            report["link"] = json!({
                "profile": profile, "seed": arguments.seed, "up_sent": link.up.sent, "up_delivered": link.up.delivered,
                "down_sent": link.down.sent, "down_delivered": link.down.delivered, "down_lost": link.down.lost,
                "down_dropped": link.down.dropped, "down_longest_wait_ms": link.down.longest_wait.as_millis() as u64,
            });
        }
        Ok(report)
    }
}

/// How many packets own receivers and those of the other stack should get when everything goes to everybody.
fn expected(plan: &Plan, sent: &[u64], others_in: &[usize]) -> (u64, u64) {
    let mut sent = sent.iter();
    let mut all = (0, 0);
    for (room, others) in plan.rooms.iter().zip(others_in) {
        let offered: u64 = sent.by_ref().take(room.publishers).sum();
        all.0 += offered * room.receivers as u64;
        all.1 += offered * *others as u64;
    }
    all
}
