"""What the publishers of this folder send: a picture of one colour with a block that runs along its lower edge, so that no two frames are
alike, and a tone that swells and fades like syllables."""

import math
from fractions import Fraction

import av

WIDTH, HEIGHT, FRAME_RATE, BAND = 320, 240, 15, 32
SAMPLE_RATE, SAMPLES = 48_000, 960


def picture(number, rgb):
    """The frame of this number, as RGB."""
    frame = av.VideoFrame(WIDTH, HEIGHT, "rgb24")
    plane = frame.planes[0]
    row = bytes(rgb) * WIDTH
    padding = bytes(plane.line_size - len(row))
    at = (number * 8) % (WIDTH - BAND)
    block = bytes(rgb) * at + bytes([255, 255, 255]) * BAND + bytes(rgb) * (WIDTH - BAND - at)
    plane.update((row + padding) * (HEIGHT - BAND) + (block + padding) * BAND)
    frame.pts, frame.time_base = number, Fraction(1, FRAME_RATE)
    return frame


def sound(number, hz):
    """Twenty milliseconds of the tone, mono, 16 bit."""
    frame = av.AudioFrame(format="s16", layout="mono", samples=SAMPLES)
    samples = bytearray()
    for n in range(number * SAMPLES, (number + 1) * SAMPLES):
        t = n / SAMPLE_RATE
        swell = 0.5 - 0.5 * math.cos(math.tau * 4 * t)
        samples += int(12_000 * swell * math.sin(math.tau * hz * t)).to_bytes(2, "little", signed=True)
    frame.planes[0].update(bytes(samples))
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, number * SAMPLES, Fraction(1, SAMPLE_RATE)
    return frame
