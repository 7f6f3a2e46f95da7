local id = ARGV[2]
if not is_open(read(id), tonumber(ARGV[1])) then return false end
return record(id)
