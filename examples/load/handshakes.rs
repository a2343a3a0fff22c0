//! What joining cannot be faster than: the DTLS handshakes alone, client and server in one thread of this process, without a socket, an offer
//! or a room. The server's half is told from the client's by the clock, and from whatever else the machine does by the thread's processor time.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ringback_transport::dtls::{Certificate, DtlsAssociation, DtlsRole};

/// Rounds of flights that a handshake may take; it takes three.
const ROUNDS: usize = 20;

/// Handshakes that a processor second of the server's half completes.
pub(crate) fn per_cpu_second(time: Duration) -> anyhow::Result<f64> {
    // Of its own, so that nothing else counts.
    let thread = std::thread::spawn(move || measure(time));
    thread.join().map_err(|_| anyhow::anyhow!("the handshakes panicked"))?
}

fn measure(time: Duration) -> anyhow::Result<f64> {
    let (server, client) = (Certificate::generate()?, Certificate::generate()?);
    let (began, cpu) = (Instant::now(), thread_cpu()?);
    let (mut count, mut serving) = (0_u32, Duration::ZERO);
    while began.elapsed() < time {
        serving += one(&server, &client)?;
        count += 1;
    }
    let share = serving.as_secs_f64() / began.elapsed().as_secs_f64();
    let cpu = thread_cpu()?.saturating_sub(cpu).as_secs_f64();
    ensure!(count > 0 && cpu > 0.0, "no handshake was measured");
    Ok(f64::from(count) / (cpu * share))
}

/// One handshake up to the keys of SRTP; what the server's half of it took.
fn one(server: &Certificate, client: &Certificate) -> anyhow::Result<Duration> {
    let now = Instant::now();
    let (mut events, mut serving) = (Vec::new(), Duration::ZERO);
    let mut caller = DtlsAssociation::new(client.clone(), DtlsRole::Client, vec![server.fingerprint()])?;
    let began = Instant::now();
    let mut answerer = DtlsAssociation::new(server.clone(), DtlsRole::Server, vec![client.fingerprint()])?;
    answerer.start(now)?;
    serving += began.elapsed();
    caller.start(now)?;
    for _ in 0..ROUNDS {
        while let Some(datagram) = caller.poll_transmit() {
            let began = Instant::now();
            answerer.handle(now, &datagram, &mut events)?;
            serving += began.elapsed();
        }
        loop {
            let began = Instant::now();
            let datagram = answerer.poll_transmit();
            serving += began.elapsed();
            let Some(datagram) = datagram else { break };
            caller.handle(now, &datagram, &mut events)?;
        }
        if answerer.is_established() && caller.is_established() {
            let began = Instant::now();
            answerer.srtp_keys()?;
            return Ok(serving + began.elapsed());
        }
    }
    anyhow::bail!("no handshake in {ROUNDS} rounds")
}

/// Processor time of this thread.
fn thread_cpu() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").context("this needs Linux")?;
    let nanoseconds = text.split_whitespace().next().context("an empty schedstat")?.parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_are_counted_by_the_servers_half() {
        let rate = per_cpu_second(Duration::from_millis(200)).unwrap();
        assert!((10.0..1e6).contains(&rate), "{rate}");
    }
}
