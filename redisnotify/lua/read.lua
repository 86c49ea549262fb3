-- read: returns what a topic's log holds. It is a script so that a replica never answers it.
-- KEYS[1] log
-- Returns the entries, oldest first.
local log = KEYS[1]

local header = redis.call('HGET', log, '')
if not header then
  return {}
end
local count, size = string.match(header, '^%d+ (%d+) %d+ (%d+) %d+$')
if not count or tonumber(size) < 1 then
  return {}
end
count, size = tonumber(count), tonumber(size)
local fields = {}
for i = count - math.min(count, size), count - 1 do
  fields[#fields + 1] = 'e' .. i % size
end
local entries = {}
for _, entry in ipairs(redis.call('HMGET', log, unpack(fields))) do
  if entry then
    entries[#entries + 1] = entry
  end
end
return entries
