//! The task of a webhook: follows the log, posts what comes, and keeps how far it has come. What an answer means, and when to post again, is
//! decided in `delivery.rs`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::Rng;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url};
use ringback_recorder::{EventLog, Follow, LoggedEvent, RecorderError};
use serde_json::json;

use super::WebhookConfig;
use super::delivery::{Answer, Delivery, Step};
use super::secret::{Secret, signatures};
use crate::error::EngineError;
use crate::metrics::Counts;

/// The pause after the database has failed.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// The last millisecond of the year 9999, beyond which RFC 3339 has no times.
const LAST_TIME: u64 = 253_402_300_799_999;

/// A webhook that is ready to begin.
pub(crate) struct Webhook {
    name: String,
    url: Url,
    secrets: Vec<Secret>,
    client: Client,
    delivery: Delivery,
    log: EventLog,
    log_id: String,
    cursor: u64,
    counts: Counts,
}

impl Webhook {
    /// Makes one ready: reads its cursor, or, where it has none yet, keeps the end of the log as its beginning.
    pub(crate) async fn open(config: &WebhookConfig, log: EventLog, counts: Counts) -> Result<Self, EngineError> {
        let (url, secrets) = config.check()?;
        let refused = |reason: String| EngineError::Webhook { name: config.name.clone(), reason };
        let client = Client::builder()
            .timeout(config.timeout)
            // A receiver that moved is to be told here; following it would repeat the way for each event.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("ringback/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| refused(error.to_string()))?;
        let cursor = match log.cursor(&reader(&config.name)).await.map_err(EngineError::Recorder)? {
            Some(cursor) => cursor,
            None => {
                let newest = log.newest().await.map_err(EngineError::Recorder)?;
                log.put_cursor(&reader(&config.name), newest).await.map_err(EngineError::Recorder)?;
                newest
            }
        };
        let log_id = log.id().await.map_err(EngineError::Recorder)?;
        counts.webhook_done(&config.name, cursor);
        let delivery = Delivery::new(config.first_retry, config.last_retry, rand::rng().random());
        Ok(Self { name: config.name.clone(), url, secrets, client, delivery, log, log_id, cursor, counts })
    }

    /// Delivers until the receiver wants no more.
    pub(crate) async fn run(mut self) {
        let mut follow = self.log.follow(self.cursor);
        loop {
            let event = self.next(&mut follow).await;
            loop {
                let answer = self.post(&event).await;
                match self.delivery.handle(Instant::now(), answer) {
                    Step::Next => break,
                    Step::Again(then) => tokio::time::sleep_until(then.into()).await,
                    Step::Stop => {
                        tracing::warn!(
                            webhook = self.name,
                            "the receiver wants no more events (410); none is posted until the next start"
                        );
                        return;
                    }
                }
            }
            self.done(&event).await;
        }
    }

    async fn next(&mut self, follow: &mut Follow) -> LoggedEvent {
        loop {
            match follow.next().await {
                Ok(event) => {
                    let forgotten = event.sequence.saturating_sub(self.cursor + 1);
                    if forgotten > 0 {
                        tracing::error!(
                            webhook = self.name,
                            forgotten,
                            "events grew too old before they could be delivered"
                        );
                    }
                    return event;
                }
                Err(error) => self.database_failed(&error).await,
            }
        }
    }

    async fn done(&mut self, event: &LoggedEvent) {
        while let Err(error) = self.log.put_cursor(&reader(&self.name), event.sequence).await {
            self.database_failed(&error).await;
        }
        self.cursor = event.sequence;
        self.counts.webhook_done(&self.name, event.sequence);
        self.counts.webhook_delay(&self.name, event.at, millis(SystemTime::now()));
    }

    async fn database_failed(&self, error: &RecorderError) {
        tracing::error!(%error, webhook = self.name, "the log of events cannot be used; again in a moment");
        tokio::time::sleep(DATABASE_PAUSE).await;
    }

    async fn post(&self, event: &LoggedEvent) -> Answer {
        let at = UNIX_EPOCH + Duration::from_millis(event.at.min(LAST_TIME));
        let body = json!({
            "type": event.kind,
            "timestamp": humantime::format_rfc3339_millis(at).to_string(),
            "sequence": event.sequence,
            "data": event.body,
        });
        let body = body.to_string();
        let id = format!("msg_{}_{}", self.log_id, event.sequence);
        let timestamp = millis(SystemTime::now()) / 1_000;
        let signature = signatures(&self.secrets, &id, timestamp, &body);
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature);
        let (outcome, answer) = match request.body(body).send().await {
            Ok(response) => {
                let status = response.status();
                let retry_after = retry_after(response.headers(), SystemTime::now());
                match status {
                    _ if status.is_success() => ("taken", Answer::Taken),
                    StatusCode::GONE => ("gone", Answer::Gone),
                    _ => {
                        tracing::warn!(webhook = self.name, sequence = event.sequence, %status, "an event was not taken");
                        ("refused", Answer::Failed { retry_after })
                    }
                }
            }
            Err(error) => {
                // The URL may hold a password.
                let error = error.without_url();
                // With what caused it, which says more.
                let error = &error as &(dyn std::error::Error + 'static);
                tracing::warn!(webhook = self.name, sequence = event.sequence, error, "an event cannot be posted");
                ("failed", Answer::Failed { retry_after: None })
            }
        };
        self.counts.webhook_posted(&self.name, outcome);
        answer
    }
}

/// The name of a webhook's cursor among those of other readers.
fn reader(name: &str) -> String {
    format!("webhook:{name}")
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).ok(),
    }
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |value: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]), now);
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT"), None, "in the past");
        assert_eq!(read("-1"), None);
        assert_eq!(read("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
