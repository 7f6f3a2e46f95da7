#!/bin/sh
# Prints the Secrets of the dev overlay: secrets.sh DIR | kubectl apply -f -     (DIR of development-secrets.sh)
set -eu
secret() {
  name=$1
  shift
  kubectl create secret generic "$name" --namespace latchkey --dry-run=client -o yaml "$@"
  echo ---
}
cd "$1"
for name in auth session policy gateway operator; do
  secret "latchkey-$name-certificate" --from-file=tls.crt="certificates/$name.crt" \
    --from-file=tls.key="certificates/$name.key" --from-file=ca.crt=certificates/ca.crt
done
secret latchkey-auth-keys --from-file=master.key --from-file=gateway.public.jwk.json
secret latchkey-gateway-keys --from-file=gateway.jwk.json
secret latchkey-auth-database --from-file=password=auth.password
secret latchkey-policy-database --from-file=password=policy.password
secret latchkey-session-store --from-file=password=redis.password
secret latchkey-administrator --from-file=password=administrator.password
secret latchkey-postgres --from-file=password=postgres.password
secret latchkey-postgres-roles --from-file=roles.sql
secret latchkey-redis --from-file=redis.conf
