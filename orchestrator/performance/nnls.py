"""Least squares with coefficients that are never negative."""

from __future__ import annotations

import numpy as np

from orchestrator.performance.batch import Array


def nnls(matrix: Array, target: Array) -> Array:
    """x >= 0 that minimises |matrix·x - target|. Shapes (m, n), (m,) and (n,); m >= 1.

    Source: Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23.
    """
    # Columns of one length, so that one tolerance fits all; an empty column keeps 0.
    length = np.linalg.norm(matrix, axis=0)
    scaled = matrix / np.where(length > 0, length, 1.0)
    x, used = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1], bool)
    least = 1e-10 * float(np.linalg.norm(target))
    for _ in range(10 * matrix.shape[1]):
        gain = scaled.T @ (target - scaled @ x)
        if used.all() or (gain[~used] <= least).all():
            break
        used[np.argmax(np.where(used, -np.inf, gain))] = True
        while True:
            best = np.zeros_like(x)
            best[used] = np.linalg.lstsq(scaled[:, used], target, rcond=None)[0]
            wrong = used & (best <= 0)
            if not wrong.any():
                break
            # Go towards the best as far as nothing turns negative, and leave out what has become 0.
            x += np.min(x[wrong] / (x[wrong] - best[wrong])) * (best - x)
            used &= x > 1e-12 * np.abs(x).max(initial=0)
            x[~used] = 0
        x = best
    return np.asarray(x / np.where(length > 0, length, 1.0))
