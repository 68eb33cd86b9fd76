"""PVD's denoiser written out with PyTorch from its paper and the facts of its code: tests/golden/pvd_network.json.

Run:  python tests/peers/pvd_network.py > tests/golden/pvd_network.json
Needs torch; CPU, seconds.

Sampling, balls and interpolation are loops over points, cells and their corners sums over indices. Weights are functions
of their name and number (`fill`), so that no weight file is needed; the names are those of PVD's checkpoints behind
`model.module.`. Runs in float64 on a network of a quarter of the width on grids of 12, 6 and 3 cells a side.
"""
import json
import math
import sys

import torch
from torch import nn

torch.set_default_dtype(torch.float64)
EMBEDDING = 64
STAGES = [((32, 2, 32), (1024, 0.1, (32, 64))), ((64, 3, 16), (256, 0.2, (64, 128))),
          ((128, 3, 8), (64, 0.4, (128, 256))), (None, (16, 0.8, (256, 256, 512)))]
WAYS_BACK = [((256, 256), (256, 3, 8)), ((256, 256), (256, 3, 8)), ((256, 128), (128, 2, 16)),
             ((128, 128, 64), (64, 2, 32))]


def farthest(points, count):
    """points [3, K]; the first is point 0."""
    chosen, away = [0], torch.full((points.shape[1],), math.inf)
    while len(chosen) < count:
        away = torch.minimum(away, ((points - points[:, chosen[-1]:chosen[-1] + 1]) ** 2).sum(0))
        chosen.append(int(away.argmax()))
    return chosen


def ball(points, centre, radius, count=32):
    found = []
    for k in range(points.shape[1]):
        if ((points[:, k] - centre) ** 2).sum() < radius**2:
            found.append(k)
    found = found[:count] or [0]
    return found + [found[0]] * (count - len(found))


def interpolate(points, centres, features):
    """[3, K], [3, M], [C, M] -> [C, K]"""
    columns = []
    for k in range(points.shape[1]):
        squared = ((centres - points[:, k:k + 1]) ** 2).sum(0)
        near = squared.argsort(stable=True)[:3]
        weight = 1 / squared[near].clamp(1e-10, 1e10)
        columns.append((features[:, near] * weight).sum(1) / weight.sum())
    return torch.stack(columns, 1)


def places_of(points, side):
    middle = points - points.mean(2, keepdim=True)
    farthest_away = middle.norm(dim=1).amax(1)[:, None, None]
    return ((middle / (2 * farthest_away) + 0.5) * side).clamp(0, side - 1)


def to_cells(features, places, side):
    grid = torch.zeros(*features.shape[:2], side, side, side)
    for n in range(len(features)):
        count = torch.zeros(side, side, side)
        cells = places[n].round().long()
        for k in range(cells.shape[1]):
            x, y, z = cells[:, k].tolist()
            grid[n, :, x, y, z] += features[n, :, k]
            count[x, y, z] += 1
        grid[n] /= count.clamp(min=1)
    return grid


def from_cells(grid, places):
    side = grid.shape[2]
    low = places.floor().long()
    part = places - low
    total = 0
    for corner in range(8):
        index, weight = [], 1
        for axis in range(3):
            high = corner >> axis & 1
            index.append((low[:, axis] + high).clamp(max=side - 1))
            weight = weight * (part[:, axis] if high else 1 - part[:, axis])
        n = torch.arange(len(grid))[:, None]
        total = total + grid[n, :, index[0], index[1], index[2]].permute(0, 2, 1) * weight[:, None]
    return total


class Swish(nn.Module):
    def forward(self, x):
        return x / (1 + torch.exp(-x))


class Shared(nn.Module):
    """Convolutions of one point, each with a norm of 8 groups and Swish."""

    def __init__(self, features, widths, convolution):
        super().__init__()
        parts = []
        for width in widths:
            parts += [convolution(features, width, 1), nn.GroupNorm(8, width), Swish()]
            features = width
        self.layers = nn.Sequential(*parts)

    def forward(self, x):
        return self.layers(x)


class Attention(nn.Module):
    def __init__(self, features, convolution):
        super().__init__()
        self.q, self.k, self.v, self.out = (convolution(features, features, 1) for _ in range(4))
        self.norm = nn.GroupNorm(8, features)

    def forward(self, x):
        q, k, v = (part(x).flatten(2) for part in (self.q, self.k, self.v))
        share = torch.einsum("ncl,ncm->nlm", q, k).softmax(2)  # not divided by sqrt(C)
        seen = torch.einsum("nlm,ncm->ncl", share, v).reshape(x.shape)
        y = self.norm(x + self.out(seen))
        return y * y.sigmoid()


class Excitation(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(features, features // 8, bias=False), nn.ReLU(),
                                nn.Linear(features // 8, features, bias=False), nn.Sigmoid())

    def forward(self, x):
        return x * self.fc(x.mean((2, 3, 4)))[:, :, None, None, None]


class PointVoxel(nn.Module):
    def __init__(self, features, width, side, attends):
        super().__init__()
        self.side = side
        self.voxel_layers = nn.Sequential(
            nn.Conv3d(features, width, 3, padding=1), nn.GroupNorm(8, width), Swish(), nn.Dropout(0.1),
            nn.Conv3d(width, width, 3, padding=1), nn.GroupNorm(8, width),
            Attention(width, nn.Conv3d) if attends else Swish(), Excitation(width))
        self.point_features = Shared(features, [width], nn.Conv1d)

    def forward(self, h, points):
        places = places_of(points, self.side)
        return from_cells(self.voxel_layers(to_cells(h, places, self.side)), places) + self.point_features(h)


class Down(nn.Module):
    def __init__(self, features, widths, centres, radius):
        super().__init__()
        self.centres, self.radius = centres, radius
        self.mlps = nn.ModuleList([Shared(features + 3, widths, nn.Conv2d)])

    def forward(self, h, points):
        grouped, kept = [], []
        for n in range(len(points)):
            centres = points[n][:, farthest(points[n], self.centres)]
            columns = []
            for m in range(self.centres):
                near = ball(points[n], centres[:, m], self.radius)
                columns.append(torch.cat([points[n][:, near] - centres[:, m:m + 1], h[n][:, near]]))
            grouped.append(torch.stack(columns, 1))
            kept.append(centres)
        return self.mlps[0](torch.stack(grouped)).amax(3), torch.stack(kept)


class Up(nn.Module):
    def __init__(self, features, widths):
        super().__init__()
        self.mlp = Shared(features, widths, nn.Conv1d)

    def forward(self, points, centres, h, beside):
        brought = torch.stack([interpolate(*one) for one in zip(points, centres, h)])
        return self.mlp(torch.cat([brought, beside], 1))


class Denoiser(nn.Module):
    def __init__(self, channels=3, width=1.0, resolution=1.0, fraction=1):
        super().__init__()
        features, before, stages, ways = channels, [], [], []
        for i, (grid, (centres, radius, widths)) in enumerate(STAGES):
            before.append(channels - 3 if i == 0 else features)
            features += EMBEDDING if i > 0 else 0
            parts = []
            if grid:
                # Of several only the first is built, but in the first stage.
                for p in range(grid[1] if i == 0 else 1):
                    parts.append(PointVoxel(features, int(width * grid[0]), int(resolution * grid[2]), i == 1))
                    features = int(width * grid[0])
            parts.append(Down(features, [int(width * w) for w in widths], max(1, centres // fraction), radius))
            features = int(width * widths[-1])
            stages.append(nn.Sequential(*parts) if grid else parts[0])
        self.sa_layers = nn.ModuleList(stages)
        self.global_att = Attention(features, nn.Conv1d)
        for (widths, grid), skipped in zip(WAYS_BACK, reversed(before)):
            parts = [Up(features + skipped + EMBEDDING, [int(width * w) for w in widths])]
            features = int(width * widths[-1])
            for _ in range(grid[1]):
                parts.append(PointVoxel(features, int(width * grid[0]), int(resolution * grid[2]), False))
                features = int(width * grid[0])
            ways.append(nn.Sequential(*parts))
        self.fp_layers = nn.ModuleList(ways)
        hidden = int(width * 128)
        self.classifier = nn.Sequential(Shared(features, [hidden], nn.Conv1d), nn.Dropout(0.1),
                                        nn.Conv1d(hidden, channels, 1))
        self.embedf = nn.Sequential(nn.Linear(EMBEDDING, EMBEDDING), nn.LeakyReLU(0.1),
                                    nn.Linear(EMBEDDING, EMBEDDING))

    def forward(self, x, level):
        rates = torch.tensor([math.exp(-math.log(10000) * i / (EMBEDDING // 2 - 1)) for i in range(EMBEDDING // 2)])
        angle = level[:, None] * rates
        embedding = self.embedf(torch.cat([angle.sin(), angle.cos()], 1))[:, :, None]
        h, points, kept = x, x[:, :3], []
        for i, stage in enumerate(self.sa_layers):
            kept.append((points, h if i > 0 else x[:, 3:]))
            if i > 0:
                h = torch.cat([h, embedding.expand(-1, -1, h.shape[2])], 1)
            parts = list(stage) if isinstance(stage, nn.Sequential) else [stage]
            for part in parts[:-1]:
                h = part(h, points)
            h, points = parts[-1](h, points)
        h = self.global_att(h)
        for way in self.fp_layers:
            fine, beside = kept.pop()
            h = way[0](fine, points, torch.cat([h, embedding.expand(-1, -1, h.shape[2])], 1), beside)
            points = fine
            for part in list(way)[1:]:
                h = part(h, points)
        return self.classifier(h)


def scattered(shape, start):
    """Numbers of mean 0 and deviation 1 that look like none in particular."""
    waves = torch.sin(torch.arange(math.prod(shape)) * 12.9898 + start) * 43758.5453
    return (waves - waves.floor() - 0.5).reshape(shape) * 12**0.5


def fill(network):
    """Weights as a function of their number by name: those of norms about 1, biases about 0."""
    for number, (name, weight) in enumerate(sorted(network.named_parameters())):
        values = scattered(weight.shape, number)
        if weight.dim() > 1:
            weight.data = values * (2 / weight[0].numel()) ** 0.5
        else:
            weight.data = values * 0.2 + (1.0 if is_norm(network, name) else 0.0)


def is_norm(network, name):
    module, kind = name.rsplit(".", 1)
    return kind == "weight" and isinstance(network.get_submodule(module), nn.GroupNorm)


def case(channels, points):
    network = Denoiser(channels, 0.25, 0.375, 2048 // points).eval()
    fill(network)
    x, level = scattered((2, channels, points), 0.5) * 0.4, torch.tensor([17.0, 613.0])
    with torch.no_grad():
        output = network(x, level)
    return {"channels": channels, "points": points, "level": level.tolist(),
            "output": [round(v, 9) for v in output.flatten().tolist()]}


full = Denoiser()
json.dump({"made_by": f"tests/peers/pvd_network.py, torch {torch.__version__}",
           "weights": {name: list(weight.shape) for name, weight in sorted(full.named_parameters())},
           "norms": sorted(name for name, _ in full.named_parameters() if is_norm(full, name)),
           "num_weights": sum(w.numel() for w in full.parameters()),
           "cases": [case(3, 64), case(5, 128)]}, sys.stdout)
print()
