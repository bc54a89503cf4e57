"""Other systems' routers, and simulated backends that speak to them: for comparisons side by side."""
