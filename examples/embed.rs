//! Ringback inside a backend of your own, in about 40 lines: the engine's routes beside yours, your users' tokens, your rule of
//! who may call whom, and the engine's events in order.

use std::time::Duration;

use anyhow::Result;
use axum::{Router, routing::get};
use ringback::{Authorize, BoxFuture, CallRequest, Denied, Engine, Grants, TokenIssuer};

/// Nobody is rung by a stranger: here, friends are those whose names begin with the same letter.
struct FriendsOnly;

impl Authorize for FriendsOnly {
    fn may_call<'a>(&'a self, request: &'a CallRequest) -> BoxFuture<'a, Result<(), Denied>> {
        Box::pin(async move {
            let friends = request.to.iter().all(|callee| callee.chars().next() == request.from.chars().next());
            if friends { Ok(()) } else { Err(Denied::new("you can call your friends only")) }
        })
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let issuer = TokenIssuer::hs256(b"a secret of at least 32 bytes, kept outside the source");
    let mut engine = Engine::builder()
        .media(&["127.0.0.1:8189".parse()?])
        .tokens(issuer.verifier())
        .authorize(FriendsOnly)
        .start()
        .await?;

    let mut events = engine.events();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            println!("{event:?}");
        }
    });

    println!("ann's token: {}", issuer.issue("ann", "Ann", Duration::from_secs(3600), Grants::everything())?);
    let app = Router::new().route("/", get(|| async { "my own app" })).nest("/calls", engine.router());
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:8080").await?, app).await?;
    Ok(())
}
