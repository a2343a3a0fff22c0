/**
 * What of a camera or screen is encoded, as the server says that somebody wants it (`room.layers`): simulcast layers are switched on and off, a stream that
 * holds all sizes (SVC) is made without its larger ones. The smaller ones stay as large as they were, and nothing is negotiated: the browser
 * starts its encoder anew under the same SSRC, with a keyframe.
 */

/** @typedef {import("./protocol.js").SpatialLayers} SpatialLayers */
/** @typedef {RTCRtpEncodingParameters & {scalabilityMode?: string}} Encoding Not in the type library yet. */

/** What a stream was to be before anything was left out of it. @type {WeakMap<object, Pick<Encoding, "scalabilityMode"|"scaleResolutionDownBy"|"maxBitrate">>} */
const whole = new WeakMap();

/**
 * Sends only these layers from now on. A line without layers is left alone.
 * @param {Pick<RTCRtpSender, "getParameters"|"setParameters"|"track">} sender
 * @param {string[]} wanted the RIDs of its simulcast layers
 * @param {SpatialLayers} [spatial] of its only stream
 */
export async function setLayers(sender, wanted, spatial) {
  const parameters = sender.getParameters();
  let changed = false;
  for (const encoding of parameters.encodings) {
    const active = encoding.rid === undefined || wanted.includes(encoding.rid);
    changed ||= encoding.active !== active;
    encoding.active = active;
  }
  const [only, another] = parameters.encodings;
  if (spatial && only && !another) changed = setSizes(sender, only, spatial) || changed;
  if (changed) await sender.setParameters(parameters);
}

/**
 * @param {Pick<RTCRtpSender, "track">} sender
 * @param {Encoding} encoding
 * @param {SpatialLayers} spatial
 */
function setSizes(sender, encoding, { wanted, of }) {
  const { scalabilityMode, scaleResolutionDownBy, maxBitrate } = encoding;
  const all = whole.get(sender) ?? { scalabilityMode, scaleResolutionDownBy, maxBitrate };
  whole.set(sender, all);
  const made = fewer(all, of - wanted, sender.track?.getSettings() ?? {});
  if (made.scalabilityMode === scalabilityMode && (made.scaleResolutionDownBy ?? 1) === (scaleResolutionDownBy ?? 1)) return false;
  for (const [name, value] of Object.entries(made)) {
    if (value === undefined) Reflect.deleteProperty(encoding, name);
    else Reflect.set(encoding, name, value);
  }
  return true;
}

/**
 * A stream without the largest so many of its sizes.
 * @param {Pick<Encoding, "scalabilityMode"|"scaleResolutionDownBy"|"maxBitrate">} all
 * @param {number} leftOut
 * @param {{width?: number, height?: number}} picture
 */
function fewer(all, leftOut, { width = 0, height = 0 }) {
  const mode = all.scalabilityMode?.match(/^L(\d)(T\d)(h?)(.*)$/);
  if (!mode || leftOut < 1) return all;
  const [, layers, temporal, ratio, prediction] = mode;
  // Browsers make fewer sizes of a small picture than the mode says.
  const left = Math.max(1, Number(layers) - leftOut);
  // RFC 9628 and the W3C's scalability modes know two ratios between sizes, of which "h" is the smaller.
  const step = ratio ? 1.5 : 2;
  const scale = (all.scaleResolutionDownBy ?? 1) * step ** leftOut;
  return {
    scalabilityMode: left === 1 ? `L1${temporal}` : `L${left}${temporal}${ratio}${prediction}`,
    scaleResolutionDownBy: scale,
    maxBitrate: rate({ pixels: (width * height) / scale ** 2, left, step, most: all.maxBitrate }),
  };
}

/**
 * Sizes alone would be given all that the stream of all sizes was given, and be too much for who could take them then. libwebrtc gives a size within VP9 no more
 * than 1.6 bit/s for each pixel and 50 kbit/s.
 * @param {{pixels: number, left: number, step: number, most: number|undefined}} stream
 */
function rate({ pixels, left, step, most }) {
  if (!pixels) return most;
  let sum = 0;
  for (let layer = 0; layer < left; layer++) sum += (1.6 * pixels) / step ** (2 * layer) + 50_000;
  return Math.round(Math.min(sum, most ?? Infinity));
}
