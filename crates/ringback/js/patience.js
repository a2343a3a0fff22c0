/**
 * How long pictures wait before they are shown, where much is lost. What somebody loses on their way to the server a browser at the other end knows
 * nothing of, and shows a picture that stands still for each packet that has to be asked for twice; on its own way from the server it waits too
 * little, and leaves pictures out. Here that wait is made up for from what the server measures. It is not the jitter buffer, only what it is asked
 * to hold.
 */

/** From this loss on, in 1/1000, pictures stand still often enough to be worth a wait. */
const LOSSY = 50;
/** A picture and the packets that show that one before it was missing. */
const NOTICED_MS = 80;
/** Two rounds of asking, each a round trip and what libwebrtc waits beyond it. */
const ROUNDS = 2;
const GRACE_MS = 10;
/** A conversation is hard beyond this, whatever is lost. */
const MOST_MS = 400;

/**
 * How long pictures should be held that come over a way of this round trip on which so much is lost, of 1000 packets; in milliseconds, 0: no longer
 * than the browser likes.
 * @param {number} roundTrip in milliseconds
 * @param {number} loss
 */
export function patience(roundTrip, loss) {
  return loss < LOSSY ? 0 : Math.min(NOTICED_MS + ROUNDS * (roundTrip + GRACE_MS), MOST_MS);
}
