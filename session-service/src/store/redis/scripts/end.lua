local now, reason, which, id, subject = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local ids = { id }
if which == 'all' or which == 'others' then ids = redis.call('ZRANGE', subject_key(subject), 0, -1) end
local ended = {}
for _, member in ipairs(ids) do
  local session = read(member)
  local is_meant = (which == 'one' or (session and session.subject == subject)) and not (which == 'others' and member == id)
  if is_meant and is_open(session, now) then ended[#ended + 1] = finish(session, now, reason) end
end
return ended
