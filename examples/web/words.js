/** What the page says, in plain words: how calls ended, what went wrong, how long it took. */

/** @typedef {import("./ringback/ringback.js").Call} Call */

/** The system has the microphone: a telephone call, another app. */
export const MICROPHONE_TAKEN = "Something else took your microphone, perhaps a phone call. Nobody hears you meanwhile.";

/** @param {Call} call */
export function nameOf(call) {
  // Whoever came in later was not the one who rang them.
  const others = call.entered ? [call.from, ...call.to].filter(({ user }) => call.members.includes(user)) : call.to;
  const people = call.direction === "incoming" ? [call.from] : others;
  return listed(people.map(({ user, name }) => name || user));
}

/** @param {string[]} names */
export function listed(names) {
  if (names.length < 2) return names[0] ?? "";
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** Several people in few words: by their first names, where these tell them apart. @param {string[]} names */
export function briefly(names) {
  const first = names.map((name) => name.trim().split(/\s+/u)[0] ?? name);
  return listed(names.length > 1 && new Set(first).size === names.length ? first : names);
}

/** @param {number} ms @returns {string} as `m:ss` or `h:mm:ss` */
export function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** @param {number} at Unix milliseconds */
export function ago(at) {
  const minutes = Math.round((Date.now() - at) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  return new Date(at).toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });
}

/**
 * While an outgoing call rings: what is known of the other side.
 * @param {Call} call
 */
export function ringingText(call) {
  if (call.callsBack) return "Calling back…";
  if (call.state === "placing") return "Calling…";
  const states = call.legs.map(({ state }) => state);
  if (states.includes("ring_acked") || states.includes("ignored")) return "Ringing…";
  if (states.length > 0 && call.legs.every(({ device }) => device === undefined)) return "Waking their device…";
  return "Calling…";
}

/**
 * How a call ended.
 * @param {Call} call
 * @returns {{title: string, detail: string}}
 */
export function endText(call) {
  const name = nameOf(call);
  const outgoing = call.direction === "outgoing";
  switch (call.reason) {
    case "answered_elsewhere":
      return { title: "Answered elsewhere", detail: "Another of your devices took the call." };
    case "declined_elsewhere":
      return { title: "Declined elsewhere", detail: "Another of your devices declined." };
    case "left":
      return { title: "You left the call", detail: `You talked for ${clock(call.talkMs)}. The others may still be there.` };
    case "removed":
      return { title: "You were removed", detail: "The host took you out of the call." };
    case "failed":
      return { title: "The call was cut off", detail: call.error ? errorText(call.error) : "The connection was lost." };
  }
  switch (call.outcome) {
    case "answered":
      return { title: "Call ended", detail: `You talked for ${clock(call.talkMs)}.` };
    case "declined":
      return outgoing
        ? { title: "Declined", detail: `${name} cannot talk right now.` }
        : { title: "Declined", detail: `You declined ${name}’s call.` };
    case "no_answer":
      return outgoing
        ? { title: "No answer", detail: `${name} did not pick up.` }
        : { title: "Missed call", detail: `${name} rang.` };
    case "busy":
      return { title: "Busy", detail: `${name} is on another call.` };
    case "unreachable":
      return { title: "Unreachable", detail: `None of ${name}’s devices answered the server.` };
    case "cancelled":
      return outgoing
        ? { title: "Cancelled", detail: "You hung up before anybody answered." }
        : { title: "Missed call", detail: `${name} hung up before you answered.` };
    default:
      return { title: "Call ended", detail: "" };
  }
}

/** @param {unknown} error @returns {string} */
export function errorText(error) {
  const { code, message, retryAfterMs } = /** @type {{code?: string, message?: string, retryAfterMs?: number}} */ (error);
  switch (code) {
    case "insecure_context":
      return "This page came over plain http, and browsers give such pages no microphone or camera. Start the server with --tls and open its https link. You can still listen and watch.";
    case "permission_denied":
      return `${message} Allow it beside the address of this page, then try again.`;
    case "disconnected":
      return "The server cannot be reached. Is it running?";
    case "unauthorized":
    case "token_expired":
      return "Your visit has expired. Reload the page and enter again.";
    case "replaced":
      return "This page was opened again in another tab, which has taken over.";
    case "not_found":
      return "They have just left.";
    case "forbidden":
      return "You may not call them.";
    case "rate_limited":
      return `Too many calls in a short time. Try again in ${Math.ceil((retryAfterMs ?? 1000) / 1000)} s.`;
    case "timeout":
      return "The server did not answer in time.";
    case "unavailable":
      return "The server is shutting down or full.";
    default:
      return message || "Something went wrong.";
  }
}
