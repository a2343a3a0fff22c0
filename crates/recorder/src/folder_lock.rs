//! One recorder for one folder: a lock that the system holds for as long as the process lives, however it ends. Two that write takes into the same
//! folder would each make drafts of what the other is recording. Nothing in the file matters; it is never deleted.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use crate::error::RecorderError;

/// How long a process that is just ending may take to let go. Longer makes a restart more forgiving, and a mistake known later.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often it is tried.
const AGAIN: Duration = Duration::from_millis(50);

/// A folder that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct FolderLock(#[expect(dead_code, reason = "held, not read")] File);

impl FolderLock {
    /// Waits a moment for a former holder to end.
    ///
    /// # Errors
    /// Where the file cannot be made, or another recorder has the folder and keeps it.
    pub(crate) async fn take(folder: &Path) -> Result<Self, RecorderError> {
        let path = folder.join("ringback.lock");
        let failed = |source| RecorderError::Spool { doing: "locking the folder with", path: path.clone(), source };
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        let mut tries = PATIENCE.as_millis() / AGAIN.as_millis();
        loop {
            match fs4::FileExt::try_lock(&file) {
                Ok(()) => return Ok(Self(file)),
                Err(fs4::TryLockError::Error(source)) => return Err(failed(source)),
                Err(fs4::TryLockError::WouldBlock) if tries == 0 => {
                    return Err(RecorderError::InUse { folder: folder.to_owned() });
                }
                Err(fs4::TryLockError::WouldBlock) => tries -= 1,
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}
