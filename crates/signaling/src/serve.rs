//! What one request leads to: checks, hooks, the hub and the media side, in order. Runs in a task of its own for each request, so that a
//! slow media side holds up nobody but the socket that asked; an answer is sent exactly once.

use std::sync::Arc;

use crate::call::CallInput;
use crate::config::SignalingConfig;
use crate::hook_runner::{may_call, may_join, run};
use crate::hooks::Hooks;
use crate::hub::calls::random_id;
use crate::hub::rooms::Access;
use crate::hub::{HubHandle, Session};
use crate::media::MediaOffer;
use crate::media_rooms::GuardedMedia;
use crate::notes::OpenNotes;
use crate::protocol::{
    CallAdmit, CallInvite, CallMute, CallPlace, CallUser, ErrorCode, ImageReact, NoteRequest, Offered, ReactionSend,
    Request, RoomJoin, RoomMute, RoomOffer, RoomPin, RoomView, RoomWatch, UserRef, WireError,
};
use crate::rooms::Newcomer;

/// What every session works with.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) config: Arc<SignalingConfig>,
    pub(crate) hub: HubHandle,
    pub(crate) media: GuardedMedia,
    pub(crate) hooks: Hooks,
}

/// `{}`
#[derive(serde::Serialize)]
struct Nothing {}

/// `{call}`
#[derive(serde::Serialize)]
pub(crate) struct WithCall {
    pub(crate) call: crate::protocol::CallInfo,
}

/// `{image}`
#[derive(serde::Serialize)]
struct WithImage {
    image: serde_json::Value,
}

/// `{note}`
#[derive(serde::Serialize)]
struct WithNote {
    note: serde_json::Value,
}

/// Serves one request and answers it.
pub(crate) async fn serve(services: Services, session: Arc<Session>, re: u64, request: Request) {
    let failed = match request {
        Request::Hello(_) => Err(WireError::new(ErrorCode::Conflict, "this socket has said hello already")),
        Request::Ping => answer(&session, re, Ok(Nothing {})),
        Request::CallPlace(place) => services.place(&session, re, place).await,
        Request::CallStatus(about) => {
            let user = session.party.user.clone();
            let status = services.hub.ask(move |hub, now| hub.call_status(now, &user, &about.call)).await;
            answer(&session, re, flat(status).map(|call| WithCall { call }))
        }
        Request::CallAccept(about) => services.accept(&session, re, about.call).await,
        Request::CallRingAck(about) => {
            let party = session.party.clone();
            services.call(&session, re, about.call, CallInput::RingAck(party), false).await
        }
        Request::CallDecline(decline) => {
            let input = CallInput::Decline(session.party.clone(), decline.reason);
            services.call(&session, re, decline.call, input, false).await
        }
        Request::CallIgnore(about) => {
            let party = session.party.clone();
            services.call(&session, re, about.call, CallInput::Ignore(party), false).await
        }
        Request::CallCancel(about) => {
            let party = session.party.clone();
            services.call(&session, re, about.call, CallInput::Cancel(party), false).await
        }
        Request::CallHangup(about) => {
            let party = session.party.clone();
            services.call(&session, re, about.call, CallInput::Hangup(party), false).await
        }
        Request::CallInvite(invite) => services.invite(&session, re, invite).await,
        Request::CallKnock(about) => services.knock(&session, re, about.call).await,
        Request::CallAdmit(CallAdmit { call, user, admitted }) => {
            let input = CallInput::Admit(session.party.clone(), user, admitted);
            services.call(&session, re, call, input, false).await
        }
        Request::CallRemove(CallUser { call, user }) => {
            let input = CallInput::Remove(session.party.clone(), user);
            services.call(&session, re, call, input, false).await
        }
        Request::CallMute(mute) => services.mute_other(&session, re, mute).await,
        Request::CallEnd(about) => {
            let party = session.party.clone();
            services.call(&session, re, about.call, CallInput::EndForAll(party), false).await
        }
        Request::RoomWatch(watch) => services.watch(&session, re, watch).await,
        Request::RoomJoin(join) => services.join(&session, re, join).await,
        Request::RoomOffer(offer) => services.offer(&session, re, offer).await,
        Request::RoomLeave(leave) => {
            let asking = session.clone();
            let left = services.hub.ask(move |hub, now| {
                let left = hub.leave(now, &asking, &leave.room);
                asking.outbox.answer(re, &left.map(|()| Nothing {}));
            });
            left.await
        }
        Request::RoomMute(mute) => services.mute(&session, re, mute).await,
        Request::RoomView(view) => services.view(&session, re, view).await,
        Request::RoomPin(pin) => services.pin(&session, re, pin).await,
        Request::ReactionSend(send) => {
            services.reaction(&session, send).await.and_then(|()| answer(&session, re, Ok(Nothing {})))
        }
        Request::ThreadView(view) => {
            let asking = session.clone();
            let set = services.hub.ask(move |hub, _| hub.set_view(&asking, view.thread)).await;
            answer(&session, re, set.map(|()| Nothing {}))
        }
        Request::Note(request) => {
            services.note(user_of(&session), request).await.and_then(|note| answer(&session, re, Ok(WithNote { note })))
        }
        Request::ImageReact(react) => services
            .image_react(user_of(&session), react)
            .await
            .and_then(|image| answer(&session, re, Ok(WithImage { image }))),
    };
    if let Err(error) = failed {
        session.outbox.answer::<Nothing>(re, &Err(error));
    }
}

/// Answers with `ok`, or hands the error on to be answered.
fn answer<T: serde::Serialize>(session: &Session, re: u64, result: Result<T, WireError>) -> Result<(), WireError> {
    session.outbox.answer(re, &Ok(result?));
    Ok(())
}

pub(crate) fn flat<T>(result: Result<Result<T, WireError>, WireError>) -> Result<T, WireError> {
    result.and_then(|result| result)
}

fn require_call_grant(session: &Session) -> Result<(), WireError> {
    if session.grants.call {
        return Ok(());
    }
    Err(WireError::new(ErrorCode::Forbidden, "the token has no call grant"))
}

impl Services {
    async fn place(&self, session: &Arc<Session>, re: u64, place: CallPlace) -> Result<(), WireError> {
        require_call_grant(session)?;
        let caller = session.party.user.clone();
        for callee in place.to.clone() {
            let (from, to) = (caller.clone(), callee.clone());
            flat(self.hub.ask(move |hub, now| hub.check_place(now, &from, &to)).await)?;
            may_call(&self.hooks, self.config.hook_limit, &caller, &callee, place.kind).await?;
        }
        let asking = session.clone();
        let placed = self.hub.ask(move |hub, now| {
            // Answered in the hub, so that no event about the call comes before the caller knows it.
            let call = hub.place(now, &asking, place).map(|call| WithCall { call });
            asking.outbox.answer(re, &call);
        });
        placed.await
    }

    async fn invite(&self, session: &Arc<Session>, re: u64, invite: CallInvite) -> Result<(), WireError> {
        require_call_grant(session)?;
        let CallInvite { call, to } = invite;
        let (user, about) = (session.party.user.clone(), call.clone());
        let kind = flat(self.hub.ask(move |hub, now| hub.call_status(now, &user, &about)).await)?.kind;
        for callee in &to {
            may_call(&self.hooks, self.config.hook_limit, &session.party.user, callee, kind).await?;
        }
        let asking = session.clone();
        let invited = self.hub.ask(move |hub, now| {
            let call = hub.invite(now, &asking, &call, to).map(|call| WithCall { call });
            asking.outbox.answer(re, &call);
        });
        invited.await
    }

    async fn knock(&self, session: &Arc<Session>, re: u64, call: String) -> Result<(), WireError> {
        require_call_grant(session)?;
        let asking = session.clone();
        flat(self.hub.ask(move |hub, now| hub.knock(now, &asking, &call)).await)?;
        answer(session, re, Ok(Nothing {}))
    }

    /// The host mutes somebody else, who may unmute themselves.
    async fn mute_other(&self, session: &Arc<Session>, re: u64, mute: CallMute) -> Result<(), WireError> {
        require_call_grant(session)?;
        let CallMute { call, user, source } = mute;
        let asking = session.clone();
        let about = self.hub.ask(move |hub, _| hub.whom_to_mute(&asking, &call, &user, source));
        let (room, participant) = flat(about.await)?;
        let (of_room, who) = (room.clone(), participant.clone());
        let run = self.media.run("muting", |media| async move { media.set_muted(&of_room, &who, source, true).await });
        run.await?;
        let asking = session.clone();
        let told = self.hub.ask(move |hub, now| {
            asking.outbox.answer(re, &Ok(Nothing {}));
            hub.muted_by_host(now, &room, &participant, source);
        });
        told.await
    }

    /// Who is in a room, for somebody outside who may go in.
    async fn watch(&self, session: &Arc<Session>, re: u64, watch: RoomWatch) -> Result<(), WireError> {
        let RoomWatch { room, on } = watch;
        if !session.grants.room(&room) {
            return Err(WireError::new(ErrorCode::Forbidden, "the token does not grant this room"));
        }
        may_join(&self.hooks, self.config.hook_limit, &session.party.user, &room).await?;
        let asking = session.clone();
        let watched = self.hub.ask(move |hub, _| {
            let presence = hub.watch(&asking, &room, on);
            asking.outbox.answer(re, &presence);
        });
        watched.await
    }

    /// Accepts a call; one that has ended just now, while its caller is leaving a note, is called back.
    async fn accept(&self, session: &Arc<Session>, re: u64, call: String) -> Result<(), WireError> {
        require_call_grant(session)?;
        let (user, late) = (session.party.user.clone(), call.clone());
        match self.hub.ask(move |hub, _| hub.call_back(&user, &late)).await? {
            Some(back) => self.place(session, re, back).await,
            None => self.call(session, re, call, CallInput::Accept(session.party.clone()), true).await,
        }
    }

    /// What there is of notes for a user whose session begins. A hook that fails costs them the list, not the session.
    pub(crate) async fn open_notes(&self, user: &str) -> Option<OpenNotes> {
        let (notes, user) = (self.hooks.notes.clone()?, user.to_owned());
        match run(self.config.hook_limit, async move { notes.open(&user).await }).await {
            Ok(open) => Some(open),
            Err(fault) => {
                tracing::error!(fault, "the notes of a user cannot be listed");
                None
            }
        }
    }

    async fn note(&self, user: UserRef, request: NoteRequest) -> Result<serde_json::Value, WireError> {
        let no_notes = || WireError::new(ErrorCode::NotFound, "this server keeps no notes");
        let notes = self.hooks.notes.clone().ok_or_else(no_notes)?;
        // Not ended where it takes long: a note that is being sent is sent.
        let done = tokio::spawn(async move { notes.handle(&user, request).await }).await;
        done.map_err(|_| WireError::new(ErrorCode::Internal, "the request failed"))?
    }

    async fn image_react(&self, user: UserRef, react: ImageReact) -> Result<serde_json::Value, WireError> {
        let no_images = || WireError::new(ErrorCode::NotFound, "there are no images on this server");
        let images = self.hooks.images.clone().ok_or_else(no_images)?;
        let done = tokio::spawn(async move { images.react(&user, &react).await }).await;
        done.map_err(|_| WireError::new(ErrorCode::Internal, "the request failed"))?
    }

    async fn call(
        &self,
        session: &Arc<Session>,
        re: u64,
        call: String,
        input: CallInput,
        wants_call: bool,
    ) -> Result<(), WireError> {
        require_call_grant(session)?;
        let asking = session.clone();
        let done = self.hub.ask(move |hub, now| match hub.call_input(now, &asking, &call, input) {
            Ok(call) if wants_call => asking.outbox.answer(re, &Ok(WithCall { call })),
            Ok(_) => asking.outbox.answer(re, &Ok(Nothing {})),
            Err(error) => asking.outbox.answer::<Nothing>(re, &Err(error)),
        });
        done.await
    }

    async fn join(&self, session: &Arc<Session>, re: u64, join: RoomJoin) -> Result<(), WireError> {
        let RoomJoin { room, offer, tracks } = join;
        let (asking, name) = (session.clone(), room.clone());
        let access = flat(self.hub.ask(move |hub, _| hub.access(&asking, &name)).await)?;
        if access == Access::Grant {
            if !session.grants.room(&room) {
                return Err(WireError::new(ErrorCode::Forbidden, "neither a call nor the token admits to this room"));
            }
            may_join(&self.hooks, self.config.hook_limit, &session.party.user, &room).await?;
        }
        let participant = random_id("p_");
        let newcomer = Newcomer {
            participant: participant.clone(),
            party: session.party.clone(),
            name: session.name.clone(),
            tracks: tracks.clone(),
        };
        let (asking, name) = (session.clone(), room.clone());
        let opened = flat(self.hub.ask(move |hub, now| hub.reserve(now, &asking, &name, access, newcomer)).await)?;

        // From here on the place must be taken or given up, and the media side told if nothing comes of it.
        let taken_in = match opened.await {
            Ok(()) => {
                let offer = MediaOffer { sdp: offer, tracks };
                let (room, participant) = (room.clone(), participant.clone());
                self.media.run("joining", |media| async move { media.join(&room, &participant, offer).await }).await
            }
            Err(error) => Err(error),
        };
        let committed = match taken_in {
            Ok(media) => {
                let (asking, room, participant) = (session.clone(), room.clone(), participant.clone());
                flat(self.hub.ask(move |hub, now| hub.commit(now, &asking, re, &room, participant, media)).await)
            }
            Err(error) => {
                let (room, participant) = (room.clone(), participant.clone());
                self.hub.ask(move |hub, now| hub.abandon(now, &room, &participant)).await.ok();
                Err(error)
            }
        };
        if committed.is_err() {
            self.media.leave(room, participant);
        }
        committed
    }

    async fn offer(&self, session: &Arc<Session>, re: u64, offer: RoomOffer) -> Result<(), WireError> {
        let RoomOffer { room, offer, tracks } = offer;
        let participant = self.participant(session, &room).await?;
        let claims = tracks.clone();
        let media = {
            let (room, participant) = (room.clone(), participant.clone());
            let offer = MediaOffer { sdp: offer, tracks };
            self.media.run("the offer", |media| async move { media.offer(&room, &participant, offer).await }).await?
        };
        session.outbox.answer(re, &Ok(Offered { answer: media.answer, slots: media.slots }));
        // Answered already; a hub that is gone has nobody left to tell.
        let _ = self.hub.ask(move |hub, now| hub.set_tracks(now, &room, &participant, &claims)).await;
        Ok(())
    }

    async fn mute(&self, session: &Arc<Session>, re: u64, mute: RoomMute) -> Result<(), WireError> {
        let RoomMute { room, source, muted } = mute;
        let (asking, name) = (session.clone(), room.clone());
        let participant = flat(self.hub.ask(move |hub, _| hub.publisher(&asking, &name, source)).await)?;
        {
            let (room, participant) = (room.clone(), participant.clone());
            let run = self
                .media
                .run("muting", |media| async move { media.set_muted(&room, &participant, source, muted).await });
            run.await?;
        }
        let asking = session.clone();
        let told = self.hub.ask(move |hub, now| {
            asking.outbox.answer(re, &Ok(Nothing {}));
            hub.set_muted(now, &room, &participant, source, muted);
        });
        told.await
    }

    async fn view(&self, session: &Arc<Session>, re: u64, view: RoomView) -> Result<(), WireError> {
        let RoomView { room, view } = view;
        let participant = self.participant(session, &room).await?;
        self.media.run("the view", |media| async move { media.set_view(&room, &participant, view).await }).await?;
        answer(session, re, Ok(Nothing {}))
    }

    async fn pin(&self, session: &Arc<Session>, re: u64, pin: RoomPin) -> Result<(), WireError> {
        let RoomPin { room, participant: pinned } = pin;
        let participant = self.participant(session, &room).await?;
        let run = self
            .media
            .run("pinning", |media| async move { media.set_pin(&room, &participant, pinned.as_deref()).await });
        run.await?;
        answer(session, re, Ok(Nothing {}))
    }

    async fn reaction(&self, session: &Arc<Session>, send: ReactionSend) -> Result<(), WireError> {
        let no_reactions = || WireError::new(ErrorCode::NotFound, "this server takes no reactions");
        let reactions = self.hooks.reactions.clone().ok_or_else(no_reactions)?;
        let participant = self.participant(session, &send.room).await?;
        let handled = async move { reactions.handle(&send.room, &participant, send.message).await };
        let silent = |_| Err(WireError::new(ErrorCode::Unavailable, "reactions do not respond"));
        run(self.config.hook_limit, handled).await.unwrap_or_else(silent)
    }

    async fn participant(&self, session: &Arc<Session>, room: &str) -> Result<String, WireError> {
        let (asking, room) = (session.clone(), room.to_owned());
        flat(self.hub.ask(move |hub, _| hub.participant(&asking, &room)).await)
    }
}

/// Who asks, with their name.
fn user_of(session: &Session) -> UserRef {
    UserRef { user: session.party.user.clone(), name: Some(session.name.clone()) }
}
