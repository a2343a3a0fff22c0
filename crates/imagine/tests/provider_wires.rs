//! Each client against a server that speaks the provider's documented wire: what is asked, and what each answer means.
#![allow(clippy::unwrap_used)]

mod wire;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use ring::signature::KeyPair;
use ringback_imagine::{
    FailReason, Handle, ImageRequest, Made, Progress, ProviderConfig, ProviderError, ProviderKind, Submitted, Webhook,
    WebhookSettings, client,
};
use serde_json::{Value, json};
use wire::{Server, hangs_up, retry_after, status};

const NOW: u64 = 1_800_000_000;

fn request() -> ImageRequest {
    ImageRequest { prompt: "a lighthouse in the fog".into(), width: 1024, height: 768, seed: 7 }
}

fn config(kind: ProviderKind, url: &str) -> ProviderConfig {
    let mut config = ProviderConfig::new("flux", kind, url);
    (config.key, config.model) = (Some("k-1".into()), Some("owner/model".into()));
    config
}

fn accepted(submitted: Submitted) -> Handle {
    match submitted {
        Submitted::Accepted(handle) => handle,
        Submitted::Made(_) => panic!("made at once"),
    }
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair =
        |(name, value): &(&str, &str)| (HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    pairs.iter().map(pair).collect()
}

/// What a submission that is answered so comes to.
async fn refused_with(kind: ProviderKind, code: u16, body: Value) -> ProviderError {
    let server = Server::start(move |_, _| status(code, body.clone())).await;
    client(&config(kind, &server.url())).unwrap().submit(&request(), "i_1").await.unwrap_err()
}

fn reason(error: &ProviderError) -> FailReason {
    match error {
        ProviderError::Failed { reason, .. } => *reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn statuses_of_a_submission_say_whether_it_was_taken() {
    use ProviderKind::{Bfl, Contract, Fal, Openai};
    for kind in [Bfl, Fal, Openai, Contract] {
        for (code, expected) in [
            (400, FailReason::Rejected),
            (401, FailReason::Account),
            (402, FailReason::NoCredit),
            (403, FailReason::Account),
            (422, FailReason::Rejected),
        ] {
            assert_eq!(reason(&refused_with(kind, code, json!({})).await), expected, "{kind:?} {code}");
        }
        for code in [429, 503] {
            let error = refused_with(kind, code, json!({})).await;
            assert!(matches!(error, ProviderError::Again { .. }), "{kind:?} {code}: {error:?}");
        }
        for code in [500, 502, 504] {
            let error = refused_with(kind, code, json!({})).await;
            assert!(matches!(error, ProviderError::Unknown { .. }), "{kind:?} {code}: {error:?}");
        }
        let error = client(&config(kind, &hangs_up().await)).unwrap().submit(&request(), "i_1").await.unwrap_err();
        assert!(matches!(error, ProviderError::Unknown { .. }), "{kind:?} hangs up: {error:?}");
        // Nobody listens there.
        let error = client(&config(kind, "http://127.0.0.1:9")).unwrap().submit(&request(), "i_1").await.unwrap_err();
        assert!(matches!(error, ProviderError::Again { .. }), "{kind:?} unreachable: {error:?}");
        // One that begins to answer, and one that breaks off.
        let slow = Server::start(|_, _| wire::slow("application/json")).await;
        let broken = Server::start(|_, _| wire::broken("application/json")).await;
        for server in [slow, broken] {
            let config = ProviderConfig { timeout_s: Some(1), ..config(kind, &server.url()) };
            let error = client(&config).unwrap().submit(&request(), "i_1").await.unwrap_err();
            assert!(matches!(error, ProviderError::Unknown { .. }), "{kind:?} breaks off: {error:?}");
        }
        // Success without what was promised.
        let error = refused_with(kind, 200, json!({})).await;
        assert!(matches!(error, ProviderError::Unknown { .. }), "{kind:?} empty: {error:?}");
    }
}

#[tokio::test]
async fn a_pause_is_asked_for_in_seconds_or_by_a_date() {
    for asked in ["17", "Fri, 01 Jan 2100 00:00:00 GMT"] {
        let server = Server::start(move |_, _| retry_after(429, asked)).await;
        let client = client(&config(ProviderKind::Bfl, &server.url())).unwrap();
        let ProviderError::Again { after: Some(after), .. } = client.submit(&request(), "i_1").await.unwrap_err()
        else {
            panic!("no pause");
        };
        // Nobody is left alone for longer than a day.
        assert_eq!(after, if asked == "17" { Duration::from_secs(17) } else { Duration::from_secs(86_400) });
    }
}

#[tokio::test]
async fn black_forest_labs_is_submitted_to_polled_and_understood() {
    let server = Server::start(|asked, host| match (asked.what.as_str(), asked.query.as_str()) {
        ("POST /v1/owner/model", _) => {
            wire::json(json!({ "id": "t-1", "polling_url": format!("http://{host}/v1/get_result?id=t-1"), "cost": 3.0 }))
        }
        ("GET /v1/get_result", "id=t-1") if asked.before == 0 => wire::json(json!({ "id": "t-1", "status": "Pending", "progress": 0.5 })),
        ("GET /v1/get_result", "id=t-1") => {
            wire::json(json!({ "id": "t-1", "status": "Ready", "result": { "sample": "https://delivery.example/1.png", "seed": 7 } }))
        }
        ("GET /v1/get_result", other) => {
            let told = other.trim_start_matches("id=").replace("%20", " ");
            let code = if told == "Task not found" { 404 } else { 200 };
            status(code, json!({ "id": "t-1", "status": told, "result": null }))
        }
        other => panic!("{other:?}"),
    })
    .await;
    let mut config = config(ProviderKind::Bfl, &server.url());
    config.options.insert("safety_tolerance".into(), 2.into());
    config.webhook =
        Some(WebhookSettings { url: "https://chat.example/hook".into(), secret: Some("s".into()), secret_env: None });
    let client = client(&config).unwrap();
    let handle = accepted(client.submit(&request(), "i_1").await.unwrap());
    assert_eq!(handle.id, "t-1");
    let asked = &server.asked()[0];
    assert_eq!(asked.header("x-key"), "k-1");
    let expected = json!({
        "prompt": "a lighthouse in the fog", "width": 1024, "height": 768, "seed": 7, "safety_tolerance": 2,
        "webhook_url": "https://chat.example/hook", "webhook_secret": "s",
    });
    assert_eq!(asked.json(), expected);
    assert_eq!(client.poll(&handle).await.unwrap(), Progress::Working { done: Some(0.5) });
    let link = "https://delivery.example/1.png".to_owned();
    assert_eq!(client.poll(&handle).await.unwrap(), Progress::Made(Made::Link(link)));
    assert!(server.asked().iter().all(|asked| asked.header("x-key") == "k-1"));
    let told = async |status: &str| {
        let url = format!("{}/v1/get_result?id={}", server.url(), status.replace(' ', "%20"));
        client.poll(&Handle { status: Some(url), ..handle.clone() }).await
    };
    for moderated in ["Request Moderated", "Content Moderated"] {
        assert!(matches!(told(moderated).await, Err(ProviderError::Refused { paid: true, .. })), "{moderated}");
    }
    assert_eq!(reason(&told("Task not found").await.unwrap_err()), FailReason::Gone);
    assert_eq!(reason(&told("Error").await.unwrap_err()), FailReason::Provider);
    assert!(matches!(told("Something new").await, Ok(Progress::Working { .. })));
    let elsewhere = Handle { status: Some("https://evil.example/v1/get_result?id=t-1".into()), ..handle };
    assert_eq!(reason(&client.poll(&elsewhere).await.unwrap_err()), FailReason::Address, "the key goes nowhere else");
}

#[tokio::test]
async fn webhooks_of_black_forest_labs_are_checked_by_their_keyed_hash() {
    let mut config = config(ProviderKind::Bfl, "https://api.bfl.ai");
    config.webhook = Some(WebhookSettings {
        url: "https://chat.example/hook".into(),
        secret: Some("s3cret".into()),
        secret_env: None,
    });
    let client = client(&config).unwrap();
    let body = json!({ "id": "t-1", "status": "Ready", "result": { "sample": "https://evil.example/" } }).to_string();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"s3cret");
    let hex: String =
        ring::hmac::sign(&key, body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let check = async |signature: &str, body: &str| {
        let headers = headers(&[("x-bfl-signature", signature)]);
        client.verify_webhook(Webhook { headers: &headers, body: body.as_bytes(), now: NOW }).await
    };
    assert_eq!(check(&format!("sha256={hex}"), &body).await.unwrap(), "t-1");
    assert!(check(&format!("sha256={}", "0".repeat(64)), &body).await.is_err());
    assert!(check(&format!("sha256={hex}"), &body.replace("t-1", "t-2")).await.is_err());
    assert!(check("sha256=xyz", &body).await.is_err());
    let none = HeaderMap::new();
    assert!(client.verify_webhook(Webhook { headers: &none, body: body.as_bytes(), now: NOW }).await.is_err());
}

#[tokio::test]
async fn fals_queue_is_submitted_to_asked_and_cancelled_where_it_says() {
    let server = Server::start(|asked, host| {
        let base = format!("http://{host}/owner/model/requests/r-1");
        match asked.what.as_str() {
            "POST /owner/model" => wire::json(json!({
                "request_id": "r-1", "status_url": format!("{base}/status"), "response_url": base,
                "cancel_url": format!("{base}/cancel"), "queue_position": 3,
            })),
            "GET /owner/model/requests/r-1/status" => match asked.before {
                0 => status(202, json!({ "status": "IN_QUEUE", "queue_position": 0 })),
                1 => status(202, json!({ "status": "IN_PROGRESS" })),
                _ => wire::json(json!({ "status": "COMPLETED" })),
            },
            "GET /owner/model/requests/r-1" => match asked.before {
                0 => wire::json(json!({ "images": [{ "url": "https://v3.fal.media/1.jpg", "width": 1024 }], "has_nsfw_concepts": [false] })),
                1 => wire::json(json!({ "images": [{ "url": "https://v3.fal.media/1.jpg" }], "has_nsfw_concepts": [true] })),
                2 => status(422, json!({ "detail": [{ "type": "content_policy_violation", "loc": ["body", "prompt"] }] })),
                _ => status(422, json!({ "detail": [{ "type": "value_error" }] })),
            },
            "PUT /owner/model/requests/r-1/cancel" => status(202, json!({ "status": "CANCELLATION_REQUESTED" })),
            other => panic!("{other}"),
        }
    })
    .await;
    let mut config = config(ProviderKind::Fal, &server.url());
    config.webhook =
        Some(WebhookSettings { url: "https://chat.example/hook?a=b".into(), secret: None, secret_env: None });
    let client = client(&config).unwrap();
    let handle = accepted(client.submit(&request(), "i_1").await.unwrap());
    let asked = &server.asked()[0];
    assert_eq!(asked.header("authorization"), "Key k-1");
    assert_eq!(asked.query, "fal_webhook=https%3A%2F%2Fchat.example%2Fhook%3Fa%3Db");
    assert_eq!(asked.json()["image_size"], json!({ "width": 1024, "height": 768 }));
    for _ in 0..2 {
        assert_eq!(client.poll(&handle).await.unwrap(), Progress::Working { done: None });
    }
    assert!(
        matches!(client.poll(&handle).await.unwrap(), Progress::Made(Made::Link(link)) if link.ends_with("/1.jpg"))
    );
    assert!(matches!(client.poll(&handle).await, Err(ProviderError::Refused { paid: true, .. })), "blackened");
    assert!(matches!(client.poll(&handle).await, Err(ProviderError::Refused { paid: true, .. })), "content policy");
    assert_eq!(reason(&client.poll(&handle).await.unwrap_err()), FailReason::Provider);
    client.cancel(&handle).await.unwrap();
    assert_eq!(server.count("PUT /owner/model/requests/r-1/cancel"), 1);
}

#[tokio::test]
async fn webhooks_of_fal_are_checked_with_the_keys_that_it_publishes() {
    let rng = ring::rand::SystemRandom::new();
    let pair = ring::signature::Ed25519KeyPair::from_pkcs8(
        ring::signature::Ed25519KeyPair::generate_pkcs8(&rng).unwrap().as_ref(),
    )
    .unwrap();
    let key = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let server = Server::start(move |_, _| {
        wire::json(json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" }, { "kty": "OKP", "crv": "Ed25519", "x": key }] }))
    })
    .await;
    let mut config = config(ProviderKind::Fal, "https://queue.fal.run");
    config.jwks_url = Some(format!("{}/.well-known/jwks.json", server.url()));
    config.webhook = Some(WebhookSettings { url: "https://chat.example/hook".into(), secret: None, secret_env: None });
    let client = client(&config).unwrap();
    let body = r#"{"request_id":"r-1","status":"OK"}"#;
    let check = async |id: &str, time: u64, body: &str| {
        let digest = ring::digest::digest(&ring::digest::SHA256, br#"{"request_id":"r-1","status":"OK"}"#);
        let hash: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let signed = pair.sign(format!("r-1\nu-1\n{time}\n{hash}").as_bytes());
        let hex: String = signed.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let time = time.to_string();
        let headers = headers(&[
            ("x-fal-webhook-request-id", id),
            ("x-fal-webhook-user-id", "u-1"),
            ("x-fal-webhook-timestamp", &time),
            ("x-fal-webhook-signature", &hex),
        ]);
        client.verify_webhook(Webhook { headers: &headers, body: body.as_bytes(), now: NOW }).await
    };
    assert_eq!(check("r-1", NOW - 200, body).await.unwrap(), "r-1");
    assert!(check("r-2", NOW, body).await.is_err(), "another id");
    assert!(check("r-1", NOW, r#"{"request_id":"r-1","status":"ERROR"}"#).await.is_err(), "another body");
    assert!(check("r-1", NOW - 301, body).await.is_err(), "too old");
    assert_eq!(server.asked().len(), 1, "forgeries do not make it fetch the keys again and again");
    assert!(server.asked()[0].header("authorization").is_empty(), "the operator's key is not for this host");
}

#[tokio::test]
async fn an_openai_compatible_endpoint_answers_with_the_picture() {
    let server = Server::start(|asked, _| match asked.before {
        0 => wire::json(json!({ "created": 1, "data": [{ "b64_json": STANDARD.encode(b"picture") }] })),
        1 => wire::json(json!({ "created": 1, "data": [{ "url": "https://files.example/1.png" }] })),
        2 => status(400, json!({ "error": { "code": "moderation_blocked", "message": "no" } })),
        3 => status(429, json!({ "error": { "code": "insufficient_quota" } })),
        _ => status(429, json!({ "error": { "code": "rate_limit_exceeded" } })),
    })
    .await;
    let mut config = config(ProviderKind::Openai, &format!("{}/v1", server.url()));
    config.options.insert("quality".into(), "low".into());
    let client = client(&config).unwrap();
    let made = client.submit(&request(), "i_1").await.unwrap();
    assert_eq!(made, Submitted::Made(Made::Bytes("picture".into())));
    let asked = &server.asked()[0];
    assert_eq!((asked.what.as_str(), asked.header("authorization")), ("POST /v1/images/generations", "Bearer k-1"));
    let expected = json!({ "model": "owner/model", "prompt": "a lighthouse in the fog", "n": 1, "size": "1024x768", "quality": "low" });
    assert_eq!(asked.json(), expected);
    let made = client.submit(&request(), "i_1").await.unwrap();
    assert_eq!(made, Submitted::Made(Made::Link("https://files.example/1.png".into())));
    assert!(matches!(client.submit(&request(), "i_1").await, Err(ProviderError::Refused { paid: false, .. })));
    assert_eq!(reason(&client.submit(&request(), "i_1").await.unwrap_err()), FailReason::NoCredit);
    assert!(matches!(client.submit(&request(), "i_1").await, Err(ProviderError::Again { .. })));
}

#[tokio::test]
async fn a_stable_diffusion_webui_answers_with_the_picture() {
    let server = Server::start(|_, _| {
        wire::json(json!({ "images": [STANDARD.encode(b"picture")], "parameters": {}, "info": "{}" }))
    })
    .await;
    let mut config = config(ProviderKind::Webui, &server.url());
    (config.key, config.model) = (Some("ann:secret".into()), Some("sd_xl.safetensors".into()));
    config.options.insert("steps".into(), 20.into());
    let client = client(&config).unwrap();
    let made = client.submit(&request(), "i_1").await.unwrap();
    assert_eq!(made, Submitted::Made(Made::Bytes("picture".into())));
    let asked = &server.asked()[0];
    assert_eq!(asked.what, "POST /sdapi/v1/txt2img");
    assert_eq!(asked.header("authorization"), format!("Basic {}", STANDARD.encode("ann:secret")));
    assert_eq!(asked.json()["override_settings"]["sd_model_checkpoint"], "sd_xl.safetensors");
    assert_eq!((&asked.json()["steps"], &asked.json()["seed"]), (&json!(20), &json!(7)));
}

#[tokio::test]
async fn a_comfyui_is_given_our_id_and_a_submission_that_it_has_is_not_repeated() {
    let server = Server::start(|asked, _| match asked.what.as_str() {
        "POST /prompt" => wire::json(json!({ "prompt_id": "i_1", "number": 1, "node_errors": {} })),
        "GET /queue" => match asked.before {
            0 => wire::json(json!({ "queue_running": [], "queue_pending": [] })),
            _ => wire::json(json!({ "queue_running": [[0, "i_1", {}, {}, []]], "queue_pending": [] })),
        },
        "GET /history/i_1" if asked.before < 3 => wire::json(json!({})),
        "GET /history/i_1" if asked.before == 4 => wire::json(json!({ "i_1": {
            "outputs": {}, "status": { "status_str": "error", "completed": false, "messages": ["out of memory"] },
        } })),
        "GET /history/i_1" => wire::json(json!({ "i_1": {
            "outputs": { "9": { "images": [
                { "filename": "p.png", "subfolder": "", "type": "temp" },
                { "filename": "out.png", "subfolder": "a b", "type": "output" },
            ] } },
            "status": { "status_str": "success", "completed": true },
        } })),
        "GET /view" => wire::file("image/png", "picture"),
        "POST /queue" | "POST /interrupt" => wire::json(json!({})),
        other => panic!("{other}"),
    })
    .await;
    let mut config = config(ProviderKind::Comfyui, &server.url());
    config.workflow = Some(json!({
        "3": { "class_type": "KSampler", "inputs": { "seed": "{seed}", "steps": 20 } },
        "5": { "class_type": "EmptyLatentImage", "inputs": { "width": "{width}", "height": "{height}" } },
        "6": { "class_type": "CLIPTextEncode", "inputs": { "text": "{prompt}, sharp", "clip": ["4", 1] } },
    }));
    let client = client(&config).unwrap();
    let handle = accepted(client.submit(&request(), "i_1").await.unwrap());
    let body = server.asked().into_iter().find(|asked| asked.what == "POST /prompt").unwrap().json();
    assert_eq!(body["prompt_id"], "i_1");
    assert_eq!(body["prompt"]["3"]["inputs"], json!({ "seed": 7, "steps": 20 }));
    assert_eq!(body["prompt"]["5"]["inputs"], json!({ "width": 1024, "height": 768 }));
    assert_eq!(body["prompt"]["6"]["inputs"]["text"], "a lighthouse in the fog, sharp");
    // Again, as after an answer that was lost: it is running already.
    assert_eq!(accepted(client.submit(&request(), "i_1").await.unwrap()), handle);
    assert_eq!(server.count("POST /prompt"), 1);
    assert_eq!(client.poll(&handle).await.unwrap(), Progress::Working { done: None });
    assert_eq!(client.poll(&handle).await.unwrap(), Progress::Made(Made::Bytes("picture".into())));
    let viewed = server.asked().into_iter().find(|asked| asked.what == "GET /view").unwrap();
    assert_eq!(viewed.query, "filename=out.png&subfolder=a+b&type=output");
    assert_eq!(reason(&client.poll(&handle).await.unwrap_err()), FailReason::Provider);
    client.cancel(&handle).await.unwrap();
    let stopped = server.asked().into_iter().find(|asked| asked.what == "POST /interrupt").unwrap();
    assert_eq!(stopped.json(), json!({ "prompt_id": "i_1" }), "nobody else's picture is interrupted");
}

#[tokio::test]
async fn the_contract_is_spoken_as_it_is_written_down() {
    let server = Server::start(|asked, _| match asked.what.as_str() {
        "POST /mj/jobs" => status(202, json!({ "id": "m-1", "status": "queued" })),
        "GET /mj/jobs/m-1" => match asked.before {
            0 => wire::json(json!({ "id": "m-1", "status": "running", "progress": 0.25 })),
            1 => wire::json(
                json!({ "id": "m-1", "status": "done", "images": [{ "url": "https://cdn.example/1.webp" }] }),
            ),
            2 => wire::json(json!({ "id": "m-1", "status": "refused", "reason": "not that", "charged": false })),
            3 => wire::json(json!({ "id": "m-1", "status": "failed" })),
            _ => status(404, json!({})),
        },
        "DELETE /mj/jobs/m-1" => status(204, json!({})),
        other => panic!("{other}"),
    })
    .await;
    let config = config(ProviderKind::Contract, &format!("{}/mj", server.url()));
    let client = client(&config).unwrap();
    let handle = accepted(client.submit(&request(), "i_1").await.unwrap());
    let asked = &server.asked()[0];
    assert_eq!((asked.header("authorization"), asked.header("idempotency-key")), ("Bearer k-1", "i_1"));
    assert_eq!(client.poll(&handle).await.unwrap(), Progress::Working { done: Some(0.25) });
    assert!(matches!(client.poll(&handle).await.unwrap(), Progress::Made(Made::Link(_))));
    let refused = client.poll(&handle).await.unwrap_err();
    assert_eq!(refused, ProviderError::Refused { message: "not that".into(), paid: false });
    assert_eq!(reason(&client.poll(&handle).await.unwrap_err()), FailReason::Provider);
    assert_eq!(reason(&client.poll(&handle).await.unwrap_err()), FailReason::Gone);
    client.cancel(&handle).await.unwrap();
    assert_eq!(server.count("DELETE /mj/jobs/m-1"), 1);
}

#[tokio::test]
async fn webhooks_of_the_contract_are_standard_webhooks() {
    let secret = [7u8; 32];
    let mut config = config(ProviderKind::Contract, "https://mj.example");
    let given = Some(format!("whsec_{}", STANDARD.encode(secret)));
    config.webhook = Some(WebhookSettings { url: "https://chat.example/hook".into(), secret: given, secret_env: None });
    let client = client(&config).unwrap();
    let body = r#"{"id":"m-1","status":"done"}"#;
    let check = async |time: u64, signed_body: &str| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
        let signed = ring::hmac::sign(&key, format!("msg_1.{time}.{signed_body}").as_bytes());
        let signature = format!("v1,AAAA v1,{}", STANDARD.encode(signed.as_ref()));
        let time = time.to_string();
        let headers =
            headers(&[("webhook-id", "msg_1"), ("webhook-timestamp", &time), ("webhook-signature", &signature)]);
        client.verify_webhook(Webhook { headers: &headers, body: body.as_bytes(), now: NOW }).await
    };
    assert_eq!(check(NOW + 100, body).await.unwrap(), "m-1");
    assert!(check(NOW, r#"{"id":"m-2"}"#).await.is_err());
    assert!(check(NOW - 301, body).await.is_err());
}

#[test]
fn a_provider_that_could_not_work_is_refused_with_its_name_and_the_reason() {
    let error = |config: &ProviderConfig| client(config).map(|_| ()).unwrap_err().to_string();
    let mut config = ProviderConfig::new("flux", ProviderKind::Bfl, "https://api.bfl.ai");
    assert_eq!(error(&config), "image provider \"flux\": it needs `key` or `key_env`");
    config.key_env = Some("RINGBACK_NO_SUCH_VARIABLE".into());
    assert!(error(&config).contains("RINGBACK_NO_SUCH_VARIABLE is not set"));
    (config.key_env, config.key) = (None, Some("k".into()));
    assert!(error(&config).contains("it needs `model`"));
    config.model = Some("m".into());
    assert!(client(&config).is_ok());
    config.url = "ftp://api.bfl.ai".into();
    assert!(error(&config).contains("http: or https:"));
    let comfy = ProviderConfig::new("own", ProviderKind::Comfyui, "http://127.0.0.1:8188");
    assert!(error(&comfy).contains("it needs `workflow`"));
}
