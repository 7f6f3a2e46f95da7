for position = 1, #ARGV, 2 do
  local session, at = read(ARGV[position]), tonumber(ARGV[position + 1])
  if session and not session.ended and at > session.active then touch(session, at) end
end
return 0
