local now, id, digest = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local session = read(id)
if not (is_open(session, now) and accepts(session, digest, now)) then return false end
local chain = {}
if session.secret ~= digest then
  local former = redis.call('HGETALL', former_key(id))
  local presented = window(redis.call('HGET', former_key(id), digest))
  for at = 2, #former, 2 do
    local rotation, _, sealed = window(former[at])
    if rotation >= presented then chain[#chain + 1] = { rotation, sealed } end
  end
  table.sort(chain, function(one, other) return one[1] < other[1] end)
  for position, link in ipairs(chain) do chain[position] = link[2] end
end
return { record(session), chain }
