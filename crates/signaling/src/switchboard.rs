//! The registry of users, their live devices and their calls, as a state machine without clock, socket or random number. It decides what
//! concerns more than one call: who is busy, what happens when two people ring each other at once, which other calls end when
//! one becomes active, and how often somebody may ring. One call's own course is [`call`](crate::call)'s.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::call::{Call, CallInput, CallOutput, CallTiming, MAX_PEOPLE, NewCall, NewCallee};
use crate::kept_call::KeptCall;
use crate::protocol::{Availability, CallKind, CallState, ErrorCode, Party, Person, WireError};
use crate::rate::{KeyedBuckets, Rate};
use crate::timers::Timers;

/// The switchboard's limits and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwitchboardConfig {
    /// How long calls wait for what.
    pub timing: CallTiming,
    /// How often a user may ring anybody.
    pub caller_rate: Rate,
    /// How often a user may ring the same user.
    pub pair_rate: Rate,
    /// The most devices of one user at once.
    pub max_devices: usize,
    /// How long the status of a call that is over can be asked; a woken device asks late.
    pub keep_ended: Duration,
    /// Whether a user who is in a call rings nevertheless; whoever accepts the second call leaves the first. Otherwise they are busy.
    pub call_waiting: bool,
}

impl Default for SwitchboardConfig {
    fn default() -> Self {
        Self {
            timing: CallTiming::default(),
            caller_rate: Rate { burst: 10, every: Duration::from_secs(3) },
            pair_rate: Rate { burst: 5, every: Duration::from_secs(10) },
            max_devices: 16,
            keep_ended: Duration::from_secs(120),
            call_waiting: false,
        }
    }
}

/// The most calls that are over and kept for [`SwitchboardConfig::keep_ended`]; the oldest go first.
const MAX_ENDED: usize = 10_000;

/// What a user asks to place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceCall {
    /// An unguessable id, to be used if a new call comes of it.
    pub id: String,
    /// An unguessable room, likewise.
    pub room: String,
    /// The caller's device; must be live.
    pub caller: Party,
    /// Whom to ring; more than one makes a group call.
    pub callees: Vec<String>,
    /// Voice or video.
    pub kind: CallKind,
    /// The embedding app's conversation; derived from the pair where absent.
    pub thread: Option<String>,
    /// Now, in Unix milliseconds.
    pub placed_at: u64,
}

#[derive(Debug, Default)]
struct User {
    name: Option<String>,
    devices: BTreeSet<String>,
    /// Calls that are not over.
    calls: Vec<String>,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Switchboard {
    config: SwitchboardConfig,
    users: BTreeMap<String, User>,
    calls: HashMap<String, Call>,
    timers: Timers,
    /// Calls that are over, and until when they are kept.
    ended: VecDeque<(Instant, String)>,
    caller_buckets: KeyedBuckets<String>,
    pair_buckets: KeyedBuckets<(String, String)>,
    outputs: VecDeque<(String, CallOutput)>,
    /// Users who have come, gone, or changed since somebody asked.
    people_changed: BTreeSet<String>,
}

impl Switchboard {
    /// Nobody is there yet.
    pub fn new(config: SwitchboardConfig) -> Self {
        Self {
            config,
            users: BTreeMap::new(),
            calls: HashMap::new(),
            timers: Timers::default(),
            ended: VecDeque::new(),
            caller_buckets: KeyedBuckets::new(config.caller_rate),
            pair_buckets: KeyedBuckets::new(config.pair_rate),
            outputs: VecDeque::new(),
            people_changed: BTreeSet::new(),
        }
    }

    /// A device has a live session, for the first time or again. What rings for the user rings there too.
    ///
    /// # Errors
    /// `unavailable` where the user has too many devices.
    pub fn device_up(&mut self, now: Instant, party: &Party, name: &str) -> Result<(), WireError> {
        self.handle_timeout(now);
        let user = self.users.entry(party.user.clone()).or_default();
        if !user.devices.contains(&party.device) && user.devices.len() >= self.config.max_devices {
            let message = format!("at most {} devices of one user at once", self.config.max_devices);
            return Err(WireError::new(ErrorCode::Unavailable, message));
        }
        if user.devices.is_empty() || user.name.as_deref() != Some(name) {
            self.people_changed.insert(party.user.clone());
        }
        user.devices.insert(party.device.clone());
        user.name = Some(name.to_owned());
        for call in user.calls.clone() {
            self.tell(now, &call, CallInput::DeviceUp(party.clone()));
        }
        Ok(())
    }

    /// A device's session is gone.
    pub fn device_gone(&mut self, now: Instant, party: &Party) {
        self.handle_timeout(now);
        let Some(user) = self.users.get_mut(&party.user) else { return };
        if !user.devices.remove(&party.device) {
            return;
        }
        if user.devices.is_empty() {
            self.people_changed.insert(party.user.clone());
        }
        for call in user.calls.clone() {
            self.tell(now, &call, CallInput::DeviceGone(party.clone()));
        }
        self.forget_if_idle(&party.user);
    }

    /// Whether a [`place`](Self::place) would go through the rate limits now. Takes nothing from them.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait.
    pub fn check_rate(&self, now: Instant, caller: &str, callee: &str) -> Result<(), WireError> {
        let pair = (caller.to_owned(), callee.to_owned());
        match self.caller_buckets.wait(now, &pair.0).max(self.pair_buckets.wait(now, &pair)) {
            Duration::ZERO => Ok(()),
            wait => Err(WireError::rate_limited("too many calls placed; wait a little", wait)),
        }
    }

    /// Places a call, and returns its id. With glare (the callee is ringing this user) it is the callee's call, accepted; who rings a group in whose
    /// thread a group call is going on that concerns them, joins that. A callee in another call is busy. What the caller was holding with a device that has vanished ends first.
    ///
    /// # Errors
    /// `bad_request` for a call to oneself or to nobody, `conflict` while the caller holds another call, `rate_limited`.
    pub fn place(&mut self, now: Instant, place: PlaceCall) -> Result<String, WireError> {
        self.handle_timeout(now);
        let PlaceCall { id, room, caller, mut callees, kind, thread, placed_at } = place;
        let mut seen = BTreeSet::new();
        callees.retain(|callee| seen.insert(callee.clone()));
        if callees.is_empty() || callees.len() >= MAX_PEOPLE {
            let message = format!("to: 1 to {} users are required", MAX_PEOPLE - 1);
            return Err(WireError::new(ErrorCode::BadRequest, message));
        }
        if let Some(index) = callees.iter().position(|callee| *callee == caller.user) {
            return Err(WireError::new(ErrorCode::BadRequest, format!("to[{index}]: one cannot call oneself")));
        }
        self.drop_adrift(now, &caller.user);
        if self.in_call(&caller.user) {
            return Err(WireError::new(ErrorCode::Conflict, "already in a call; hang up first"));
        }
        if let Some(there) = self.already_there(&caller.user, &callees, thread.as_deref()) {
            self.handle(now, &there, CallInput::Accept(caller))?;
            return Ok(there);
        }
        if self.calls_of(&caller.user).any(|call| call.has_member(&caller.user)) {
            return Err(WireError::new(ErrorCode::Conflict, "already placing a call; cancel it first"));
        }
        callees.iter().try_for_each(|callee| self.check_rate(now, &caller.user, callee))?;
        // All have a token, as was checked.
        let _ = self.caller_buckets.take(now, caller.user.clone());
        let caller_name = self.name(&caller.user).unwrap_or(&caller.user).to_owned();
        let thread = thread.unwrap_or_else(|| match callees.as_slice() {
            [callee] => pair_thread(&caller.user, callee),
            // Who is in a group may change; a conversation of its own is the embedder's to name.
            _ => format!("call:{id}"),
        });
        let callees = self.new_callees(now, &caller.user, callees);
        for user in callees.iter().map(|callee| &callee.user).chain([&caller.user]) {
            self.users.entry(user.clone()).or_default().calls.push(id.clone());
        }
        let new = NewCall { id: id.clone(), kind, thread, room, caller, caller_name, callees, placed_at };
        let call = Call::place(now, self.config.timing, new);
        self.calls.insert(id.clone(), call);
        self.settle(now, &id);
        Ok(id)
    }

    /// Goes on with a call of a former process, before anybody is there: see [`Call::restore`].
    pub fn restore(&mut self, now: Instant, kept: KeptCall, talked: Duration, away: Duration) {
        let call = Call::restore(now, self.config.timing, kept, talked, away);
        let id = call.id().to_owned();
        for user in call.callees().chain([call.caller().user.as_str()]) {
            self.users.entry(user.to_owned()).or_default().calls.push(id.clone());
        }
        self.calls.insert(id.clone(), call);
        self.settle(now, &id);
    }

    /// Rings more people, for a member of a call.
    ///
    /// # Errors
    /// `not_found` where there is no such call, `rate_limited`, otherwise what the [call](Call::handle) says.
    pub fn invite(&mut self, now: Instant, id: &str, by: Party, mut callees: Vec<String>) -> Result<(), WireError> {
        self.handle_timeout(now);
        let mut seen = BTreeSet::new();
        callees.retain(|callee| seen.insert(callee.clone()));
        if !self.calls.get(id).is_some_and(|call| call.concerns(&by.user)) {
            return Err(Call::not_found());
        }
        callees.iter().try_for_each(|callee| self.check_rate(now, &by.user, callee))?;
        let callees = self.new_callees(now, &by.user, callees);
        let users: Vec<String> = callees.iter().map(|callee| callee.user.clone()).collect();
        self.handle(now, id, CallInput::Invite(by, callees))?;
        self.enlist(id, users);
        Ok(())
    }

    /// A call is among those of these users, if it is not over.
    fn enlist(&mut self, id: &str, users: Vec<String>) {
        if self.calls.get(id).is_none_or(|call| call.state() == CallState::Ended) {
            return;
        }
        for user in users {
            let calls = &mut self.users.entry(user).or_default().calls;
            if !calls.iter().any(|call| call == id) {
                calls.push(id.to_owned());
            }
        }
    }

    /// Those who are to be rung as the call needs to know them; each costs the caller a token of the pair's.
    fn new_callees(&mut self, now: Instant, caller: &str, callees: Vec<String>) -> Vec<NewCallee> {
        let mut new = Vec::with_capacity(callees.len());
        for user in callees {
            let _ = self.pair_buckets.take(now, (caller.to_owned(), user.clone()));
            let known = self.users.get(&user);
            new.push(NewCallee {
                name: known.and_then(|user| user.name.clone()),
                devices: known.map(|user| user.devices.iter().cloned().collect()).unwrap_or_default(),
                busy: !self.config.call_waiting && self.in_call(&user),
                user,
            });
        }
        new
    }

    /// Passes an input to a call.
    ///
    /// # Errors
    /// `not_found` where there is no such call, otherwise what the [call](Call::handle) says.
    pub fn handle(&mut self, now: Instant, call: &str, input: CallInput) -> Result<(), WireError> {
        self.handle_timeout(now);
        let found = self.calls.get_mut(call).ok_or_else(Call::not_found)?;
        let (was_ringing, before) = (found.state() == CallState::Ringing, found.members().cloned().collect::<Vec<_>>());
        let admitted = match &input {
            CallInput::Admit(_, user, true) => Some(user.clone()),
            _ => None,
        };
        let result = found.handle(now, input);
        // Whoever rings others is in no other call; whoever has just come in is now in this one.
        let came = |party: &&Party| was_ringing || !before.contains(*party);
        let newly_in: Vec<String> = match found.state() {
            CallState::Active => found.members().filter(came).map(|party| party.user.clone()).collect(),
            _ => Vec::new(),
        };
        self.settle(now, call);
        if let Some(user) = admitted.filter(|_| result.is_ok()) {
            self.enlist(call, vec![user]);
        }
        // First who has just accepted: what they were placing themselves is cancelled, not refused by somebody.
        for user in newly_in.into_iter().rev() {
            self.end_rivals(now, call, &user);
        }
        result
    }

    /// What is to be done next about which call.
    pub fn poll_output(&mut self) -> Option<(String, CallOutput)> {
        self.outputs.pop_front()
    }

    /// Whether [`people`](Self::people) may differ from the last time the changes were taken.
    pub fn has_people_changed(&self) -> bool {
        !self.people_changed.is_empty()
    }

    /// Users who have come, gone, or changed since the last time this was asked.
    pub fn take_people_changed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.people_changed)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let call = self.timers.next();
        let ended = self.ended.front().map(|(at, _)| *at);
        [call, ended].into_iter().flatten().min()
    }

    /// Ends the calls whose time is up, in order of their deadlines, and forgets old ones.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(id) = self.timers.take_due(now) {
            if let Some(call) = self.calls.get_mut(&id) {
                call.handle_timeout(now);
            }
            self.settle(now, &id);
        }
        while let Some((until, call)) = self.ended.front()
            && (*until <= now || self.ended.len() > MAX_ENDED)
        {
            self.calls.remove(call);
            self.ended.pop_front();
        }
    }

    /// A call, while it is kept.
    pub fn call(&self, id: &str) -> Option<&Call> {
        self.calls.get(id)
    }

    /// The calls of a user that are not over.
    pub fn calls_of<'a>(&'a self, user: &str) -> impl Iterator<Item = &'a Call> + use<'a> {
        self.users.get(user).into_iter().flat_map(|user| &user.calls).filter_map(|id| self.call(id))
    }

    /// All calls that are not over.
    pub fn live_calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.values().filter(|call| call.state() != CallState::Ended)
    }

    /// Everyone with a live device, by id.
    pub fn people(&self) -> impl Iterator<Item = Person> + '_ {
        self.users.keys().filter_map(|id| self.person(id))
    }

    /// A user with a live device.
    pub fn person(&self, id: &str) -> Option<Person> {
        let user = self.users.get(id).filter(|user| !user.devices.is_empty())?;
        Some(Person {
            user: id.to_owned(),
            name: user.name.clone().unwrap_or_else(|| id.to_owned()),
            state: if self.in_call(id) { Availability::InCall } else { Availability::Available },
        })
    }

    /// The live devices of a user.
    pub fn devices(&self, user: &str) -> impl Iterator<Item = &str> {
        self.users.get(user).into_iter().flat_map(|user| user.devices.iter().map(String::as_str))
    }

    /// Whether the user is in an active call.
    pub fn in_call(&self, user: &str) -> bool {
        self.calls_of(user).any(|call| call.state() == CallState::Active && call.has_member(user))
    }

    fn name(&self, user: &str) -> Option<&str> {
        self.users.get(user).and_then(|user| user.name.as_deref())
    }

    /// A call that whoever places one wants to be in already: the callee is ringing them just now, or the group is in a call in this thread.
    fn already_there(&self, caller: &str, callees: &[String], thread: Option<&str>) -> Option<String> {
        let there = |call: &&Call| match callees {
            [callee] => {
                call.state() == CallState::Ringing
                    && !call.is_group()
                    && call.caller().user == *callee
                    && call.rings(caller)
                    && !call.is_adrift(callee)
            }
            _ => {
                let joinable = call.state() == CallState::Active || call.rings(caller);
                call.is_group() && joinable && !call.has_member(caller) && thread == Some(call.thread())
            }
        };
        self.calls_of(caller).find(there).map(|call| call.id().to_owned())
    }

    /// Ends what a user holds with a device that has vanished: they have come back on another one and call anew.
    fn drop_adrift(&mut self, now: Instant, user: &str) {
        let adrift: Vec<_> =
            self.calls_of(user).filter(|call| call.is_adrift(user)).map(|call| call.id().to_owned()).collect();
        for call in adrift {
            self.give_up(now, &call, user);
        }
    }

    /// A user who has come into a call is in no other, and without call waiting none rings them.
    fn end_rivals(&mut self, now: Instant, call: &str, user: &str) {
        let waits = self.config.call_waiting;
        let rival = |rival: &&Call| rival.id() != call && (rival.has_member(user) || rival.rings(user) && !waits);
        let rivals: Vec<_> = self.calls_of(user).filter(rival).map(|rival| rival.id().to_owned()).collect();
        for rival in rivals {
            self.give_up(now, &rival, user);
        }
    }

    /// Takes a user out of a call that is not over: hangs up, cancels, or is busy, whichever applies.
    fn give_up(&mut self, now: Instant, id: &str, user: &str) {
        let Some(call) = self.call(id) else { return };
        let party = Party { user: user.to_owned(), device: call.caller().device.clone() };
        let input = match call.state() {
            CallState::Active if call.has_member(user) => CallInput::Hangup(party),
            CallState::Ringing if call.has_member(user) => CallInput::Cancel(party),
            _ => CallInput::CalleeBusy(user.to_owned()),
        };
        self.tell(now, id, input);
    }

    /// Passes an input that a call cannot refuse, or whose refusal does not matter.
    fn tell(&mut self, now: Instant, id: &str, input: CallInput) {
        if let Some(call) = self.calls.get_mut(id) {
            let _ = call.handle(now, input);
            self.settle(now, id);
        }
    }

    /// Takes over what a call that was touched has to say: outputs, timer, end.
    fn settle(&mut self, now: Instant, id: &str) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let (mut over, mut moved) = (false, false);
        while let Some(output) = call.poll_output() {
            moved |= matches!(output, CallOutput::Active(_) | CallOutput::Joined(_) | CallOutput::Left(..));
            over |= matches!(output, CallOutput::Ended { .. });
            self.outputs.push_back((id.to_owned(), output));
        }
        self.timers.set(id, call.poll_timeout());
        if !(moved || over) {
            return;
        }
        let parties: Vec<String> = call.callees().chain([call.caller().user.as_str()]).map(str::to_owned).collect();
        self.people_changed.extend(parties.iter().cloned());
        if over {
            self.ended.push_back((now + self.config.keep_ended, id.to_owned()));
            for user in parties {
                if let Some(user) = self.users.get_mut(&user) {
                    user.calls.retain(|call| call != id);
                }
                self.forget_if_idle(&user);
            }
        }
    }

    fn forget_if_idle(&mut self, user: &str) {
        if self.users.get(user).is_some_and(|user| user.devices.is_empty() && user.calls.is_empty()) {
            self.users.remove(user);
        }
    }
}

/// The thread of a pair: the same for both, and different for different pairs whatever characters are in their ids.
fn pair_thread(a: &str, b: &str) -> String {
    let escape = |id: &str| id.replace('%', "%25").replace(':', "%3A");
    let (first, second) = if a <= b { (a, b) } else { (b, a) };
    format!("direct:{}:{}", escape(first), escape(second))
}
