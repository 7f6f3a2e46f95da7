local now, id, expected, attributes = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local session = read(id)
if not is_open(session, now) then return { 'missing' } end
local text = record(session) or error('a session that its secret does not find')
local version, beginning = string.match(text, '^(%d+) [^\n]*(\n.*)$', 1 + ID + MOMENT)
if not version then return redis.error_reply('ERR a record without a version') end
if version ~= expected then return { 'mismatch', version } end
version = string.format('%.0f', tonumber(version) + 1)
text = string.sub(text, 1, ID + MOMENT) .. version .. ' ' .. attributes .. beginning
redis.call('SET', secret_key(session.secret), text, 'KEEPTTL')
return { 'done', version }
