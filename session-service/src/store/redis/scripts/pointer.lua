-- KEYS[1] is the pointer of a secret. Where it leads decides the bucket, so that looking a session up is one call.
local target = redis.call('GET', KEYS[1])
if not target then return false end
local number, id = string.match(target, '^(%d+) (%S+)$')
if not number then return redis.error_reply('ERR a pointer that leads to no session') end
local KEYS = { 'latchkey:{session-' .. number .. '}' }

