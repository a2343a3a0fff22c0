/**
 * The shapes of docs/protocol.md as types. No code: frames are plain JSON.
 *
 * @typedef {"voice"|"video"} CallKind
 * @typedef {"microphone"|"camera"|"screen"} Source
 * @typedef {"audio"|"video"} MediaKind
 * @typedef {"answered"|"declined"|"no_answer"|"busy"|"unreachable"|"cancelled"|"failed"} Outcome
 * @typedef {"queued"|"ring_acked"|"accepted"|"declined"|"ignored"|"busy"|"unreachable"|"timed_out"|"answered_elsewhere"|"cancelled"} LegState
 *
 * @typedef {{user: string, name: string, state: "available"|"in_call"}} Person
 * @typedef {{user: string, name?: string}} Party
 * @typedef {{user: string, device?: string, state: LegState}} Leg
 * @typedef {{id: string, kind: CallKind, thread: string, room: string, from: Party, to: Party[], state: "ringing"|"active"|"ended", placed_at: number, ring_ms: number, outcome?: Outcome, legs: Leg[]}} CallRecord
 * @typedef {{version: number, user: string, name: string, device: string, heartbeat_ms: number, ice_servers: RTCIceServer[], people: Person[], calls: CallRecord[]}} Hello
 *
 * @typedef {{mid: string, source: Source, muted?: boolean}} TrackClaim
 * @typedef {{mid: string, kind: MediaKind, pair: number|null}} SlotInfo
 * @typedef {{mid: string, participant: string|null, source: Source|null, epoch: number, rtp_timestamp: number|null, reason: string|null}} SlotMapping
 * @typedef {{source: Source, kind: MediaKind, muted: boolean}} TrackRecord
 * @typedef {{participant: string, user: string, name: string, tracks: TrackRecord[], connected: boolean}} ParticipantRecord
 * @typedef {{participant: string, answer: string, slots: SlotInfo[], roster: ParticipantRecord[], stage: string|null, speaking: string[]}} JoinAnswer
 * @typedef {{mid: string, width: number, height: number}} SlotView
 *
 * @typedef {{seq: number, event: string, [field: string]: any}} ServerEvent
 */

/** The version of the protocol this library speaks. */
export const PROTOCOL_VERSION = 1;
