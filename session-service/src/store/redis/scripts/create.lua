local now, id, subject, jti = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local most, refuses, idle_since = tonumber(ARGV[6]), ARGV[7] == 'refuse', tonumber(ARGV[8])
local former_digest, digest, text = ARGV[9], ARGV[10], ARGV[11]
local created, active, expires, ttl, proof_ttl = ARGV[12], ARGV[13], ARGV[14], tonumber(ARGV[15]), tonumber(ARGV[16])

if redis.call('ZSCORE', PROOFS, jti) then return { 'spent' } end

local seen = {}
for at = 17, #ARGV, 2 do
  local known = seen[ARGV[at]]
  seen[ARGV[at]] = math.max(known or 0, tonumber(ARGV[at + 1]))
end
local touched = {}
local function with_activity(session)
  local at = seen[session.id]
  if at and at > session.active then
    session.active = at
    touched[#touched + 1] = session
  end
end

local replaced
local former_id = former_digest ~= '' and id_by_secret(former_digest)
if former_id then
  local session = read(former_id)
  if is_open(session, now) and accepts(session, former_digest, now) then
    with_activity(session)
    replaced = session
  end
end
local gone, over, live = {}, {}, {}
for _, member in ipairs(redis.call('ZRANGE', subject_key(subject), 0, -1)) do
  local session = read(member)
  if not session then
    gone[#gone + 1] = member
  elseif not (replaced and replaced.id == member) then
    with_activity(session)
    local is_over = now >= session.expires or session.active <= idle_since
    local kind = is_over and over or live
    kind[#kind + 1] = session
  end
end
local beyond = #live + 1 - most
if beyond > 0 and refuses then return { 'limit' } end

redis.call('ZADD', PROOFS, ARGV[5], jti)
keep(PROOFS, proof_ttl)
for _, session in ipairs(touched) do touch(session, session.active) end
for _, member in ipairs(gone) do redis.call('ZREM', subject_key(subject), member) end
for _, session in ipairs(over) do finish(session, now, 'expired') end
local ended = {}
if replaced then ended[1] = finish(replaced, now, 'replaced') end
for position = 1, math.min(beyond, #live) do ended[#ended + 1] = finish(live[position], now, 'limit') end

redis.call('SET', secret_key(digest), text, 'PX', ttl)
redis.call('HSET', session_key(id), 'subject', subject, 'secret', digest, 'rotation', 0,
  'absolute_expires_at', expires, 'last_active_at', active)
redis.call('PEXPIRE', session_key(id), ttl)
redis.call('ZADD', subject_key(subject), created, id)
redis.call('ZADD', ALL, created, id)
redis.call('ZADD', OVER, expires, id)
redis.call('ZADD', IDLE, active, id)
for _, key in ipairs({ subject_key(subject), ALL, OVER, IDLE }) do keep(key, ttl) end
return { 'stored', ended }
