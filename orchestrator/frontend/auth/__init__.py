"""Who may call the front door, and how much: API keys, roles, limits, TLS; the same rules for HTTP and gRPC."""

from orchestrator.frontend.auth.caller import Caller
from orchestrator.frontend.auth.denied import Denied
from orchestrator.frontend.auth.gate import Gate
from orchestrator.frontend.auth.key_file import KeyFileError
from orchestrator.frontend.auth.keyring import Keyring
from orchestrator.frontend.auth.tls import Tls, TlsError

__all__ = ["Caller", "Denied", "Gate", "KeyFileError", "Keyring", "Tls", "TlsError"]
