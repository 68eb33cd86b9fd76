"""Reference numbers of PSNR and SSIM from scikit-image, and a second SSIM written out window by window with numpy.

usage: similarity.py > tests/golden/similarity.json
"""
import json
import sys

import numpy as np
import skimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity


def written_out(a, b):
    """Wang et al. 2004, eq. 13 to 16 of every window, one at a time; a, b [H, W] in [0, 1]."""
    g = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    w = np.outer(g, g) / np.outer(g, g).sum()
    c1, c2, values = 0.01**2, 0.03**2, []
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            x, y = a[i:i + 11, j:j + 11], b[i:i + 11, j:j + 11]
            mx, my = (w * x).sum(), (w * y).sum()
            vx, vy = (w * (x - mx) ** 2).sum(), (w * (y - my) ** 2).sum()
            cov = (w * (x - mx) * (y - my)).sum()
            values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(values))


def picture(seed, height, width):
    """Integers that any language makes the same way."""
    i = np.arange(height * width, dtype=np.uint64)
    return ((i * np.uint64(2654435761) + np.uint64(seed)) % np.uint64(251)).astype(np.uint8).reshape(height, width)


cases = []
for seed, height, width, kind in [(7, 16, 16, "noise"), (11, 13, 20, "noise"), (3, 24, 18, "blend"), (5, 11, 11, "blend")]:
    a = picture(seed, height, width)
    other = picture(seed * 31 + 1, height, width)
    ramp = (np.add.outer(np.arange(height), np.arange(width)) * 5 % 256).astype(np.uint8)
    b = other if kind == "noise" else ((3 * ramp.astype(int) + a) // 4).astype(np.uint8)
    a = a if kind == "noise" else ramp
    ssim = structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)
    mine = written_out(a / 255.0, b / 255.0)
    assert abs(ssim - mine) < 1e-9, (ssim, mine)
    cases.append({"height": height, "width": width, "a": a.flatten().tolist(), "b": b.flatten().tolist(),
                  "psnr": float(peak_signal_noise_ratio(a, b, data_range=255)), "ssim": float(ssim)})
json.dump({"scikit-image": skimage.__version__, "numpy": np.__version__, "cases": cases}, sys.stdout)
print()
