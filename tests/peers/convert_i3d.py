"""The published I3D as a file Thaw reads: batch normalisation folded, names by the network's order.

usage: convert_i3d.py i3d_torchscript.pt i3d.safetensors
       convert_i3d.py --selftest

The input is the TorchScript of the StyleGAN-V metrics, or a state dict of a PyTorch I3D with 400 classes. The names in
such files differ, the order of the layers does not: layers are taken in order, each with the normalisation beside it,
and every shape is checked. A TorchScript is run as well: the converted network must agree with it on noise, or
nothing is written.
"""
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from i3d_layers import I3d, units


def split(state):
    """([(convolution, {normalisation})] in order, logits weight, logits bias)."""
    layers, logits = [], None
    for name, tensor in state.items():
        if tensor.dim() != 5:
            continue
        parent = name.rsplit(".", 2)[0] + "." if name.count(".") > 1 else name.rsplit(".", 1)[0] + "."
        beside = {k[len(parent):].rsplit(".", 1)[-1]: v for k, v in state.items()
                  if k.startswith(parent) and v.dim() == 1 and k != name}
        if "running_mean" in beside:
            norm = {k[len(parent):]: v for k, v in state.items() if k.startswith(parent) and v.dim() == 1}
            pick = lambda ending: next((v for k, v in norm.items() if k.endswith(ending)), None)
            layers.append((tensor, {"weight": pick(".weight"), "bias": pick(".bias"),
                                    "mean": pick("running_mean"), "var": pick("running_var")}))
        else:
            logits = (tensor, state[name.rsplit(".", 1)[0] + ".bias"])
    if logits is None:
        raise SystemExit("convert_i3d: no convolution without normalisation: where are the logits?")
    return layers, logits


def fold(weight, norm, eps=1e-3):
    gain = (norm["var"].double() + eps).rsqrt()
    if norm["weight"] is not None:
        gain = gain * norm["weight"].double()
    bias = -norm["mean"].double() * gain
    if norm["bias"] is not None:
        bias = bias + norm["bias"].double()
    return (weight.double() * gain.view(-1, 1, 1, 1, 1)).float(), bias.float()


def convert(state, divisor=1, classes=400, pool_side=7):
    """({name: tensor}, the same network as layers of torch.nn)."""
    peer = I3d(divisor, pool_side, classes).eval()
    layers, logits = split(state)
    own = list(units(peer))
    if len(layers) != len(own):
        raise SystemExit(f"convert_i3d: {len(layers)} normalised convolutions, I3D has {len(own)}")
    tensors = {}
    for (name, unit), (weight, norm) in zip(own, layers):
        if weight.shape != unit.conv3d.weight.shape:
            raise SystemExit(f"convert_i3d: {name} is {list(weight.shape)}, expected {list(unit.conv3d.weight.shape)}")
        folded, bias = fold(weight, norm)
        tensors[name + ".weight"], tensors[name + ".bias"] = folded.contiguous(), bias.contiguous()
        unit.conv3d.weight.data.copy_(folded)
        unit.bn.weight.data.fill_(1)
        unit.bn.running_mean.zero_()
        unit.bn.running_var.fill_(1 - unit.bn.eps)
        unit.bn.bias.data.copy_(bias)
    tensors["logits.weight"], tensors["logits.bias"] = logits[0].float().contiguous(), logits[1].float().contiguous()
    peer.logits.load_state_dict({"weight": tensors["logits.weight"], "bias": tensors["logits.bias"]})
    return tensors, peer


def agree(script, peer, shape):
    torch.manual_seed(0)
    x = torch.rand(shape) * 2 - 1
    with torch.no_grad():
        try:
            theirs = script(x, rescale=False, resize=False, return_features=True)
        except (RuntimeError, TypeError):
            theirs = script(x)
        ours = peer(x)
    apart = float((theirs.flatten() - ours.flatten()).abs().max() / ours.abs().max()) if \
        theirs.numel() == ours.numel() else float("inf")
    print(f"largest difference {apart:.2e} of the largest feature")
    return apart < 1e-3


def run(source, out, shape=(1, 3, 16, 224, 224), **sizes):
    try:
        script = torch.jit.load(source, map_location="cpu").eval()
        state = dict(script.state_dict())
    except RuntimeError:
        script, state = None, dict(torch.load(source, map_location="cpu", weights_only=True))
    tensors, peer = convert(state, **sizes)
    if script is not None and not agree(script, peer, shape):
        raise SystemExit("convert_i3d: the converted network disagrees with the file; nothing was written")
    save_file(tensors, out)
    print(f"{out}: {len(tensors)} tensors")
    return tensors


def selftest():
    torch.manual_seed(1)
    network = I3d(8, 2, 10).eval()
    for _, unit in units(network):
        unit.bn.running_mean.normal_(0, 0.1)
        unit.bn.running_var.uniform_(0.5, 1.5)
        unit.bn.weight.data.uniform_(0.5, 1.5)
        unit.bn.bias.data.normal_(0, 0.1)
    with tempfile.TemporaryDirectory() as folder:
        source, out = str(Path(folder) / "a.pt"), str(Path(folder) / "b.safetensors")
        torch.jit.trace(network, torch.zeros(1, 3, 16, 64, 64)).save(source)
        run(source, out, (1, 3, 16, 64, 64), divisor=8, classes=10, pool_side=2)
        torch.save(network.state_dict(), source)
        run(source, out, divisor=8, classes=10, pool_side=2)


if __name__ == "__main__":
    selftest() if sys.argv[1:] == ["--selftest"] else run(sys.argv[1], sys.argv[2])
