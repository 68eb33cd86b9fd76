"""Mel spectrograms of a sound by torchaudio's own code, with the parameters and logarithms of three publications.

usage: mel_spectrograms.py > tests/golden/mel_spectrograms.json      (torch and torchaudio 2.11.0)
"""
import json
import sys

import torch
import torchaudio

LENGTH = 4096


def sound():
    """Three sines and integers that any language makes the same way; float64."""
    i = torch.arange(LENGTH, dtype=torch.float64)
    noise = (torch.arange(LENGTH) * 2654435761 % 2001).double() / 1000.0 - 1.0
    return 0.4 * torch.sin(0.05 * i) + 0.2 * torch.sin(0.6 * i + 1.0) * (i / LENGTH) + 0.02 * noise


def diffwave(x):
    mel = torchaudio.transforms.MelSpectrogram(sample_rate=22050, win_length=1024, hop_length=256, n_fft=1024, f_min=20.0,
                                               f_max=11025.0, n_mels=80, power=1.0, normalized=True)
    level = 20 * torch.log10(torch.clamp(mel(x), min=1e-5)) - 20
    return 2 * torch.clamp((level + 100) / 100, 0.0, 1.0) - 1


def audioldm(x):
    mel = torchaudio.transforms.MelSpectrogram(sample_rate=16000, win_length=1024, hop_length=160, n_fft=1024, f_min=0.0,
                                               f_max=8000.0, n_mels=64, power=1.0, norm="slaney", mel_scale="slaney")
    return (torch.log(torch.clamp(mel(x), min=1e-5)) + 4.63) / 2.74


def plain(x):
    mel = torchaudio.transforms.MelSpectrogram(f_max=8000.0)
    return torchaudio.transforms.AmplitudeToDB()(mel(x)) / 20


x = sound().float()
cases = {}
for name, transform in (("diffwave", diffwave), ("audioldm", audioldm), ("torchaudio", plain)):
    values = transform(x)
    cases[name] = {"mels": values.shape[0], "frames": values.shape[1],
                   "values": [float(f"{v:.7g}") for v in values.flatten().tolist()]}
json.dump({"torchaudio": torchaudio.__version__, "torch": torch.__version__, "length": LENGTH, "cases": cases}, sys.stdout)
print()
