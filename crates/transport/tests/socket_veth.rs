//! Trains over a real network device, into another network namespace: one that takes trains as they are, and one that is given none (`gso_max_segs 1`), so that the kernel takes them
//! apart itself. Needs root and iproute2: `cargo test -p ringback-transport --test socket_veth -- --ignored`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use ringback_transport::socket::{SendArena, UdpSocket};

const ROUNDS: usize = 50;
/// Of pieces that differ, so that trains of several lengths are among them.
const SIZES: [usize; 12] = [1_100, 1_100, 1_100, 1_100, 700, 1_100, 1_101, 1_101, 120, 120, 120, 119];
const ENDED: Duration = Duration::from_secs(1);

/// Where the receiver is to listen; set in the process that it runs in.
const LISTEN: &str = "RINGBACK_VETH_LISTEN";

fn run(line: &str) {
    let status = Command::new("sh").args(["-ec", line]).status().unwrap();
    assert!(status.success(), "{line}: {status}");
}

/// A namespace that is gone afterwards, with one end of a pair of devices in it.
struct Namespace(String);

impl Namespace {
    fn new(name: &str, options: &str) -> Self {
        let namespace = Self(format!("{name}{}", std::process::id()));
        let name = &namespace.0;
        run(&format!(
            "ip netns add {name}; ip link add {name} type veth peer name eth0 netns {name}
             ip address add 10.231.77.1/30 dev {name}; ip link set {name} up {options}
             ip -n {name} address add 10.231.77.2/30 dev eth0; ip -n {name} link set eth0 up"
        ));
        namespace
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.0]).status();
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// The other process: says where it listens, then how much arrived whole.
#[test]
#[ignore = "the other end of the test below"]
fn receive() {
    let Ok(listen) = std::env::var(LISTEN) else { return };
    let socket = std::net::UdpSocket::bind(listen).unwrap();
    println!("listens {}", socket.local_addr().unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (mut buffer, mut whole, mut next) = ([0; 2_048], 0, 0_u32);
    while let Ok(len) = socket.recv(&mut buffer) {
        socket.set_read_timeout(Some(ENDED)).unwrap();
        let number = u32::from_be_bytes(buffer[..4].try_into().unwrap());
        let intact = buffer[4..len].iter().all(|byte| *byte == number as u8);
        whole += usize::from(number == next && len == SIZES[number as usize % SIZES.len()] && intact);
        next = number + 1;
    }
    println!("whole {whole}");
}

#[tokio::test]
#[ignore = "needs root and iproute2"]
async fn trains_cross_a_device_whether_it_takes_them_or_not() {
    for (name, options) in [("rbt", ""), ("rbn", "gso_max_segs 1")] {
        let namespace = Namespace::new(name, options);
        let mut receiver = Command::new("ip")
            .args(["netns", "exec", &namespace.0])
            .arg(std::env::current_exe().unwrap())
            .args(["receive", "--exact", "--ignored", "--nocapture"])
            .env(LISTEN, "10.231.77.2:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(receiver.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut said = |what: &str| lines.find_map(|line| Some(line.split_once(what)?.1.to_owned())).unwrap();
        let to: SocketAddr = said("listens ").parse().unwrap();
        let sender = UdpSocket::bind("10.231.77.1:0".parse().unwrap()).unwrap();
        let mut arena = SendArena::default();
        let mut trains = 0;
        for round in 0..ROUNDS {
            for (at, len) in SIZES.into_iter().enumerate() {
                let number = (round * SIZES.len() + at) as u32;
                let space = arena.reserve(len).unwrap();
                space.fill(number as u8);
                space[..4].copy_from_slice(&number.to_be_bytes());
                arena.commit(len, to);
            }
            let report = sender.send(&mut arena);
            assert_eq!((report.sent, report.dropped), (SIZES.len(), 0), "{options}");
            trains += report.trains;
            // So that the device's queue never is what loses something.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(said("whole "), (ROUNDS * SIZES.len()).to_string(), "{options}");
        assert!(sender.sends_trains() && trains == ROUNDS * 4, "{trains} trains, {options}");
        assert!(receiver.wait().unwrap().success());
    }
}
