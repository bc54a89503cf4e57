"""A double of a vLLM server as a process: prints what a start prints, answers /health, or dies; see `main`. Run by path.

It stands where ServerSpec.python is, so it gets launch.py and the server's arguments. HOW (environment) says what it does.
"""

import http.server
import os
import signal
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # type: ignore[no-untyped-def]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):  # type: ignore[no-untyped-def]
        pass


def main() -> None:
    how = os.environ["HOW"]
    print("INFO Starting to load model tiny...", flush=True)
    print("INFO Starting to load model tiny, rank 1", flush=True)
    if how == "fails":
        print("x" * (2 << 20))
        print("ValueError: odd thing")
        sys.exit(3)
    if how == "stuck":
        print("zmq.error.ZMQError: Address already in use (addr='tcp://127.0.0.1:5')", flush=True)
        signal.pause()
    if how == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    port = int(sys.argv[sys.argv.index("--port") + 1])
    with http.server.HTTPServer(("127.0.0.1", port), Handler) as server:
        print("INFO:     Application startup complete.", flush=True)
        server.serve_forever()


main()
