//! Sending and receiving allocate nothing in steady state.
#![allow(clippy::unwrap_used, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::Ipv4Addr;
use std::time::Duration;

use ringback_transport::socket::{ReceiveBatch, SendArena, UdpSocket};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Counts the allocations of each thread.
struct Counting;

// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[tokio::test]
async fn a_datagram_costs_no_allocation_in_either_direction() {
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let receivers: Vec<UdpSocket> = (0..8).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap()).collect();
    let mut arena = SendArena::default();
    let mut batch = ReceiveBatch::new();
    let mut bytes = 0;
    let mut allocated = 0;
    for round in 0..50 {
        let before = ALLOCATIONS.with(Cell::get);
        for len in [1200, 1200, 900, 60] {
            for receiver in &receivers {
                arena.reserve(1400).unwrap();
                arena.commit(len, receiver.local_addr());
            }
        }
        assert_eq!(sender.send(&mut arena).sent, 32);
        for receiver in &receivers {
            let mut missing = 4;
            while missing > 0 {
                tokio::time::timeout(Duration::from_secs(5), receiver.readable()).await.unwrap().unwrap();
                missing -= receiver.try_receive(&mut batch).unwrap();
                bytes += batch.datagrams().map(|(_, datagram)| datagram.len()).sum::<usize>();
            }
        }
        // The first rounds warm up tokio.
        if round >= 5 {
            allocated += ALLOCATIONS.with(Cell::get) - before;
        }
    }
    assert_eq!(bytes, 50 * 8 * 3360);
    assert_eq!(allocated, 0);
}
