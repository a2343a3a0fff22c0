/**
 * Peace: how this user wants to be told of missed calls and notes, in a dialog of plain words, and what they are told. It exists where the server keeps the
 * peace, and builds its own part of the page.
 */
import { byId, element, icon, notice } from "./dom.js";
import { nameFor } from "./names.js";
import { dayAndTime } from "./note-words.js";
import { errorText, listed } from "./words.js";

/** @typedef {import("./ringback/ringback.js").Session} Session */
/** @typedef {import("./ringback/notifications.js").Day} Day */
/** @typedef {import("./ringback/notifications.js").Entry} Entry */
/** @typedef {import("./ringback/notifications.js").Item} Item */
/** @typedef {import("./ringback/notifications.js").Notification} Notification */
/** @typedef {import("./ringback/notifications.js").PeaceSettings} PeaceSettings */
/** @typedef {{threadLink: (thread: string, users: string[]) => string}} PeaceActions */

/** @type {{day: Day, short: string, name: string}[]} */
const DAYS = [
  { day: "mon", short: "M", name: "Monday" },
  { day: "tue", short: "T", name: "Tuesday" },
  { day: "wed", short: "W", name: "Wednesday" },
  { day: "thu", short: "T", name: "Thursday" },
  { day: "fri", short: "F", name: "Friday" },
  { day: "sat", short: "S", name: "Saturday" },
  { day: "sun", short: "S", name: "Sunday" },
];
/** Quiet that lasts longer than a week has no end: the server looks no further than some days ahead. */
const ENDLESS_MS = 8 * 86_400_000;
/** What the dialog begins with where there were no quiet hours. */
const NIGHT = { from: "22:00", until: "07:00" };
const OFTEN = { times: 3, within_s: 300 };
/** Most that the list of what waits shows. */
const WAITING = 20;

export class Peace {
  /** @type {Session} */
  #session;
  /** @type {PeaceSettings} */
  #settings;
  /** @type {number|null} */
  #quietUntil = null;
  #actions;
  /** One after the other, so that the last word is the last. */
  #saved = Promise.resolve();
  /** Notices on the page, by the notification they show. @type {Map<string, HTMLElement>} */
  #shown = new Map();
  #dialog = element("dialog", { class: "devices peace", id: "peace", "aria-labelledby": "peace-title" });
  #button = element(
    "button",
    { id: "lobby-peace", class: "icon-button", type: "button", "aria-label": "Notifications", title: "Notifications" },
    icon("bell"),
  );

  /**
   * Begins where the server keeps the peace; null where it does not.
   * @param {Session} session
   * @param {PeaceActions} actions
   */
  static async open(session, actions) {
    const found = await session.notifications.settings().catch(() => null);
    return found && new Peace(session, found.settings, found.quietUntil, actions);
  }

  /**
   * @param {Session} session
   * @param {PeaceSettings} settings
   * @param {number|null} quietUntil
   * @param {PeaceActions} actions
   */
  constructor(session, settings, quietUntil, actions) {
    this.#session = session;
    this.#settings = settings;
    this.#quietUntil = quietUntil;
    this.#actions = actions;
    document.body.append(this.#dialog);
    byId("lobby-devices").before(this.#button);
    this.#button.addEventListener("click", () => void this.#show());
    this.#dialog.addEventListener("click", (event) => event.target === this.#dialog && this.#dialog.close());
    session.notifications.on("shown", (notification) => this.#tell(notification));
  }

  close() {
    this.#dialog.remove();
    this.#button.remove();
  }

  /** @param {Notification} notification */
  #tell(notification) {
    this.#shown.get(notification.id)?.remove();
    if (document.body.dataset.view !== "lobby") return;
    const last = notification.items.at(-1);
    const link = last && { href: this.#actions.threadLink(last.thread, [last.from.user]), text: "Look" };
    const made = notice(`${saidOf(notification)}${whyText(notification)}`, { link });
    made.dataset.notification = notification.id;
    this.#shown.set(notification.id, made);
    if (this.#dialog.open) void this.#showWaiting();
  }

  async #show() {
    this.#render();
    this.#dialog.showModal();
    await this.#showWaiting();
  }

  #render() {
    const { quiet_hours: [quiet], repeated_calls: repeated, alerts_per_hour: alerts, coalesce_s: coalesce } = this.#settings;
    const close = element("button", { class: "icon-button", type: "submit", "aria-label": "Close" }, icon("close"));
    const form = element(
      "form",
      { method: "dialog" },
      element("header", {}, element("h2", { id: "peace-title" }, "Notifications"), close),
      element("p", { class: "fine", id: "peace-now" }),
      check("peace-quiet", "Leave me alone at certain hours", quiet !== undefined, () => this.#quietHours(true)),
      element(
        "div",
        { class: "peace-hours", id: "peace-hours", hidden: quiet === undefined },
        element(
          "p",
          {},
          "From ",
          time("peace-from", "Quiet from", quiet?.from ?? NIGHT.from, () => this.#quietHours(false)),
          " until ",
          time("peace-until", "Quiet until", quiet?.until ?? NIGHT.until, () => this.#quietHours(false)),
        ),
        element(
          "div",
          { class: "peace-days", role: "group", "aria-label": "Days on which it begins" },
          ...DAYS.map(({ day, short, name }) => this.#day(day, short, name, quiet?.days.includes(day) ?? true)),
        ),
        element("p", { class: "fine" }, `By the clock where you are, ${zone().replaceAll("_", " ")}. What comes meanwhile waits, and you hear of it when they end.`),
      ),
      element("label", { for: "peace-budget" }, "Sounds within an hour, at most"),
      choice("peace-budget", [[1, "One"], [3, "Three"], [6, "Six"], [12, "Twelve"], [null, "As many as come"]], alerts, (chosen) => this.#save({ alerts_per_hour: chosen })),
      element("label", { for: "peace-window" }, "What one person does is one notification for"),
      choice("peace-window", [[60, "One minute"], [600, "10 minutes"], [1800, "Half an hour"], [3600, "An hour"]], coalesce, (chosen) => this.#save({ coalesce_s: chosen ?? 600 })),
      element("h3", {}, "Who gets through all the same"),
      check("peace-repeated", "Whoever calls three times within five minutes", repeated !== null, (on) => this.#save({ repeated_calls: on ? OFTEN : null })),
      ...this.#favourites(),
      element("h3", {}, "Waiting for you"),
      element("ul", { class: "peace-waiting", id: "peace-waiting" }),
      element("section", { id: "peace-looked", hidden: true }, element("h3", {}, "Not told, for you were there"), element("ul", { class: "peace-waiting" })),
      element("p", { class: "form-error", role: "alert", id: "peace-error" }),
      element("p", { class: "fine", role: "status", id: "peace-saved" }),
    );
    this.#dialog.replaceChildren(form);
    this.#showNow();
  }

  #showNow() {
    byId("peace-now").textContent =
      this.#quietUntil === null ? "You are told of missed calls and notes as they come." : `It is quiet ${untilText(this.#quietUntil)}.`;
  }

  /** @param {Day} day @param {string} short @param {string} name @param {boolean} on */
  #day(day, short, name, on) {
    const button = element("button", { type: "button", class: "peace-day", "aria-pressed": String(on), "aria-label": name, title: name, "data-day": day }, short);
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      this.#quietHours(false);
    });
    return button;
  }

  /** Whoever is here, and who was chosen before. */
  #favourites() {
    const { favourites } = this.#settings;
    const users = [...new Set([...favourites, ...this.#session.people.map(({ user }) => user)])].sort();
    return users.map((user) =>
      check(`peace-favourite-${user}`, `${nameFor(user)}, with calls and notes`, favourites.includes(user), (on) => {
        const others = this.#settings.favourites.filter((other) => other !== user);
        this.#save({ favourites: on ? [...others, user] : others });
      }),
    );
  }

  /** @param {boolean} toggled */
  #quietHours(toggled) {
    const on = /** @type {HTMLInputElement} */ (byId("peace-quiet")).checked;
    byId("peace-hours").hidden = !on;
    const value = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ (byId(id)).value;
    const pressed = [...this.#dialog.querySelectorAll(".peace-day[aria-pressed=true]")];
    const days = pressed.map((button) => /** @type {Day} */ (/** @type {HTMLElement} */ (button).dataset.day));
    // A time that is being typed is none yet.
    if (on && !toggled && (!value("peace-from") || !value("peace-until"))) return;
    this.#save({ quiet_hours: on ? [{ days, from: value("peace-from"), until: value("peace-until") }] : [] });
  }

  /** @param {Partial<PeaceSettings>} changed */
  #save(changed) {
    this.#saved = this.#saved.then(() => this.#keep(changed));
  }

  /** @param {Partial<PeaceSettings>} changed */
  async #keep(changed) {
    byId("peace-error").textContent = "";
    byId("peace-saved").textContent = "";
    try {
      const { settings, quietUntil } = await this.#session.notifications.saveSettings({ ...this.#settings, ...changed, time_zone: zone() });
      this.#settings = settings;
      this.#quietUntil = quietUntil;
      byId("peace-saved").textContent = "Saved.";
      this.#showNow();
      await this.#showWaiting();
    } catch (error) {
      byId("peace-error").textContent = errorText(error);
    }
  }

  async #showWaiting() {
    try {
      const { entries } = await this.#session.notifications.list({ waitingOnly: true, limit: WAITING });
      const rows = entries.map(row);
      byId("peace-waiting").replaceChildren(...(rows.length > 0 ? rows : [element("li", { class: "fine" }, "Nothing waits.")]));
      await this.#showLookedAt();
    } catch (error) {
      byId("peace-error").textContent = errorText(error);
    }
  }

  /** What came lately into what they had before them. */
  async #showLookedAt() {
    const { entries } = await this.#session.notifications.list({ limit: WAITING });
    const seen = entries.filter(({ held, seen_at, notification }) => held?.rule === "in_view" && seen_at !== null && !notification);
    const section = byId("peace-looked");
    section.hidden = seen.length === 0;
    section.querySelector("ul")?.replaceChildren(...seen.map(row));
  }
}

/** @param {Entry} entry */
const row = (entry) => element("li", {}, element("strong", {}, `${nameOf(entry)}: ${kindText(entry)}`), element("span", {}, holdText(entry)));

/** How long it is quiet. @param {number} until */
const untilText = (until) => (until - Date.now() > ENDLESS_MS ? "day and night" : `until ${dayAndTime(until)}`);

/** Where the clock on the wall hangs. */
const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** @param {{from: {user: string, name?: string}}} item */
const nameOf = ({ from }) => from.name ?? nameFor(from.user);

/** @param {Item} item */
const kindText = ({ kind }) => ({ missed_call: "missed call", note: "note", reaction: "reaction", image: "image" })[kind];

/** @param {Entry} entry */
function holdText({ at, held }) {
  if (!held) return dayAndTime(at);
  const until = held.rule === "quiet_hours" ? `${held.in_words} It is quiet ${untilText(held.until)}.` : held.in_words;
  return `${dayAndTime(at)}. ${until}`;
}

/** What a notification says: each sender, with what they did. @param {Notification} notification */
function saidOf({ items, total }) {
  /** @type {Map<string, Map<string, number>>} */
  const senders = new Map();
  for (const item of items) {
    const kinds = senders.get(nameOf(item)) ?? new Map();
    kinds.set(kindText(item), (kinds.get(kindText(item)) ?? 0) + 1);
    senders.set(nameOf(item), kinds);
  }
  const said = [...senders].map(([name, kinds]) => `${name}: ${listed([...kinds].map(([kind, count]) => counted(kind, count)))}`);
  return `${said.join(". ")}${total > items.length ? ` and ${total - items.length} more` : ""}.`;
}

/** @param {string} kind @param {number} count */
const counted = (kind, count) => (count === 1 ? `a ${kind}`.replace("a image", "an image") : `${count} ${kind}s`);

/** Why it comes, where that is not plain. @param {Notification} notification */
function whyText({ why }) {
  switch (why.rule) {
    case "favourite":
      return " It gets through since they are one of your favourites.";
    case "repeated_calls":
      return ` It gets through since they called ${why.times} times in a row.`;
    case "digest":
      return " It had to wait until now.";
    default:
      return "";
  }
}

/** @param {string} id @param {string} text @param {boolean} on @param {(on: boolean) => void} change */
function check(id, text, on, change) {
  const input = element("input", { type: "checkbox", id });
  input.checked = on;
  input.addEventListener("change", () => change(input.checked));
  return element("label", { class: "peace-check", for: id }, input, element("span", {}, text));
}

/** @param {string} id @param {string} label @param {string} value @param {() => void} change */
function time(id, label, value, change) {
  const input = element("input", { type: "time", id, value, "aria-label": label, required: true });
  input.addEventListener("change", change);
  return input;
}

/**
 * @param {string} id
 * @param {[number|null, string][]} options
 * @param {number|null} chosen
 * @param {(chosen: number|null) => void} change
 */
function choice(id, options, chosen, change) {
  // What was chosen elsewhere is kept.
  const known = options.some(([value]) => value === chosen);
  /** @type {[number|null, string][]} */
  const all = known ? options : [...options, [chosen, String(chosen)]];
  const select = element("select", { id }, ...all.map(([value, text]) => element("option", { value: String(value), selected: value === chosen }, text)));
  select.addEventListener("change", () => change(select.value === "null" ? null : Number(select.value)));
  return select;
}
