-- requeue_move: moves a dead job back to its queue with a new body, or pushes one that is unknown, with attempts and
-- crashes 0 and its checkpoint kept, and takes its unique key. A job that waits or is held stays as it is.
-- Includes: now, due, wake, schedule, place, holder
-- KEYS[1] pending
-- KEYS[2] jobs
-- KEYS[3] history
-- KEYS[4] cancels
-- KEYS[5] workers
-- KEYS[6] scheduled
-- KEYS[7] dead
-- KEYS[8] wake
-- KEYS[9] unique
-- KEYS[10] inflight...
-- ARGV[1] id
-- ARGV[2] encoded job
-- ARGV[3] when it is due: '' now, '+ms' from now, 'ms' at that time
-- ARGV[4] expiry of its unique key in ms, '' when it has none
-- ARGV[5…] the workers whose inflight hashes are given, which must be all
-- Returns {place}: where the job was; {'unique', id} when another job has the key and nothing was done; or {'again',
--   worker, …}.
local pending = KEYS[1]
local jobs = KEYS[2]
local history = KEYS[3]
local cancels = KEYS[4]
local workers = KEYS[5]
local scheduled = KEYS[6]
local dead = KEYS[7]
local wake = KEYS[8]
local unique = KEYS[9]

redis.call('ZREM', dead, '')
redis.call('LLEN', pending)
redis.call('ZCARD', scheduled)
redis.call('HLEN', history)
redis.call('HLEN', cancels)
redis.call('LLEN', wake)
local again = changed_workers(workers, 5)
if again then
  return again
end

local id, expiry = ARGV[1], ARGV[4]
local place = place_of(id, jobs, dead, 10)
if place == 'waiting' or place == 'held' then
  return {place}
end
local holder = expiry ~= '' and holder_of(unique)
if holder and holder ~= id then
  return {'unique', holder}
end
local now = now_ms()
local at = due_at(ARGV[3], now)
redis.call('HSET', jobs, id, ARGV[2])
if expiry ~= '' then
  redis.call('SET', unique, id, 'PX', expiry)
end
redis.call('HDEL', history, id)
redis.call('HDEL', cancels, id)
if at > now then
  schedule(scheduled, {string.format('%.0f', at), id})
else
  redis.call('RPUSH', pending, id)
end
redis.call('ZREM', dead, id)
set_wake(wake)
return {place}
