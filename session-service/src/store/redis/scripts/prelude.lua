-- Every key is of one shard and so in one slot: KEYS[1] is the shard, the others are made from it. What cannot be is found
-- out before anything is written, and a full server refuses the first write or none: a script does all of it or nothing.
-- Only a server that denies one of the commands stops one midway. So an ending begins with what its secret finds.
local shard = KEYS[1]
local ALL, OVER, IDLE = shard .. ':all', shard .. ':over', shard .. ':idle'
local WINDOWS, PROOFS = shard .. ':windows', shard .. ':proofs'

local function session_key(id) return shard .. ':session:' .. id end
local function secret_key(digest) return shard .. ':secret:' .. digest end
local function former_key(id) return shard .. ':former:' .. id end
local function subject_key(subject) return shard .. ':subject:' .. subject end

-- Lengthens a time to live, and never shortens one.
local function keep(key, ttl)
  if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end
end

local function read(id)
  local fields = redis.call('HMGET', session_key(id), 'subject', 'secret', 'absolute_expires_at', 'last_active_at', 'ended_at', 'rotation')
  if not fields[1] then return nil end
  if not (tonumber(fields[3]) and tonumber(fields[4])) then error('a session that cannot be') end
  return {
    id = id,
    subject = fields[1],
    secret = fields[2],
    expires = tonumber(fields[3]),
    active = tonumber(fields[4]),
    ended = fields[5],
    rotated = fields[6] ~= '0',
  }
end

-- What is kept under a secret, as record.rs has it: the id, digits of the last activity, all else.
local ID, MOMENT = 30, 15

-- Of an open session, as it is answered.
local function record(session) return redis.call('GET', secret_key(session.secret)) end

local function id_by_secret(digest)
  local text = redis.call('GET', secret_key(digest))
  return text and string.sub(text, 1, ID)
end

local function is_open(session, now) return session and not session.ended and now < session.expires end

-- A former secret: the rotation that made it one, until when it is accepted, and the sealed successor.
local function window(text)
  local rotation, accepted_until, sealed = string.match(text, '^(%d+) (%d+) (.*)$')
  return tonumber(rotation), tonumber(accepted_until), sealed
end

-- Whether `digest` finds this session: as its current secret, or as one whose window is open.
local function accepts(session, digest, now)
  if session.secret == digest then return true end
  local text = redis.call('HGET', former_key(session.id), digest)
  if not text then return false end
  local _, accepted_until = window(text)
  return now < accepted_until
end

-- Of an open session.
local function touch(session, at)
  local text = record(session)
  if text then
    text = string.sub(text, 1, ID) .. string.format('%0' .. MOMENT .. '.0f', at) .. string.sub(text, ID + MOMENT + 1)
    redis.call('SET', secret_key(session.secret), text, 'KEEPTTL')
  end
  redis.call('HSET', session_key(session.id), 'last_active_at', at)
  redis.call('ZADD', IDLE, at, session.id)
end

local function close_window(id, digest)
  redis.call('HDEL', former_key(id), digest)
  redis.call('DEL', secret_key(digest))
  redis.call('ZREM', WINDOWS, id .. digest)
end

local function close_windows(id)
  for _, digest in ipairs(redis.call('HKEYS', former_key(id))) do close_window(id, digest) end
end

-- The session becomes its own tombstone, under the time to live that it began with.
local function finish(session, now, reason)
  redis.call('DEL', secret_key(session.secret))
  if session.rotated then close_windows(session.id) end
  redis.call('HSET', session_key(session.id), 'ended_at', now, 'end_reason', reason)
  redis.call('HDEL', session_key(session.id), 'secret')
  redis.call('ZREM', subject_key(session.subject), session.id)
  redis.call('ZREM', ALL, session.id)
  redis.call('ZREM', IDLE, session.id)
  return { session.id, session.subject, session.active, reason }
end
