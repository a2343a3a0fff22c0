/**
 * One RTCPeerConnection shaped the way the server expects it: one offer with all lines in it (docs/protocol.md, "Rooms"),
 * one answer, and nothing renegotiated afterwards but ICE restarts. It knows lines and tracks, not people.
 */
import { Emitter } from "./emitter.js";
import { withRedundancy } from "./redundancy.js";
import { setLayers } from "./sent-layers.js";

/** @typedef {import("./protocol.js").Source} Source */
/** @typedef {"new"|"connecting"|"connected"|"disconnected"|"failed"|"closed"} TransportState */

/** Receive slots of each kind: a screenful of faces. More cost offer size and memory, not bandwidth. */
export const DEFAULT_SLOTS = 8;

/**
 * One size per stream, in three frame rates: without it Chromium makes one stream of all sizes where VP9 or AV1 is agreed on, and a
 * server that passes streams on whole could not choose between them.
 */
const scalabilityMode = "L1T3";
/**
 * Quarter, half and full size, lowest first as browsers want it. The caps are where VP8 stops gaining visibly at 180p, 360p
 * and 720p.
 */
const SIMULCAST = [
  { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000, scalabilityMode },
  { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000, scalabilityMode },
  { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_700_000, scalabilityMode },
];
/** Says which frames an AV1 frame needs, so that a receiver can go on over a lost one that nothing else needs. */
const DEPENDENCY_DESCRIPTOR =
  "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
/**
 * Half and full size: the half is for thumbnails alone, since text that is shown large must stay sharp. What a thin line cannot carry is left out of the frame
 * rate, which has three steps in each stream.
 */
const SCREEN = [
  { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 400_000, maxFramerate: 5, scalabilityMode },
  { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 2_500_000, maxFramerate: 15, scalabilityMode },
];

/**
 * `state`: of ICE and DTLS together. `track`: a receiving line got its track, once per line.
 * @extends {Emitter<{state: TransportState, track: {mid: string, track: MediaStreamTrack, receiver: RTCRtpReceiver}}>}
 */
export class MediaConnection extends Emitter {
  /** The connection itself, for statistics and tests. @readonly @type {RTCPeerConnection} */
  peer;
  /** @type {Record<Source, RTCRtpTransceiver>} */
  #lines;
  /** The last change of what is sent. @type {Promise<void>} */
  #layers = Promise.resolve();
  /** The last offer or answer. @type {Promise<unknown>} */
  #negotiation = Promise.resolve();
  /** The server's last answer, as it came. @type {string|undefined} */
  #answer;
  #repeatsVoice = false;

  /** @param {{iceServers?: RTCIceServer[], iceTransportPolicy?: RTCIceTransportPolicy, slots?: number}} [options] */
  constructor({ iceServers = [], iceTransportPolicy = "all", slots = DEFAULT_SLOTS } = {}) {
    super();
    const peer = new RTCPeerConnection({ iceServers, iceTransportPolicy, bundlePolicy: "max-bundle" });
    this.peer = peer;
    const published = new MediaStream();
    this.#lines = {
      microphone: peer.addTransceiver("audio", { direction: "sendonly", streams: [published] }),
      camera: peer.addTransceiver("video", {
        direction: "sendonly",
        streams: [published],
        sendEncodings: SIMULCAST.map((layer) => ({ ...layer })),
      }),
      screen: peer.addTransceiver("video", {
        direction: "sendonly",
        streams: [new MediaStream()],
        sendEncodings: SCREEN.map((layer) => ({ ...layer })),
      }),
    };
    for (let k = 0; k < slots; k++) {
      peer.addTransceiver("audio", { direction: "recvonly" });
      offerDependencies(peer.addTransceiver("video", { direction: "recvonly" }));
    }
    // Makes the offer carry its m=application; data channels come and go on it without another offer.
    peer.createDataChannel("echo");

    peer.addEventListener("track", ({ track, receiver, transceiver }) => {
      if (transceiver.mid !== null) this.emit("track", { mid: transceiver.mid, track, receiver });
    });
    peer.addEventListener("connectionstatechange", () => this.emit("state", peer.connectionState));
    // connectionState stays "connected" in some browsers while ICE is "disconnected".
    peer.addEventListener("iceconnectionstatechange", () => {
      const ice = peer.iceConnectionState;
      if (ice === "disconnected" || ice === "failed") this.emit("state", ice);
    });
  }

  /** @returns {TransportState} */
  get state() {
    const ice = this.peer.iceConnectionState;
    return ice === "disconnected" || ice === "failed" ? ice : this.peer.connectionState;
  }

  /**
   * Makes an offer and installs it. Candidates need not be waited for: the server is ICE-lite and learns ours from checks.
   * @param {{iceRestart?: boolean}} [options]
   * @returns {Promise<string>} the SDP
   */
  offer({ iceRestart = false } = {}) {
    return this.#inTurn(async () => {
      // An offer that was never answered stands in the way of the next one.
      if (this.peer.signalingState === "have-local-offer") await this.peer.setLocalDescription({ type: "rollback" });
      const offer = await this.peer.createOffer({ iceRestart });
      await this.peer.setLocalDescription(offer);
      return this.peer.localDescription?.sdp ?? "";
    });
  }

  /** @param {string} sdp */
  answered(sdp) {
    return this.#inTurn(() => {
      this.#answer = sdp;
      return this.#accept(sdp);
    });
  }

  /**
   * Sends our voice with redundancy (RFC 2198) from now on, or without. Both were agreed on with the server and only the browser has to know
   * which is wanted, so that this negotiation stays at home: the server's answer is taken once more in another order.
   * @param {boolean} repeats
   */
  repeatVoice(repeats) {
    return this.#inTurn(async () => {
      if (repeats === this.#repeatsVoice) return;
      this.#repeatsVoice = repeats;
      // The answer that is under way says it too.
      if (!this.#answer || this.peer.signalingState !== "stable") return;
      await this.peer.setLocalDescription(await this.peer.createOffer());
      await this.#accept(this.#answer);
    });
  }

  /** @param {string} answer */
  async #accept(answer) {
    const sdp = this.#repeatsVoice ? withRedundancy(answer, this.mid("microphone")) : answer;
    await this.peer.setRemoteDescription({ type: "answer", sdp });
  }

  /**
   * One negotiation after the other.
   * @template T
   * @param {() => Promise<T>} negotiate
   * @returns {Promise<T>}
   */
  #inTurn(negotiate) {
    const turn = this.#negotiation.then(negotiate);
    this.#negotiation = turn.catch(() => {});
    return turn;
  }

  /**
   * The mid of a published line; null before the offer.
   * @param {Source} source
   */
  mid(source) {
    return this.#lines[source].mid;
  }

  /**
   * Sends `track` on the line of `source` from now on, or nothing.
   * @param {Source} source
   * @param {MediaStreamTrack|null} track
   */
  async send(source, track) {
    if (this.peer.signalingState === "closed") return;
    await this.#lines[source].sender.replaceTrack(track);
  }

  /**
   * Sends only these layers on the line of `source` from now on. A line without layers is left alone.
   * @param {Source} source
   * @param {string[]} wanted the RIDs of its simulcast layers
   * @param {import("./protocol.js").SpatialLayers} [spatial] of a line without simulcast
   */
  sendLayers(source, wanted, spatial) {
    // Parameters are read and written back as a whole: one change after the other.
    this.#layers = this.#layers.then(() => setLayers(this.#lines[source].sender, wanted, spatial)).catch(() => {});
    return this.#layers;
  }

  /** @returns {Promise<RTCStatsReport>} */
  stats() {
    return this.peer.getStats();
  }

  close() {
    this.peer.close();
    this.emit("state", "closed");
  }
}

/**
 * Offers the dependency descriptor, which browsers keep back on lines that only receive.
 * @param {RTCRtpTransceiver} transceiver
 */
function offerDependencies(transceiver) {
  /** @type {any} Not everywhere, and not in the type library yet. */
  const line = transceiver;
  const extensions = line.getHeaderExtensionsToNegotiate?.() ?? [];
  for (const extension of extensions) if (extension.uri === DEPENDENCY_DESCRIPTOR) extension.direction = "sendrecv";
  if (extensions.length > 0) line.setHeaderExtensionsToNegotiate(extensions);
}
