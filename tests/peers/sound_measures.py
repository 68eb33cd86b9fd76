"""Reference numbers of distances of sounds: the formulas written out frame by frame with numpy and scipy.

usage: sound_measures.py > tests/golden/sound_measures.json
"""
import json
import sys

import numpy as np
import scipy
from scipy.signal import get_window
from scipy.stats import wasserstein_distance, mannwhitneyu

EPS = 1e-8


def sound(kind, n=4000):
    """Functions of the sample's number that any language computes the same way."""
    i = np.arange(n, dtype=np.float64)
    if kind == "chirp":
        return 0.5 * np.sin(1e-5 * i * i + 0.05 * i)
    if kind == "chirp_soft":
        return 0.3 * np.sin(1e-5 * i * i + 0.05 * i)
    if kind == "chord":
        return 0.2 * np.sin(0.11 * i) + 0.3 * np.sin(0.37 * i + 1.0) + 0.1 * np.sin(2.3 * i)
    if kind == "rough":
        return 0.5 * np.sin(1e-5 * i * i + 0.05 * i) + 0.05 * np.sin(17.0 * np.sin(0.013 * i) + 1.9 * i)
    raise ValueError(kind)


def spectra(x, transform, hop, window, mode):
    """Squared magnitudes, one frame at a time: frame k centred on sample k hop."""
    w = get_window("hann", window, fftbins=True)
    padded = np.pad(x, transform // 2, mode=mode)
    left = (transform - window) // 2
    frames = []
    for k in range(len(x) // hop + 1):
        piece = padded[k * hop:k * hop + transform].copy()
        full = np.zeros(transform)
        full[left:left + window] = w
        frames.append(np.abs(np.fft.rfft(piece * full)) ** 2)
    return np.array(frames).T


def multi_resolution(made, original):
    total = 0.0
    for transform, hop, window in [(1024, 120, 600), (2048, 240, 1200), (512, 50, 240)]:
        a = np.sqrt(np.maximum(spectra(made, transform, hop, window, "reflect"), EPS))
        b = np.sqrt(np.maximum(spectra(original, transform, hop, window, "reflect"), EPS))
        total += np.linalg.norm(b - a) / np.linalg.norm(b) + np.abs(np.log(b) - np.log(a)).mean()
    return float(total / 3)


def log_spectral(made, original):
    a = 10 * np.log10(spectra(made, 2048, 512, 2048, "constant") + EPS)
    b = 10 * np.log10(spectra(original, 2048, 512, 2048, "constant") + EPS)
    return float(np.sqrt(((a - b) ** 2).mean(axis=0)).mean())


def si_sdr(made, original):
    target = original * (made @ original) / (original @ original)
    return float(10 * np.log10((target @ target) / ((target - made) @ (target - made))))


def snr(made, original):
    return float(10 * np.log10((original @ original) / ((original - made) @ (original - made))))


cases = []
for a, b in [("chirp_soft", "chirp"), ("chord", "chirp"), ("rough", "chirp"), ("chirp", "rough")]:
    made, original = sound(a), sound(b)
    cases.append({"made": a, "original": b, "multi_resolution": multi_resolution(made, original),
                  "log_spectral": log_spectral(made, original), "si_sdr": si_sdr(made, original),
                  "snr": snr(made, original)})
sets = []
for n, m, scale in [(7, 5, 1.0), (40, 64, 1.3), (100, 100, 0.6)]:
    x = np.sin(np.arange(n) * 12.9898) * scale
    y = np.sin(np.arange(m) * 78.233 + 0.5) + 0.1
    below = mannwhitneyu(y, x).statistic / (n * m)  # pairs with x < y
    sets.append({"n": n, "m": m, "scale": scale, "wasserstein": float(wasserstein_distance(x, y)),
                 "precedence": float(below)})
json.dump({"numpy": np.__version__, "scipy": scipy.__version__, "cases": cases, "sets": sets}, sys.stdout, indent=1)
print()
