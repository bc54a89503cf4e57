"""Generated bad requests over HTTP and gRPC: 500 in all, or as many as TANDEM_FUZZ says. The same ones in every run."""
