"""Reads tokens with PyPI `jwcrypto`: opens the encrypted one with the recipient's key, verifies what is inside and the
plain one through the published key set, and prints the claims."""

import json
import sys
import urllib.request

from jwcrypto import jwe, jwk, jws, jwt

given = json.load(sys.stdin)
# No proxy stands between two processes of one machine.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
keys = jwk.JWKSet.from_json(opener.open(given["jwks"]).read())


def claims(token, audience):
    expected = {"iss": given["issuer"], "aud": audience, "exp": None, "jti": None}
    read = jwt.JWT(jwt=token, key=keys, algs=["ES256"], expected_type="JWS", check_claims=expected)
    assert json.loads(read.header)["typ"] == "at+jwt"
    return json.loads(read.claims)


def refused(token, audience):
    try:
        claims(token, audience)
        return "accepted"
    except (jws.InvalidJWSSignature, jwt.JWTInvalidClaimValue, jwt.JWTMissingKey):
        return "refused"


opened = jwe.JWE(algs=["ECDH-ES", "A256GCM"])
opened.deserialize(given["encrypted"]["token"], key=jwk.JWK(**given["key"]))
assert opened.jose_header["cty"] == "JWT"

json.dump(
    {
        "encrypted": claims(opened.payload.decode(), given["encrypted"]["audience"]),
        "plain": claims(given["plain"]["token"], given["plain"]["audience"]),
        "forged": refused(given["forged"], given["plain"]["audience"]),
        "another_audience": refused(given["plain"]["token"], "another"),
    },
    sys.stdout,
)
