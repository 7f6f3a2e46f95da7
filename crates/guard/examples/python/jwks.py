"""Verifies Latchkey's access tokens locally, by the published keys. Needs PyJWT[crypto].

    python3 jwks.py https://login.example.com reports < token

A token that was taken back is accepted until it expires (token.access_lifetime, 5 minutes unless configured).
"""

import sys
import time

import jwt


class Unavailable(Exception):
    """Nobody knows: answer 503, never 401."""


class Verifier:
    def __init__(self, issuer, audience):
        self.issuer, self.audience = issuer, audience
        # One client for the whole process. The key set may be kept for 5 minutes.
        self.client = jwt.PyJWKClient(f"{issuer}/.well-known/jwks.json", lifespan=300, timeout=2)
        self.may_fetch_at = 0.0

    def verify(self, token):
        """The claims of a good token; raises jwt.InvalidTokenError (401) or Unavailable (503)."""
        # RFC 9068 section 4: only what says that it is an access token. PyJWT does not look.
        if jwt.get_unverified_header(token).get("typ") != "at+jwt":
            raise jwt.InvalidTokenError("not an access token")
        return jwt.decode(
            token,
            self.key(jwt.get_unverified_header(token).get("kid")),
            # Never from the token's header.
            algorithms=["ES256"],
            issuer=self.issuer,
            audience=self.audience,
            leeway=30,
            options={"require": ["iss", "aud", "exp", "sub"]},
        )

    def key(self, kid):
        try:
            known = {key.key_id: key.key for key in self.client.get_signing_keys()}
            # A new key is fetched when it is first seen; but a stranger's made-up ids are not a fetch each.
            if kid not in known and time.monotonic() >= self.may_fetch_at:
                self.may_fetch_at = time.monotonic() + 5
                known = {key.key_id: key.key for key in self.client.get_signing_keys(refresh=True)}
        except jwt.PyJWKClientError as error:
            raise Unavailable("the keys cannot be fetched") from error
        if kid not in known:
            raise jwt.InvalidTokenError("the key is not known")
        return known[kid]


if __name__ == "__main__":
    try:
        claims = Verifier(sys.argv[1], sys.argv[2]).verify(sys.stdin.read().strip())
        print("200", claims["sub"], claims.get("scope", ""))
    except jwt.InvalidTokenError as error:
        print("401", error)
    except Unavailable as error:
        print("503", error)
