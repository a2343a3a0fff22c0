// A call by Janus's VideoRoom for a page of a test: publishes camera and microphone in the layers that ringback.js makes, and plays whoever else
// publishes in the room. One connection each way, as Janus wants it.
window.joinJanus = async ({ port, room, behindLink }) => {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, "janus-protocol");
  await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
  const waiting = new Map();
  let session, told = () => {};
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.janus === "ack") return;
    const answer = waiting.get(message.transaction);
    if (answer) {
      waiting.delete(message.transaction);
      answer(message);
    } else {
      told(message.plugindata?.data ?? {});
    }
  };
  const request = async (message) => {
    const transaction = Math.random().toString(36).slice(2);
    const answered = new Promise((resolve) => waiting.set(transaction, resolve));
    socket.send(JSON.stringify({ ...message, transaction, ...(session && { session_id: session }) }));
    const answer = await answered;
    const refused = answer.error?.reason ?? answer.plugindata?.data?.error;
    if (refused) throw new Error(`Janus refuses: ${refused}`);
    return answer;
  };
  session = (await request({ janus: "create" })).data.id;
  const attach = async () => {
    const { data } = await request({ janus: "attach", plugin: "janus.plugin.videoroom" });
    return (body, jsep) => request({ janus: "message", handle_id: data.id, body, ...(jsep && { jsep }) });
  };

  // The test sees whom a connection goes to in `wantedLink`, puts its link there, and says its address.
  const rerouted = async (sdp) => {
    if (!behindLink) return sdp;
    const [, address, at] = /^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host/im.exec(sdp);
    const [host, link] = await new Promise((resolve) => {
      window.wantedLink = { to: `${address}:${at}`, give: (given) => resolve(given.split(":")) };
    });
    return sdp.replaceAll(` ${address} ${at} typ host`, ` ${host} ${link} typ host`);
  };
  const gathered = async (peer) => {
    while (peer.iceGatheringState !== "complete") await new Promise((resolve) => setTimeout(resolve, 20));
    const { type, sdp } = peer.localDescription;
    // Whoever is behind a link tells no address by which they could be reached past it; one that leads nowhere gets Janus to begin.
    let told = 0;
    const nowhere = () => (told++ ? "" : "a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n");
    return { type, sdp: behindLink ? sdp.replace(/^a=candidate:.*\r\n/gm, nowhere) : sdp, trickle: false };
  };

  const play = async (feed) => {
    const peer = new RTCPeerConnection();
    const stream = new MediaStream();
    const video = Object.assign(document.createElement("video"), { autoplay: true, srcObject: stream, width: 640, height: 480 });
    document.body.append(video);
    peer.ontrack = ({ track }) => stream.addTrack(track);
    const message = await attach();
    let offered;
    while (!offered) {
      // A publisher can be played once its media is there, of which nobody is told in time.
      offered = await message({ request: "join", ptype: "subscriber", room, streams: [{ feed }] }).catch(() => undefined);
      if (!offered) await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await peer.setRemoteDescription({ type: "offer", sdp: await rerouted(offered.jsep.sdp) });
    await peer.setLocalDescription();
    await message({ request: "start" }, await gathered(peer));
  };

  const played = new Set();
  told = ({ publishers = [] }) => {
    for (const { id } of publishers) if (!played.has(id) && played.add(id)) window.playing = play(id);
  };
  const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 480 } });
  const peer = new RTCPeerConnection();
  peer.addTransceiver(media.getAudioTracks()[0], { direction: "sendonly" });
  // Highest first, as Janus reads them.
  const sendEncodings = [
    { rid: "f", maxBitrate: 1_700_000, scalabilityMode: "L1T3" },
    { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000, scalabilityMode: "L1T3" },
    { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000, scalabilityMode: "L1T3" },
  ];
  peer.addTransceiver(media.getVideoTracks()[0], { direction: "sendonly", sendEncodings });
  const message = await attach();
  await message({ request: "create", room, publishers: 6, bitrate: 0, audiocodec: "opus", videocodec: "vp8", opus_fec: true }).catch(() => {});
  await peer.setLocalDescription();
  const joined = await message({ request: "joinandconfigure", ptype: "publisher", room }, await gathered(peer));
  await peer.setRemoteDescription({ type: "answer", sdp: await rerouted(joined.jsep.sdp) });
  told(joined.plugindata.data);
  window.published = peer;
};
