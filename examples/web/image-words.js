/** What the page says of images on request, in plain words. */
import { errorText } from "./words.js";

/** @typedef {import("./ringback/ringback.js").Image} Image */

/** How the line begins that asks for an image. */
export const COMMAND = "/imagine";

/**
 * The prompt of a line, "" where none follows the command, null where it is no such line.
 * @param {string} line
 */
export function promptOf(line) {
  const [command = "", ...words] = line.trim().split(/\s+/u);
  return command.toLowerCase() === COMMAND ? words.join(" ") : null;
}

/** What of the price is known, after what it is for. @param {import("./ringback/images.js").ImageOffer|undefined} offer @param {number} count */
export function priceText(offer, count) {
  if (!offer?.price) return "";
  // To a millionth, without the noise of binary fractions.
  const all = Number((offer.price * count).toFixed(6));
  return ` They cost up to ${all.toLocaleString()}${offer.currency ? ` ${offer.currency}` : ""} in all.`;
}

/** @param {Image} image */
export function progressText({ state, progress }) {
  if (state === "queued") return "Waiting for its turn…";
  if (state === "fetching") return "Almost there…";
  return progress === null ? "Being made…" : `Being made, ${Math.round(progress * 100)} %`;
}

/** Why there is no picture. @param {Image} image */
export function failureText({ state, reason, detail }) {
  switch (state) {
    case "refused":
      return detail ? `Refused: ${detail}.` : "Refused.";
    case "cancelled":
      return "Cancelled.";
    case "expired":
      return "It took too long.";
  }
  switch (reason) {
    case "unknown":
      return "The connection broke while it was sent, so nobody knows whether it arrived. It was not sent twice.";
    case "account":
    case "no_credit":
      return "This server’s account for images does not work right now.";
    case "gone":
      return "The picture was gone before it could be fetched.";
    case "picture":
    case "address":
      return "What came back was no picture that can be shown.";
    default:
      return "It did not work.";
  }
}

/** @param {unknown} error */
export function imageErrorText(error) {
  const { code, message } = /** @type {{code?: string, message?: string}} */ (error);
  const said = code === "unavailable" || code === "rate_limited" || code === "bad_request" || code === "forbidden" || code === "conflict";
  return said && message ? `${message.charAt(0).toUpperCase()}${message.slice(1)}.` : errorText(error);
}
