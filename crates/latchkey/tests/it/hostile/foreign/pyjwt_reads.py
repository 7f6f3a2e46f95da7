"""Verifies tokens with PyPI `PyJWT` through the published key set, and prints the claims."""

import json
import os
import sys

import jwt

given = json.load(sys.stdin)
os.environ["NO_PROXY"] = "127.0.0.1"
keys = jwt.PyJWKClient(given["jwks"])


def claims(token, audience):
    key = keys.get_signing_key_from_jwt(token)
    return jwt.decode(
        token,
        key.key,
        algorithms=["ES256"],
        issuer=given["issuer"],
        audience=audience,
        options={"require": ["exp", "iat", "iss", "aud", "sub", "jti"]},
    )


def refused(token, audience):
    try:
        claims(token, audience)
        return "accepted"
    except (jwt.InvalidSignatureError, jwt.InvalidAudienceError):
        return "refused"


json.dump(
    {
        "encrypted": claims(given["encrypted"]["token"], given["encrypted"]["audience"]),
        "plain": claims(given["plain"]["token"], given["plain"]["audience"]),
        "forged": refused(given["forged"], given["plain"]["audience"]),
        "another_audience": refused(given["plain"]["token"], "another"),
    },
    sys.stdout,
)
