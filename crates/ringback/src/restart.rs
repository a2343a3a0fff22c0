//! How calls outlive the process: what the former one had under way is handed to signaling before anybody can connect, and while this process lives it says so every
//! few seconds, so that the next one knows for how long nobody had them. Media does not outlive it: clients join again.

use std::sync::Weak;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringback_recorder::{LiveCall, LiveCalls, RecorderError};
use ringback_signaling::{KeptCall, Signaling};

/// How often the process says that it is there. A killed one is taken to have ended at most so much earlier than it did: that much talk is not counted.
const SEEN_EVERY: Duration = Duration::from_secs(5);

/// Hands signaling the calls of the former process. Returns how many there were.
///
/// # Errors
/// Where the database fails.
pub(crate) async fn restore(calls: &LiveCalls, signaling: &Signaling) -> Result<usize, RecorderError> {
    let Some((former, seen_at)) = calls.of_former_process().await? else { return Ok(0) };
    let mut kept = Vec::with_capacity(former.len());
    for LiveCall { id, details } in former {
        match details.map(serde_json::from_value::<KeptCall>) {
            Some(Ok(call)) => kept.push(call),
            _ => {
                tracing::error!(call = id, "a call that was under way cannot be read, and is forgotten");
                calls.append(&[], &[LiveCall { id, details: None }]).await?;
            }
        }
    }
    let count = kept.len();
    // Signaling has just been started, and is not shut down yet.
    let _ = signaling.restore(kept, seen_at).await;
    Ok(count)
}

/// Says now and then that the process is there, for as long as the engine is.
pub(crate) async fn stay_seen(calls: LiveCalls, signaling: Weak<Signaling>) {
    while signaling.strong_count() > 0 {
        seen(&calls).await;
        tokio::time::sleep(SEEN_EVERY).await;
    }
}

/// Says that the process is there.
pub(crate) async fn seen(calls: &LiveCalls) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if let Err(error) = calls.seen(now.as_millis().try_into().unwrap_or(u64::MAX)).await {
        tracing::error!(%error, "the database does not learn that this process is there");
    }
}
