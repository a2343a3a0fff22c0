//! The Ringback server with its web page: one process, one link to open. It is the smallest complete embedding (an engine, a
//! page, a login), not a product's backend: its login hands a token to whoever types a name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use ringback::{
    BoxFuture, Claims, CodecName, CodecPreferences, EndedCall, Engine, Grants, HookError, ImagineConfig, METRICS_TYPE,
    MissedCall, NoteDecision, OfferNotes, Outcome, Palette, RecorderConfig, Rights, RoomReactionsConfig, TokenIssuer,
    TokenVerifier, TurnServer, WebhookConfig, WorkerThreads, peace,
};
use serde_json::{Value, json};

/// Starts a Ringback server and prints the link of its page.
#[derive(Parser)]
struct Arguments {
    /// Where the page and the signaling listen [default: 127.0.0.1:8080, with --tls 0.0.0.0:8443]
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Where media listens: one port, UDP and TCP, repeatable for IPv4 and IPv6 [default: the address of --listen, port 8189]
    #[arg(long)]
    media: Vec<SocketAddr>,
    /// Media workers: each uses at most one core, and worker i the media port + i [default: one for each core]
    #[arg(long)]
    workers: Option<usize>,
    /// Participants of one room on one media worker, before newcomers are connected to another [default: any number, while it is not busy]
    #[arg(long)]
    room_part: Option<usize>,
    /// Give each media worker a thread of its own that stays on one core
    #[arg(long)]
    pin: bool,
    /// Take media over UDP only
    #[arg(long)]
    no_ice_tcp: bool,
    /// Milliseconds that a voice may wait for others to leave together with them, at most 5
    #[arg(long, default_value_t = 0)]
    voice_wait: u64,
    /// An address that clients reach the media port under, repeatable [default: the bound ones]
    #[arg(long)]
    announce: Vec<IpAddr>,
    /// Serve HTTPS with a self-signed certificate to the whole network: phones get no microphone over plain http
    #[arg(long)]
    tls: bool,
    /// Seconds that a call rings before it counts as not answered
    #[arg(long, default_value_t = 45)]
    ring: u64,
    /// A TURN server to hand to clients, such as turn:turn.example:3478?transport=tcp, repeatable; needs --turn-secret
    #[arg(long, requires = "turn_secret")]
    turn: Vec<String>,
    /// The secret that it shares with us: coturn's static-auth-secret
    #[arg(long)]
    turn_secret: Option<String>,
    /// Where notes and the log of calls are kept: SQLite and files
    #[arg(long, default_value = "ringback-data")]
    data: PathBuf,
    /// Another database for their rows: sqlite://… or postgres://…
    #[arg(long)]
    database: Option<String>,
    /// Another store for their bytes: a folder or s3://bucket/prefix
    #[arg(long)]
    bytes: Option<String>,
    /// A codec that browsers shall send, before the others: vp8, vp9, h264, av1, opus or red, repeatable [default: vp8 and opus]
    #[arg(long, value_parser = codec)]
    codec: Vec<CodecName>,
    /// Where to post what happens, signed; needs --webhook-secret
    #[arg(long, requires = "webhook_secret")]
    webhook: Option<String>,
    /// The secret that the receiver shares with us: 24 to 64 bytes in base64, with or without whsec_ before it
    #[arg(long)]
    webhook_secret: Option<String>,
    /// A file that says who makes images on request, see docs/imagine.md
    #[arg(long)]
    imagine: Option<PathBuf>,
    /// A user who may lower others' hands and switch reactions off, repeatable
    #[arg(long)]
    host: Vec<String>,
    /// Offer whoever rang a group a note for those who missed the call, also where others were in it
    #[arg(long)]
    notes_to_missed: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| "warn,rtc=error,ringback=info".into()),
        )
        .init();
    let arguments = Arguments::parse();
    let listen = arguments.listen.unwrap_or(match arguments.tls {
        true => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8443)),
        false => SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
    });
    let media = match arguments.media.as_slice() {
        [] => vec![SocketAddr::new(listen.ip(), 8189)],
        given => given.to_vec(),
    };
    let announce = match arguments.announce.as_slice() {
        [] if media.iter().any(|address| address.ip().is_unspecified()) => interface_addresses(&media)?,
        given => given.to_vec(),
    };

    // Tokens outlive no restart: whoever is logged in takes a new one, by the same name, when the page reconnects.
    let secret: [u8; 32] = rand::random();
    let issuer = TokenIssuer::hs256(&secret)?;
    let mut notes = RecorderConfig::new(&arguments.data);
    (notes.database, notes.bytes) = (arguments.database.clone(), arguments.bytes.clone());
    let mut builder = Engine::builder();
    if let Some(secret) = arguments.turn_secret.as_ref().filter(|_| !arguments.turn.is_empty()) {
        let urls: Vec<&str> = arguments.turn.iter().map(String::as_str).collect();
        builder = builder.turn_server(TurnServer::new(&urls, secret));
    }
    if let (Some(url), Some(secret)) = (&arguments.webhook, &arguments.webhook_secret) {
        builder = builder.webhook(WebhookConfig::new(url, secret));
    }
    if let Some(workers) = arguments.workers {
        builder = builder.workers(workers);
    }
    if let Some(participants) = arguments.room_part {
        builder = builder.room_part(participants);
    }
    if arguments.pin {
        builder = builder.worker_threads(WorkerThreads::Pinned);
    }
    if arguments.notes_to_missed {
        builder = builder.missed_call(NotesToMissed);
    }
    if let Some(file) = &arguments.imagine {
        let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let config =
            ImagineConfig::from_json(&text).with_context(|| format!("{} is not understood", file.display()))?;
        builder = builder.imagine(config);
    }
    let engine = builder
        .notes(notes)
        .reactions(RoomReactionsConfig::default().palette(Palette::new([], STATUSES)?))
        .peace(peace::Settings::default(), peace::LiveDevicesOnly)
        .reaction_rights({
            let hosts = arguments.host.clone();
            move |_: &str, user: &str| if hosts.iter().any(|host| host == user) { Rights::HOST } else { Rights::GUEST }
        })
        .media(&media)
        .announce(&announce)
        .codecs(CodecPreferences::default().preferring(arguments.codec.iter().copied()))
        .ice_tcp(!arguments.no_ice_tcp)
        .voice_wait(std::time::Duration::from_millis(arguments.voice_wait))
        .tokens(TokenVerifier::hs256(&secret)?)
        .ring_time(std::time::Duration::from_secs(arguments.ring))
        .start()
        .await
        .with_context(|| format!("the engine did not start with media on {media:?}"))?;
    // Nobody here reads them, so none need wait.
    drop(engine.events());
    let engine = Arc::new(engine);
    let metrics = get({
        let engine = engine.clone();
        move || async move { ([(header::CONTENT_TYPE, METRICS_TYPE)], engine.metrics().await) }
    });
    let app = page().route("/login", post(login)).with_state(Arc::new(issuer)).route("/metrics", metrics);
    let app = app.merge(engine.router());

    let listener = std::net::TcpListener::bind(listen).with_context(|| format!("nothing can listen on {listen}"))?;
    listener.set_nonblocking(true)?;
    let listen = listener.local_addr()?;
    let handle = axum_server::Handle::new();
    tokio::spawn({
        let handle = handle.clone();
        async move {
            match stop_signal().await {
                Stop::ForGood => engine.shutdown(std::time::Duration::from_secs(5)).await,
                Stop::ForNow => engine.suspend().await,
            }
            handle.graceful_shutdown(Some(std::time::Duration::from_secs(1)));
        }
    });
    if arguments.tls {
        let tls = self_signed(&announce).await.context("the certificate cannot be made")?;
        print_links(&arguments, listen, &announce);
        axum_server::from_tcp_rustls(listener, tls)?.handle(handle).serve(app.into_make_service()).await?;
    } else {
        print_links(&arguments, listen, &announce);
        axum_server::from_tcp(listener)?.handle(handle).serve(app.into_make_service()).await?;
    }
    Ok(())
}

/// What people may say that they are doing meanwhile; web/status.js has their words.
const STATUSES: [&str; 3] = ["away", "brb", "listening"];

/// Offers notes as without a hook, and for those who missed a group call besides.
struct NotesToMissed;

impl MissedCall for NotesToMissed {
    fn may_offer_to_missed(&self) -> bool {
        true
    }

    fn missed_call<'a>(&'a self, call: &'a EndedCall) -> BoxFuture<'a, Result<NoteDecision, HookError>> {
        match call.outcome {
            Outcome::Answered => Box::pin(async { Ok(NoteDecision::offer(call)) }),
            _ => OfferNotes.missed_call(call),
        }
    }
}

/// Reads a codec's name.
fn codec(name: &str) -> Result<CodecName, String> {
    CodecName::from_name(name).ok_or_else(|| {
        let known = CodecName::ALL.map(|codec| codec.name().to_lowercase()).join(", ");
        format!("there is no such codec, only {known}")
    })
}

/// The page's files, built into the program so that it runs from anywhere.
fn page<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let mut router = Router::new();
    for (path, mime, body) in ringback_examples::PAGE {
        router = router.route(
            path,
            get(move || async move { ([(header::CONTENT_TYPE, *mime), (header::CACHE_CONTROL, "no-cache")], *body) }),
        );
    }
    router
}

/// Hands a day's token to whoever types a name. A real backend issues tokens to users whom it knows.
async fn login(State(issuer): State<Arc<TokenIssuer>>, Json(body): Json<Value>) -> Response {
    let name = body["name"].as_str().unwrap_or_default().trim();
    let user: String = name.to_lowercase().chars().filter(|letter| letter.is_alphanumeric()).take(32).collect();
    if user.is_empty() || name.chars().count() > 40 {
        let message = "a name has 1 to 40 characters, at least one of them a letter or a digit";
        return (StatusCode::UNPROCESSABLE_ENTITY, message).into_response();
    }
    let claims = Claims::new(&user, std::time::Duration::from_secs(24 * 3600)).name(name).grants(Grants::all());
    match issuer.issue(&claims) {
        Ok(token) => Json(json!({ "token": token, "user": user, "ws": "/v1/ws" })).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Every address that a client on this machine or its network may reach us under.
fn interface_addresses(media: &[SocketAddr]) -> anyhow::Result<Vec<IpAddr>> {
    let v4 = media.iter().any(|address| address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let v6 = media.iter().any(|address| address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let interfaces = if_addrs::get_if_addrs().context("the network interfaces cannot be listed")?;
    Ok(interfaces
        .into_iter()
        .map(|interface| interface.ip())
        .filter(|ip| match ip {
            IpAddr::V4(_) => v4,
            // Link-local addresses need a zone, which a candidate cannot carry.
            IpAddr::V6(ip) => v6 && !ip.is_unicast_link_local(),
        })
        .collect())
}

async fn self_signed(addresses: &[IpAddr]) -> anyhow::Result<axum_server::tls_rustls::RustlsConfig> {
    // Fails only where one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut names = vec!["localhost".to_owned()];
    names.extend(addresses.iter().map(IpAddr::to_string));
    let certificate = rcgen::generate_simple_self_signed(names)?;
    let key = certificate.signing_key.serialize_pem();
    Ok(axum_server::tls_rustls::RustlsConfig::from_pem(certificate.cert.pem().into_bytes(), key.into_bytes()).await?)
}

fn print_links(arguments: &Arguments, listen: SocketAddr, announce: &[IpAddr]) {
    let scheme = if arguments.tls { "https" } else { "http" };
    let hosts = match listen.ip().is_unspecified() {
        true => announce.to_vec(),
        false => vec![listen.ip()],
    };
    for host in hosts {
        println!("Ringback: {scheme}://{}/", SocketAddr::new(host, listen.port()));
    }
    if arguments.tls {
        println!("The certificate is self-signed: the browser warns once.");
    }
}

enum Stop {
    /// Somebody pressed Ctrl-C.
    ForGood,
    /// A service manager says so, which does it when it restarts us, too: calls go on in the next process.
    ForNow,
}

async fn stop_signal() -> Stop {
    #[cfg(unix)]
    {
        let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(terminate) => terminate,
            Err(_) => return std::future::pending().await,
        };
        tokio::select! { _ = terminate.recv() => Stop::ForNow, _ = tokio::signal::ctrl_c() => Stop::ForGood }
    }
    #[cfg(not(unix))]
    {
        let _ = tokio::signal::ctrl_c().await;
        Stop::ForGood
    }
}
