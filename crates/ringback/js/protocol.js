/**
 * The shapes of docs/protocol.md as types. No code: frames are plain JSON.
 *
 * @typedef {"voice"|"video"} CallKind
 * @typedef {"microphone"|"camera"|"screen"} Source
 * @typedef {"audio"|"video"} MediaKind
 * @typedef {"answered"|"declined"|"no_answer"|"busy"|"unreachable"|"cancelled"|"failed"} Outcome
 * @typedef {"queued"|"ring_acked"|"accepted"|"declined"|"ignored"|"busy"|"unreachable"|"timed_out"|"answered_elsewhere"|"cancelled"|"left"|"removed"} LegState
 *
 * @typedef {{user: string, name: string, state: "available"|"in_call"}} Person
 * @typedef {{user: string, name?: string}} Party
 * @typedef {{user: string, device?: string, state: LegState}} Leg
 * @typedef {{id: string, kind: CallKind, thread: string, room: string, from: Party, to: Party[], state: "ringing"|"active"|"ended", placed_at: number, ring_ms: number, outcome?: Outcome, legs: Leg[], group?: boolean, members?: {user: string, device: string}[], host?: string}} CallRecord
 * @typedef {{version: number, user: string, name: string, device: string, stream: string, resumed: boolean, heartbeat_ms: number, ice_servers: RTCIceServer[], people: Person[], calls: CallRecord[], rooms?: {room: string, participant: string}[], notes?: NoteInfo[], unheard?: number}} Hello
 *
 * @typedef {{count: number, people: Party[]}} Presence
 *
 * @typedef {{mid: string, source: Source, muted?: boolean}} TrackClaim
 * @typedef {{mid: string, kind: MediaKind, pair: number|null}} SlotInfo
 * @typedef {{mid: string, participant: string|null, source: Source|null, epoch: number, rtp_timestamp: number|null, reason: string|null}} SlotMapping
 * @typedef {{source: Source, kind: MediaKind, muted: boolean}} TrackRecord
 * @typedef {{participant: string, user: string, name: string, tracks: TrackRecord[], connected: boolean, quality?: QualityLevel}} ParticipantRecord
 * @typedef {"good"|"fair"|"poor"|"lost"} QualityLevel what a voice suffers on a connection
 * @typedef {{level: QualityLevel, round_trip_ms: number, loss_up: number, loss_down: number, jitter_ms: number}} Quality losses in 1/1000, before repair
 * @typedef {{participant: string, answer: string, slots: SlotInfo[], roster: ParticipantRecord[], stage: string|null, speaking: string[]}} JoinAnswer
 * @typedef {{mid: string, width: number, height: number}} SlotView
 * @typedef {{wanted: number, of: number}} SpatialLayers how many of a stream's sizes somebody wants, the smallest first
 * @typedef {{participant: string, source: Source, reason: "pinned"|"screen"|"stage"}} Focus
 *
 * @typedef {"voice"|"video"} NoteKind
 * @typedef {{user: string, name?: string, emoji: string, at: number}} Reaction what somebody says to a note or a picture, under which name, and since when
 * @typedef {"offered"|"countdown"|"recording"|"saving"|"draft"|"sent"|"discarded"|"expired"} NoteState
 * @typedef {NoteState|"heard"|"unheard"|"deleted"|"reacted"|"unreacted"} NoteEventName
 * @typedef {"silent"|"too_short"|"disk"|"overrun"|"failed"|"no_media"|"maximum"|"silence"|"caller_gone"|"callee_came"} NoteReason
 * @typedef {{id: string, call: string, thread: string, kind: NoteKind, state: NoteState, from: {user: string, name: string}, to: {user: string, heard_at: number|null}[], reactions: Reaction[], created_at: number, sent_at: number|null, expires_at: number|null, max_ms: number, countdown_ms: number, take: number, reason: NoteReason|null, duration_ms: number, size: number, content_type: string|null, peaks: number[], width: number|null, height: number|null, room: string|null, url: string|null, poster_url: string|null}} NoteInfo
 * @typedef {{call: CallRecord, outcome: Outcome, placed_at: number, ended_at: number, talk_ms: number, note: NoteInfo|null, image?: undefined}} CallThreadRecord
 * @typedef {{placed_at: number, image: ImageInfo}} ImageThreadRecord
 * @typedef {CallThreadRecord|ImageThreadRecord} ThreadRecord
 *
 * @typedef {"queued"|"submitted"|"running"|"fetching"|"posted"|"refused"|"failed"|"cancelled"|"expired"} ImageState
 * @typedef {"unknown"|"account"|"no_credit"|"rejected"|"provider"|"gone"|"picture"|"address"} ImageFailure
 * @typedef {{id: string, revision: number, thread: string, from: {user: string, name: string}, prompt: string, state: ImageState, reason: ImageFailure|null, detail: string|null, provider: string, again_of: string|null, set?: string|null, reactions: Reaction[], created_at: number, ended_at: number|null, progress: number|null, width: number, height: number, size: number, content_type: string|null, url: string|null}} ImageInfo
 *
 * @typedef {{seq: number, event: string, [field: string]: any}} ServerEvent
 */

/** The version of the protocol this library speaks. */
export const PROTOCOL_VERSION = 1;
