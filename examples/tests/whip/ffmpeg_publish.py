"""Publishes by WHIP with FFmpeg's `whip` muxer, through PyAV: what `ffmpeg … -f whip` does.

    ffmpeg_publish.py URL TOKEN HZ RED GREEN BLUE   publishes until its standard input ends

With `-` for the colour it sends sound only. H.264 and Opus are what the muxer takes. It prints a line of JSON when it is connected, or
refused with a status from 405 on."""

import datetime
import json
import sys
import tempfile
import threading
import time

import av
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from media import FRAME_RATE, HEIGHT, SAMPLE_RATE, SAMPLES, WIDTH, picture, sound

url, token, hz, *rgb = sys.argv[1:]
rgb = [int(component) for component in rgb] if rgb != ["-"] else None
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()


def certificate(folder):
    """A certificate for DTLS; this build of the muxer makes none itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "whip")])
    now = datetime.datetime.now(datetime.timezone.utc)
    build = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1))
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    paths = f"{folder}/certificate.pem", f"{folder}/key.pem"
    for path, text in zip(paths, (build.sign(key, hashes.SHA256()).public_bytes(pem), private)):
        with open(path, "wb") as file:
            file.write(text)
    return dict(zip(("cert_file", "key_file"), paths))


def publish(out):
    voice = out.add_stream("libopus", rate=SAMPLE_RATE, layout="stereo")
    face = None
    if rgb:
        face = out.add_stream("libx264", rate=FRAME_RATE)
        face.width, face.height, face.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        # No B frames, and a whole picture each two seconds: the muxer answers no request for one.
        face.options = {"profile": "baseline", "tune": "zerolatency", "preset": "ultrafast", "g": str(2 * FRAME_RATE)}
    began, number, pictures = time.monotonic(), 0, 0
    while not over.is_set():
        out.mux(voice.encode(sound(number, int(hz))))
        if face and number * SAMPLES * FRAME_RATE >= pictures * SAMPLE_RATE:
            out.mux(face.encode(picture(pictures, rgb).reformat(format="yuv420p")))
            pictures += 1
        if number == 0:
            print(json.dumps({"connected": True}), flush=True)
        number += 1
        time.sleep(max(0.0, began + number * SAMPLES / SAMPLE_RATE - time.monotonic()))


with tempfile.TemporaryDirectory() as folder:
    try:
        with av.open(url, "w", format="whip", options={"authorization": token, **certificate(folder)}) as out:
            publish(out)
    except av.error.HTTPOtherClientError:
        print(json.dumps({"refused": True}), flush=True)
