-- requeue_draw: draws the token of a job's new round, unless the job waits or is held.
-- Includes: now, whole, token, place
-- KEYS[1] jobs
-- KEYS[2] workers
-- KEYS[3] dead
-- KEYS[4] token
-- KEYS[5] inflight...
-- ARGV[1] id
-- ARGV[2…] the workers whose inflight hashes are given, which must be all
-- Returns {place, token, body}, the token 0 for a job that is active and the body '' for one that is not dead; or
--   {'again', worker, …}.
local jobs = KEYS[1]
local workers = KEYS[2]
local dead = KEYS[3]
local token = KEYS[4]

redis.call('ZREM', dead, '')
local again = changed_workers(workers, 2)
if again then
  return again
end

local place = place_of(ARGV[1], jobs, dead, 5)
if place == 'waiting' or place == 'held' then
  return {place, 0, ''}
end
local drawn = next_token(token, now_ms(), '0', 0)
redis.call('SET', token, string.format('%.0f', drawn))
return {place, drawn, place == 'dead' and redis.call('HGET', jobs, ARGV[1]) or ''}
