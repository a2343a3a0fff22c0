//! Fetching from addresses that somebody else chose, and what of the bytes that come is served.
#![allow(clippy::unwrap_used)]

mod house;
mod wire;

use std::io::{Cursor, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use house::png;
use ringback_imagine::{BoxFuture, FailReason, Fetcher, ImagineError, Lookup, ProviderError, SystemLookup, clean};
use serde_json::json;
use wire::{Server, broken, file, retry_after, slow, status};

const MOST: u64 = 1024 * 1024;

/// Longer than anything but a server that says nothing takes here.
const PATIENCE: Duration = Duration::from_secs(5);

fn fetcher(allowed: &[&str]) -> Fetcher {
    let allowed: Vec<_> = allowed.iter().map(|host| (*host).to_owned()).collect();
    Fetcher::new(MOST, PATIENCE, &allowed, Arc::new(SystemLookup)).unwrap()
}

fn reason(error: ProviderError) -> FailReason {
    match error {
        ProviderError::Failed { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nothing_is_fetched_from_addresses_that_are_not_public() {
    let server = Server::start(|_, _| file("image/png", png(8, 8))).await;
    let port = server.host.rsplit_once(':').unwrap().1.to_owned();
    let fetcher = fetcher(&[]);
    for host in [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "[fd00:ec2::254]",
    ] {
        let error = fetcher.fetch(&format!("https://{host}:{port}/1.png")).await.unwrap_err();
        assert_eq!(reason(error), FailReason::Address, "{host}");
    }
    for link in [
        "http://1.1.1.1/1.png",
        "file:///etc/passwd",
        "ftp://1.1.1.1/1.png",
        "https://user:word@1.1.1.1/",
        "nonsense",
        "https://",
    ] {
        assert_eq!(reason(fetcher.fetch(link).await.unwrap_err()), FailReason::Address, "{link}");
    }
    assert!(server.asked().is_empty(), "somebody was asked");
}

/// A name that resolves to a public address when it is looked at first, and to this machine from then on.
struct Rebinding(AtomicUsize, bool);

impl Lookup for Rebinding {
    fn lookup<'a>(&'a self, _: &'a str) -> BoxFuture<'a, std::io::Result<Vec<IpAddr>>> {
        let first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        // Nobody answers at the public one: it is for documentation only where it is not checked.
        let public: IpAddr = "192.88.98.1".parse().unwrap();
        let here: IpAddr = "127.0.0.1".parse().unwrap();
        let both = self.1;
        Box::pin(async move {
            Ok(if both {
                vec![public, here]
            } else if first {
                vec![public]
            } else {
                vec![here]
            })
        })
    }
}

#[tokio::test]
async fn a_name_that_resolves_differently_the_next_time_gains_nothing() {
    let server = Server::start(|_, _| file("image/png", png(8, 8))).await;
    let link = format!("https://rebinding.example:{}/1.png", server.host.rsplit_once(':').unwrap().1);
    let lookup = Arc::new(Rebinding(AtomicUsize::new(1), false));
    let fetcher = Fetcher::new(MOST, PATIENCE, &[], lookup.clone()).unwrap();
    assert_eq!(reason(fetcher.fetch(&link).await.unwrap_err()), FailReason::Address);
    // Looked up once for a connection: what was checked is what is connected to.
    assert_eq!(lookup.0.load(Ordering::SeqCst), 2);
    let both = Fetcher::new(MOST, PATIENCE, &[], Arc::new(Rebinding(AtomicUsize::new(0), true))).unwrap();
    assert_eq!(reason(both.fetch(&link).await.unwrap_err()), FailReason::Address, "one private address is enough");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_host_of_the_operators_own_is_let_in_at_its_port_only() {
    let server = Server::start(|_, _| file("image/png", png(8, 8))).await;
    let fetcher = fetcher(&[&server.host]);
    let bytes = fetcher.fetch(&format!("{}/1.png", server.url())).await.unwrap();
    assert_eq!(bytes, png(8, 8));
    let other = Server::start(|_, _| file("image/png", png(8, 8))).await;
    let error = fetcher.fetch(&format!("{}/1.png", other.url())).await.unwrap_err();
    assert_eq!(reason(error), FailReason::Address);
}

#[tokio::test]
async fn redirects_are_checked_like_links_and_do_not_go_on_for_ever() {
    let inner = Server::start(|_, _| file("image/png", png(8, 8))).await;
    let secret = inner.url();
    let server = Server::start(move |asked, host| {
        let to = match asked.what.as_str() {
            "GET /inside" => format!("{secret}/metadata"),
            "GET /once" => "/picture".to_owned(),
            "GET /picture" => return file("image/png", png(8, 8)),
            _ => format!("http://{host}/loop"),
        };
        axum::http::Response::builder().status(302).header("location", to).body(axum::body::Body::empty()).unwrap()
    })
    .await;
    let fetcher = fetcher(&[&server.host]);
    assert!(fetcher.fetch(&format!("{}/once", server.url())).await.is_ok());
    for path in ["inside", "loop"] {
        let error = fetcher.fetch(&format!("{}/{path}", server.url())).await.unwrap_err();
        assert_eq!(reason(error), FailReason::Address, "{path}");
    }
    assert!(inner.asked().is_empty(), "a redirect led inside");
    assert_eq!(server.count("GET /loop"), 4);
}

#[tokio::test]
async fn what_is_too_large_of_a_wrong_type_gone_or_broken_is_told_apart() {
    let server = Server::start(|asked, _| match asked.what.as_str() {
        "GET /large" => file("image/png", vec![0; 2 * 1024 * 1024]),
        // Without a length.
        "GET /endless" => {
            let piece = Ok::<_, std::io::Error>(axum::body::Bytes::from(vec![0; 64 * 1024]));
            let endless = futures_util::stream::repeat_with(move || {
                piece.as_ref().map(Clone::clone).map_err(|_| std::io::Error::other(""))
            });
            file("image/png", axum::body::Body::from_stream(endless))
        }
        "GET /html" => file("text/html", "<script>"),
        "GET /svg" => file("image/svg+xml", "<svg/>"),
        "GET /gone" => status(403, json!({})),
        "GET /busy" => retry_after(503, "7"),
        "GET /broken" => broken("image/png"),
        "GET /slow" => slow("image/png"),
        other => panic!("{other}"),
    })
    .await;
    let fetcher = fetcher(&[&server.host]);
    let error = async |path: &str| fetcher.fetch(&format!("{}/{path}", server.url())).await.unwrap_err();
    for path in ["large", "endless", "html"] {
        assert_eq!(reason(error(path).await), FailReason::Picture, "{path}");
    }
    assert_eq!(reason(error("gone").await), FailReason::Gone);
    let ProviderError::Again { after: Some(after), .. } = error("busy").await else { panic!("busy") };
    assert_eq!(after, Duration::from_secs(7));
    for path in ["broken", "slow"] {
        assert!(matches!(error(path).await, ProviderError::Again { after: None, .. }), "{path}");
    }
    let svg = fetcher.fetch(&format!("{}/svg", server.url())).await.unwrap();
    assert!(clean(&svg, 1024).is_err(), "a drawing may hold scripts");
}

/// A PNG that claims to be this large, with as much deflated nothing in it as it says.
fn bomb(width: u32, height: u32, rows: u32) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        file.extend_from_slice(&u32::try_from(data.len()).unwrap().to_be_bytes());
        let said = [kind.as_slice(), data].concat();
        file.extend_from_slice(&said);
        file.extend_from_slice(&crc(&said).to_be_bytes());
    };
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend_from_slice(&[8, 6, 0, 0, 0]);
    chunk(b"IHDR", &header);
    // Stored deflate blocks of zeros, which a row filter of none makes black pixels.
    // A bomb need not be whole to be refused.
    let bytes = (u64::from(rows) * (u64::from(width) * 4 + 1)).min(1024 * 1024);
    let mut zlib = vec![0x78, 0x01];
    let mut left = bytes;
    while left > 0 {
        let block = left.min(65_535);
        left -= block;
        zlib.push(u8::from(left == 0));
        let length = u16::try_from(block).unwrap();
        zlib.write_all(&length.to_le_bytes()).unwrap();
        zlib.write_all(&(!length).to_le_bytes()).unwrap();
        zlib.resize(zlib.len() + usize::from(length), 0);
    }
    chunk(b"IDAT", &zlib);
    chunk(b"IEND", &[]);
    file
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn decompression_bombs_are_refused_before_they_take_memory() {
    let begun = Instant::now();
    for (width, height) in [(100_000, 100_000), (u32::MAX, 1), (65_535, 65_535), (9_000, 9_000)] {
        let error = clean(&bomb(width, height, 1), 8_192).unwrap_err();
        assert!(
            matches!(error, ImagineError::Picture { reason: FailReason::Picture, .. }),
            "{width}x{height}: {error}"
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Within the limits it is a picture.
    assert_eq!(clean(&bomb(64, 64, 64), 8_192).unwrap().width, 64);
    assert!(clean(&bomb(64, 64, 3), 8_192).is_err(), "cut short");
}

#[test]
fn only_png_jpeg_and_webp_are_pictures() {
    let gif = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x00\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";
    for wrong in [
        &gif[..],
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"MZ\x90",
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
    ] {
        assert!(clean(wrong, 1_024).is_err(), "{:?}", String::from_utf8_lossy(wrong));
    }
}

#[test]
fn a_picture_is_written_anew_and_only_its_pixels_are_left() {
    let mut jpeg = Vec::new();
    image::load_from_memory(&png(64, 48))
        .unwrap()
        .write_to(&mut Cursor::new(&mut jpeg), image::ImageFormat::Jpeg)
        .unwrap();
    // A comment segment with a place in it, and a second file behind the first.
    let secret = b"GPS 52.5 13.4";
    let mut marked = jpeg[..2].to_vec();
    marked.extend_from_slice(&[0xff, 0xfe, 0, u8::try_from(secret.len() + 2).unwrap()]);
    marked.extend_from_slice(secret);
    marked.extend_from_slice(&jpeg[2..]);
    marked.extend_from_slice(b"PK\x03\x04 <script>");
    let cleaned = clean(&marked, 1_024).unwrap();
    assert_eq!((cleaned.content_type, cleaned.width, cleaned.height), ("image/jpeg", 64, 48));
    for hidden in [&secret[..], b"<script>"] {
        assert!(!cleaned.bytes.windows(hidden.len()).any(|window| window == hidden));
    }
    let seen = image::load_from_memory(&cleaned.bytes).unwrap().to_rgb8();
    let (left, right) = (seen.get_pixel(10, 20).0[0], seen.get_pixel(50, 20).0[0]);
    assert!(left > 220 && right < 40, "{left} and {right}");
    let clear = image::RgbaImage::from_pixel(8, 8, image::Rgba([1, 2, 3, 100]));
    let mut file = Vec::new();
    clear.write_to(&mut Cursor::new(&mut file), image::ImageFormat::WebP).unwrap();
    let cleaned = clean(&file, 1_024).unwrap();
    assert_eq!(cleaned.content_type, "image/png");
    assert_eq!(image::load_from_memory(&cleaned.bytes).unwrap().to_rgba8(), clear);
}
