-- fill: brings the encoded jobs of rows that lack them.
-- KEYS[1…] rows
-- ARGV[1…] the encoded job of each
-- Returns how many were taken: those of rows that are not there any more, have a job by now, or have succeeded are not.
local first = KEYS[1]
redis.pcall('HDEL', first, '') -- lets the rest through when memory is out

local taken = 0
for i = 1, #KEYS do
  local row = KEYS[i]
  local held = redis.pcall('HMGET', row, 'head')
  local head = not held.err and held[1]
  if head and string.match(head, '^%a+', 37) ~= 'succeeded' then
    taken = taken + redis.call('HSETNX', row, 'job', ARGV[i])
  end
end
return taken
