-- Every key is of one bucket and so in one slot: KEYS[1] is the bucket, the others are made from it. What is read is read
-- before anything is written, and the first write is one that a full server refuses: a script does all of it or nothing.
local bucket = KEYS[1]
local ALL, OVER, IDLE = bucket .. ':all', bucket .. ':over', bucket .. ':idle'
local WINDOWS, PROOFS = bucket .. ':windows', bucket .. ':proofs'

local function session_key(id) return bucket .. ':session:' .. id end
local function former_key(id) return bucket .. ':former:' .. id end
local function subject_key(subject) return bucket .. ':subject:' .. subject end

-- Lengthens a time to live, and never shortens one.
local function keep(key, ttl)
  if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end
end

local function read(id)
  local fields = redis.call('HMGET', session_key(id), 'subject', 'secret', 'absolute_expires_at', 'last_active_at', 'ended_at')
  if not fields[1] then return nil end
  return {
    id = id,
    subject = fields[1],
    secret = fields[2],
    expires = tonumber(fields[3]),
    active = tonumber(fields[4]),
    ended = fields[5],
  }
end

-- A session as it is answered, as record.rs has it.
local FIELDS = { 'subject', 'origin', 'last_active_at', 'absolute_expires_at', 'attributes_version', 'attributes' }
local function record(id) return redis.call('HMGET', session_key(id), unpack(FIELDS)) end

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

local function touch(session, at)
  redis.call('HSET', session_key(session.id), 'last_active_at', at)
  redis.call('ZADD', IDLE, at, session.id)
end

local function close_windows(id)
  for _, digest in ipairs(redis.call('HKEYS', former_key(id))) do redis.call('ZREM', WINDOWS, id .. digest) end
  redis.call('DEL', former_key(id))
end

-- The session becomes its own tombstone, under the time to live that it began with.
local function finish(session, now, reason)
  redis.call('HSET', session_key(session.id), 'ended_at', now, 'end_reason', reason, 'attributes', '{}')
  redis.call('HDEL', session_key(session.id), 'secret')
  close_windows(session.id)
  redis.call('ZREM', subject_key(session.subject), session.id)
  redis.call('ZREM', ALL, session.id)
  redis.call('ZREM', IDLE, session.id)
  return { session.id, session.subject, session.active, reason }
end
