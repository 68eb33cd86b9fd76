"""Numbers of cloud metrics by numpy and scipy, written out from the definitions: tests/golden/points_metrics.json.

    python tests/peers/points_metrics.py > tests/golden/points_metrics.json

Needs numpy and scipy. Chamfer by k-d trees, exact EMD by linear_sum_assignment, the approximate matching of Fan et al.
2017 as loops over points in float64, MMD, COV and 1-NNA as in the code of PVD, JSD as in that of Achlioptas et al. 2018.
"""
import json

import numpy as np
import scipy
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.stats import entropy


def chamfer(a, b, power):
    return float((cKDTree(b).query(a)[0] ** power).mean() + (cKDTree(a).query(b)[0] ** power).mean())


def exact(a, b, power):
    cost = np.linalg.norm(a[:, None] - b[None], axis=2) ** power
    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].mean())


def matching(a, b):
    n, m = len(a), len(b)
    squared = ((a[:, None] - b[None]) ** 2).sum(2)
    left, right = np.ones(n), np.ones(m)
    match = np.zeros((n, m))
    for j in range(7, -3, -1):
        level = 0.0 if j == -2 else -(4.0**j)
        ratio_left, ratio_right = np.zeros(n), np.zeros(m)
        for k in range(n):
            total = 1e-9
            for l in range(m):
                total += np.exp(level * squared[k, l]) * right[l]
            ratio_left[k] = left[k] / total
        for l in range(m):
            total = 0.0
            for k in range(n):
                total += np.exp(level * squared[k, l]) * ratio_left[k]
            total *= right[l]
            ratio_right[l] = min(right[l] / (total + 1e-9), 1.0) * right[l]
            right[l] = max(0.0, right[l] - total)
        for k in range(n):
            total = 0.0
            for l in range(m):
                weight = np.exp(level * squared[k, l]) * ratio_left[k] * ratio_right[l]
                match[k, l] += weight
                total += weight
            left[k] = max(0.0, left[k] - total)
    return match, squared


def emd_pvd(a, b):
    match, squared = matching(a, b)
    return float((match * squared).sum() / len(a))


def emd_pointflow(a, b):
    match, squared = matching(a, b)
    return float((match * np.sqrt(squared)).sum() / len(a))


def f_score(a, b, threshold):
    precision = (cKDTree(b).query(a)[0] ** 2 < threshold).mean()
    recall = (cKDTree(a).query(b)[0] ** 2 < threshold).mean()
    return float(2 * precision * recall / (precision + recall))


def set_scores(samples, references, distance):
    def matrix(x, y):
        return np.array([[distance(a, b) for b in y] for a in x])

    # The matching is not symmetric: PVD measures (reference, sample) and transposes.
    sr, rr, ss = matrix(references, samples).T, matrix(references, references), matrix(samples, samples)
    n, m = len(references), len(samples)
    everything = np.block([[rr, sr.T], [sr, ss]]) + np.diag(np.full(n + m, np.inf))
    label = np.concatenate([np.ones(n), np.zeros(m)])
    return {
        "mmd": float(sr.min(0).mean()),
        "cov": len(np.unique(sr.argmin(1))) / n,
        "nna": float((label[everything.argmin(0)] == label).mean()),
    }


def jsd(samples, references):
    axis = np.arange(28) / 27 - 0.5
    cells = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), 3).reshape(-1, 3)
    tree = cKDTree(cells[np.linalg.norm(cells, axis=1) <= 0.5])
    shares = []
    for clouds in (samples, references):
        counts = np.bincount(tree.query(clouds.reshape(-1, 3))[1], minlength=tree.n)
        shares.append(counts / counts.sum())
    p, q = shares
    return float(entropy((p + q) / 2, base=2) - (entropy(p, base=2) + entropy(q, base=2)) / 2)


def clouds(generator, count, points):
    """Ellipsoids of random axes, so that some clouds are near each other and some are not."""
    axes = generator.uniform(0.05, 0.45, (count, 1, 3))
    directions = generator.normal(size=(count, points, 3))
    return (axes * directions / np.linalg.norm(directions, axis=2, keepdims=True)).astype(np.float32).astype(np.float64)


generator = np.random.default_rng(7)
references, samples = clouds(generator, 8, 20), clouds(generator, 8, 20) * 1.15
samples = samples.astype(np.float32).astype(np.float64)
a, b = samples[0], references[0]
distances = {
    "cd": lambda x, y: chamfer(x, y, 2),
    "cd_euclidean": lambda x, y: chamfer(x, y, 1),
    "emd_exact": lambda x, y: exact(x, y, 1),
    "emd_exact_squared": lambda x, y: exact(x, y, 2),
    "emd_pvd": emd_pvd,
    "emd_pointflow": emd_pointflow,
}
print(
    json.dumps(
        {
            "made_by": f"tests/peers/points_metrics.py, numpy {np.__version__}, scipy {scipy.__version__}",
            "samples": samples.round(9).tolist(),
            "references": references.round(9).tolist(),
            "pair": {name: distance(a, b) for name, distance in distances.items()},
            "f_score": f_score(a, b, 0.01),
            "sets": {name: set_scores(samples, references, distance) for name, distance in distances.items()},
            "jsd": jsd(samples, references),
        }
    )
)
