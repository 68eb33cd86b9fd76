"""Reference numbers of I3D in small, with weights that any language makes by the same formula.

usage: i3d.py > tests/golden/i3d.json
"""
import json
import sys

import torch

from i3d_layers import I3d, units


def values(number, count, scale, offset=0.0):
    i = torch.arange(count, dtype=torch.float64)
    return torch.sin(0.7 * number + 1.3 * i) * scale + offset


def fill(network):
    number = 0
    for _, unit in units(network):
        fan_in = unit.conv3d.weight[0].numel()
        for tensor, scale, offset in [(unit.conv3d.weight, 2.0 / fan_in**0.5, 0.0), (unit.bn.weight, 0.3, 1.0),
                                      (unit.bn.bias, 0.1, 0.05), (unit.bn.running_mean, 0.1, 0.0),
                                      (unit.bn.running_var, 0.2, 0.5)]:
            number += 1
            tensor.data.copy_(values(number, tensor.numel(), scale, offset).view_as(tensor))
    fan_in = network.logits.weight[0].numel()
    network.logits.weight.data.copy_(values(number + 1, network.logits.weight.numel(), 2.0 / fan_in**0.5)
                                     .view_as(network.logits.weight))
    network.logits.bias.data.copy_(values(number + 2, network.logits.bias.numel(), 0.1))


cases = []
network = I3d(divisor=8, pool_side=2, classes=10).double().eval()
with torch.no_grad():
    fill(network)
    for shape in [(2, 3, 16, 64, 64), (1, 3, 11, 45, 58)]:
        count = 1
        for side in shape:
            count *= side
        x = torch.sin(0.37 * torch.arange(count, dtype=torch.float64) ** 1.1).view(shape)
        cases.append({"shape": shape, "logits": network(x).flatten().tolist()})
    raw = (torch.arange(2 * 1 * 2 * 5 * 7) * 37 % 256).to(torch.uint8).view(2, 1, 2, 5, 7)
    frames = raw.transpose(1, 2).reshape(4, 1, 5, 7).float()
    resized = torch.nn.functional.interpolate(frames, (8, 8), mode="bilinear", align_corners=False) / 127.5 - 1
    resized = resized.view(2, 2, 1, 8, 8).transpose(1, 2)
json.dump({"torch": torch.__version__, "cases": cases, "resized": resized.flatten().tolist()}, sys.stdout)
print()
