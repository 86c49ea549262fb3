-- pause: keeps workers from claiming.
-- Includes: now
-- KEYS[1] paused
-- Returns 1 when they could before, else 0.
local paused = KEYS[1]

redis.call('HDEL', paused, '')
return redis.call('HSETNX', paused, 'since', string.format('%.0f', now_ms()))
