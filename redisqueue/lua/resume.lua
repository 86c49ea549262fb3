-- resume: lets workers claim again, and wakes one.
-- Includes: wake
-- KEYS[1] paused
-- KEYS[2] wake
-- Returns 1 when they could not before, else 0.
local paused = KEYS[1]
local wake = KEYS[2]

redis.call('HDEL', paused, '')
redis.call('LLEN', wake)
local ended = redis.call('DEL', paused)
set_wake(wake)
return ended
