local now, id, digest = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local session = read(id)
if not (is_open(session, now) and accepts(session, digest, now)) then return {} end
return { finish(session, now, 'replaced') }
