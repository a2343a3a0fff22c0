//! A house for the service: a folder with a database and the bytes of pictures, a provider configured in it, and what the service tells. It outlives the service, so that
//! a test can restart it.

#![allow(dead_code, reason = "each test file uses another part of it")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringback_imagine::{
    BoxFuture, ImageInfo, Imagine, ImagineConfig, ImagineEvent, ImagineParts, JobState, ModerateImages, NewImage,
    NoImageModeration, PictureBytes,
};
use tokio::sync::mpsc;

/// How long anything may take that takes milliseconds on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Bytes in a folder.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    fn path(&self, key: &str) -> PathBuf {
        self.0.join(key)
    }
}

impl PictureBytes for Folder {
    fn put<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let path = self.path(key);
            std::fs::create_dir_all(path.parent().unwrap()).map_err(|error| error.to_string())?;
            // As a whole or not at all.
            let draft = path.with_extension("part");
            std::fs::write(&draft, bytes).and_then(|()| std::fs::rename(draft, path)).map_err(|error| error.to_string())
        })
    }

    fn get<'a>(&'a self, key: &'a str, size: u64) -> BoxFuture<'a, Result<Bytes, String>> {
        Box::pin(async move {
            let bytes = std::fs::read(self.path(key)).map_err(|error| error.to_string())?;
            assert_eq!(bytes.len() as u64, size);
            Ok(bytes.into())
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let _ = std::fs::remove_file(self.path(key));
            Ok(())
        })
    }

    fn keys<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<(String, u64)>, String>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// The service in a folder.
pub(crate) struct House {
    pub(crate) imagine: Imagine,
    pub(crate) events: mpsc::UnboundedReceiver<ImagineEvent>,
}

impl House {
    pub(crate) async fn open(folder: &Path, config: ImagineConfig) -> Self {
        Self::open_with(folder, config, NoImageModeration).await
    }

    pub(crate) async fn open_with(folder: &Path, config: ImagineConfig, moderate: impl ModerateImages) -> Self {
        let imagine = Imagine::open(config, parts(folder, moderate)).await.unwrap();
        let events = imagine.events().unwrap();
        Self { imagine, events }
    }

    pub(crate) async fn ask(&self, key: &str, prompt: &str) -> ImageInfo {
        self.imagine.ask(new(key, prompt)).await.unwrap()
    }

    /// The next event of an image that is over, confirmed.
    pub(crate) async fn over(&mut self) -> ImageInfo {
        self.until(|image| image.state.is_final()).await
    }

    pub(crate) async fn until_state(&mut self, state: JobState) -> ImageInfo {
        self.until(|image| image.state == state).await
    }

    async fn until(&mut self, fits: impl Fn(&ImageInfo) -> bool) -> ImageInfo {
        loop {
            let event = tokio::time::timeout(SOON, self.events.recv()).await.expect("nothing happens").unwrap();
            if let Some(revision) = event.revision {
                self.imagine.told(&event.image.id, revision).await.unwrap();
            }
            if fits(&event.image) {
                return *event.image;
            }
        }
    }

    /// What is spent and what is reserved, in millionths.
    pub(crate) async fn money(&self) -> (u64, u64) {
        let spending = self.imagine.spending().await.unwrap();
        (spending.spent.micros(), spending.reserved.micros())
    }
}

/// Everything in one folder.
pub(crate) fn parts(folder: &Path, moderate: impl ModerateImages) -> ImagineParts {
    ImagineParts {
        database: format!("sqlite://{}", folder.join("test.sqlite").display()),
        bytes: Arc::new(Folder(folder.join("media"))),
        moderate: Arc::new(moderate),
        owner: "house".to_owned(),
    }
}

pub(crate) fn new(key: &str, prompt: &str) -> NewImage {
    NewImage {
        thread: "direct:ann:bob".to_owned(),
        user: "ann".to_owned(),
        user_name: "Ann".to_owned(),
        viewers: vec!["bob".to_owned()],
        key: key.to_owned(),
        prompt: prompt.to_owned(),
        provider: None,
        size: None,
    }
}

/// A picture in colours that no compression can hide.
pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
    let picture =
        image::RgbImage::from_fn(width, height, |x, _| image::Rgb([if x < width / 2 { 250 } else { 5 }, 120, 40]));
    let mut file = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}
