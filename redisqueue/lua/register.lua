-- register: opens a worker's session.
-- Includes: now
-- KEYS[1] workers
-- KEYS[2] info
-- ARGV[1] worker
-- ARGV[2] lease in ms
-- ARGV[3] what the worker tells of its process, '' when nothing
-- Returns the server's clock in ms.
local workers = KEYS[1]
local info = KEYS[2]
redis.call('ZREM', workers, '')

local now = now_ms()
if ARGV[3] ~= '' then
  redis.pcall('HSET', info, ARGV[1], ARGV[3]) -- to be looked at: garbage there keeps nobody from working
end
redis.call('ZADD', workers, string.format('%.0f', now + ARGV[2]), ARGV[1])
return now
