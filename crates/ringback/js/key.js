/** Names that a client makes up for what it asks for, so that the same asked for twice is known as one. */

/** A new one. Also where a page came over plain http, where browsers have no `randomUUID`. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
