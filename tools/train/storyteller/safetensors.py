"""Reader and writer of the safetensors format, for bf16, f32 and f64 tensors.

8 bytes little-endian header length, JSON header padded with spaces to a multiple of 8, then the tensors' bytes
(https://github.com/huggingface/safetensors, format section of its README).
"""
import json
import struct

import torch

_NAMES = {torch.bfloat16: "BF16", torch.float32: "F32", torch.float64: "F64"}
_TYPES = {name: dtype for dtype, name in _NAMES.items()}
_AS_INT = {torch.bfloat16: torch.int16, torch.float32: torch.int32, torch.float64: torch.int64}


def write(path, tensors):
    """`tensors`: name to tensor; written in the order of their names, without gaps."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(tensors):
        t = tensors[name]
        size = t.numel() * t.element_size()
        header[name] = {"dtype": _NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [offset, offset + size]}
        offset += size
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head)
        for name in sorted(tensors):
            t = tensors[name].contiguous().cpu()
            f.write(t.view(_AS_INT[t.dtype]).numpy().tobytes())


def read(path):
    """Name to tensor, in the stored type."""
    with open(path, "rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        header, body = json.loads(f.read(length)), bytearray(f.read())
    out = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        dtype = _TYPES[entry["dtype"]]
        flat = torch.frombuffer(body[begin:end], dtype=dtype)
        out[name] = flat.reshape(entry["shape"])
    return out
