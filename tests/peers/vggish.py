"""Reference numbers of VGGish in small and of its log mels, written out in numpy.

usage: vggish.py > tests/golden/vggish.json
Follows mel_features.py and vggish_slim.py of TensorFlow models (research/audioset/vggish): frames that lie inside,
magnitudes, triangles in mels; convolutions with SAME padding, channels last in the flattened tensor.
"""
import json
import sys

import numpy as np

RATE, WINDOW, HOP, TRANSFORM = 16000, 400, 160, 512


def mel(hz):
    return 1127.0 * np.log1p(np.asarray(hz) / 700.0)


def log_mels(sound):
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    count = (len(sound) - WINDOW) // HOP + 1
    frames = np.stack([sound[HOP * k:HOP * k + WINDOW] * hann for k in range(count)])
    magnitudes = np.abs(np.fft.rfft(frames, TRANSFORM))
    edges = np.linspace(mel(125.0), mel(7500.0), 64 + 2)
    bins = mel(np.linspace(0.0, RATE / 2, TRANSFORM // 2 + 1))
    weights = np.empty((len(bins), 64))
    for b in range(64):
        low, centre, high = edges[b:b + 3]
        weights[:, b] = np.maximum(0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    weights[0] = 0.0
    return np.log(magnitudes @ weights + 0.01)


def values(number, shape, scale):
    return (np.sin(0.7 * number + 1.3 * np.arange(np.prod(shape))) * scale).reshape(shape)


def convolved(x, weight, bias):  # x [H, W, C], weight [O, C, 3, 3]
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    out = np.zeros(x.shape[:2] + (weight.shape[0],)) + bias
    for i in range(3):
        for j in range(3):
            out += padded[i:i + x.shape[0], j:j + x.shape[1]] @ weight[:, :, i, j].T
    return np.maximum(out, 0.0)


def pooled(x):
    return x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, -1).max((1, 3))


def embedded(x, divisor):
    number, channels = 0, 1
    x = x[:, :, None]
    for out, is_pooled in ((64, 1), (128, 1), (256, 0), (256, 1), (512, 0), (512, 1)):
        out //= divisor
        scale = 2.0 / (9 * channels)**0.5
        x = convolved(x, values(number + 1, (out, channels, 3, 3), scale), values(number + 2, (out,), 0.1))
        x = pooled(x) if is_pooled else x
        number, channels = number + 2, out
    x = x.reshape(-1)
    for out in (4096, 4096, 128):
        out //= divisor
        weight = values(number + 1, (out, len(x)), 2.0 / len(x)**0.5)
        x = weight @ (x if number == 12 else np.maximum(x, 0.0)) + values(number + 2, (out,), 0.1)
        number += 2
    return x


t = np.arange(20000)
sound = 0.4 * np.sin(0.05 * t) + 0.3 * np.sin(0.2 * t + 1e-5 * t**2) + 0.05 * np.sin(2.3 * t)
frames = log_mels(sound)
json.dump({"frames": len(frames), "log_mels": frames[::10, ::3].flatten().tolist(),
           "embedding": embedded(frames[:96], 16).tolist()}, sys.stdout)
print()
