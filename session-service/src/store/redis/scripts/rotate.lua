local now, id, from, to = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local sealed, accepted_until, ttl, most = ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
local session = read(id)
if not (is_open(session, now) and session.secret == from) then return 0 end
local text = record(session) or error('a session that its secret does not find')
-- Of the session, not of its last secret: that it begins some milliseconds later is not added up over rotations.
local lives = redis.call('PTTL', session_key(id))
redis.call('SET', secret_key(from), id, 'PX', ttl)
redis.call('HSET', session_key(id), 'secret', to)
redis.call('SET', secret_key(to), text, 'PX', lives)
local rotation = redis.call('HINCRBY', session_key(id), 'rotation', 1)
session.secret = to
touch(session, math.max(session.active, now))
redis.call('HSET', former_key(id), from, rotation .. ' ' .. accepted_until .. ' ' .. sealed)
redis.call('ZADD', WINDOWS, accepted_until, id .. from)
keep(former_key(id), ttl)
keep(WINDOWS, ttl)
local former = redis.call('HGETALL', former_key(id))
for at = 1, #former, 2 do
  if window(former[at + 1]) <= rotation - most then close_window(id, former[at]) end
end
return 1
