"""Publishes by WHIP or plays by WHEP with aiortc, a WebRTC of its own (neither a browser's nor this project's).

    aiortc_client.py whip URL TOKEN HZ RED GREEN BLUE   publishes until its standard input ends, then deletes the resource
    aiortc_client.py deaf URL TOKEN HZ RED GREEN BLUE   the same, with a keyframe each 8 seconds whatever it is asked
    aiortc_client.py whep URL TOKEN SECONDS             plays, and prints what it heard and saw as a line of JSON

It prints a line of JSON when it is connected. On loopback, which aiortc leaves out otherwise."""

import asyncio
import json
import math
import sys
import time
import urllib.parse

import aiohttp
import aioice.ice
import av
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from media import FRAME_RATE, SAMPLE_RATE, SAMPLES, picture, sound

aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


class Paced(MediaStreamTrack):
    """Frames at their times."""

    def __init__(self, kind, make, seconds):
        super().__init__()
        self.kind, self.make, self.seconds = kind, make, seconds
        self.number, self.began = 0, time.monotonic()

    async def recv(self):
        await asyncio.sleep(max(0.0, self.began + self.number * self.seconds - time.monotonic()))
        frame = self.make(self.number)
        self.number += 1
        return frame


def pitch(samples):
    """The loudest of the frequencies 200, 210 … 1,500 Hz."""

    def power(hz):
        turn = 2 * math.cos(math.tau * hz / SAMPLE_RATE)
        before = last = 0.0
        for sample in samples:
            before, last = last, sample + turn * last - before
        return last * last + before * before - turn * last * before

    return max(range(200, 1_501, 10), key=power)


async def negotiate(http, peer, url):
    """Offers, and returns where the resource is."""
    await peer.setLocalDescription(await peer.createOffer())
    offer = peer.localDescription.sdp
    async with http.post(url, data=offer, headers={"Content-Type": "application/sdp"}) as answer:
        body = await answer.text()
        if answer.status != 201:
            sys.exit(f"{answer.status} {body}")
        resource = urllib.parse.urljoin(url, answer.headers["Location"])
    await peer.setRemoteDescription(RTCSessionDescription(sdp=body, type="answer"))
    while peer.connectionState != "connected":
        if peer.connectionState in ("failed", "closed"):
            sys.exit(f"the transport is {peer.connectionState}")
        await asyncio.sleep(0.02)
    print(json.dumps({"connected": resource}), flush=True)
    return resource


async def publish(http, peer, url, hz, *rgb):
    rgb = [int(component) for component in rgb]
    voice = Paced("audio", lambda number: sound(number, int(hz)), SAMPLES / SAMPLE_RATE)
    face = Paced("video", lambda number: picture(number, rgb), 1 / FRAME_RATE)
    for track in (voice, face):
        peer.addTransceiver(track, direction="sendonly")
    resource = await negotiate(http, peer, url)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    return resource


async def publish_deaf(http, peer, url, hz, *rgb):
    send_keyframe = RTCRtpSender._send_keyframe
    RTCRtpSender._send_keyframe = lambda sender: None

    async def now_and_then():
        while True:
            await asyncio.sleep(8)
            for sender in peer.getSenders():
                send_keyframe(sender)

    keyframes = asyncio.ensure_future(now_and_then())
    resource = await publish(http, peer, url, hz, *rgb)
    keyframes.cancel()
    return resource


async def play(http, peer, url, seconds):
    seen, heard = {"frames": 0, "rgb": None, "width": 0}, {"samples": []}

    async def watch(track):
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if track.kind == "video":
                small = frame.reformat(width=8, height=8, format="rgb24")
                plane = small.planes[0]
                row = bytes(plane)[3 * plane.line_size : 3 * plane.line_size + 24]
                seen["rgb"] = [sum(row[c::3]) // 8 for c in range(3)]
                seen["frames"], seen["width"] = seen["frames"] + 1, frame.width
            else:
                mono = resampler.resample(frame)
                for part in mono:
                    heard["samples"] += memoryview(bytes(part.planes[0])[: part.samples * 2]).cast("h").tolist()
                heard["samples"] = heard["samples"][-SAMPLE_RATE:]

    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    peer.on("track", lambda track: asyncio.ensure_future(watch(track)))
    for kind in ("audio", "video"):
        peer.addTransceiver(kind, direction="recvonly")
    resource = await negotiate(http, peer, url)
    await asyncio.sleep(float(seconds))
    samples = heard["samples"][-SAMPLE_RATE // 2 :]
    loudest = max((abs(sample) for sample in samples), default=0)
    print(json.dumps({**seen, "hz": pitch(samples), "loudest": loudest}), flush=True)
    return resource


async def main(protocol, url, token, *arguments):
    peer = RTCPeerConnection()
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
        resource = await {"whip": publish, "deaf": publish_deaf, "whep": play}[protocol](http, peer, url, *arguments)
        async with http.delete(resource) as answer:
            print(json.dumps({"deleted": answer.status}), flush=True)
    await peer.close()


asyncio.run(main(*sys.argv[1:]))
