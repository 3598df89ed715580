"""Writes tests/data/store/python.safetensors with the safetensors package, for tests/store/test_safetensors.c.

usage: make_safetensors.py OUT   (needs torch and safetensors)
"""
import sys

import torch
from safetensors.torch import save_file

# values that the test can state as formulas: i/8 - 1, exact in every type
def ramp(count, dtype):
    return (torch.arange(count, dtype=torch.float64) / 8 - 1).to(dtype)

save_file({
    "f32": ramp(24, torch.float32).reshape(2, 3, 4),
    "f16": ramp(10, torch.float16).reshape(5, 2),
    "bf16": ramp(7, torch.bfloat16),
    "f64": ramp(3, torch.float64),
    "i8": torch.tensor([[-127, 5], [0, 127], [64, -1]], dtype=torch.int8),
    "i8.scale": torch.tensor([0.5, 2.0, 0.0]),
    "u8": torch.tensor([0, 255], dtype=torch.uint8),
    "i32": torch.tensor([-2**31, 7], dtype=torch.int32),
    "i64": torch.tensor([2**40, -1]),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "é.weight": torch.tensor([1.0]),
}, sys.argv[1], metadata={"format": "pt", "note": "ü"})
