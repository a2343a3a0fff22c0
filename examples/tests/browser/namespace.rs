//! A network namespace for one test, in which the machine has an address that is not of loopback (Firefox gathers no candidates
//! on loopback), and where wanted a firewall. The test runs itself anew in there, and the namespace is gone with its last process.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};

use super::chromium::{program_or_skip, skip};

/// The machine's address in the namespace.
pub(crate) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));

/// Tells the inner run what it is.
const INSIDE: &str = "RINGBACK_TEST_NAMESPACE";

/// Two ends of one cable, the address on one of them, and the default route that Firefox takes for the address to use. Without IPv6 where that can be switched off: its
/// addresses come up a second or two later, and Chromium then breaks off what it is loading (`ERR_NETWORK_CHANGED`).
const SET_UP: &str = "for conf in all default; do echo 1 2>/dev/null >/proc/sys/net/ipv6/conf/$conf/disable_ipv6 || true; done; ip link set lo up && ip link add ring0 type veth peer name ring1 && ip link set ring1 up &&
    ip address add 10.77.0.1/24 dev ring0 && ip link set ring0 up && ip route add default dev ring0";

/// A firewall that lets no UDP through, without a word to whoever sent it.
const NO_UDP: &str = "iptables -A INPUT -p udp -j DROP";

/// Where a test is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// In the namespace: here the test happens.
    Inside,
    /// Outside, and the run inside is over and has passed; or there is none, and the test was skipped.
    Done,
}

/// Runs the test of this name in a namespace of its own.
///
/// # Panics
/// When that fails, or when the machine allows no namespace and `RINGBACK_REQUIRE_BROWSER` is `1`.
pub(crate) fn enter_namespace(test: &str) -> Namespace {
    enter(test, SET_UP)
}

/// As [`enter_namespace`], into one in which no UDP arrives anywhere.
///
/// # Panics
/// As that does, and without iptables when `RINGBACK_REQUIRE_BROWSER` is `1`.
pub(crate) fn enter_namespace_without_udp(test: &str) -> Namespace {
    match program_or_skip(test, "iptables") {
        Some(_) => enter(test, &format!("{SET_UP} && {NO_UDP}")),
        None => Namespace::Done,
    }
}

fn enter(test: &str, set_up: &str) -> Namespace {
    if std::env::var_os(INSIDE).is_some() {
        return Namespace::Inside;
    }
    // Root may make one; others may where the kernel allows it to them.
    let unshare = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(arguments).arg("--").stdin(Stdio::null());
        command
    };
    let ways: [&[&str]; 2] = [&["--net"], &["--map-root-user", "--net"]];
    let Some(way) = ways
        .into_iter()
        .find(|way| unshare(way).args(["ip", "link"]).output().is_ok_and(|tried| tried.status.success()))
    else {
        skip(test, "no network namespace can be made (needs unshare, iproute2 and the right to)");
        return Namespace::Done;
    };
    let program = std::env::current_exe().expect("a test has a path");
    let run = unshare(way)
        .args(["sh", "-c", &format!("{set_up} && exec \"$0\" \"$@\"")])
        .arg(program)
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare ran a moment ago");
    print!("{}", String::from_utf8_lossy(&run.stdout));
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{test} in its namespace: {}\n{errors}", run.status);
    Namespace::Done
}
