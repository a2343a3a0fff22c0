//! What the SFU's speaker detector makes of a room, as JSON on the `stage` data channel of whoever opened one (docs/speaker.md). Lossy on
//! purpose: who cannot take one gets the next.

use ringback_sfu::stage::Reading;
use ringback_sfu::{ParticipantId, Word};
use serde::Serialize;

use crate::media::Workers;

/// The label of the channel.
const LABEL: &str = "stage";

#[derive(Serialize)]
struct Message {
    stage: Option<String>,
    people: Vec<Person>,
}

#[derive(Serialize)]
struct Person {
    participant: String,
    #[serde(flatten)]
    reading: Reading,
    word: Word,
}

/// Sends the readings of a room to those who look on.
pub(crate) async fn tell(
    workers: &Workers,
    watchers: Vec<ParticipantId>,
    on_stage: Option<ParticipantId>,
    readings: Vec<(ParticipantId, Reading, Word)>,
) {
    let person = |(id, reading, word)| Some(Person { participant: workers.participant_name(id)?, reading, word });
    let message = Message {
        stage: on_stage.and_then(|id| workers.participant_name(id)),
        people: readings.into_iter().filter_map(person).collect(),
    };
    let Ok(json) = serde_json::to_vec(&message) else { return };
    for watcher in watchers {
        let Some(worker) = workers.worker_of(watcher) else { continue };
        // They may have left, or closed the channel, meanwhile.
        let _ = worker.send_data(watcher, LABEL, false, json.clone().into()).await;
    }
}
