//! A worker in steady state, from the receiving system call to the sending one: forwarding allocates nothing per packet.
#![allow(clippy::unwrap_used)]

mod peer;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use allocation_counter::measure;
use peer::Spec;
use peer::call::Call;

const PACKETS: usize = 400;

#[test]
fn forwarding_allocates_nothing_per_packet() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The worker runs on this thread, whose allocations are counted; the participants on another.
    let worker = runtime();
    let both = Spec { microphone: true, camera: true, pairs: 3, ..Spec::default() };
    let mut call = worker.block_on(async {
        let mut call = Call::new().await;
        for _ in 0..4 {
            call.join(both).await;
        }
        call.connect().await;
        // Buffers grow to what the media needs.
        for round in 0..200 {
            call.send_voice(0, 0x80 | 30);
            call.send_face(0, round == 0);
            call.run(Duration::from_millis(3)).await;
        }
        call
    });
    for peer in &mut call.peers {
        peer.check = false;
        peer.rtp.clear();
    }
    let handle = call.handle.clone();
    let before = worker.block_on(handle.statistics()).unwrap();
    let (done, is_done) = mpsc::channel();
    let participants = thread::spawn(move || {
        for _ in 0..PACKETS {
            call.send_voice(0, 0x80 | 30);
            call.send_face(0, false);
            call.pump();
            thread::sleep(Duration::from_millis(2));
        }
        done.send(()).unwrap();
        call
    });
    let allocated = measure(|| {
        worker.block_on(async {
            while is_done.try_recv().is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    });
    let call = participants.join().unwrap();
    let after = worker.block_on(handle.statistics()).unwrap();
    let forwarded = after.packets_forwarded - before.packets_forwarded;
    assert_eq!(forwarded, 2 * 3 * PACKETS as u64);
    // Not per packet, yet now and then: a map or a ring that grows for good.
    assert!(allocated.count_total <= 16, "{} allocations for {forwarded} packets", allocated.count_total);
    drop(call);
}
