"""CPU and latency that a front door adds to streams: ours, vllm-router's, sglang-router's and a bare relay's."""
