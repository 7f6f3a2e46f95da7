local now, idle_before = ARGV[1], ARGV[2]
local most_sessions, most_successors, most_proofs = ARGV[3], ARGV[4], ARGV[5]

local function up_to(index, moment, most)
  return redis.call('ZRANGEBYSCORE', index, '-inf', moment, 'LIMIT', 0, most)
end

local function remove(id)
  local session = read(id)
  close_windows(id)
  redis.call('DEL', session_key(id))
  if session then
    if session.secret then redis.call('DEL', secret_key(session.secret)) end
    redis.call('ZREM', subject_key(session.subject), id)
  end
  for _, index in ipairs({ ALL, OVER, IDLE }) do redis.call('ZREM', index, id) end
end

local sessions = up_to(OVER, now, most_sessions)
for _, id in ipairs(sessions) do remove(id) end
local idle = {}
if idle_before ~= '' then idle = up_to(IDLE, idle_before, most_sessions - #sessions) end
for _, id in ipairs(idle) do remove(id) end
local windows = up_to(WINDOWS, now, most_successors)
for _, member in ipairs(windows) do
  close_window(string.sub(member, 1, ID), string.sub(member, ID + 1))
end
local proofs = up_to(PROOFS, now, most_proofs)
for _, jti in ipairs(proofs) do redis.call('ZREM', PROOFS, jti) end
return { #sessions + #idle, #windows, #proofs }
