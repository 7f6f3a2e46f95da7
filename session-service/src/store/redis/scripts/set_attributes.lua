local now, id, expected, attributes = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
if not is_open(read(id), now) then return { 'missing' } end
local version = redis.call('HGET', session_key(id), 'attributes_version')
if version ~= expected then return { 'mismatch', version } end
redis.call('HSET', session_key(id), 'attributes', attributes)
return { 'done', tostring(redis.call('HINCRBY', session_key(id), 'attributes_version', 1)) }
