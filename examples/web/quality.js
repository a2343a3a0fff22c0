/** How good a connection is, shown only where it is not: three bars by the name, and words for who reads or hears them. */
import { element } from "./dom.js";

/** @typedef {import("./ringback/ringback.js").Room} Room */

const WORDS = { fair: "weak connection", poor: "bad connection", lost: "no connection" };

/** Bars that show nothing until `show` is told of trouble. */
export class QualityBars {
  root = element("span", { class: "tile-quality", role: "img", hidden: true }, element("i"), element("i"), element("i"));

  /**
   * @param {"good"|"fair"|"poor"|"lost"|undefined} level
   * @param {string} [detail]
   */
  show(level, detail = "") {
    const words = level === undefined || level === "good" ? undefined : WORDS[level];
    this.root.hidden = words === undefined;
    if (words === undefined) return delete this.root.dataset.level;
    this.root.dataset.level = level;
    this.root.setAttribute("aria-label", words);
    this.root.title = detail ? `${words[0]?.toUpperCase()}${words.slice(1)}: ${detail}` : words;
  }
}

/** Our own connection in numbers. @param {Room} room */
export function detailOf(room) {
  const { quality } = room;
  if (!quality) return "";
  const loss = Math.round(Math.max(quality.loss_up, quality.loss_down) / 10);
  return [`${quality.round_trip_ms} ms there and back`, loss > 0 && `${loss} % lost`].filter(Boolean).join(", ");
}

/**
 * What to say beside the timer: our own trouble first, since it explains everybody else's.
 * @param {Room} room
 */
export function troubleOf(room) {
  const own = room.quality?.level;
  if (own === "lost") return "You are offline";
  if (own === "poor") return "Your connection is bad";
  const others = [...room.participants.values()].filter(({ quality }) => quality === "poor" || quality === "lost");
  if (others.length > 1) return `${others.length} people have a bad connection`;
  return others[0] ? `${others[0].name} has ${others[0].quality === "lost" ? "no" : "a bad"} connection` : "";
}
