-- register: opens a worker's session.
-- Includes: now
-- KEYS[1] workers
-- ARGV[1] worker
-- ARGV[2] lease in ms
-- Returns the server's clock in ms.
local workers = KEYS[1]
redis.call('ZREM', workers, '')

local now = now_ms()
redis.call('ZADD', workers, string.format('%.0f', now + ARGV[2]), ARGV[1])
return now
