"""Huge pages for a pool in host memory: reading another process's memory costs about twice as much in 4 KiB pages."""

from __future__ import annotations

import ctypes
import mmap
import sys

import torch

_HUGE_PAGE_BYTES = 2 << 20
_MADV_HUGEPAGE = 14
_MADV_COLLAPSE = 25  # Linux 6.1; makes huge pages of those already touched


def advise(tensor: torch.Tensor) -> bool:
    """Ask for huge pages under `tensor`, touched or not; False where the system has none (then everything works, slower)."""
    if tensor.is_cuda or not sys.platform.startswith("linux"):
        return False
    start = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (tensor.data_ptr() + tensor.numel() * tensor.element_size()) // mmap.PAGESIZE * mmap.PAGESIZE
    if end - start < _HUGE_PAGE_BYTES:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    address, length = ctypes.c_void_p(start), ctypes.c_size_t(end - start)
    if libc.madvise(address, length, _MADV_HUGEPAGE) != 0:
        return False
    libc.madvise(address, length, _MADV_COLLAPSE)  # older kernels refuse it; pages touched later are huge all the same
    return True
