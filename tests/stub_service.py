"""A service for the tests of the local stack: serves /readyz on HEALTH_PORT, and misbehaves on request.

Arguments: `dies` ends at once with status 3; `wrong` with status 2; `fragile` when anything asks for /die.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            os._exit(1)
        self.send_response(200)
        self.end_headers()
        names = ("KAFKA_BOOTSTRAP_SERVERS", "PG_USER", "PG_PASSWORD_FILE", "PG_PORT", "DATABASE_URL_FILE")
        self.wfile.write("\n".join(f"{name}={os.environ.get(name, '')}" for name in names).encode())

    def log_message(self, *args):
        pass


if "dies" in sys.argv:
    sys.exit(print("stub: the reason of its death") or 3)
if "wrong" in sys.argv:
    sys.exit(2)
HTTPServer(("127.0.0.1", int(os.environ["HEALTH_PORT"])), Handler).serve_forever()
