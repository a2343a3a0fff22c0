/** How loud a microphone is, for meters: a number between 0 and 1, several times a second. */

/** −60 dBFS is a quiet room; below it a meter stays empty. */
const FLOOR_DECADES = 6;

/**
 * @param {MediaStreamTrack} track
 * @param {(level: number) => void} onLevel 0 for a quiet room, 1 for the limit
 * @param {number} [periodMs]
 * @returns {() => void} stops it
 */
export function watchLevel(track, onLevel, periodMs = 60) {
  const context = new AudioContext();
  void context.resume();
  const analyser = new AnalyserNode(context, { fftSize: 1024 });
  context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    onLevel(Math.max(0, Math.min(1, 1 + Math.log10(power + 1e-9) / FLOOR_DECADES)));
  }, periodMs);
  return () => {
    clearInterval(timer);
    void context.close();
  };
}
