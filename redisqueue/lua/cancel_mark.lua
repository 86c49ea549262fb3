-- cancel_mark: marks a job that waits or is held as canceled and draws the token of the cancel.
-- Includes: now, wake, schedule, history, whole, token, place
-- KEYS[1] jobs
-- KEYS[2] cancels
-- KEYS[3] workers
-- KEYS[4] scheduled
-- KEYS[5] dead
-- KEYS[6] wake
-- KEYS[7] token
-- KEYS[8] history
-- KEYS[9] inflight...
-- ARGV[1] id
-- ARGV[2…] the workers whose inflight hashes are given, which must be all
-- Returns {place, token, body, ended}: the place 'unknown', 'waiting', 'held' or 'dead'; the body '' when there is none;
--   how a dead job ended, 'f' as failed, 'c' as canceled, '' when that isn't known or it isn't dead. Or {'again',
--   worker, …} when the workers are others.
local jobs = KEYS[1]
local cancels = KEYS[2]
local workers = KEYS[3]
local scheduled = KEYS[4]
local dead = KEYS[5]
local wake = KEYS[6]
local token = KEYS[7]
local history = KEYS[8]

redis.call('ZREM', scheduled, '')
redis.call('HLEN', cancels)
redis.call('LLEN', wake)
redis.call('HLEN', history)
local again = changed_workers(workers, 2)
if again then
  return again
end

local id = ARGV[1]
local now = now_ms()
local place = place_of(id, jobs, dead, 9)
local drawn = next_token(token, now, '0', 0)
redis.call('SET', token, string.format('%.0f', drawn))
if place == 'waiting' or place == 'held' then
  redis.call('HSET', cancels, id, string.format('%.0f', drawn))
end
local due = place == 'waiting' and redis.call('ZSCORE', scheduled, id)
if due and tonumber(due) > now then
  schedule(scheduled, {string.format('%.0f', now), id})
  set_wake(wake)
end
local state = place == 'dead' and ended(redis.call('HGET', history, id)) or ''
return {place, drawn, redis.call('HGET', jobs, id) or '', state}
