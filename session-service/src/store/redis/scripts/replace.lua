local now, digest = tonumber(ARGV[1]), ARGV[2]
local id = id_by_secret(digest)
local session = id and read(id)
if not (is_open(session, now) and accepts(session, digest, now)) then return {} end
return { finish(session, now, 'replaced') }
