/** What the page says of notes and of past calls, in plain words. */
import { nameFor } from "./names.js";
import { clock, errorText, listed } from "./words.js";

/** @typedef {import("./ringback/ringback.js").Note} Note */
/** @typedef {import("./ringback/notes.js").ThreadEntry} ThreadEntry */

/** Less than this before an offer ends, the page says so, in steps that a screen reader can bear. */
const OFFER_WARNING_MS = 45_000;
const OFFER_STEP_S = 15;

/** Up to so many recipients are told apart by name. */
const NAMED = 4;

/** @param {Note} note */
export const kindName = (note) => (note.kind === "video" ? "video note" : "voice note");

/** Whom a note is for, by name. @param {Note} note */
export const recipients = (note) => listed(note.to.map(({ user }) => nameFor(user)));

/**
 * Why a note may be left.
 * @param {string} name of whoever did not answer
 * @param {string|undefined} outcome
 * @param {boolean} [several] whether that is more than one
 */
export function promptTitle(name, outcome, several = false) {
  switch (outcome) {
    case "declined":
      return `${name} can’t talk right now`;
    case "busy":
      return several ? `${name} are on other calls` : `${name} is on another call`;
    case "unreachable":
      return `${name} can’t be reached`;
    case "answered":
      return `${name} missed it`;
    default:
      return `${name} didn’t answer`;
  }
}

/**
 * Why the last take ended by itself, or was no good; "" where it simply ended.
 * @param {Note} note
 * @param {string} name of whoever it is for
 */
export function reasonText(note, name) {
  const kept = note.state === "draft";
  const again = kept ? "Your earlier take is still here." : "Try once more.";
  switch (note.reason) {
    case "silent":
      return `There was nothing to hear. Check your microphone. ${again}`;
    case "too_short":
      return `That was too short to keep. ${again}`;
    case "failed":
      return `The recording could not be saved. ${again}`;
    case "no_media":
      return `Nothing arrived from your ${note.kind === "video" ? "camera and microphone" : "microphone"}. ${again}`;
    case "disk":
      return kept
        ? "The server’s disk is full, so the recording ended early. What you said until then is here."
        : "The server has no space left to record on. Try again later.";
    case "overrun":
      return kept
        ? "The server could not keep up, so the recording ended early. What you said until then is here."
        : "The server could not keep up. Try once more.";
    case "maximum":
      return `${clock(note.maxMs)} is as long as a note can be.`;
    case "silence":
      return "Stopped after a silence.";
    case "caller_gone":
      return "The connection broke off. What you said until then is kept.";
    case "callee_came":
      return `${name} is there after all. What you said is kept as a draft.`;
    default:
      return "";
  }
}

/**
 * How long an offer or a draft still waits; "" while there is no hurry.
 * @param {Note} note
 */
export function expiryText(note) {
  if (note.expiresAt === null) return "";
  const left = note.expiresAt - Date.now();
  if (note.state === "draft") return `Kept as a draft until ${dayAndTime(note.expiresAt)}.`;
  if (note.state !== "offered" || left <= 0 || left >= OFFER_WARNING_MS) return "";
  return `You can start for another ${Math.ceil(left / 1000 / OFFER_STEP_S) * OFFER_STEP_S} s.`;
}

/** @param {unknown} error while a note is recorded, sent, … */
export function noteErrorText(error) {
  const { code, message } = /** @type {{code?: string, message?: string}} */ (error);
  switch (code) {
    case "rate_limited":
      return "You have changed your mind about this note often enough.";
    case "forbidden":
      return `This note was not accepted${message ? `: ${message}` : ""}.`;
    case "unavailable":
      return "Their inbox is full. Your draft is kept.";
    case "conflict":
      return "That is not possible any more.";
    case "not_found":
      return "This note is gone.";
    default:
      return errorText(error);
  }
}

/** @param {number} at Unix milliseconds */
export const timeOf = (at) => new Date(at).toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });

/** @param {number} at Unix milliseconds */
export function dayOf(at) {
  const midnight = new Date();
  midnight.setHours(0, 0, 0, 0);
  const days = Math.floor((at - midnight.getTime()) / 86_400_000);
  if (days === 0) return "today";
  if (days === -1) return "yesterday";
  if (days === 1) return "tomorrow";
  return new Date(at).toLocaleDateString([], { weekday: "short", day: "numeric", month: "short" });
}

/** @param {number} at Unix milliseconds; the day is left out where it is today */
export const dayAndTime = (at) => (dayOf(at) === "today" ? timeOf(at) : `${dayOf(at)}, ${timeOf(at)}`);

/**
 * What became of a sent note, for whoever left it.
 * @param {Note} note
 */
export function heardText(note) {
  const heard = note.to.flatMap(({ heardAt }) => heardAt ?? []);
  const word = note.kind === "video" ? "Seen" : "Heard";
  if (heard.length === 0) return `Sent, not ${word.toLowerCase()} yet`;
  if (note.to.length > NAMED) return `${word} by ${heard.length} of ${note.to.length}`;
  if (note.to.length > 1) {
    const [by, notBy] = [true, false].map((has) => listed(note.to.filter(({ heardAt }) => (heardAt !== null) === has).map(({ user }) => nameFor(user))));
    return notBy ? `${word} by ${by}, not yet by ${notBy}` : `${word} by ${by}`;
  }
  return `${word} ${dayAndTime(Math.max(...heard))}`;
}

/**
 * A call of a thread, as this user had it.
 * @param {ThreadEntry} entry
 * @param {string} me
 * @returns {{title: string, missed: boolean, outgoing: boolean}}
 */
export function entryText({ call, outcome, talkMs }, me) {
  const outgoing = call.from.user === me;
  const kind = call.kind === "video" ? "video call" : "voice call";
  const Kind = call.kind === "video" ? "Video call" : "Voice call";
  if (outcome === "answered") return { title: `${Kind} · ${clock(talkMs)}`, missed: false, outgoing };
  if (outcome === "failed") return { title: `${Kind} · cut off`, missed: false, outgoing };
  if (!outgoing) {
    const missed = outcome !== "declined";
    return { title: missed ? `Missed ${kind}` : `Declined ${kind}`, missed, outgoing };
  }
  const how = { declined: "declined", no_answer: "no answer", busy: "busy", unreachable: "not reached", cancelled: "cancelled" }[outcome];
  return { title: `${Kind} · ${how}`, missed: false, outgoing };
}
