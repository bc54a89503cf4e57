"""What hardware does with a model: latency, memory, power and cost, from catalogs and closed forms."""
