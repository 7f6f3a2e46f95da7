"""Asks Latchkey about a token with every request (RFC 7662). Standard library only.

    CLIENT_SECRET=... python3 introspection.py https://login.example.com reports cli_... < token

Exact: a token that was taken back is refused at once. It costs a call per request.
"""

import base64
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request


class Unavailable(Exception):
    """Nobody knows: answer 503, never 401."""


def introspect(issuer, client_id, client_secret, audience, token):
    """What is known of a good token for `audience`, or None (401); raises Unavailable (503)."""
    credentials = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
    request = urllib.request.Request(
        f"{issuer}/oauth2/introspect",
        data=urllib.parse.urlencode({"token": token}).encode(),
        headers={"Authorization": f"Basic {credentials}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:
            said = json.load(answer)
    # Also a 401: it is about this service's own credentials and says nothing about the token.
    except (OSError, ValueError) as error:
        raise Unavailable(f"the token cannot be asked about: {error}") from error
    if said.get("active") is not True:
        return None
    # An active token for somebody else is not one for us.
    audiences = said.get("aud", [])
    return said if audience in ([audiences] if isinstance(audiences, str) else audiences) else None


if __name__ == "__main__":
    issuer, audience, client_id = sys.argv[1:4]
    try:
        said = introspect(issuer, client_id, os.environ["CLIENT_SECRET"], audience, sys.stdin.read().strip())
        print("200 " + said["sub"] if said else "401")
    except Unavailable as error:
        print("503", error)
