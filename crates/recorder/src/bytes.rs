//! Where the bytes of notes lie: a local folder, or an S3-compatible bucket, by URL, through `object_store`. Keys are made here, names of users never are part
//! of them. It knows no rows.

use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, PutPayload, RetryConfig};

use crate::at_rest::{self, AtRestKey, Layout};
use crate::error::RecorderError;

/// How long a bucket that does not answer is asked again within one request. Longer rides out more, and keeps a caller waiting for their draft.
const RETRY: Duration = Duration::from_secs(5);

/// A store of bytes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ByteStore {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Where it lies, if that is a folder.
    folder: Option<PathBuf>,
    /// What new objects are encrypted with, and before it older keys; none: they are not.
    keys: Arc<[AtRestKey]>,
}

impl ByteStore {
    /// Opens `s3://bucket/prefix` (credentials, region and endpoint from the `AWS_…` environment), `file:///folder` or a plain path, which is made if it is not there.
    ///
    /// # Errors
    /// Where the URL is of no such kind, or the folder cannot be made.
    pub fn open(url: &str) -> Result<Self, RecorderError> {
        let refused =
            || RecorderError::Url { url: url.to_owned(), expected: "a folder, file:///folder or s3://bucket/prefix" };
        if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let retry = RetryConfig { max_retries: 3, retry_timeout: RETRY, ..RetryConfig::default() };
            let store = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry).build();
            let store = Arc::new(store.map_err(|source| failed("opening", url)(source))?);
            let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|_| refused())?;
            return Ok(Self { store, prefix, folder: None, keys: Arc::default() });
        }
        let folder = url.strip_prefix("file://").unwrap_or(url);
        if folder.contains("://") {
            return Err(refused());
        }
        let folder = FilePath::new(folder);
        let spool = |source| RecorderError::Spool { doing: "making the folder", path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(spool)?;
        let store = LocalFileSystem::new_with_prefix(folder).map_err(|source| failed("opening", url)(source))?;
        // A note that is deleted leaves no empty folder that tells of it.
        let store = store.with_automatic_cleanup(true);
        let (folder, keys) = (Some(folder.to_owned()), Arc::default());
        Ok(Self { store: Arc::new(store), prefix: Path::default(), folder, keys })
    }

    /// Encrypts objects from now on with the first of these keys, and decrypts with any of them.
    pub fn encrypted(mut self, keys: &[AtRestKey]) -> Self {
        self.keys = keys.into();
        self
    }

    /// The key of a new object of this name, which says whether it is encrypted.
    pub fn key(&self, name: String) -> String {
        if self.keys.is_empty() { name } else { name + at_rest::EXTENSION }
    }

    fn path(&self, key: &str) -> Path {
        key.split('/').fold(self.prefix.clone(), |path, part| path.child(part))
    }

    /// Keeps an object; it is there as a whole or not at all, and on the medium when this returns.
    ///
    /// # Errors
    /// Where the store fails, or has no room left.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), RecorderError> {
        let path = self.path(key);
        let bytes = if is_encrypted(key) { self.seal(bytes).await? } else { bytes };
        let put = self.store.put(&path, PutPayload::from_bytes(bytes)).await;
        put.map_err(failed("writing", key))?;
        // `object_store` leaves that to the system, but a row that outlives the machine's power must not refer to bytes that do not.
        let Some(folder) = self.folder.clone() else { return Ok(()) };
        let file = path.parts().fold(folder, |file, part| file.join(part.as_ref()));
        let synced = tokio::task::spawn_blocking(move || {
            let synced = sync(&file);
            synced.map_err(|source| RecorderError::Spool { doing: "syncing", path: file, source })
        });
        synced.await.map_err(|_| RecorderError::Stopped)?
    }

    async fn seal(&self, bytes: Bytes) -> Result<Bytes, RecorderError> {
        let key = self.keys.first().cloned().ok_or(RecorderError::AtRest("there is no key to encrypt with"))?;
        let sealed = tokio::task::spawn_blocking(move || at_rest::seal(&key, &bytes));
        sealed.await.map_err(|_| RecorderError::Stopped)?
    }

    /// Reads a part of an object, of an encrypted one the chunks that hold it.
    ///
    /// # Errors
    /// Where there is no such object or part, the store fails, or it was encrypted with another key or is damaged.
    pub async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes, RecorderError> {
        if !is_encrypted(key) || range.is_empty() {
            return self.raw(key, range).await;
        }
        let head = self.raw(key, 0..at_rest::HEAD).await?;
        let chunks = self.raw(key, Layout::of(&head)?.sealed(&range)).await?;
        let keys = self.keys.clone();
        let opened = tokio::task::spawn_blocking(move || at_rest::open(&keys, head, chunks, &range));
        opened.await.map_err(|_| RecorderError::Stopped)?
    }

    /// Bytes as they lie there.
    async fn raw(&self, key: &str, range: Range<u64>) -> Result<Bytes, RecorderError> {
        self.store.get_range(&self.path(key), range).await.map_err(failed("reading", key))
    }

    /// How many bytes an object has, decrypted; `None` where there is none.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn size(&self, key: &str) -> Result<Option<u64>, RecorderError> {
        match self.store.head(&self.path(key)).await {
            Ok(meta) if is_encrypted(key) => {
                let head = self.raw(key, 0..at_rest::HEAD).await?;
                Ok(Some(Layout::of(&head)?.plain_size(meta.size)))
            }
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed("looking at", key)(error)),
        }
    }

    /// Deletes an object. One that is not there is no error.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn delete(&self, key: &str) -> Result<(), RecorderError> {
        match self.store.delete(&self.path(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("deleting", key)(error)),
        }
    }

    /// All keys under a folder, with when each was written, in Unix milliseconds.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn keys(&self, folder: &str) -> Result<Vec<(String, u64)>, RecorderError> {
        let path = self.path(folder);
        let objects: Vec<_> = self.store.list(Some(&path)).try_collect().await.map_err(failed("listing", folder))?;
        let strip = self.prefix.parts().count();
        Ok(objects
            .into_iter()
            .map(|object| {
                let parts: Vec<String> =
                    object.location.parts().skip(strip).map(|part| part.as_ref().to_owned()).collect();
                (parts.join("/"), u64::try_from(object.last_modified.timestamp_millis()).unwrap_or(0))
            })
            .collect())
    }
}

fn is_encrypted(key: &str) -> bool {
    key.ends_with(at_rest::EXTENSION)
}

/// Waits until a new file and its name are on the medium.
fn sync(file: &FilePath) -> std::io::Result<()> {
    std::fs::File::open(file)?.sync_all()?;
    // The file's folder may be new as well. Only Unix syncs folders.
    #[cfg(unix)]
    for folder in file.ancestors().skip(1).take(2) {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn failed(doing: &'static str, key: &str) -> impl Fn(object_store::Error) -> RecorderError {
    let key = key.to_owned();
    move |source| RecorderError::Bytes { doing, key: key.clone(), source }
}
