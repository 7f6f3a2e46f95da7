// Reads tokens with npm `jose`: opens the encrypted one with the recipient's key, verifies what is inside and the plain one
// through the published key set, and prints the claims.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const require = createRequire(join(process.env.LATCHKEY_NODE_MODULES, 'x.js'))
const { compactDecrypt, createRemoteJWKSet, importJWK, jwtVerify } =
  await import(pathToFileURL(require.resolve('jose')))

const given = JSON.parse(readFileSync(0, 'utf8'))
const keys = createRemoteJWKSet(new URL(given.jwks))

async function claims(token, audience) {
  const options = { issuer: given.issuer, audience, typ: 'at+jwt', algorithms: ['ES256'], requiredClaims: ['exp', 'jti'] }
  return (await jwtVerify(token, keys, options)).payload
}

async function refused(token, audience) {
  try {
    await claims(token, audience)
    return 'accepted'
  } catch (error) {
    return error.code === 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED' || error.claim === 'aud' ? 'refused' : String(error)
  }
}

const key = await importJWK(given.key, 'ECDH-ES')
const opened = await compactDecrypt(given.encrypted.token, key, {
  keyManagementAlgorithms: ['ECDH-ES'],
  contentEncryptionAlgorithms: ['A256GCM'],
})
if (opened.protectedHeader.cty !== 'JWT') throw new Error('it does not say that it nests')

console.log(JSON.stringify({
  encrypted: await claims(new TextDecoder().decode(opened.plaintext), given.encrypted.audience),
  plain: await claims(given.plain.token, given.plain.audience),
  forged: await refused(given.forged, given.plain.audience),
  another_audience: await refused(given.plain.token, 'another'),
}))
