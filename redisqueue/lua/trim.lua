-- trim: forgets dead jobs that are too old or too many.
-- Includes: now, dead
-- KEYS[1] jobs
-- KEYS[2] history
-- KEYS[3] checkpoints
-- KEYS[4] dead
-- ARGV[1] greatest age in ms
-- ARGV[2] greatest number
-- ARGV[3] the most jobs of either kind to forget
-- Returns how many were forgotten.
local jobs = KEYS[1]
local history = KEYS[2]
local checkpoints = KEYS[3]
local dead = KEYS[4]

redis.call('ZREM', dead, '')
return trim_dead(dead, jobs, history, checkpoints, now_ms(), tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]))
