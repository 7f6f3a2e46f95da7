#!/bin/sh
# Certificates and secrets for compose and the dev overlay. What is there already is kept, so that it can be run again.
# Usage: development-secrets.sh DIR        needs latchkey, openssl and python3
set -eu
umask 077
mkdir -p "$1"
cd "$1"
latchkey certificates dev certificates --domain latchkey.internal > /dev/null
random() { [ -s "$1" ] || openssl rand -base64 32 > "$1"; }
random master.key
for name in postgres auth policy redis administrator; do
  [ -s "$name.password" ] || openssl rand -hex 20 > "$name.password"
done
[ -s gateway.jwk.json ] || openssl ecparam -name prime256v1 -genkey -noout -outform DER | python3 -c '
import base64, json, sys
der = sys.stdin.buffer.read()
text = lambda part: base64.urlsafe_b64encode(part).rstrip(b"=").decode()
key = {"kty": "EC", "crv": "P-256", "alg": "ECDH-ES", "use": "enc", "x": text(der[-64:-32]), "y": text(der[-32:])}
json.dump(key, open("gateway.public.jwk.json", "w"))
json.dump(dict(key, d=text(der[7:39])), open("gateway.jwk.json", "w"))'
# Each service has a role of its own, which owns its schema.
for service in auth policy; do
  echo "CREATE ROLE latchkey_$service LOGIN PASSWORD '$(cat $service.password)';"
  echo "CREATE SCHEMA $service AUTHORIZATION latchkey_$service;"
done > roles.sql
printf 'requirepass %s\nappendonly yes\nmaxmemory-policy noeviction\ndir /data\n' "$(cat redis.password)" > redis.conf
