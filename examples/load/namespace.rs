//! A network of one's own: Janus takes no address of the loopback interface, and trains over a virtual cable are cut where loopback flatters.
//! The program runs itself anew in a network namespace that is gone with it; nothing of the machine's network is touched. Linux only; needs
//! `unshare`, `nsenter` (util-linux), `ip` (iproute2), and the right to make namespaces.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, bail, ensure};

/// Tells the inner run what it is.
const INSIDE: &str = "RINGBACK_LOAD_NAMESPACE";

/// Janus's address there, and its clients': from one of 127/8 that is not of loopback it cannot send.
pub(crate) const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 99, 9, 9);

/// Runs this program with the same arguments in a namespace; `None`: it is in there already.
pub(crate) fn enter() -> anyhow::Result<Option<ExitCode>> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(None);
    }
    let set_up = format!(
        "ip link set lo up && ip link add near type veth peer name far && ip address add {NEIGHBOUR}/32 dev near && \
         ip link set near up && ip link set far up && ip route add default dev near && exec \"$0\" \"$@\""
    );
    // With a default route, without which nobody joins the multicast group that the other stack asks for names in.
    let set_up = format!("echo 1 2>/dev/null >/proc/sys/net/ipv6/conf/all/disable_ipv6 || true; {set_up}");
    // Root may make one; others may where the kernel allows it to them.
    let ways: [&[&str]; 2] = [&["--net"], &["--map-root-user", "--net"]];
    let works = |way: &&&[&str]| {
        let tried = Command::new("unshare").args(**way).args(["--", "ip", "link"]).output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    let way =
        ways.iter().find(works).context("no network namespace can be made: needs unshare, iproute2, the right to")?;
    let status = Command::new("unshare")
        .args(*way)
        .args(["--", "sh", "-c", &set_up])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()?;
    Ok(Some(ExitCode::from(status.code().and_then(|code| code.try_into().ok()).unwrap_or(1))))
}

/// A virtual cable to another namespace, whose ends cut no trains in hardware: the kernel does it before they travel.
pub(crate) struct Cable {
    pub(crate) near: IpAddr,
    pub(crate) far: IpAddr,
    /// Lives in the other namespace until its standard input ends, also when this process is killed.
    holder: Child,
}

impl Cable {
    /// Lays one; only within [`enter`].
    pub(crate) fn lay() -> anyhow::Result<Self> {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo here; read over"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare")?;
        let mut said = String::new();
        let out = holder.stdout.as_mut().context("it is piped")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut said)?;
        let cable = Self { near: Ipv4Addr::new(10, 88, 0, 1).into(), far: Ipv4Addr::new(10, 88, 0, 2).into(), holder };
        ensure!(said.trim() == "here", "no second namespace can be made");
        let (far, pid) = (cable.through().join(" "), cable.holder.id());
        // Without ethtool the most segments that an end takes at once are one, which has the same effect.
        let cut = |end: &str| {
            format!("{{ ethtool -K {end} tx-udp-segmentation off 2>/dev/null || ip link set {end} gso_max_segs 1; }}")
        };
        let script = format!(
            "ip link add near2 type veth peer name far2 netns {pid} && ip address add 10.88.0.1/24 dev near2 && ip link set near2 up && {} && \
             {far} ip link set lo up && {far} ip address add 10.88.0.2/24 dev far2 && {far} ip link set far2 up && {far} sh -c '{}'",
            cut("near2"),
            cut("far2"),
        );
        let laid = Command::new("sh").args(["-c", &script]).output()?;
        if !laid.status.success() {
            bail!("no cable can be laid: {}", String::from_utf8_lossy(&laid.stderr));
        }
        Ok(cable)
    }

    /// The command that runs another at the far end.
    pub(crate) fn through(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", self.holder.id())]
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
