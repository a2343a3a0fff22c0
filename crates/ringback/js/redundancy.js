/**
 * Whether our voice should be sent twice, each packet with the one before once more (RED, RFC 2198): it doubles what a voice takes, so that it
 * is done only while somebody who hears us loses packets, or we do on the way to the server. The server passes the second copy on to those alone
 * who need it. How voices are encoded is the browser's business.
 */

/** From this loss on, of 1000 packets, it is heard; below the other nothing needs repair. Between them what was decided stays. */
const LOSSY = 20;
const CLEAN = 10;

export class Redundancy {
  /** Who loses how much of our voice, of 1000 packets. @type {Map<string, number>} */
  #losses = new Map();
  /** Whether anybody in a large room loses much. */
  #roomIsLossy = false;
  #wanted = false;

  /**
   * Somebody loses so much of what we say, of 1000 packets.
   * @param {string} who
   * @param {number} loss
   * @returns {boolean} whether our voice should be sent twice
   */
  told(who, loss) {
    this.#losses.set(who, loss);
    return this.#decide();
  }

  /**
   * Whether anybody loses much of what we say, in a room too large to be told of each: what was told of some of them before is old.
   * @param {boolean} lossy
   * @param {string} but who is told of all the same
   */
  toldOfAll(lossy, but) {
    this.#roomIsLossy = lossy;
    for (const who of this.#losses.keys()) if (who !== but) this.#losses.delete(who);
    return this.#decide();
  }

  /** Somebody does not hear us any more. @param {string} who */
  left(who) {
    this.#losses.delete(who);
    return this.#decide();
  }

  #decide() {
    const worst = Math.max(0, ...this.#losses.values());
    this.#wanted = this.#roomIsLossy || worst >= (this.#wanted ? CLEAN : LOSSY);
    return this.#wanted;
  }
}

/**
 * An answer in which the voice of one line is wanted with redundancy, if it was agreed on there.
 * @param {string} sdp
 * @param {string|null} mid
 */
export function withRedundancy(sdp, mid) {
  const sections = sdp.split(/^(?=m=)/m);
  return sections.map((section) => (hasMid(section, mid) ? redFirst(section) : section)).join("");
}

/** @param {string} section @param {string|null} mid */
function hasMid(section, mid) {
  return section.startsWith("m=audio") && section.split(/\r?\n/).includes(`a=mid:${mid}`);
}

/** @param {string} section */
function redFirst(section) {
  const red = section.match(/^a=rtpmap:(\d+) red\/48000/im)?.[1];
  if (!red) return section;
  return section.replace(/^(m=audio \d+ \S+)((?: \d+)+)/, (_line, start, types) => {
    const others = types.trim().split(" ").filter((/** @type {string} */ type) => type !== red);
    return [start, red, ...others].join(" ");
  });
}
