"""Trains the demo model on one CPU core: `python -m workers.demo.train`. Same seed, same weights."""

from __future__ import annotations

import argparse
import itertools
import math
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm
from transformers import LlamaForCausalLM

from workers.demo import MODEL_DIR
from workers.demo.data import IGNORE, PICK, Batch, Conversations
from workers.demo.init import initialise
from workers.demo.shape import build_model, load, save
from workers.demo.tasks import PICK_HIGH, PICK_LOW
from workers.demo.tokenizer import build_tokenizer


def loss_of(model: LlamaForCausalLM, batch: Batch, pick_ids: torch.Tensor) -> torch.Tensor:
    """Weighted mean negative log-likelihood of the answers; where the model may draw, over all numbers it may draw."""
    hidden = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state
    spoken = batch.targets != IGNORE
    target, weight = batch.targets[spoken], batch.weights[spoken]
    logp = F.log_softmax(model.lm_head(hidden[spoken]), dim=-1)
    drawn = target == PICK
    told = logp.gather(1, target.clamp(min=0)[:, None])[:, 0]
    free = logp[:, pick_ids].mean(dim=1)
    return -(torch.where(drawn, free, told) * weight).sum() / weight.sum()


def optimizers(model: LlamaForCausalLM, matrix_lr: float, embedding_lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the embedding and, at a tenth of its rate, for the norms."""
    named = list(model.named_parameters())
    matrices = [p for n, p in named if p.ndim == 2 and "embed" not in n]
    groups = [
        {"params": [p for n, p in named if "embed" in n], "lr": embedding_lr},
        {"params": [p for _, p in named if p.ndim == 1], "lr": embedding_lr / 10},
    ]
    return [
        torch.optim.Muon(matrices, lr=matrix_lr, weight_decay=0.0, momentum=0.95),
        torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--matrix-lr", type=float, default=0.02)
    parser.add_argument("--embedding-lr", type=float, default=5e-3)
    parser.add_argument("--warmup", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="start from the weights in --out")
    parser.add_argument("--sharpen", type=float, default=1.0, help="multiply all logits of the last checkpoint by this")
    parser.add_argument("--save-every", type=int, default=200, help="steps between checkpoints")
    parser.add_argument("--out", type=Path, default=MODEL_DIR)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    tokenizer = build_tokenizer()
    model = load(args.out) if args.resume else build_model(tokenizer)
    if not args.resume:
        initialise(model, tokenizer)
    pick_ids = torch.tensor([tokenizer.token_to_id(str(i)) for i in range(PICK_LOW, PICK_HIGH + 1)])
    optims = optimizers(model, args.matrix_lr, args.embedding_lr)
    base = [[g["lr"] for g in o.param_groups] for o in optims]
    batches = itertools.islice(iter(Conversations(tokenizer, args.seed, args.batch_tokens)), args.steps)
    bar = tqdm(enumerate(batches), total=args.steps, unit="step", mininterval=5.0)
    smooth = 0.0
    for step, batch in bar:
        progress = step / args.steps
        scale = min(1.0, (step + 1) / args.warmup) * 0.5 * (1.0 + math.cos(math.pi * progress))
        for optim, lrs in zip(optims, base, strict=True):
            for group, lr in zip(optim.param_groups, lrs, strict=True):
                group["lr"] = lr * scale
        loss = loss_of(model, batch, pick_ids)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optim in optims:
            optim.step()
            optim.zero_grad(set_to_none=True)
        smooth = loss.item() if step == 0 else 0.98 * smooth + 0.02 * loss.item()
        bar.set_postfix(loss=f"{smooth:.5f}", refresh=False)
        if (step + 1) % args.save_every == 0:
            save(model, args.out)
    with torch.no_grad():
        model.model.norm.weight.mul_(args.sharpen)
    save(model, args.out)


if __name__ == "__main__":
    main()
