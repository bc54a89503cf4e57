"""The probe's arithmetic, on the CPU; its CUDA rows need a GPU."""

import torch

from bench.gpu.probe import Case, gathered


def test_gathered_attention_equals_the_definition():
    case = Case.make("cpu", torch.float32, block_tokens=16, batch=3, context=37)
    out = gathered(case)
    for row in range(3):
        kv = torch.cat([case.pool[int(block), 1] for block in case.tables[row]], dim=1)[:, :37]
        for head in range(32):
            keys, values = kv[0, :, head // 4], kv[1, :, head // 4]
            weights = torch.softmax(keys @ case.q[row, head] / 128**0.5, 0)
            torch.testing.assert_close(out[row, head], weights @ values, rtol=1e-4, atol=1e-5)
