-- next_due returns the earliest due time in a queue, nil if nothing is scheduled.
local function next_due(scheduled)
  local first = redis.call('ZRANGE', scheduled, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2])
end

-- schedule adds {due, id, due, id, …} and returns whether that made a new earliest due time.
local function schedule(scheduled, entries)
  if #entries == 0 then
    return false
  end
  local before = next_due(scheduled)
  redis.call('ZADD', scheduled, unpack(entries))
  for i = 1, #entries, 2 do
    if not before or tonumber(entries[i]) < before then
      return true
    end
  end
  return false
end
