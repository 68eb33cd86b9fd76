"""I3D (Carreira and Zisserman 2017, figure 3) out of torch.nn layers: what modalities/video/i3d.cpp is held against."""
import torch
from torch import nn
from torch.nn import functional

MIXED = [
    ("mixed_3b", (64, 96, 128, 16, 32, 32)), ("mixed_3c", (128, 128, 192, 32, 96, 64)), "pool3",
    ("mixed_4b", (192, 96, 208, 16, 48, 64)), ("mixed_4c", (160, 112, 224, 24, 64, 64)),
    ("mixed_4d", (128, 128, 256, 24, 64, 64)), ("mixed_4e", (112, 144, 288, 32, 64, 64)),
    ("mixed_4f", (256, 160, 320, 32, 128, 128)), "pool2",
    ("mixed_5b", (256, 160, 320, 32, 128, 128)), ("mixed_5c", (384, 192, 384, 48, 128, 128)),
]


def same(x, kernel, stride):
    """TensorFlow's SAME: the documentation's own two cases, size divisible by the stride or not."""
    amounts = []
    for size, k, s in zip(x.shape[2:], kernel, stride):
        total = max(k - s, 0) if size % s == 0 else max(k - size % s, 0)
        amounts.append((total // 2, total - total // 2))
    return functional.pad(x, [a for pair in reversed(amounts) for a in pair])


class Unit(nn.Module):
    def __init__(self, cin, cout, side, stride=1):
        super().__init__()
        self.kernel, self.stride = (side,) * 3, (stride,) * 3
        self.conv3d = nn.Conv3d(cin, cout, side, stride, bias=False)
        self.bn = nn.BatchNorm3d(cout, eps=1e-3)

    def forward(self, x):
        return functional.relu(self.bn(self.conv3d(same(x, self.kernel, self.stride))))


class Mixed(nn.Module):
    def __init__(self, cin, out):
        super().__init__()
        self.b0 = Unit(cin, out[0], 1)
        self.b1a, self.b1b = Unit(cin, out[1], 1), Unit(out[1], out[2], 3)
        self.b2a, self.b2b = Unit(cin, out[3], 1), Unit(out[3], out[4], 3)
        self.b3b = Unit(cin, out[5], 1)

    def forward(self, x):
        pool = functional.max_pool3d(same(x, (3, 3, 3), (1, 1, 1)), 3, 1)
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pool)], 1)


def pool(x, kernel, stride):
    return functional.max_pool3d(same(x, kernel, stride), kernel, stride)


class I3d(nn.Module):
    def __init__(self, divisor=1, pool_side=7, classes=400):
        super().__init__()
        self.pool_side = pool_side
        self.conv_1a = Unit(3, 64 // divisor, 7, 2)
        self.conv_2b = Unit(64 // divisor, 64 // divisor, 1)
        self.conv_2c = Unit(64 // divisor, 192 // divisor, 3)
        channels, self.order = 192 // divisor, []
        for entry in MIXED:
            if isinstance(entry, str):
                self.order.append(entry)
                continue
            name, out = entry[0], [c // divisor for c in entry[1]]
            self.add_module(name, Mixed(channels, out))
            self.order.append(name)
            channels = out[0] + out[2] + out[4] + out[5]
        self.logits = nn.Conv3d(channels, classes, 1)

    def forward(self, x):
        x = pool(self.conv_1a(x), (1, 3, 3), (1, 2, 2))
        x = pool(self.conv_2c(self.conv_2b(x)), (1, 3, 3), (1, 2, 2))
        for name in self.order:
            if name == "pool3":
                x = pool(x, (3, 3, 3), (2, 2, 2))
            elif name == "pool2":
                x = pool(x, (2, 2, 2), (2, 2, 2))
            else:
                x = getattr(self, name)(x)
        x = functional.avg_pool3d(x, (2, self.pool_side, self.pool_side), 1)
        return self.logits(x).mean((2, 3, 4))


def units(module):
    """(name in our files, unit) in the order of the network."""
    for name, child in module.named_modules():
        if isinstance(child, Unit):
            yield name, child
