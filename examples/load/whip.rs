//! Any server that takes WHIP (RFC 9725) and WHEP: an offer by HTTP, an answer in return, and a resource to delete. Ours is one of them.

use anyhow::Context;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Method, Url};
use ringback_transport::dtls::Certificate;
use ringback_transport::ice::IceCredentials;

use crate::Arguments;
use crate::join::login;
use crate::offer::{Answer, Lines};
use crate::peer::Setup;
use crate::target::room_name;

/// The two endpoints.
pub(crate) struct Whip {
    http: reqwest::Client,
    /// Where `{room}` stands for the room's name.
    publish: String,
    play: String,
    bearer: Option<String>,
    certificate: Certificate,
}

impl Whip {
    fn new(publish: String, play: String, bearer: Option<String>) -> anyhow::Result<Self> {
        Ok(Self { http: reqwest::Client::new(), publish, play, bearer, certificate: Certificate::generate()? })
    }

    /// The server that the arguments name; `None`: they name none.
    pub(crate) fn elsewhere(arguments: &Arguments) -> anyhow::Result<Option<Self>> {
        let (Some(publish), Some(play)) = (&arguments.whip_url, &arguments.whep_url) else { return Ok(None) };
        Self::new(publish.clone(), play.clone(), arguments.bearer.clone()).map(Some)
    }

    /// Our example server's.
    pub(crate) async fn ours(host: &str) -> anyhow::Result<Self> {
        let room = format!("http://{host}/v1/rooms/{{room}}");
        let token = login(host, "encoder").await?;
        Self::new(format!("{room}/whip"), format!("{room}/whep"), Some(token))
    }

    /// Publishes what these lines offer, or plays; the resource.
    pub(crate) async fn join(&self, room: usize, lines: Lines) -> anyhow::Result<(String, Setup)> {
        let publishes = lines.microphone || lines.camera;
        let endpoint = if publishes { &self.publish } else { &self.play }.replace("{room}", &room_name(room));
        let endpoint = Url::parse(&endpoint).with_context(|| format!("{endpoint:?} is no URL"))?;
        let local = IceCredentials::random();
        let offer = lines.offer(&local, &self.certificate);
        let request = self.request(Method::POST, endpoint.clone()).header(CONTENT_TYPE, "application/sdp").body(offer);
        let response = request.send().await?.error_for_status()?;
        let resource = response.headers().get(LOCATION).context("no Location")?.to_str()?;
        let resource = endpoint.join(resource)?.to_string();
        let answer = Answer::parse(&response.text().await?)?;
        Ok((resource, Setup { local, certificate: self.certificate.clone(), answer }))
    }

    pub(crate) async fn leave(&self, resource: &str) -> anyhow::Result<()> {
        self.request(Method::DELETE, Url::parse(resource)?).send().await?.error_for_status()?;
        Ok(())
    }

    fn request(&self, method: Method, url: Url) -> reqwest::RequestBuilder {
        let request = self.http.request(method, url);
        match &self.bearer {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}
