//! A client of the Chrome DevTools protocol: commands matched with their answers over one WebSocket for all tabs, and
//! each tab's console kept for error messages. The protocol: <https://chromedevtools.github.io/devtools-protocol/>.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

/// How long a command may take. Opening a tab takes seconds while other browsers start on two cores.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Console lines kept for each tab.
const CONSOLE_LINES: usize = 500;

type Answer = Result<Value, String>;
type Consoles = Arc<Mutex<HashMap<String, Vec<String>>>>;

struct Command {
    frame: Value,
    answer: oneshot::Sender<Answer>,
}

/// A connection to one browser; cheap to clone.
#[derive(Clone)]
pub(crate) struct DevTools {
    commands: mpsc::UnboundedSender<Command>,
    consoles: Consoles,
}

impl DevTools {
    /// Connects to the browser's own endpoint (`ws://…/devtools/browser/…`).
    pub(crate) async fn connect(url: &str) -> anyhow::Result<Self> {
        let (mut stream, _) = connect_async(url).await.with_context(|| format!("connecting to DevTools at {url}"))?;
        let (commands, mut queue) = mpsc::unbounded_channel::<Command>();
        let consoles = Consoles::default();
        let written = consoles.clone();
        tokio::spawn(async move {
            let mut pending: HashMap<u64, oneshot::Sender<Answer>> = HashMap::new();
            let mut last_id = 0;
            // Ends when either side is gone; pending commands then fail with their senders.
            loop {
                tokio::select! {
                    command = queue.recv() => {
                        let Some(Command { mut frame, answer }) = command else { break };
                        last_id += 1;
                        frame["id"] = last_id.into();
                        pending.insert(last_id, answer);
                        if stream.send(Message::text(frame.to_string())).await.is_err() {
                            break;
                        }
                    }
                    frame = stream.next() => {
                        let Some(Ok(frame)) = frame else { break };
                        let Message::Text(text) = frame else { continue };
                        let Ok(mut frame) = serde_json::from_str::<Value>(&text) else { continue };
                        match frame["id"].as_u64().and_then(|id| pending.remove(&id)) {
                            Some(answer) => {
                                let failed = frame["error"]["message"].as_str().map(str::to_owned);
                                let _ = answer.send(failed.map_or_else(|| Ok(frame["result"].take()), Err));
                            }
                            None => log(&written, &frame),
                        }
                    }
                }
            }
        });
        Ok(Self { commands, consoles })
    }

    /// Runs a command in a tab, or in the browser itself.
    pub(crate) async fn call(&self, session: Option<&str>, method: &str, params: Value) -> anyhow::Result<Value> {
        let mut frame = json!({ "method": method, "params": params });
        if let Some(session) = session {
            frame["sessionId"] = session.into();
        }
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command { frame, answer }).ok().with_context(|| format!("{method}: the browser is gone"))?;
        match tokio::time::timeout(ANSWER_TIMEOUT, answered).await {
            Ok(Ok(Ok(result))) => Ok(result),
            Ok(Ok(Err(message))) => bail!("{method}: {message}"),
            Ok(Err(_)) => bail!("{method}: the browser is gone"),
            Err(_) => bail!("{method}: no answer within {ANSWER_TIMEOUT:?}"),
        }
    }

    /// What a tab has written to its console, exceptions that nobody caught included.
    pub(crate) fn console(&self, session: &str) -> Vec<String> {
        let consoles = self.consoles.lock().unwrap_or_else(PoisonError::into_inner);
        consoles.get(session).cloned().unwrap_or_default()
    }
}

/// Keeps an event's line, if it is one for the console.
fn log(consoles: &Consoles, event: &Value) {
    let params = &event["params"];
    let line = match event["method"].as_str().unwrap_or_default() {
        "Runtime.consoleAPICalled" => {
            let arguments = params["args"].as_array().map(Vec::as_slice).unwrap_or_default();
            let words: Vec<String> = arguments.iter().map(readable).collect();
            format!("{}: {}", params["type"].as_str().unwrap_or("log"), words.join(" "))
        }
        "Runtime.exceptionThrown" => format!("uncaught: {}", exception(&params["exceptionDetails"])),
        "Log.entryAdded" => format!(
            "{}: {} {}",
            params["entry"]["level"].as_str().unwrap_or("log"),
            params["entry"]["text"].as_str().unwrap_or_default(),
            params["entry"]["url"].as_str().unwrap_or_default()
        ),
        "Inspector.targetCrashed" => "the tab has crashed".to_owned(),
        _ => return,
    };
    let session = event["sessionId"].as_str().unwrap_or_default().to_owned();
    let mut consoles = consoles.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = consoles.entry(session).or_default();
    lines.push(line);
    if lines.len() > CONSOLE_LINES {
        lines.remove(0);
    }
}

/// What an exception says, with its stack where it has one.
pub(crate) fn exception(details: &Value) -> String {
    let thrown = &details["exception"];
    let said = thrown["description"].as_str().map(str::to_owned).unwrap_or_else(|| readable(thrown));
    if said.is_empty() { details["text"].as_str().unwrap_or("an exception").to_owned() } else { said }
}

/// A `RemoteObject` as a person would write it.
fn readable(object: &Value) -> String {
    match (&object["value"], object["description"].as_str()) {
        (Value::String(text), _) => text.clone(),
        (Value::Null, Some(description)) => description.to_owned(),
        (Value::Null, None) => object["unserializableValue"].as_str().unwrap_or_default().to_owned(),
        (value, _) => value.to_string(),
    }
}
