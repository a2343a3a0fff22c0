//! Ringback inside a backend of your own, in about 40 lines: the engine's routes beside yours, your users' tokens, your rule of
//! who may call whom, and the engine's events in order.

use std::time::Duration;

use anyhow::{Context, Result};
use axum::{Router, routing::get};
use ringback::{
    Authorize, BoxFuture, CallKind, Claims, Engine, Grants, Permission, RecorderConfig, TokenIssuer, TokenVerifier,
};

/// Nobody is rung by a stranger: here, friends are those whose names begin with the same letter.
struct FriendsOnly;

impl Authorize for FriendsOnly {
    fn may_call<'a>(&'a self, caller: &'a str, callee: &'a str, _kind: CallKind) -> BoxFuture<'a, Permission> {
        Box::pin(async move {
            match caller.chars().next() == callee.chars().next() {
                true => Permission::Granted,
                false => Permission::Forbidden("you can call your friends only".into()),
            }
        })
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let secret = b"a secret of at least 32 bytes, kept outside the source";
    let engine = Engine::builder()
        .media(&["127.0.0.1:8189".parse()?])
        .tokens(TokenVerifier::hs256(secret)?)
        .authorize(FriendsOnly)
        .notes(RecorderConfig::new("ringback-data"))
        .start()
        .await?;

    let mut events = engine.events().context("the events were taken before")?;
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            println!("{event:?}");
        }
    });

    let claims = Claims::new("ann", Duration::from_secs(3600)).name("Ann").grants(Grants::all());
    println!("ann's token: {}", TokenIssuer::hs256(secret)?.issue(&claims)?);
    let app = Router::new().route("/", get(|| async { "my own app" })).nest("/calls", engine.router());
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:8080").await?, app).await?;
    Ok(())
}
