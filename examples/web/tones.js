/**
 * The sounds of a telephone, made with WebAudio: ring, ringback, answer and end. Browsers let a page sound only after a
 * gesture, so `enable` belongs into a click.
 */

/** @type {AudioContext|undefined} */
let context;
/** @type {(() => void)|undefined} */
let stopCurrent;

/** Call it from a gesture. */
export function enable() {
  if (!context) {
    context = new AudioContext();
    // Phones interrupt it while the page is not on the screen, or somebody rings by telephone.
    document.addEventListener("visibilitychange", () => !document.hidden && context?.resume().catch(() => {}));
  }
  void context.resume();
}

/** Two warm notes, twice, then a pause: heard across a room without alarming it. */
export const startRing = () => repeat(3000, (at) => {
  for (const [offset, pitch] of /** @type {[number, number][]} */ ([[0, 659.3], [0.16, 830.6], [0.42, 659.3], [0.58, 987.8]])) {
    note({ at: at + offset, pitch, length: 0.7, volume: 0.22, struck: true });
  }
});

/** One second in five, as telephones in Europe have it, softly: the caller hears that it rings there. */
export const startRingback = () => repeat(5000, (at) => {
  note({ at, pitch: 425, length: 1, volume: 0.05, struck: false });
});

/** Somebody answered. */
export function answered() {
  once((at) => {
    note({ at, pitch: 523.3, length: 0.25, volume: 0.1, struck: true });
    note({ at: at + 0.1, pitch: 784, length: 0.4, volume: 0.1, struck: true });
  });
}

/** It is over. @param {boolean} failed nobody was reached */
export function ended(failed) {
  once((at) => {
    if (failed) {
      for (const offset of [0, 0.4, 0.8]) note({ at: at + offset, pitch: 425, length: 0.2, volume: 0.05, struck: false });
    } else {
      note({ at, pitch: 523.3, length: 0.25, volume: 0.09, struck: true });
      note({ at: at + 0.12, pitch: 392, length: 0.4, volume: 0.09, struck: true });
    }
  });
}

/** Silences ring and ringback. */
export function stop() {
  stopCurrent?.();
  stopCurrent = undefined;
}

/** @param {(at: number) => void} play */
function once(play) {
  if (context?.state === "running") play(context.currentTime + 0.02);
}

/**
 * @param {number} periodMs
 * @param {(at: number) => void} play
 */
function repeat(periodMs, play) {
  stop();
  const bus = context && new GainNode(context);
  if (context && bus) {
    bus.connect(context.destination);
    output = bus;
  }
  once(play);
  const timer = setInterval(() => {
    output = bus;
    once(play);
  }, periodMs);
  stopCurrent = () => {
    clearInterval(timer);
    output = undefined;
    if (!context || !bus) return;
    bus.gain.setTargetAtTime(0, context.currentTime, 0.02);
    setTimeout(() => bus.disconnect(), 200);
  };
}

/** Where notes go: the bus of what repeats, or straight out. @type {GainNode|undefined} */
let output;

/** @param {{at: number, pitch: number, length: number, volume: number, struck: boolean}} what `struck` dies away like a bell */
function note({ at, pitch, length, volume, struck }) {
  if (!context) return;
  const gain = new GainNode(context, { gain: 0 });
  gain.connect(output ?? context.destination);
  gain.gain.setValueAtTime(0, at);
  gain.gain.linearRampToValueAtTime(volume, at + (struck ? 0.008 : 0.03));
  if (struck) gain.gain.exponentialRampToValueAtTime(0.0005, at + length);
  else {
    gain.gain.setValueAtTime(volume, at + length - 0.03);
    gain.gain.linearRampToValueAtTime(0, at + length);
  }
  for (const [ratio, share] of struck ? [[1, 1], [2, 0.25], [4, 0.06]] : [[1, 1]]) {
    const oscillator = new OscillatorNode(context, { frequency: pitch * (ratio ?? 1) });
    const level = new GainNode(context, { gain: share });
    oscillator.connect(level).connect(gain);
    oscillator.start(at);
    oscillator.stop(at + length + 0.05);
  }
}
