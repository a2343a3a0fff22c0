/**
 * A metronome in a worker: browsers slow the timers of a page in the background down to one a minute, and a socket that
 * is silent so long is closed. Post the period in milliseconds; each beat is a message.
 */
/** @type {ReturnType<typeof setInterval>|undefined} */
let timer;
self.addEventListener("message", (event) => {
  clearInterval(timer);
  timer = setInterval(() => self.postMessage("beat"), Number(event.data));
});
export {};
