//! Where pictures lie: where the bytes of notes do, in a folder of their own.

use bytes::Bytes;
use ringback_imagine::{BoxFuture, PictureBytes};
use ringback_recorder::ByteStore;

/// The recorder's store of bytes, for pictures.
pub(super) struct Pictures(pub(super) ByteStore);

impl PictureBytes for Pictures {
    fn key(&self, name: String) -> String {
        self.0.key(name)
    }

    fn put<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.0.put(key, bytes).await.map_err(|error| error.to_string()) })
    }

    fn get<'a>(&'a self, key: &'a str, size: u64) -> BoxFuture<'a, Result<Bytes, String>> {
        Box::pin(async move { self.0.get(key, 0..size).await.map_err(|error| error.to_string()) })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.0.delete(key).await.map_err(|error| error.to_string()) })
    }

    fn keys<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<(String, u64)>, String>> {
        Box::pin(async move { self.0.keys(folder).await.map_err(|error| error.to_string()) })
    }
}
