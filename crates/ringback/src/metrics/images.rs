//! What an operator watches of images on request: what came of them, what they cost, how long they took, which are under way, and which provider wants to be left alone.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use ringback_imagine::{ImageInfo, ImagineStatistics, JobState, Money, ProviderCall};

use super::seconds;

/// The states in which an image is under way.
const OPEN: [JobState; 4] = [JobState::Queued, JobState::Submitted, JobState::Running, JobState::Fetching];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    provider: String,
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MoneyLabels {
    provider: String,
    currency: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProviderLabels {
    provider: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    provider: String,
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PauseLabels {
    provider: String,
    call: String,
}

/// What has been counted of images since the process began. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ImageCounts {
    over: Family<OutcomeLabels, Counter>,
    money: Family<MoneyLabels, Counter<f64, std::sync::atomic::AtomicU64>>,
    delay: Family<ProviderLabels, Histogram>,
    currency: Arc<str>,
}

/// From a picture at once to the ten minutes that a provider has, in seconds.
fn delays() -> Histogram {
    Histogram::new([0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0])
}

impl ImageCounts {
    /// Counts in the operator's currency, as they write it.
    pub(crate) fn new(currency: &str) -> Self {
        Self {
            over: Family::default(),
            money: Family::default(),
            delay: Family::new_with_constructor(delays),
            currency: currency.into(),
        }
    }

    /// An image is over, and cost so much.
    pub(crate) fn over(&self, image: &ImageInfo, charged: Money) {
        let provider = image.provider.clone();
        let outcome = image.state.as_str().to_owned();
        self.over.get_or_create(&OutcomeLabels { provider: provider.clone(), outcome }).inc();
        let money = MoneyLabels { provider: provider.clone(), currency: self.currency.to_string() };
        self.money.get_or_create(&money).inc_by(charged.into());
        if let (JobState::Posted, Some(ended_at)) = (image.state, image.ended_at) {
            self.delay.get_or_create(&ProviderLabels { provider }).observe(seconds(image.created_at, ended_at));
        }
    }

    pub(super) fn register(&self, registry: &mut Registry, now: &ImagineStatistics) {
        registry.register("images", "Images that are over, by provider and outcome", self.over.clone());
        registry.register(
            "images_money",
            "What images that are over have cost, by provider, in the operator's currency",
            self.money.clone(),
        );
        registry.register("image_delay_seconds", "From the request until the picture was posted", self.delay.clone());
        let open = Family::<StateLabels, Gauge>::default();
        let paused = Family::<PauseLabels, Gauge<f64, std::sync::atomic::AtomicU64>>::default();
        for provider in &now.providers {
            for state in OPEN {
                // What is made is 0.
                let labels = StateLabels { provider: provider.clone(), state: state.as_str().to_owned() };
                drop(open.get_or_create(&labels));
            }
            for call in [ProviderCall::Submit, ProviderCall::Ask] {
                let left = now.paused.iter().find(|(of, what, _)| of == provider && *what == call);
                let labels = PauseLabels { provider: provider.clone(), call: call.as_str().to_owned() };
                paused.get_or_create(&labels).set(left.map_or(0.0, |(_, _, left)| left.as_secs_f64()));
            }
        }
        for jobs in &now.open {
            let labels = StateLabels { provider: jobs.provider.clone(), state: jobs.state.as_str().to_owned() };
            open.get_or_create(&labels).set(i64::try_from(jobs.jobs).unwrap_or(i64::MAX));
        }
        registry.register("images_open", "Images that this process has under way, by where they stand", open);
        registry.register(
            "image_provider_pause_seconds",
            "For how long a provider wants to be left alone yet: with new work, or with questions",
            paused,
        );
    }
}
