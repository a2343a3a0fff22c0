//! The frozen limit loop: decrypt once, then N times copy, rewrite, seal with an own key and send in trains, with nothing around it. It runs
//! as a process of its own, pinned and measured as the server is, under the same traffic. It is not to be improved: figures of
//! different days are compared by it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use ringback_transport::socket::{ReceiveBatch, SendArena, SocketOptions, UdpSocket};
use ringback_transport::srtp::{MAX_OVERHEAD, SrtpKeys, SrtpProfile, SrtpReceiver, SrtpSender};

use crate::process::{Pin, Process};
use crate::shape::Shape;

fn keys(salt: u8) -> anyhow::Result<SrtpKeys> {
    Ok(SrtpKeys::new(SrtpProfile::AeadAes128Gcm, &[7; 16], &[salt; 12])?)
}

/// The loop itself: reads its destinations from standard input, says where it listens, and forwards until it is killed.
pub(crate) async fn forward() -> anyhow::Result<()> {
    let destinations: Vec<SocketAddr> =
        std::io::stdin().lines().map(|line| Ok(line?.trim().parse()?)).collect::<anyhow::Result<_>>()?;
    let socket = UdpSocket::bind(([127, 0, 0, 1], 0).into())?;
    println!("Limit: {}", socket.local_addr());
    let mut receiver = SrtpReceiver::new(&keys(0)?)?;
    let mut senders = Vec::new();
    for _ in &destinations {
        senders.push(SrtpSender::new(keys(1)?)?);
    }
    let (mut batch, mut arena) = (ReceiveBatch::new(), SendArena::default());
    loop {
        socket.readable().await?;
        while socket.try_receive(&mut batch)? > 0 {
            for (_, datagram) in batch.datagrams() {
                let len = receiver.unprotect_rtp(datagram)?;
                for (at, (sender, to)) in senders.iter_mut().zip(&destinations).enumerate() {
                    if arena.reserve(len + MAX_OVERHEAD).is_none() {
                        socket.send(&mut arena);
                    }
                    let space = arena.reserve(len + MAX_OVERHEAD).context("the arena was just emptied")?;
                    space[..len].copy_from_slice(&datagram[..len]);
                    space[8..12].copy_from_slice(&(at as u32 + 1).to_be_bytes());
                    let sealed = sender.protect_rtp(space, len)?;
                    arena.commit(sealed, *to);
                }
            }
            socket.send(&mut arena);
        }
    }
}

/// What the loop carried.
pub(crate) struct Outcome {
    pub(crate) per_cpu_second: f64,
    pub(crate) delivered: f64,
}

/// What the loop is given.
#[derive(Debug, Clone)]
pub(crate) struct Traffic {
    /// Each sender's streams.
    pub(crate) shapes: Vec<Shape>,
    pub(crate) senders: usize,
    pub(crate) receivers: usize,
}

impl Traffic {
    /// Packets a second that it makes of this.
    pub(crate) fn forwarded_per_second(&self) -> f64 {
        self.shapes.iter().map(Shape::rate).sum::<f64>() * (self.senders * self.receivers) as f64
    }
}

/// Runs the loop under this traffic for some time.
pub(crate) fn measure(traffic: Traffic, pin: Pin, time: Duration) -> anyhow::Result<Outcome> {
    let receivers = traffic.receivers;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let counter = Rc::new(std::cell::Cell::new(0_u64));
        let batch = Rc::new(std::cell::RefCell::new(ReceiveBatch::new()));
        // As the load's own receivers have it, which costs the sender a look at the clock for each train.
        let options = SocketOptions::default().with_receive_buffer(1 << 20).with_arrival_times(true);
        let mut addresses = String::new();
        for _ in 0..receivers {
            let socket = UdpSocket::bind_with(([127, 0, 0, 1], 0).into(), &options)?;
            addresses += &format!("{}\n", socket.local_addr());
            let (counter, batch) = (counter.clone(), batch.clone());
            tokio::task::spawn_local(async move {
                while socket.readable().await.is_ok() {
                    while let Ok(count @ 1..) = socket.try_receive(&mut batch.borrow_mut()) {
                        counter.set(counter.get() + count as u64);
                    }
                }
            });
        }
        let process =
            Process::start(&[], std::env::current_exe()?, &["limit-loop"], &addresses, "Limit: ", pin).await?;
        let to: SocketAddr = process.said.parse()?;
        let cpu = process.cpu()?;
        let sender = std::thread::spawn(move || send(&traffic, to, time));
        while !sender.is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let offered = sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let cpu = process.cpu()? - cpu;
        process.stop().await;
        let arrived = counter.get() as f64;
        Ok(Outcome {
            per_cpu_second: arrived / cpu.as_secs_f64().max(0.01),
            delivered: arrived / (offered * receivers as u64) as f64,
        })
    })
}

fn send(traffic: &Traffic, to: SocketAddr, time: Duration) -> anyhow::Result<u64> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let mut sealing = SrtpSender::new(keys(0)?)?;
    let (began, mut number, mut due) = (Instant::now(), 0_u64, BinaryHeap::new());
    for sender in 0..traffic.senders {
        for (stream, shape) in traffic.shapes.iter().enumerate() {
            let frame = shape.period().div_f64(shape.frames.len() as f64);
            due.push(Reverse((began + frame.mul_f64(sender as f64 / traffic.senders as f64), stream, sender * 97)));
        }
    }
    while let Some(Reverse((at, stream, frame))) = due.pop().filter(|Reverse((at, ..))| *at < began + time) {
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        let frames = &traffic.shapes[stream].frames;
        let sent = &frames[frame % frames.len()];
        for payload in &sent.payloads {
            let len = 12 + usize::from(*payload);
            let mut packet = vec![0xA5; len + MAX_OVERHEAD];
            packet[0] = 0x80;
            packet[1] = 96;
            packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
            packet[8..12].copy_from_slice(&2001_u32.to_be_bytes());
            let sealed = sealing.protect_rtp(&mut packet, len)?;
            socket.send_to(&packet[..sealed], to)?;
            number += 1;
        }
        due.push(Reverse((at + sent.until_next, stream, frame + 1)));
    }
    Ok(number)
}
