-- cancel_remove: moves a marked job that still waits among the dead and frees its unique key, and drops the mark of one
-- that neither waits nor is held. An unmarked job that waits is another round's: it stays.
-- Includes: now, history, whole, discount, dead, place, holder, free
-- KEYS[1] jobs
-- KEYS[2] history
-- KEYS[3] checkpoints
-- KEYS[4] cancels
-- KEYS[5] void
-- KEYS[6] workers
-- KEYS[7] scheduled
-- KEYS[8] dead
-- KEYS[9] unique
-- KEYS[10] inflight...
-- ARGV[1] id
-- ARGV[2] greatest age of dead jobs in ms
-- ARGV[3] greatest number of dead jobs
-- ARGV[4…] the workers whose inflight hashes are given, which must be all
-- Returns {place, trimmed}: where the job was, and how many dead jobs were forgotten; or {'again', worker, …}.
local jobs = KEYS[1]
local history = KEYS[2]
local checkpoints = KEYS[3]
local cancels = KEYS[4]
local void = KEYS[5]
local workers = KEYS[6]
local scheduled = KEYS[7]
local dead = KEYS[8]
local unique = KEYS[9]

redis.call('ZREM', scheduled, '')
redis.call('HLEN', void)
redis.call('HLEN', history)
redis.call('HLEN', cancels)
local again = changed_workers(workers, 4)
if again then
  return again
end

local id = ARGV[1]
local place = place_of(id, jobs, dead, 10)
if place == 'held' then
  return {place, 0}
end
if place ~= 'waiting' then
  redis.call('HDEL', cancels, id)
  return {place, 0}
end
if redis.call('HEXISTS', cancels, id) == 0 then
  return {place, 0}
end

local now = now_ms()
local attempts, crashes = counts(redis.call('HGET', history, id))
redis.call('HSET', history, id, attempts .. ' ' .. crashes .. ' c')
redis.call('ZADD', dead, string.format('%.0f', now), id)
if redis.call('ZREM', scheduled, id) == 0 then
  discount(void, id)
end
redis.call('HDEL', cancels, id)
free(unique, id)
return {place, trim_dead(dead, jobs, history, checkpoints, now, tonumber(ARGV[2]), tonumber(ARGV[3]), 100)}
