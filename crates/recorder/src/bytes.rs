//! Where the bytes of notes lie: a local folder, or an S3-compatible bucket, by URL, through `object_store`. Keys are made here, names of users never are part
//! of them. It knows no rows.

use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, PutPayload};

use crate::error::RecorderError;

/// A store of bytes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ByteStore {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
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
            let store = AmazonS3Builder::from_env().with_bucket_name(bucket).build();
            let store = Arc::new(store.map_err(|source| failed("opening", url)(source))?);
            return Ok(Self { store, prefix: Path::parse(prefix.trim_end_matches('/')).map_err(|_| refused())? });
        }
        let folder = url.strip_prefix("file://").unwrap_or(url);
        if folder.contains("://") {
            return Err(refused());
        }
        let folder = FilePath::new(folder);
        let spool = |source| RecorderError::Spool { doing: "making the folder", path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(spool)?;
        let store = LocalFileSystem::new_with_prefix(folder).map_err(|source| failed("opening", url)(source))?;
        Ok(Self { store: Arc::new(store), prefix: Path::default() })
    }

    fn path(&self, key: &str) -> Path {
        key.split('/').fold(self.prefix.clone(), |path, part| path.child(part))
    }

    /// Keeps an object; it is there as a whole or not at all.
    ///
    /// # Errors
    /// Where the store fails, or has no room left.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), RecorderError> {
        let put = self.store.put(&self.path(key), PutPayload::from_bytes(bytes)).await;
        put.map(|_| ()).map_err(failed("writing", key))
    }

    /// Reads a part of an object.
    ///
    /// # Errors
    /// Where there is no such object or part, or the store fails.
    pub async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes, RecorderError> {
        self.store.get_range(&self.path(key), range).await.map_err(failed("reading", key))
    }

    /// How many bytes an object has; `None` where there is none.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn size(&self, key: &str) -> Result<Option<u64>, RecorderError> {
        match self.store.head(&self.path(key)).await {
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

fn failed(doing: &'static str, key: &str) -> impl Fn(object_store::Error) -> RecorderError {
    let key = key.to_owned();
    move |source| RecorderError::Bytes { doing, key: key.clone(), source }
}
