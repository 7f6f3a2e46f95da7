// Encrypts a signed token with npm `jose`, as the gateway takes it and as it does not.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const require = createRequire(join(process.env.LATCHKEY_NODE_MODULES, 'x.js'))
const { CompactEncrypt, importJWK } = await import(pathToFileURL(require.resolve('jose')))

const given = JSON.parse(readFileSync(0, 'utf8'))
const key = await importJWK(given.key, 'ECDH-ES')

function seal(enc) {
  return new CompactEncrypt(new TextEncoder().encode(given.inner))
    .setProtectedHeader({ alg: 'ECDH-ES', enc, kid: given.key.kid, cty: 'JWT' })
    .encrypt(key)
}

console.log(JSON.stringify({ token: await seal('A256GCM'), a128gcm: await seal('A128GCM') }))
