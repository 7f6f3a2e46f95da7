local now, idle_since, subject = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local after_created, after_id, most = ARGV[4], ARGV[5], tonumber(ARGV[6])
local index = subject == '' and ALL or subject_key(subject)
local from = after_created == '' and '+inf' or after_created
local CHUNK = 200
local page, offset = {}, 0
while #page < most do
  local members = redis.call('ZREVRANGEBYSCORE', index, from, '-inf', 'WITHSCORES', 'LIMIT', offset, CHUNK)
  for at = 1, #members, 2 do
    local id, created = members[at], members[at + 1]
    local is_after = after_created == '' or tonumber(created) < tonumber(after_created) or id < after_id
    local session = is_after and #page < most and read(id)
    local text = is_open(session, now) and session.active > idle_since and record(session)
    -- What its secret does not find is nobody's session, and in nobody else's way.
    if text then page[#page + 1] = text end
  end
  if #members < 2 * CHUNK then break end
  offset = offset + CHUNK
end
return page
