-- resume: lets workers claim again, and wakes one.
-- Includes: wake
-- KEYS[1] paused
-- KEYS[2] wake
-- Returns 1 when they could not before, else 0.
local paused = KEYS[1]
local wake = KEYS[2]

local ended = redis.call('DEL', paused) -- whatever it is
set_wake(wake)
return ended
