//! A worker on a thread of its own, with a runtime of its own, and where told on one core: for programs whose other tasks should not share a core with media. Where a
//! worker runs is no concern of what it does.

use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

use super::{Worker, WorkerConfig, WorkerHandle};
use crate::error::SfuError;
use crate::events::SfuEvent;

impl Worker {
    /// As [`spawn`](Self::spawn), on a thread of its own that ends with the worker. `core` keeps the thread on one of the cores that this process may use, counted
    /// from 0 and around again where there are fewer.
    ///
    /// # Errors
    /// When a socket cannot be bound, nothing could be announced, or the system gives no thread or does not keep it on the core.
    pub async fn spawn_on_thread(
        config: WorkerConfig,
        core: Option<usize>,
    ) -> Result<(WorkerHandle, mpsc::Receiver<SfuEvent>), SfuError> {
        let (started, starts) = oneshot::channel();
        let name = config.bind.first().map_or_else(String::new, |address| format!("media-{}", address.port()));
        let run = move || {
            let pinned = core.map_or(Ok(()), pin);
            let runtime =
                pinned.and_then(|()| Builder::new_current_thread().enable_all().build().map_err(SfuError::Thread));
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            runtime.block_on(async {
                match Self::prepare(config) {
                    Ok((driver, handle, events)) => {
                        // Whoever waits for it may have given up: the handle is dropped, and the worker ends.
                        drop(started.send(Ok((handle, events))));
                        driver.run().await;
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            });
        };
        std::thread::Builder::new().name(name).spawn(run).map_err(SfuError::Thread)?;
        starts.await.map_err(|_| SfuError::Stopped)?
    }
}

/// Keeps this thread on a core.
fn pin(core: usize) -> Result<(), SfuError> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let kept = cores.get(core % cores.len().max(1)).is_some_and(|core| core_affinity::set_for_current(*core));
    kept.then_some(()).ok_or(SfuError::Pin { core })
}
