local session = read(ARGV[2])
if not is_open(session, tonumber(ARGV[1])) then return false end
return record(session) or error('a session that its secret does not find')
